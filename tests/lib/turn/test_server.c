/* The server, request by request: what goes in, and the actions that must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

static const char peer_text[] = "8.8.8.8:7000";

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    *state = b;
    bench_start(b, NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static struct stun_msg challenge_of(struct bench *b, const struct turn_conn *c)
{
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_TCP);
    assert_int_equal(ask_end(b, &a, c, NULL), 401);
    return bench_sent(b);
}

static void lengths_are_those_of_the_capture(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct stun_msg m = challenge_of(b, &c);
    struct slice nonce, realm;
    assert_int_equal(stun_get_bytes(&m, STUN_NONCE, &nonce), OK);
    assert_int_equal(stun_get_bytes(&m, STUN_REALM, &realm), OK);
    assert_int_equal(nonce.len, 52);
    assert_true(slice_eq(realm, slice_str("TANDBERG")));
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    /* LIFETIME 8, two addresses 12 each, SOFTWARE 12, MESSAGE-INTEGRITY 24, FINGERPRINT 8. */
    assert_int_equal(b->sent_len, 20 + 8 + 12 + 12 + 12 + 24 + 8);
    m = bench_sent(b);
    assert_int_equal(stun_check_integrity(&m, &b->key), OK);
    assert_int_equal(bench_refresh(b, &c, 600), 0);
    assert_int_equal(b->sent_len, 20 + 8 + 12 + 24 + 8);
}

static void binding_tells_the_address(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1234");
    struct ask a;
    struct addr mapped;
    ask_begin(b, &a, STUN_BINDING);
    assert_int_equal(ask_end(b, &a, &c, NULL), 0);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_addr(&m, STUN_XOR_MAPPED_ADDRESS, &mapped), OK);
    assert_true(addr_eq(&mapped, &c.client));
    const struct turn_action *sent = bench_did(b, TURN_DO_SEND, 0);
    assert_true(addr_eq(&sent->addr, &c.client) && addr_eq(&sent->local, &c.local));
}

static struct slice bare_request(enum stun_method method, uint8_t buf[STUN_HEADER_LEN])
{
    struct stun_writer w;
    struct stun_tid tid = {.len = 12};
    struct slice frame;
    stun_begin(&w, buf, STUN_HEADER_LEN, &stun_wire_rfc8489, STUN_REQUEST, (uint16_t)method,
               &tid);
    assert_int_equal(stun_end(&w, &frame), OK);
    return frame;
}

static size_t answer_to_bare(struct bench *b, const struct turn_conn *c,
                             enum stun_method method)
{
    uint8_t buf[STUN_HEADER_LEN];
    struct slice frame = bare_request(method, buf);
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, c, dgram_of(frame)), OK);
    bench_drain(b);
    return b->sent_len;
}

/* Whoever sends requests in another's name must not gain much by it. */
static void what_may_be_reflected_is_short(void **state)
{
    struct bench *b = *state;
    struct turn_conn udp = bench_udp("192.0.2.7:1234"), tcp = bench_tcp(1);
    assert_int_equal(answer_to_bare(b, &udp, STUN_BINDING), 20 + 12);
    /* NONCE 44 or 56, REALM 12, ERROR-CODE 20. */
    assert_int_equal(answer_to_bare(b, &udp, STUN_REFRESH), 20 + 44 + 12 + 20);
    assert_int_equal(answer_to_bare(b, &tcp, STUN_REFRESH), 20 + 56 + 12 + 20 + 12 + 8);
}

static void ten_answers(struct turn_config *cfg)
{
    cfg->max_unproven_per_s = 10;
}

