/* ICMP that is told to a client: what, to whom, how often (RFC 8656 11.5). */
#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static void with_ip6(struct turn_config *cfg)
{
    cfg->relay_ip6 = true;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    *state = b;
    bench_start(b, with_ip6);
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static turn_id relay_for(struct bench *b, const struct turn_conn *c, const char *peer)
{
    struct ask a;
    struct turn_conn other = bench_tcp(99);
    struct addr p = bench_addr(peer);
    (void)bench_allocate(b, &other, TURN_TCP); /* teaches the nonce */
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, p.family);
    b->opens = false;
    (void)ask_end(b, &a, c, &b->key);
    b->opens = true;
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    struct addr at =
        bench_addr(p.family == ADDR_IP4 ? "198.51.100.1:24000" : "[2001:db8:5::1]:24000");
    turn_server_relay_opened(b->s, b->now_ms, relay, &at);
    bench_drain(b);
    assert_int_equal(bench_permit(b, c, peer), 0);
    return relay;
}

/* `n` datagrams to the peer, each of which may be answered. */
static void send_some(struct bench *b, const struct turn_conn *c, const char *peer, size_t n)
{
    struct stun_writer w;
    struct stun_tid tid = {.len = 12};
    struct addr p = bench_addr(peer);
    uint8_t buf[128];
    struct slice frame;
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION, STUN_SEND, &tid);
    stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, &p);
    stun_put_bytes(&w, STUN_DATA, slice_str("hello"));
    assert_int_equal(stun_end(&w, &frame), OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(turn_server_from_client(b->s, b->now_ms, c, dgram_of(frame)), OK);
        bench_drain(b);
        assert_int_equal(bench_count(b, TURN_DO_RELAY_SEND), 1);
    }
}

static bool icmp(struct bench *b, turn_id relay, const char *peer, struct turn_icmp what)
{
    struct addr p = bench_addr(peer);
    turn_server_from_icmp(b->s, b->now_ms, relay, &p, &what);
    bench_drain(b);
    assert_int_equal(b->n_did, bench_count(b, TURN_DO_SEND));
    assert_in_range(b->n_did, 0, 1);
    return b->n_did == 1;
}

static const char peer4[] = "8.8.8.8:7000", peer6[] = "[2001:4860:4860::8888]:7000";
static const struct turn_icmp port_unreachable = {.type = 3, .code = 3};

static void the_client_is_told_in_a_data_indication(void **state)
{
    struct bench *b = *state;
    const struct turn_conn conns[] = {bench_udp("192.0.2.7:1"), bench_tcp(1)};
    for (size_t i = 0; i < 2; i++) {
        turn_id relay = relay_for(b, &conns[i], peer4);
        struct addr peer = bench_addr(peer4), got;
        struct slice value, data;
        send_some(b, &conns[i], peer4, 1);
        assert_true(icmp(b, relay, peer4, (struct turn_icmp){3, 4, 1400}));
        const struct turn_action *a = bench_did(b, TURN_DO_SEND, 0);
        assert_int_equal(a->conn, conns[i].id);
        assert_true(addr_eq(&a->addr, &conns[i].client) && addr_eq(&a->local, &conns[i].local));
        struct stun_msg m = bench_sent(b);
        assert_int_equal(m.cls, STUN_INDICATION);
        assert_int_equal(m.method, STUN_DATA_IND);
        assert_int_equal(stun_get_addr(&m, STUN_XOR_PEER_ADDRESS, &got), OK);
        assert_true(addr_eq(&got, &peer));
        assert_int_equal(stun_get_bytes(&m, STUN_ICMP, &value), OK);
        static const uint8_t want[] = {0, 0, 3, 4, 0, 0, 0x05, 0x78};
        assert_true(slice_eq(value, slice_of(want, sizeof want)));
        assert_int_equal(stun_get_bytes(&m, STUN_DATA, &data), ERR_NOTFOUND);
        assert_int_equal(turn_server_stats(b->s).icmp_to_client, i + 1);
    }
}

static void the_types_are_those_of_the_rfc(void **state)
{
    struct bench *b = *state;
    struct turn_conn c4 = bench_udp("192.0.2.7:1"), c6 = bench_udp("192.0.2.7:2");
    turn_id r4 = relay_for(b, &c4, peer4), r6 = relay_for(b, &c6, peer6);
    for (unsigned type = 0; type < 256; type++) {
        const struct turn_icmp what = {.type = (uint8_t)type};
        send_some(b, &c4, peer4, 1);
        send_some(b, &c6, peer6, 1);
        assert_int_equal(icmp(b, r4, peer4, what), type == 3 || type == 11);
        assert_int_equal(icmp(b, r6, peer6, what), type >= 1 && type <= 3);
    }
}

/* The permission is for the address: the port does not matter, and may be unknown. */
static void only_of_peers_with_a_permission(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    turn_id relay = relay_for(b, &c, peer4);
    send_some(b, &c, peer4, 8);
    assert_false(icmp(b, relay, "8.8.4.4:7000", port_unreachable));
    assert_false(icmp(b, relay, peer6, (struct turn_icmp){.type = 1}));
    assert_false(icmp(b, relay + 1, peer4, port_unreachable));
    assert_false(icmp(b, 0, peer4, port_unreachable));
    assert_true(icmp(b, relay, "8.8.8.8:1", port_unreachable));
    assert_true(icmp(b, relay, "8.8.8.8", port_unreachable));
    bench_tick_to(b, b->now_ms + 300000);
    assert_false(icmp(b, relay, peer4, port_unreachable));
    assert_int_equal(bench_refresh(b, &c, 0), 0);
    assert_false(icmp(b, relay, peer4, port_unreachable));
}

static void a_tcp_relay_has_none(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_int_equal(bench_permit(b, &c, peer4), 0);
    assert_false(icmp(b, relay, peer4, port_unreachable));
}

/* Whoever forges it gets no more through than there were datagrams. */
static void each_datagram_is_answered_once(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    turn_id relay = relay_for(b, &c, peer4);
    assert_false(icmp(b, relay, peer4, port_unreachable));
    send_some(b, &c, peer4, 2);
    assert_true(icmp(b, relay, peer4, port_unreachable));
    assert_true(icmp(b, relay, peer4, port_unreachable));
    assert_false(icmp(b, relay, peer4, port_unreachable));
    send_some(b, &c, peer4, 1000);
    size_t n = 0;
    while (icmp(b, relay, peer4, port_unreachable)) {
        n++;
    }
    assert_int_equal(n, 32);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_client_is_told_in_a_data_indication), T(the_types_are_those_of_the_rfc),
        T(only_of_peers_with_a_permission),         T(a_tcp_relay_has_none),
        T(each_datagram_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
