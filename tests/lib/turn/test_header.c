/* What of an IP header goes on with a datagram that is relayed, and what does not. */
#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static void both_families_and_df(struct turn_config *cfg)
{
    cfg->relay_ip6 = true;
    cfg->can_df = true;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    *state = b;
    bench_start(b, both_families_and_df);
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

struct way { /* between a client and a peer, with an allocation, a permission and a channel */
    struct bench *b;
    struct turn_conn c;
    struct addr peer;
    turn_id relay;
};

enum {
    CHANNEL = 0x4001
};

static struct way way_from(struct bench *b, struct turn_conn c, const char *peer)
{
    struct way w = {.b = b, .c = c, .peer = bench_addr(peer)};
    struct ask a;
    if (b->nonce_len == 0) { /* learns it */
        struct turn_conn other = bench_tcp(99);
        assert_int_equal(bench_allocate(b, &other, TURN_TCP), 0);
    }
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, w.peer.family);
    b->opens = false;
    (void)ask_end(b, &a, &w.c, &b->key);
    b->opens = true;
    w.relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    struct addr at =
        bench_addr(w.peer.family == ADDR_IP4 ? "198.51.100.1:24000" : "[2001:db8:5::1]:24000");
    turn_server_relay_opened(b->s, b->now_ms, w.relay, &at);
    bench_drain(b);
    ask_begin(b, &a, STUN_CHANNEL_BIND);
    stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, CHANNEL);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &w.peer);
    assert_int_equal(ask_end(b, &a, &w.c, &b->key), 0);
    return w;
}

/* The action that came of it, or NULL. */
static const struct turn_action *by_send(const struct way *w, struct dgram_opts opts, bool df)
{
    struct stun_writer s;
    struct stun_tid tid = {.len = 12};
    uint8_t buf[128];
    struct dgram d = {.opts = opts};
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION, STUN_SEND, &tid);
    stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, &w->peer);
    stun_put_bytes(&s, STUN_DATA, slice_str("hello"));
    if (df) {
        stun_put_flag(&s, STUN_DONT_FRAGMENT);
    }
    assert_int_equal(stun_end(&s, &d.data), OK);
    assert_int_equal(turn_server_from_client(w->b->s, w->b->now_ms, &w->c, d), OK);
    bench_drain(w->b);
    return bench_did(w->b, TURN_DO_RELAY_SEND, 0);
}

static const struct turn_action *by_channel(const struct way *w, struct dgram_opts opts)
{
    static const uint8_t frame[] = {CHANNEL >> 8, CHANNEL & 255, 0, 4, 'd', 'a', 't', 'a'};
    struct dgram d = {.data = slice_of(frame, sizeof frame), .opts = opts};
    assert_int_equal(turn_server_from_client(w->b->s, w->b->now_ms, &w->c, d), OK);
    bench_drain(w->b);
    return bench_did(w->b, TURN_DO_RELAY_SEND, 0);
}

static const struct turn_action *by_peer(const struct way *w, struct dgram_opts opts)
{
    struct dgram d = {.data = slice_str("hello"), .opts = opts};
    assert_int_equal(turn_server_from_peer(w->b->s, w->b->now_ms, w->relay, &w->peer, d), OK);
    bench_drain(w->b);
    return bench_did(w->b, TURN_DO_SEND, 0);
}

static void check_is(const struct turn_action *a, uint8_t tos, uint8_t ttl, bool df)
{
    assert_non_null(a);
    assert_int_equal(a->opts.tos, tos);
    assert_int_equal(a->opts.ttl, ttl);
    assert_int_equal(a->opts.df, df);
}

static const char *const peers[] = {"8.8.8.8:7000", "[2001:4860:4860::8888]:7000"};

static struct turn_conn udp_of(size_t family)
{
    struct turn_conn c = bench_udp(family ? "[2001:db8:1::7]:1" : "192.0.2.7:1");
    c.local = family ? bench_addr("[2001:db8:5::1]:3478") : c.local;
    return c;
}

/* RFC 8656 13, 14: DSCP and ECN as they came, a hop less, between all families. */
static void udp_to_udp_carries_tos_and_counts_hops(void **state)
{
    const struct dgram_opts in = {.tos = 0xb9, .ttl = 64};
    for (size_t client = 0; client < 2; client++) {
        for (size_t peer = 0; peer < 2; peer++) {
            struct turn_conn c = udp_of(client);
            c.client.port = (uint16_t)(1 + peer);
            struct way w = way_from(*state, c, peers[peer]);
            check_is(by_send(&w, in, false), 0xb9, 63, false);
            check_is(by_channel(&w, in), 0xb9, 63, false);
            check_is(by_peer(&w, in), 0xb9, 63, false);
            assert_int_equal(bench_refresh(w.b, &c, 0), 0);
        }
    }
}