static void a_network_gets_few_answers_until_it_authenticates(void **state)
{
    struct bench *b = *state;
    struct turn_conn victim = bench_udp("192.0.2.7:1"), other = bench_udp("192.0.3.8:1");
    bench_stop(b);
    bench_start(b, ten_answers);
    b->now_ms = 5000;
    assert_int_equal(bench_allocate(b, &victim, TURN_UDP), 0);
    for (int i = 0; i < 9; i++) {
        victim.client.port++;
        victim.client.ip[3]++;
        assert_true(answer_to_bare(b, &victim, i % 2 ? STUN_BINDING : STUN_ALLOCATE) > 0);
    }
    assert_int_equal(answer_to_bare(b, &victim, STUN_BINDING), 0);
    assert_int_equal(answer_to_bare(b, &victim, STUN_ALLOCATE), 0);
    const struct turn_action *told = bench_did(b, TURN_DO_REPORT, 0);
    assert_true(told && told->report.is_noise && addr_eq(&told->report.client, &victim.client));
    /* Others are not touched by it: another network, TCP, and those with a password. */
    struct turn_conn tcp = bench_tcp(1);
    assert_true(answer_to_bare(b, &other, STUN_BINDING) > 0);
    assert_true(answer_to_bare(b, &tcp, STUN_BINDING) > 0);
    victim = bench_udp("192.0.2.7:1");
    assert_int_equal(bench_refresh(b, &victim, 600), 0);
    b->now_ms = 6000;
    assert_true(answer_to_bare(b, &victim, STUN_BINDING) > 0);
}

static void credentials_are_asked_for_and_checked(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct ask a;
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    struct stun_key wrong = b->key;
    wrong.b[0] ^= 1;
    ask_begin(b, &a, STUN_REFRESH);
    assert_int_equal(ask_end(b, &a, &c, &wrong), 401);
    ask_begin(b, &a, STUN_REFRESH);
    assert_int_equal(ask_end(b, &a, &c, &b->other_key), 441);
    ask_begin(b, &a, STUN_REFRESH);
    stun_put_integrity(&a.w, &b->key);
    assert_int_equal(ask_end(b, &a, &c, NULL), 400);
    b->nonce[20] ^= 1;
    ask_begin(b, &a, STUN_REFRESH);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 438);
    b->nonce[20] ^= 1;
    b->unix_s += 3600;
    assert_int_equal(bench_refresh(b, &c, 600), 0);
    b->unix_s += 1;
    assert_int_equal(bench_refresh(b, &c, 600), 438);
    struct stun_msg m = bench_sent(b);
    assert_true(stun_has(&m, STUN_NONCE));
}

static void a_retransmission_gets_the_same_answer(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1234");
    uint8_t first[BENCH_FRAME];
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    size_t len = b->sent_len;
    memcpy(first, b->sent, len);
    b->next_tid--;
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    assert_int_equal(b->sent_len, len);
    assert_memory_equal(b->sent, first, len);
    assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 437);
    /* While the relay still opens, a retransmission is silent: one answer comes. */
    struct turn_conn slow = bench_udp("192.0.2.7:1235");
    b->opens = false;
    assert_int_equal(bench_allocate(b, &slow, TURN_UDP), 1);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    b->next_tid--;
    assert_int_equal(bench_allocate(b, &slow, TURN_UDP), 1);
    assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    struct addr at = bench_addr("198.51.100.1:25000");
    turn_server_relay_opened(b->s, b->now_ms, relay, &at);
    bench_drain(b);
    assert_int_equal(bench_count(b, TURN_DO_SEND), 1);
    turn_server_relay_opened(b->s, b->now_ms, relay, &at);
    bench_drain(b);
    assert_int_equal(b->n_did, 0);
}

struct wish {
    const char *what;
    bool over_udp;
    uint32_t transport, family;
    bool even, df, token, unknown;
    int code;
};

