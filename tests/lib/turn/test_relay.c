/* Allocations of both address families (RFC 8656 7.2, 8.2): what may be asked for together,
 * what is told when half of it can be had, and that each relay lives and dies by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

static const char peer4[] = "8.8.8.8:7000", peer6[] = "[2001:4860::8]:7000";

static void both(struct turn_config *cfg)
{
    cfg->relay_ip6 = true;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    *state = b;
    bench_start(b, both);
    /* The first exchange, for the nonce. */
    struct turn_conn c = bench_tcp(99);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    turn_server_conn_gone(b->s, b->now_ms, 99);
    bench_drain(b);
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static int allocate_both(struct bench *b, const struct turn_conn *c,
                         enum turn_transport transport)
{
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, transport);
    stun_put_u32(&a.w, STUN_ADDITIONAL_ADDRESS_FAMILY, ADDR_IP6);
    return ask_end(b, &a, c, &b->key);
}

static int refresh_one(struct bench *b, const struct turn_conn *c, uint8_t family,
                       uint32_t life_s)
{
    struct ask a;
    ask_begin(b, &a, STUN_REFRESH);
    stun_put_u32(&a.w, STUN_LIFETIME, life_s);
    stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, family);
    return ask_end(b, &a, c, &b->key);
}

static int bind_channel(struct bench *b, const struct turn_conn *c, uint16_t n,
                        const char *peer)
{
    struct ask a;
    struct addr p = bench_addr(peer);
    ask_begin(b, &a, STUN_CHANNEL_BIND);
    stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, n);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &p);
    return ask_end(b, &a, c, &b->key);
}

static size_t from_peer(struct bench *b, turn_id relay, const char *peer)
{
    struct addr p = bench_addr(peer);
    assert_int_equal(
        turn_server_from_peer(b->s, b->now_ms, relay, &p, dgram_of(slice_str("hello"))), OK);
    bench_drain(b);
    return bench_count(b, TURN_DO_SEND);
}

/* How many relays the last answer tells; `missing`: the code in ADDRESS-ERROR-CODE, 0 if none.
 */
static size_t told(struct bench *b, uint16_t *missing, uint8_t *family)
{
    struct stun_msg m = bench_sent(b);
    struct addr at;
    size_t n = 0;
    while (stun_get_nth_addr(&m, STUN_XOR_RELAYED_ADDRESS, n, &at) == OK) {
        assert_int_equal(at.family, n == 0 && *family != ADDR_IP4 ? ADDR_IP4 : ADDR_IP6);
        n++;
    }
    assert_true(stun_get_addr_error(&m, family, missing) == OK || *missing == 0);
    return n;
}

static void both_relays_are_told_and_told_again(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    uint8_t first[BENCH_FRAME], family = 0;
    uint16_t missing;
    assert_int_equal(allocate_both(b, &c, TURN_UDP), 0);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_OPEN), 2);
    assert_int_equal(bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.family, ADDR_IP4);
    assert_int_equal(bench_did(b, TURN_DO_RELAY_OPEN, 1)->open.family, ADDR_IP6);
    assert_int_equal(bench_count(b, TURN_DO_SEND), 1);
    assert_int_equal(told(b, &missing, &family), 2);
    assert_int_equal(missing, 0);
    size_t len = b->sent_len;
    memcpy(first, b->sent, len);
    b->next_tid--;
    assert_int_equal(allocate_both(b, &c, TURN_UDP), 0);
    assert_int_equal(b->sent_len, len);
    assert_memory_equal(b->sent, first, len);
    assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    assert_int_equal(turn_server_stats(b->s).allocations, 1);
}

static void what_does_not_go_together_is_refused(void **state)
{
    static const struct {
        uint32_t also, family, even;
        bool token;
        int code;
    } wishes[] = {
        {ADDR_IP4, 0,        0,    false, 400},
        {7,        0,        0,    false, 400},
        {0,        0,        0,    false, 400},
        {ADDR_IP6, ADDR_IP4, 0,    false, 400},
        {ADDR_IP6, ADDR_IP6, 0,    false, 400},
        {ADDR_IP6, 0,        0x80, false, 400},
        {ADDR_IP6, 0,        0,    true,  400},
    };
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct ask a;
        ask_begin(b, &a, STUN_ALLOCATE);
        stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
        stun_put_u32(&a.w, STUN_ADDITIONAL_ADDRESS_FAMILY, wishes[i].also);
        if (wishes[i].family) {
            stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, wishes[i].family);
        }
        if (wishes[i].even) {
            stun_put_u32(&a.w, STUN_EVEN_PORT, wishes[i].even);
        }
        if (wishes[i].token) {
            stun_put_u64(&a.w, STUN_RESERVATION_TOKEN, 77);
        }
        assert_int_equal(ask_end(b, &a, &c, &b->key), wishes[i].code);
        assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    }
    /* EVEN-PORT alone reserves nothing, and may be had for both. */
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_ADDITIONAL_ADDRESS_FAMILY, ADDR_IP6);
    stun_put_u32(&a.w, STUN_EVEN_PORT, 0);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 0);
    assert_true(bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.even &&
                bench_did(b, TURN_DO_RELAY_OPEN, 1)->open.even);
}

