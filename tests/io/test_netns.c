/* Hosts inside this machine: wired up, apart from each other, and gone when closed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/flow/packet.h"

#include "io/capture.h"
#include "io/netns.h"
#include "io/tcp.h"

enum {
    TRY_MS = 2000
};

static int home = -1, a = -1, b = -1, c = -1; /* a - b - c, b forwards nothing */

static struct addr at(const char *text)
{
    struct addr out;
    assert_int_equal(addr_parse(slice_str(text), &out), 0);
    return out;
}

static struct netns_end end_of(int ns, const char *name, const char *ip)
{
    return (struct netns_end){.ns = ns, .name = name, .ip = at(ip), .bits = 24};
}

static void lay_out(void)
{
    struct netns_end ab = end_of(a, "left", "10.1.0.1"), ba = end_of(b, "left", "10.1.0.2");
    struct netns_end bc = end_of(b, "right", "10.2.0.2"), cb = end_of(c, "right", "10.2.0.3");
    assert_int_equal(netns_link(&ab, &ba), 0);
    assert_int_equal(netns_link(&bc, &cb), 0);
}

static void accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    (void)peer;
    ++*(int *)ctx;
    tcp_close(t);
}

static struct tcp_listener *listen_in(struct loop *l, int ns, const char *where, int *count)
{
    struct addr bind_to = at(where);
    struct tcp_listener *t;
    assert_int_equal(netns_enter(ns), 0);
    assert_int_equal(tcp_listen(&t, l, &bind_to, NULL, accepted, count), 0);
    assert_int_equal(netns_enter(home), 0);
    return t;
}

static void only_neighbours_reach_each_other(void **state)
{
    (void)state;
    struct loop *l;
    int count = 0;
    assert_int_equal(loop_new(&l), 0);
    struct tcp_listener *t = listen_in(l, b, "10.1.0.2:0", &count);
    struct addr there = tcp_listener_addr(t);
    assert_int_equal(netns_try_connect(a, &there, TRY_MS), 0);
    assert_int_equal(netns_try_connect(c, &there, TRY_MS), ERR_NOTFOUND);
    assert_int_equal(netns_try_connect(home, &there, TRY_MS), ERR_NOTFOUND);
    struct addr nobody = at("10.1.0.2:9");
    assert_int_equal(netns_try_connect(a, &nobody, TRY_MS), ERR_SYSTEM);
    assert_int_equal(errno, ECONNREFUSED);
    tcp_listener_free(t);
    loop_run(l);
    loop_free(l);
}

static void a_route_leads_to_a_further_address(void **state)
{
    (void)state;
    struct loop *l;
    int count = 0;
    assert_int_equal(loop_new(&l), 0);
    struct addr_net to = {.base = at("10.9.0.1"), .bits = 32};
    struct addr via = at("10.1.0.2");
    struct netns_end further = end_of(b, "right", "10.9.0.1");
    assert_int_equal(netns_addr(&further), 0);
    struct tcp_listener *t = listen_in(l, b, "10.9.0.1:0", &count);
    struct addr there = tcp_listener_addr(t);
    assert_int_equal(netns_try_connect(a, &there, TRY_MS), ERR_NOTFOUND);
    assert_int_equal(netns_route(a, &to, &via), 0);
    assert_int_equal(netns_try_connect(a, &there, TRY_MS), 0);
    tcp_listener_free(t);
    loop_run(l);
    loop_free(l);
}

static void a_wrong_layout_is_an_error_and_moves_nobody(void **state)
{
    (void)state;
    struct netns_end twice = end_of(a, "left", "10.3.0.1"), other = end_of(c, "x", "10.3.0.2");
    assert_int_equal(netns_link(&twice, &other), ERR_SYSTEM);
    assert_int_equal(errno, EEXIST);
    struct netns_end nowhere = end_of(a, "no-such", "10.3.0.1");
    assert_int_equal(netns_addr(&nowhere), ERR_SYSTEM);
    nowhere.name = "sixteen-letters-";
    assert_int_equal(netns_link(&nowhere, &other), ERR_LIMIT);
    struct addr neighbour = at("10.1.0.2:9");
    assert_int_equal(netns_try_connect(home, &neighbour, TRY_MS), ERR_NOTFOUND);
}

struct seen {
    int syn;
    int other;
};

static void saw(const struct capture_packet *p, void *ctx)
{
    struct seen *s = ctx;
    struct packet k;
    bool is_syn = packet_parse(&k, p->link, p->bytes) == 0 && k.flags == TCP_SYN;
    *(is_syn ? &s->syn : &s->other) += 1;
}

/* What the device showed is what the file holds. */
static void a_capture_sees_the_connection_and_keeps_it(void **state)
{
    (void)state;
    struct loop *l;
    int count = 0;
    char path[] = "/tmp/causeway-test-XXXXXX", why[CAPTURE_WHY_MAX];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(loop_new(&l), 0);
    struct tcp_listener *t = listen_in(l, b, "10.1.0.2:0", &count);
    struct addr there = tcp_listener_addr(t);

    struct seen live = {0}, kept = {0};
    struct capture *cap;
    struct capture_options opt = {.device = "left", .filter = "tcp", .save_to = path};
    assert_int_equal(netns_enter(b), 0);
    assert_int_equal(capture_open(&cap, l, &opt, saw, &live, why), 0);
    assert_int_equal(netns_enter(home), 0);
    assert_int_equal(netns_try_connect(a, &there, TRY_MS), 0);
    capture_flush(cap);
    assert_int_equal(live.syn, 1);
    assert_true(live.other >= 2); /* SYN+ACK, ACK */
    capture_close(cap);
    assert_int_equal(capture_read_file(path, saw, &kept, why), 0);
    assert_int_equal(kept.syn, 1);
    assert_int_equal(kept.other, live.other);

    tcp_listener_free(t);
    loop_run(l);
    loop_free(l);
    (void)unlink(path);
}

static void a_capture_that_cannot_be_says_why(void **state)
{
    (void)state;
    struct loop *l;
    char why[CAPTURE_WHY_MAX] = "";
    struct capture *cap;
    assert_int_equal(loop_new(&l), 0);
    struct capture_options opt = {.device = "no-such"};
    assert_int_equal(capture_open(&cap, l, &opt, NULL, NULL, why), ERR_SYSTEM);
    assert_non_null(strstr(why, "no-such"));
    opt = (struct capture_options){.device = "lo", .filter = "tcp port blue"};
    assert_int_equal(capture_open(&cap, l, &opt, NULL, NULL, why), ERR_SYSTEM);
    assert_non_null(strstr(why, "blue"));
    assert_int_equal(capture_read_file("/dev/null", saw, NULL, why), ERR_SYSTEM);
    loop_run(l);
    loop_free(l);
}

int main(void)
{
    if (netns_begin() != 0 || netns_new(&home) != 0 || netns_enter(home) != 0) {
        printf("1..0 # SKIP no network namespaces for this user here\n");
        return 0;
    }
    assert_int_equal(netns_new(&a), 0);
    assert_int_equal(netns_new(&b), 0);
    assert_int_equal(netns_new(&c), 0);
    lay_out();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_neighbours_reach_each_other),
        cmocka_unit_test(a_route_leads_to_a_further_address),
        cmocka_unit_test(a_wrong_layout_is_an_error_and_moves_nobody),
        cmocka_unit_test(a_capture_sees_the_connection_and_keeps_it),
        cmocka_unit_test(a_capture_that_cannot_be_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