static void allocate_refuses_what_the_rfcs_forbid(void **state)
{
    static const struct wish wishes[] = {
        {.what = "no transport", .code = 400},
        {                      .what = "SCTP",                   .transport = 132,                      .code = 442},
        { .what = "TCP over UDP",      .over_udp = true,                      .transport = TURN_TCP, .code = 400},
        {                    .what = "TCP, EVEN-PORT", .transport = TURN_TCP,                      .even = true, .code = 400},
        {                .what = "TCP, DONT-FRAGMENT", .transport = TURN_TCP,                      .df = true, .code = 400},
        {                        .what = "TCP, token", .transport = TURN_TCP,                      .token = true, .code = 400},
        {                     .what = "DONT-FRAGMENT", .transport = TURN_UDP,                      .df = true, .code = 420},
        {               .what = "token and EVEN-PORT",
         .transport = TURN_UDP,
         .token = true,
         .even = true,
         .code = 400},
        {                                              .what = "unknown token",          .transport = TURN_UDP,         .token = true, .code = 508},
        {                      .what = "IPv6, not here",         .transport = TURN_UDP,           .family = 2, .code = 440},
        {                      .what = "family 7",               .transport = TURN_UDP,           .family = 7, .code = 440},
        {                      .what = "unknown attribute",      .transport = TURN_UDP,       .unknown = true, .code = 420},
    };
    struct bench *b = *state;
    struct turn_conn tcp = bench_tcp(1), udp = bench_udp("192.0.2.7:1"), first = bench_tcp(2);
    assert_int_equal(bench_allocate(b, &first, TURN_TCP), 0);
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        const struct wish *w = &wishes[i];
        struct ask a;
        ask_begin(b, &a, STUN_ALLOCATE);
        if (w->transport) {
            stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, w->transport);
        }
        if (w->family) {
            stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, w->family);
        }
        if (w->even) {
            stun_put_u32(&a.w, STUN_EVEN_PORT, 0);
        }
        if (w->df) {
            stun_put_flag(&a.w, STUN_DONT_FRAGMENT);
        }
        if (w->token) {
            stun_put_u64(&a.w, STUN_RESERVATION_TOKEN, 77);
        }
        if (w->unknown) {
            wr_u32(&a.w.w, 0x7ff00000);
        }
        int code = ask_end(b, &a, w->over_udp ? &udp : &tcp, &b->key);
        if (code != w->code) {
            fail_msg("%s: %d, not %d", w->what, code, w->code);
        }
        assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    }
}

static void quotas_hold_and_are_given_back(void **state)
{
    struct bench *b = *state;
    for (turn_id i = 1; i <= 4; i++) {
        struct turn_conn c = bench_tcp(i);
        assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    }
    struct turn_conn fifth = bench_tcp(5);
    assert_int_equal(bench_allocate(b, &fifth, TURN_TCP), 486);
    turn_server_conn_gone(b->s, b->now_ms, 2);
    bench_drain(b);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_int_equal(bench_allocate(b, &fifth, TURN_TCP), 0);
    struct turn_conn udp = bench_udp("192.0.2.7:1");
    assert_int_equal(bench_refresh(b, &udp, 600), 437);
}

static void a_reserved_port_waits_for_its_token(void **state)
{
    struct bench *b = *state;
    struct turn_conn rtp = bench_udp("192.0.2.7:1"), rtcp = bench_udp("192.0.2.7:2");
    struct ask a;
    uint64_t token;
    (void)challenge_of(b, &rtp);
    b->nonce_len = 0;
    struct turn_conn any = bench_tcp(9);
    assert_int_equal(bench_allocate(b, &any, TURN_TCP), 0);
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_EVEN_PORT, 0x80);
    assert_int_equal(ask_end(b, &a, &rtp, &b->key), 0);
    turn_id kept = bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.reserve;
    assert_true(bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.even && kept != 0);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_u64(&m, STUN_RESERVATION_TOKEN, &token), OK);
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u64(&a.w, STUN_RESERVATION_TOKEN, token);
    assert_int_equal(ask_end(b, &a, &rtcp, &b->key), 0);
    assert_true(bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.from == kept);
    bench_tick_to(b, b->now_ms + 31000);
    assert_null(bench_did(b, TURN_DO_RELAY_CLOSE, 0));
}

static void an_unclaimed_reservation_is_closed_once(void **state)
{
    struct bench *b = *state;
    struct turn_conn any = bench_tcp(9), rtp = bench_udp("192.0.2.7:1");
    struct ask a;
    assert_int_equal(bench_allocate(b, &any, TURN_TCP), 0);
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_EVEN_PORT, 0x80);
    assert_int_equal(ask_end(b, &a, &rtp, &b->key), 0);
    turn_id kept = bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.reserve;
    bench_tick_to(b, b->now_ms + 30000);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_true(bench_did(b, TURN_DO_RELAY_CLOSE, 0)->relay == kept);
}