static void no_ip6(struct turn_config *cfg)
{
    cfg->relay_ip6 = false;
}

static void only_ip6(struct turn_config *cfg)
{
    cfg->relay_ip4 = false;
    cfg->relay_ip6 = true;
}

static void neither(struct turn_config *cfg)
{
    cfg->relay_ip4 = false;
}

static int first_of(struct bench *b, void (*tune)(struct turn_config *cfg))
{
    struct turn_conn c = bench_udp("192.0.2.7:1"), any = bench_tcp(9);
    bench_stop(b);
    bench_start(b, tune);
    (void)bench_allocate(b, &any, TURN_TCP);
    (void)bench_refresh(b, &any, 0);
    return allocate_both(b, &c, TURN_UDP);
}

static void a_family_that_is_not_here_is_told_by_440(void **state)
{
    struct bench *b = *state;
    uint16_t missing = 0;
    uint8_t family = 0;
    assert_int_equal(first_of(b, no_ip6), 0);
    assert_int_equal(told(b, &missing, &family), 1);
    assert_true(missing == 440 && family == ADDR_IP6);
    assert_int_equal(first_of(b, only_ip6), 0);
    family = ADDR_IP4; /* so the only one told is IPv6 */
    assert_int_equal(told(b, &missing, &family), 1);
    assert_true(missing == 440 && family == ADDR_IP4);
    assert_int_equal(first_of(b, neither), 440);
}

static void a_port_that_is_not_free_is_told_by_508(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1"), d = bench_udp("192.0.2.7:2");
    uint16_t missing = 0;
    uint8_t family = 0;
    b->no_family = ADDR_IP6;
    assert_int_equal(allocate_both(b, &c, TURN_UDP), 0);
    assert_int_equal(told(b, &missing, &family), 1);
    assert_true(missing == 508 && family == ADDR_IP6);
    assert_int_equal(bench_permit(b, &c, peer6), 443);
    assert_int_equal(bench_permit(b, &c, peer4), 0);
    /* Neither: then it is an error, and nothing is left. */
    b->opens = false;
    assert_int_equal(allocate_both(b, &d, TURN_UDP), 1);
    turn_id first = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    turn_id second = bench_did(b, TURN_DO_RELAY_OPEN, 1)->relay;
    turn_server_relay_opened(b->s, b->now_ms, second, NULL);
    bench_drain(b);
    assert_int_equal(b->sent_len, 0);
    turn_server_relay_opened(b->s, b->now_ms, first, NULL);
    bench_drain(b);
    struct stun_msg m = bench_sent(b);
    uint16_t code;
    struct slice reason;
    assert_int_equal(stun_get_error(&m, &code, &reason), OK);
    assert_int_equal(code, 508);
    assert_int_equal(turn_server_stats(b->s).allocations, 1);
}

/* Four ports of one user. */
static void each_relay_counts_against_the_user(void **state)
{
    struct bench *b = *state;
    struct turn_conn c[3];
    uint16_t missing = 0;
    uint8_t family = 0;
    for (turn_id i = 0; i < 3; i++) {
        c[i] = bench_tcp(i + 1);
    }
    assert_int_equal(allocate_both(b, &c[0], TURN_TCP), 0);
    assert_int_equal(bench_allocate(b, &c[1], TURN_TCP), 0);
    assert_int_equal(allocate_both(b, &c[2], TURN_TCP), 0);
    assert_int_equal(told(b, &missing, &family), 1);
    assert_int_equal(missing, 508);
    struct turn_conn more = bench_tcp(7);
    assert_int_equal(bench_allocate(b, &more, TURN_TCP), 486);
    assert_int_equal(refresh_one(b, &c[0], ADDR_IP4, 0), 0);
    assert_int_equal(bench_allocate(b, &more, TURN_TCP), 0);
    turn_server_conn_gone(b->s, b->now_ms, 1);
    bench_drain(b);
    struct turn_conn last = bench_tcp(8);
    assert_int_equal(bench_allocate(b, &last, TURN_TCP), 0);
}

