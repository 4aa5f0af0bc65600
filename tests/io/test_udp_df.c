/* UDP without fragments, on a loopback of our own that carries no more than 1500 bytes. */
#include <errno.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/netns.h"
#include "io/udp.h"

#include "tests/io/io_test.h"

enum {
    MTU = 1500,
    BIG = 2000,
    SMALL = 100
};

struct seen {
    struct loop *loop;
    size_t n, len[8], stop_at;
    size_t n_errors;
    struct udp_error error;
};

static void on_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                        struct dgram d, void *ctx)
{
    struct seen *s = ctx;
    (void)u;
    (void)from;
    (void)local;
    assert_in_range(s->n, 0, 7);
    s->len[s->n++] = d.data.len;
    if (s->n == s->stop_at) {
        loop_stop(s->loop);
    }
}

static void on_failed(struct udp *u, const struct udp_error *e, void *ctx)
{
    struct seen *s = ctx;
    (void)u;
    s->error = *e;
    s->n_errors++;
    loop_stop(s->loop);
}

static struct udp *open_at(struct loop *l, const char *host, struct seen *s)
{
    const struct udp_options opt = {.has_header = true, .failed = on_failed};
    struct addr at = io_test_addr(host);
    struct udp *u;
    s->loop = l;
    assert_int_equal(udp_open(&u, l, &at, &opt, on_datagram, s), OK);
    return u;
}

static void send_n(struct udp *from, struct udp *to, size_t n, bool df)
{
    static const uint8_t bytes[BIG];
    struct addr at = udp_addr(to);
    const struct dgram d = {.data = slice_of(bytes, n), .opts = {.df = df}};
    udp_send(from, &at, NULL, slice_str(""), d);
}

static const char *const hosts[] = {"127.0.0.1", "::1"};

static void too_big_a_one_with_df_is_told_and_not_sent(void **state)
{
    static const uint8_t types[] = {3, 2}, codes[] = {4, 0};
    for (size_t h = 0; h < 2; h++) {
        struct seen sa = {0}, sb = {0};
        struct udp *a = open_at(*state, hosts[h], &sa), *b = open_at(*state, hosts[h], &sb);
        struct addr to = udp_addr(b);
        to.port = to.family == ADDR_IP4 ? 0 : to.port; /* IPv4's kernel does not say it */
        send_n(a, b, BIG, true);
        io_test_run(*state);
        assert_true(addr_eq(&sa.error.to, &to));
        assert_int_equal(sa.error.type, types[h]);
        assert_int_equal(sa.error.code, codes[h]);
        assert_int_equal(sa.error.mtu, MTU);
        io_test_run_for(*state, 10);
        assert_int_equal(sa.n_errors, 1);
        assert_int_equal(sb.n, 0);
        udp_close(a);
        udp_close(b);
    }
}

/* The wish is one datagram's, also between others in one batch. */
static void those_without_df_are_fragmented(void **state)
{
    for (size_t h = 0; h < 2; h++) {
        struct seen sa = {0}, sb = {.stop_at = 5};
        struct udp *a = open_at(*state, hosts[h], &sa), *b = open_at(*state, hosts[h], &sb);
        send_n(a, b, BIG, false);
        send_n(a, b, SMALL, true);
        send_n(a, b, BIG, true); /* does not arrive */
        send_n(a, b, SMALL + 1, true);
        send_n(a, b, SMALL + 2, false);
        send_n(a, b, BIG - 1, false);
        while (sb.n < 5) {
            io_test_run(*state);
        }
        io_test_run_for(*state, 10);
        static const size_t want[] = {BIG, SMALL, SMALL + 1, SMALL + 2, BIG - 1};
        assert_int_equal(sb.n, 5);
        assert_memory_equal(sb.len, want, sizeof want);
        assert_int_equal(sa.n_errors, 1); /* tried twice, told once */
        udp_close(a);
        udp_close(b);
    }
}

/* What stands in the header: a raw socket sees it. */
static void df_is_in_the_header_when_asked_for_and_not_else(void **state)
{
    int raw = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_UDP);
    struct seen sa = {0}, sb = {.stop_at = 3};
    struct udp *a = open_at(*state, hosts[0], &sa), *b = open_at(*state, hosts[0], &sb);
    assert_true(raw >= 0);
    send_n(a, b, 1, false);
    send_n(a, b, 2, true);
    send_n(a, b, 3, false);
    io_test_run(*state);
    for (size_t i = 1; i <= 3; i++) {
        uint8_t packet[256];
        struct ip ip;
        assert_int_equal(recv(raw, packet, sizeof packet, 0), 20 + 8 + (ssize_t)i);
        memcpy(&ip, packet, sizeof ip);
        assert_int_equal(ntohs(ip.ip_off) & IP_DF, i == 2 ? IP_DF : 0);
    }
    (void)close(raw);
    udp_close(a);
    udp_close(b);
}

static void this_system_can(void **state)
{
    (void)state;
    assert_true(udp_can_df());
}

static int small_loopback(void)
{
    int ns;
    if (netns_begin() != OK || netns_new(&ns) != OK || netns_enter(ns) != OK) {
        return -1;
    }
    struct ifreq r = {.ifr_name = "lo", .ifr_mtu = MTU};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    int err = fd < 0 ? -1 : ioctl(fd, SIOCSIFMTU, &r);
    (void)close(fd);
    (void)close(ns);
    return err;
}

int main(void)
{
    if (small_loopback()) {
        printf("1..0 # SKIP no network namespaces for this user here\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        IO_TEST(too_big_a_one_with_df_is_told_and_not_sent),
        IO_TEST(those_without_df_are_fragmented),
        IO_TEST(df_is_in_the_header_when_asked_for_and_not_else),
        IO_TEST(this_system_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