static int allocate_pair(struct bench *b, const struct turn_conn *c)
{
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_EVEN_PORT, 0x80);
    return ask_end(b, &a, c, &b->key);
}

static int allocate_kept(struct bench *b, const struct turn_conn *c, uint64_t token)
{
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u64(&a.w, STUN_RESERVATION_TOKEN, token);
    return ask_end(b, &a, c, &b->key);
}

static void only_ip6(struct turn_config *cfg)
{
    cfg->relay_ip4 = false;
    cfg->relay_ip6 = true;
}

/* The request names no family, and IPv4, which that would mean, is not to be had. */
static void a_reserved_port_of_ip6_needs_no_family(void **state)
{
    struct bench *b = *state;
    struct turn_conn any = bench_tcp(9), rtp = bench_udp("192.0.2.7:1"),
                     rtcp = bench_udp("192.0.2.7:2");
    struct ask a;
    uint64_t token;
    bench_stop(b);
    bench_start(b, only_ip6);
    assert_int_equal(bench_allocate(b, &any, TURN_TCP), 440);
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, ADDR_IP6);
    stun_put_u32(&a.w, STUN_EVEN_PORT, 0x80);
    assert_int_equal(ask_end(b, &a, &rtp, &b->key), 0);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_u64(&m, STUN_RESERVATION_TOKEN, &token), OK);
    assert_int_equal(allocate_kept(b, &rtcp, token ^ 1), 508);
    assert_int_equal(allocate_kept(b, &rtcp, token), 0);
    assert_int_equal(bench_did(b, TURN_DO_RELAY_OPEN, 0)->open.family, ADDR_IP6);
}

/* A kept port holds a socket as an allocation does, also when that which it came with ends. */
static void a_reservation_counts_against_its_user(void **state)
{
    struct bench *b = *state; /* four of one user */
    struct turn_conn c = bench_udp("192.0.2.7:1"), d = bench_udp("192.0.2.7:2");
    uint64_t token;
    (void)challenge_of(b, &c);
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    assert_int_equal(bench_refresh(b, &c, 0), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(allocate_pair(b, &c), 0);
        assert_int_equal(bench_refresh(b, &c, 0), 0);
    }
    assert_int_equal(allocate_pair(b, &c), 486);
    assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    assert_int_equal(turn_server_stats(b->s).allocations, 0);
    bench_tick_to(b, b->now_ms + 30000);
    assert_int_equal(allocate_pair(b, &c), 0);
    /* Taken up by the same user it counts once, not twice. */
    assert_int_equal(allocate_pair(b, &d), 0);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_u64(&m, STUN_RESERVATION_TOKEN, &token), OK);
    d.client.port = 3;
    assert_int_equal(bench_allocate(b, &d, TURN_UDP), 486);
    assert_int_equal(allocate_kept(b, &d, token), 0);
    assert_int_equal(bench_refresh(b, &d, 0), 0);
    assert_int_equal(bench_allocate(b, &d, TURN_UDP), 0);
}

static void few_users(struct turn_config *cfg)
{
    cfg->max_allocations = 2;
    cfg->max_per_user = 10;
}

/* RFC 8656 7.2: a pair that cannot be had in full is answered 508. */
static void no_pair_is_given_without_its_token(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    bench_stop(b);
    bench_start(b, few_users);
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    assert_int_equal(bench_refresh(b, &c, 0), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(allocate_pair(b, &c), 0);
        assert_int_equal(bench_refresh(b, &c, 0), 0);
    }
    assert_int_equal(allocate_pair(b, &c), 508);
    assert_null(bench_did(b, TURN_DO_RELAY_CLOSE, 0)); /* nothing was opened */
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
}