static void a_relay_serves_its_family_and_ends_with_its_own(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    assert_int_equal(allocate_both(b, &c, TURN_UDP), 0);
    turn_id four = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    turn_id six = bench_did(b, TURN_DO_RELAY_OPEN, 1)->relay;
    assert_int_equal(bind_channel(b, &c, 0x4000, peer4), 0);
    assert_int_equal(bind_channel(b, &c, 0x4001, peer6), 0);
    static const uint8_t data[] = {0x40, 0x01, 0, 2, 'h', 'i'};
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(slice_of(data, 6))),
                     OK);
    bench_drain(b);
    assert_true(bench_did(b, TURN_DO_RELAY_SEND, 0)->relay == six);
    assert_int_equal(from_peer(b, four, peer4), 1);
    assert_int_equal(from_peer(b, six, peer6), 1);
    assert_int_equal(from_peer(b, four, peer6), 0);
    assert_int_equal(from_peer(b, six, peer4), 0);
    assert_int_equal(refresh_one(b, &c, ADDR_IP4, 0), 0);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_true(bench_did(b, TURN_DO_RELAY_CLOSE, 0)->relay == four);
    struct turn_stats st = turn_server_stats(b->s);
    assert_true(st.allocations == 1 && st.channels == 1 && st.permissions == 1);
    assert_int_equal(from_peer(b, four, peer4), 0);
    assert_int_equal(from_peer(b, six, peer6), 1);
    assert_int_equal(refresh_one(b, &c, ADDR_IP4, 600), 443);
    assert_int_equal(bench_permit(b, &c, peer4), 443);
    struct turn_session is;
    assert_true(turn_server_session_after(b->s, b->now_ms, 0, &is));
    assert_true(is.id == four && is.relay[0].id == six && is.relay[1].id == 0);
    /* The last one's end is the allocation's. */
    assert_int_equal(refresh_one(b, &c, ADDR_IP6, 0), 0);
    assert_int_equal(bench_refresh(b, &c, 600), 437);
    assert_true(turn_server_deadline_ms(b->s) == UINT64_MAX);
}

static void each_relay_has_its_own_lifetime(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    uint64_t begun_ms = b->now_ms;
    assert_int_equal(allocate_both(b, &c, TURN_UDP), 0);
    turn_id four = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_int_equal(refresh_one(b, &c, ADDR_IP6, 1200), 0);
    bench_tick_to(b, begun_ms + 600000);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_true(bench_did(b, TURN_DO_RELAY_CLOSE, 0)->relay == four);
    assert_null(bench_did(b, TURN_DO_CONN_CLOSE, 0));
    assert_int_equal(bench_permit(b, &c, peer6), 0);
    bench_tick_to(b, begun_ms + 1200000);
    assert_int_equal(bench_count(b, TURN_DO_CONN_CLOSE), 1);
    /* Refreshed together, they end together, and that is one end. */
    struct turn_conn d = bench_tcp(2);
    assert_int_equal(allocate_both(b, &d, TURN_UDP), 0);
    assert_int_equal(bench_refresh(b, &d, 900), 0);
    bench_tick_to(b, b->now_ms + 900000);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 2);
    assert_int_equal(bench_count(b, TURN_DO_REPORT), 1);
}

static void connect_leaves_from_the_relay_of_the_peers_family(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct ask a;
    struct addr to = bench_addr(peer6);
    assert_int_equal(allocate_both(b, &c, TURN_TCP), 0);
    turn_id four = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    turn_id six = bench_did(b, TURN_DO_RELAY_OPEN, 1)->relay;
    ask_begin(b, &a, STUN_CONNECT);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &to);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 1);
    assert_true(bench_did(b, TURN_DO_TCP_CONNECT, 0)->relay == six);
    turn_id link = bench_did(b, TURN_DO_TCP_CONNECT, 0)->peer_conn;
    assert_int_equal(bench_permit(b, &c, peer4), 0);
    struct addr from = bench_addr(peer4);
    turn_id other = turn_server_tcp_accepted(b->s, b->now_ms, four, &from);
    bench_drain(b);
    assert_true(other != 0);
    assert_int_equal(refresh_one(b, &c, ADDR_IP6, 0), 0);
    assert_int_equal(bench_count(b, TURN_DO_TCP_CLOSE), 1);
    assert_true(bench_did(b, TURN_DO_TCP_CLOSE, 0)->peer_conn == link);
    assert_int_equal(turn_server_stats(b->s).tcp_connections, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(both_relays_are_told_and_told_again),
        T(what_does_not_go_together_is_refused),
        T(a_family_that_is_not_here_is_told_by_440),
        T(a_port_that_is_not_free_is_told_by_508),
        T(each_relay_counts_against_the_user),
        T(a_relay_serves_its_family_and_ends_with_its_own),
        T(each_relay_has_its_own_lifetime),
        T(connect_leaves_from_the_relay_of_the_peers_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
