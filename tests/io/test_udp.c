/* UDP over loopback. */
#include <sys/socket.h>

#include "io/udp.h"

#include "tests/io/io_test.h"

struct seen {
    struct loop *loop;
    size_t n, stop_at, bytes;
    struct addr from, local;
    bool echo, close_at_first, in_order;
    uint8_t last[64];
};

static void on_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                        struct dgram datagram, void *ctx)
{
    struct seen *s = ctx;
    struct slice d = datagram.data;
    s->from = *from;
    s->local = *local;
    s->in_order = (s->n == 0 || s->in_order) && d.len > 0 && d.p[d.len - 1] == (uint8_t)s->n;
    s->n++;
    s->bytes += d.len;
    memcpy(s->last, d.p, d.len < sizeof s->last ? d.len : sizeof s->last);
    if (s->echo) {
        udp_send(u, from, local, slice_str("re:"), datagram);
    }
    if (s->close_at_first) {
        udp_close(u);
    }
    if (s->n == s->stop_at) {
        loop_stop(s->loop);
    }
}

static struct udp *open_at(struct loop *l, const char *text, struct seen *s)
{
    struct udp *u;
    struct addr at = io_test_addr(text);
    s->loop = l;
    assert_int_equal(udp_open(&u, l, &at, NULL, on_datagram, s), OK);
    return u;
}

static struct addr with_port_of(const char *ip, struct udp *u)
{
    struct addr a = io_test_addr(ip);
    a.port = udp_addr(u).port;
    assert_int_not_equal(a.port, 0);
    return a;
}

static void a_batch_arrives_in_order(void **state)
{
    struct seen sa = {0}, sb = {.stop_at = 100};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b), none = io_test_addr("[2001:db8::1]:9");
    for (uint8_t i = 0; i < 100; i++) {
        udp_send(a, &to, NULL, slice_str("head"), dgram_of(slice_of(&i, 1)));
        udp_send(a, &none, NULL, slice_str("the wrong family is dropped"),
                 dgram_of(slice_str("")));
    }
    io_test_run(*state);
    assert_true(sb.in_order);
    assert_int_equal(sb.bytes, 500);
    struct addr here = udp_addr(a);
    assert_true(addr_eq(&sb.from, &here));
    udp_close(a);
    udp_close(b);
}

/* On a wildcard socket the answer must leave from the address the question came to. */
static void answers_from(struct loop *l, const char *any, const char *ip)
{
    struct seen server = {.echo = true}, client = {.stop_at = 1};
    struct udp *s = open_at(l, any, &server),
               *c = open_at(l, ip[0] == '1' ? "0.0.0.0" : "::", &client);
    struct addr to = with_port_of(ip, s);
    uint8_t zero = 0;
    udp_send(c, &to, NULL, slice_str(""), dgram_of(slice_of(&zero, 1)));
    io_test_run(l);
    assert_true(addr_eq(&server.local, &to));
    assert_true(addr_eq(&client.from, &to));
    assert_memory_equal(client.last, "re:\0", 4);
    udp_close(s);
    udp_close(c);
}

static void a_wildcard_socket_answers_from_the_address_asked(void **state)
{
    answers_from(*state, "0.0.0.0", "127.0.0.5");
    answers_from(*state, "::", "::1");
}

static void large_and_empty_ones_pass(void **state)
{
    static uint8_t big[65507];
    struct seen sa = {0}, sb = {.stop_at = 4};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    udp_send(a, &to, NULL, slice_of(big, sizeof big), dgram_of(slice_str("")));
    udp_send(a, &to, NULL, slice_of(big, sizeof big),
             dgram_of(slice_str("x"))); /* cannot be sent */
    udp_send(a, &to, NULL, slice_str(""), dgram_of(slice_str("")));
    udp_send(a, &to, NULL, slice_of(big, 30000), dgram_of(slice_of(big, 30000)));
    udp_send(a, &to, NULL, slice_str("a"), dgram_of(slice_str("b")));
    io_test_run(*state);
    assert_int_equal(sb.bytes, sizeof big + 60000 + 2);
    udp_close(a);
    udp_close(b);
}

static void closing_inside_its_own_callback_is_fine(void **state)
{
    struct seen sa = {0}, sb = {.close_at_first = true, .stop_at = 1};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    for (int i = 0; i < 40; i++) {
        udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("y")));
    }
    io_test_run(*state);
    io_test_run_for(*state, 10);
    assert_int_equal(sb.n, 1);
    /* What was sent before the close still goes; and a refused port does not spin or fail. */
    udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("y")));
    udp_close(a);
}

static void a_flood_leaves_room_for_timers(void **state)
{
    struct seen sa = {.echo = true}, sb = {.echo = true};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    for (int i = 0; i < 32; i++) {
        udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("")));
    }
    uint64_t before = loop_now_ms(*state);
    io_test_run_for(*state, 100);
    assert_true(loop_now_ms(*state) - before < 5000);
    assert_true(sa.n > 32);
    udp_close(a);
    udp_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_batch_arrives_in_order),
        IO_TEST(a_wildcard_socket_answers_from_the_address_asked),
        IO_TEST(large_and_empty_ones_pass),
        IO_TEST(closing_inside_its_own_callback_is_fine),
        IO_TEST(a_flood_leaves_room_for_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