static void an_allocation_lives_as_long_as_it_is_refreshed(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    bench_tick_to(b, b->now_ms + 599999);
    assert_int_equal(b->n_did, 0);
    assert_int_equal(bench_refresh(b, &c, 99999), 0);
    uint32_t granted;
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_u32(&m, STUN_LIFETIME, &granted), OK);
    assert_int_equal(granted, 3600);
    bench_tick_to(b, b->now_ms + 3600000);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_int_equal(bench_count(b, TURN_DO_CONN_CLOSE), 1);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    assert_int_equal(bench_refresh(b, &c, 0), 0);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_int_equal(bench_refresh(b, &c, 0), 437);
    assert_true(turn_server_deadline_ms(b->s) == UINT64_MAX);
}

static int two_peers(struct bench *b, const struct turn_conn *c, const char *x, const char *y)
{
    struct ask a;
    struct addr p = bench_addr(x), q = bench_addr(y);
    ask_begin(b, &a, STUN_CREATE_PERMISSION);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &p);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &q);
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

static void permissions_are_all_or_none_and_run_out(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_int_equal(two_peers(b, &c, "8.8.8.8", "10.0.0.1"), 403);
    assert_int_equal(from_peer(b, relay, peer_text), 0);
    assert_int_equal(two_peers(b, &c, "8.8.8.8", "2001:4860::1"), 443);
    assert_int_equal(two_peers(b, &c, "8.8.8.8", "8.8.4.4"), 0);
    assert_int_equal(from_peer(b, relay, peer_text), 1);
    assert_int_equal(from_peer(b, relay, "8.8.4.5:1"), 0);
    assert_int_equal(two_peers(b, &c, "9.9.9.1", "9.9.9.2"), 0);
    assert_int_equal(bench_permit(b, &c, "9.9.9.3"), 508);
    assert_int_equal(bench_permit(b, &c, "8.8.8.8:9"), 0);
    bench_tick_to(b, b->now_ms + 300000);
    assert_int_equal(from_peer(b, relay, peer_text), 0);
    /* The last free place suffices for one address named twice. */
    assert_int_equal(two_peers(b, &c, "9.9.9.1", "9.9.9.2"), 0);
    assert_int_equal(bench_permit(b, &c, "9.9.9.3"), 0);
    assert_int_equal(two_peers(b, &c, "9.9.9.4:1", "9.9.9.4:2"), 0);
    struct ask a;
    ask_begin(b, &a, STUN_CREATE_PERMISSION);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 400);
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

static void channels_bind_one_number_to_one_peer(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_int_equal(bind_channel(b, &c, 0x3fff, peer_text), 400);
    assert_int_equal(bind_channel(b, &c, 0x8000, peer_text), 400);
    assert_int_equal(bind_channel(b, &c, 0x4000, "127.0.0.1:1"), 403);
    assert_int_equal(bind_channel(b, &c, 0x4000, peer_text), 0);
    assert_int_equal(bind_channel(b, &c, 0x4000, peer_text), 0);
    assert_int_equal(bind_channel(b, &c, 0x4001, peer_text), 400);
    assert_int_equal(bind_channel(b, &c, 0x4000, "8.8.8.8:7001"), 400);
    assert_int_equal(from_peer(b, relay, peer_text), 1);
    const struct turn_action *d = bench_did(b, TURN_DO_SEND, 0);
    static const uint8_t head[] = {0x40, 0x00, 0, 5};
    assert_int_equal(d->head_len, sizeof head);
    assert_memory_equal(d->head, head, sizeof head);
    assert_int_equal(d->tail_len, 3);
    static const uint8_t data[] = {0x40, 0x00, 0, 2, 'h', 'i', 0, 0};
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(slice_of(data, 6))),
                     OK);
    bench_drain(b);
    d = bench_did(b, TURN_DO_RELAY_SEND, 0);
    struct addr peer = bench_addr(peer_text);
    assert_true(d && addr_eq(&d->addr, &peer) && slice_eq(d->body, slice_str("hi")));
    assert_ptr_equal(d->body.p, data + 4); /* not copied */
    /* The channel outlives the permission, which counts both ways (RFC 8656 9). */
    bench_tick_to(b, b->now_ms + 300000);
    assert_int_equal(turn_server_stats(b->s).channels, 1);
    assert_int_equal(from_peer(b, relay, peer_text), 0);
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(slice_of(data, 6))),
                     OK);
    bench_drain(b);
    assert_null(bench_did(b, TURN_DO_RELAY_SEND, 0));
    assert_int_equal(bind_channel(b, &c, 0x4000, peer_text), 0);
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(slice_of(data, 6))),
                     OK);
    bench_drain(b);
    assert_non_null(bench_did(b, TURN_DO_RELAY_SEND, 0));
    bench_tick_to(b, b->now_ms + 600000);
    assert_int_equal(turn_server_stats(b->s).channels, 0);
}