static void the_last_hop_ends_here(void **state)
{
    struct way w = way_from(*state, udp_of(0), peers[0]);
    struct turn_stats before = turn_server_stats(w.b->s);
    const struct dgram_opts last = {.ttl = 1}, one_more = {.ttl = 2}, unknown = {.ttl = 0};
    assert_null(by_send(&w, last, false));
    assert_null(by_channel(&w, last));
    assert_null(by_peer(&w, last));
    struct turn_stats after = turn_server_stats(w.b->s);
    assert_int_equal(after.packets_to_peers, before.packets_to_peers);
    assert_int_equal(after.packets_to_client, before.packets_to_client);
    check_is(by_channel(&w, one_more), 0, 1, false);
    check_is(by_peer(&w, one_more), 0, 1, false);
    check_is(by_channel(&w, unknown), 0, 0, false);
}

/* RFC 8656 14: from IPv4 to IPv4 only; 13: else it is ignored, not refused. */
static void df_is_for_ip4(void **state)
{
    const struct dgram_opts in = {.ttl = 64}, came_so = {.ttl = 64, .df = true};
    for (size_t client = 0; client < 2; client++) {
        for (size_t peer = 0; peer < 2; peer++) {
            struct turn_conn c = udp_of(client);
            c.client.port = (uint16_t)(1 + peer);
            struct way w = way_from(*state, c, peers[peer]);
            bool both = client == 0 && peer == 0;
            check_is(by_send(&w, in, true), 0, 63, both);
            check_is(by_send(&w, came_so, false), 0, 63, both);
            check_is(by_channel(&w, came_so), 0, 63, both);
            check_is(by_peer(&w, came_so), 0, 63, both);
            assert_int_equal(bench_refresh(w.b, &c, 0), 0);
        }
    }
}

/* RFC 8656 15, 16. A frame out of a stream has no header; if somebody gave one, it is not used.
 */
static void tcp_has_none_of_it_but_df(void **state)
{
    const struct dgram_opts any = {.tos = 0xff, .ttl = 9, .df = true};
    for (size_t peer = 0; peer < 2; peer++) {
        struct way w = way_from(*state, bench_tcp(1 + peer), peers[peer]);
        check_is(by_send(&w, any, true), 0, 0, true);
        check_is(by_send(&w, any, false), 0, 0, false);
        check_is(by_channel(&w, any), 0, 0, false);
        check_is(by_peer(&w, any), 0, 0, false);
    }
}

static int allocate_df(struct bench *b, const struct turn_conn *c)
{
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_flag(&a.w, STUN_DONT_FRAGMENT);
    return ask_end(b, &a, c, &b->key);
}

/* RFC 8656 7.2: asking for it in Allocate tells whether it can be had. */
static void dont_fragment_is_known_where_it_can_be_done(void **state)
{
    struct bench *b = *state;
    struct way w = way_from(b, udp_of(0), peers[0]); /* for the nonce */
    struct turn_conn c = bench_udp("192.0.2.8:1");
    assert_int_equal(bench_refresh(b, &w.c, 0), 0);
    assert_int_equal(allocate_df(b, &c), 0);

    bench_stop(b);
    bench_start(b, NULL);
    w = way_from(b, udp_of(0), peers[0]);
    assert_int_equal(allocate_df(b, &c), 420);
    struct stun_msg m = bench_sent(b);
    struct slice list;
    assert_int_equal(stun_get_bytes(&m, STUN_UNKNOWN_ATTRIBUTES, &list), OK);
    assert_true(list.len == 2 && list.p[0] == 0x00 && list.p[1] == 0x1a);
    /* And an indication that asks for it is one with an unknown attribute. */
    const struct dgram_opts in = {.ttl = 64};
    assert_null(by_send(&w, in, true));
    assert_non_null(by_send(&w, in, false));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(udp_to_udp_carries_tos_and_counts_hops),
        T(the_last_hop_ends_here),
        T(df_is_for_ip4),
        T(tcp_has_none_of_it_but_df),
        T(dont_fragment_is_known_where_it_can_be_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