static void a_refused_channel_leaves_no_permission(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_int_equal(bind_channel(b, &c, 0x4000, "8.8.8.8:1"), 0);
    assert_int_equal(bind_channel(b, &c, 0x4001, "8.8.8.8:2"), 0);
    assert_int_equal(bind_channel(b, &c, 0x4002, "8.8.8.8:3"), 0);
    assert_int_equal(bind_channel(b, &c, 0x4003, "8.8.4.4:1"), 508);
    assert_int_equal(from_peer(b, relay, "8.8.4.4:1"), 0);
    assert_int_equal(turn_server_stats(b->s).permissions, 1);
}

static void nothing_is_granted_before_the_relay_is_open(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    b->opens = false;
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 1);
    assert_int_equal(bench_permit(b, &c, "8.8.8.8"), 437);
    assert_int_equal(bind_channel(b, &c, 0x4000, "8.8.8.8:1"), 437);
    assert_int_equal(bench_refresh(b, &c, 600), 437);
}

static void send_needs_a_permission_and_data_comes_back_as_an_indication(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1");
    struct stun_writer w;
    struct stun_tid tid = {.len = 12};
    struct addr peer = bench_addr(peer_text);
    uint8_t buf[128];
    struct slice frame;
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION, STUN_SEND, &tid);
    stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, &peer);
    stun_put_bytes(&w, STUN_DATA, slice_str("hello"));
    assert_int_equal(stun_end(&w, &frame), OK);
    for (int allowed = 0; allowed < 2; allowed++) {
        assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(frame)), OK);
        bench_drain(b);
        assert_int_equal(bench_count(b, TURN_DO_RELAY_SEND), allowed);
        assert_int_equal(bench_permit(b, &c, "8.8.8.8"), 0);
    }
    assert_int_equal(from_peer(b, relay, peer_text), 1);
    const struct turn_action *d = bench_did(b, TURN_DO_SEND, 0);
    uint8_t whole[128] = {0};
    memcpy(whole, d->head, d->head_len);
    memcpy(whole + d->head_len, d->body.p, d->body.len);
    struct stun_msg m;
    struct addr got;
    struct slice data;
    size_t len = d->head_len + d->body.len + d->tail_len;
    assert_int_equal(stun_parse(&m, slice_of(whole, len), &stun_wire_rfc8489), OK);
    assert_int_equal(stun_get_addr(&m, STUN_XOR_PEER_ADDRESS, &got), OK);
    assert_int_equal(stun_get_bytes(&m, STUN_DATA, &data), OK);
    assert_true(addr_eq(&got, &peer) && slice_eq(data, slice_str("hello")));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(lengths_are_those_of_the_capture),
        T(binding_tells_the_address),
        T(what_may_be_reflected_is_short),
        T(a_network_gets_few_answers_until_it_authenticates),
        T(credentials_are_asked_for_and_checked),
        T(a_retransmission_gets_the_same_answer),
        T(allocate_refuses_what_the_rfcs_forbid),
        T(quotas_hold_and_are_given_back),
        T(a_reserved_port_waits_for_its_token),
        T(an_unclaimed_reservation_is_closed_once),
        T(a_reserved_port_of_ip6_needs_no_family),
        T(a_reservation_counts_against_its_user),
        T(no_pair_is_given_without_its_token),
        T(an_allocation_lives_as_long_as_it_is_refreshed),
        T(permissions_are_all_or_none_and_run_out),
        T(channels_bind_one_number_to_one_peer),
        T(a_refused_channel_leaves_no_permission),
        T(nothing_is_granted_before_the_relay_is_open),
        T(send_needs_a_permission_and_data_comes_back_as_an_indication),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
