/* TCP relays (RFC 6062): Connect, ConnectionAttempt, ConnectionBind, and their timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

struct set { /* a bench with one TCP relay, its control connection being 1 */
    struct bench b;
    struct turn_conn control;
    turn_id relay;
};

static void any_peer(struct turn_config *cfg)
{
    cfg->tcp_accept_any = true;
}

static int begin(void **state, void (*tune)(struct turn_config *cfg))
{
    struct set *t = calloc(1, sizeof *t);
    *state = t;
    bench_start(&t->b, tune);
    t->control = bench_tcp(1);
    assert_int_equal(bench_allocate(&t->b, &t->control, TURN_TCP), 0);
    t->relay = bench_did(&t->b, TURN_DO_RELAY_OPEN, 0)->relay;
    return 0;
}

static int setup(void **state)
{
    return begin(state, NULL);
}

static int setup_any(void **state)
{
    return begin(state, any_peer);
}

static int teardown(void **state)
{
    struct set *t = *state;
    bench_stop(&t->b);
    free(t);
    return 0;
}

static turn_id accept_peer(struct set *t, const char *text)
{
    struct addr peer = bench_addr(text);
    turn_id id = turn_server_tcp_accepted(t->b.s, t->b.now_ms, t->relay, &peer);
    bench_drain(&t->b);
    return id;
}

/* The CONNECTION-ID of the message that was sent last. */
static uint32_t sent_cid(struct set *t)
{
    struct stun_msg m = bench_sent(&t->b);
    uint32_t cid;
    assert_int_equal(stun_get_u32(&m, STUN_CONNECTION_ID, &cid), OK);
    return cid;
}

static int bind_on(struct set *t, turn_id conn, uint32_t cid, const struct stun_key *key)
{
    struct turn_conn c = bench_tcp(conn);
    struct ask a;
    ask_begin(&t->b, &a, STUN_CONNECTION_BIND);
    stun_put_u32(&a.w, STUN_CONNECTION_ID, cid);
    return ask_end(&t->b, &a, &c, key);
}

static int connect_to(struct set *t, const char *text)
{
    struct addr peer = bench_addr(text);
    struct ask a;
    ask_begin(&t->b, &a, STUN_CONNECT);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &peer);
    return ask_end(&t->b, &a, &t->control, &t->b.key);
}

static void an_attempt_is_told_and_bound(void **state)
{
    struct set *t = *state;
    assert_true(accept_peer(t, "8.8.8.8:1000") == 0);
    assert_int_equal(bench_count(&t->b, TURN_DO_SEND), 0);
    assert_int_equal(bench_permit(&t->b, &t->control, "8.8.8.8"), 0);
    turn_id peer = accept_peer(t, "8.8.8.8:1000");
    assert_true(peer != 0);
    struct stun_msg m = bench_sent(&t->b);
    assert_int_equal(m.method, STUN_CONNECTION_ATTEMPT);
    assert_int_equal(m.cls, STUN_INDICATION);
    assert_int_equal(stun_check_integrity(&m, &t->b.key), OK);
    assert_true(bench_did(&t->b, TURN_DO_SEND, 0)->conn == 1);
    uint32_t cid = sent_cid(t);
    assert_int_equal(bind_on(t, 2, cid ^ 1, &t->b.key), 400);
    assert_int_equal(bind_on(t, 1, cid, &t->b.key), 400);
    assert_int_equal(bind_on(t, 2, cid, &t->b.other_key), 441);
    assert_int_equal(bind_on(t, 2, cid, &t->b.key), 0);
    assert_int_equal(sent_cid(t), cid);
    const struct turn_action *pipe = bench_did(&t->b, TURN_DO_TCP_PIPE, 0);
    assert_true(pipe && pipe->conn == 2 && pipe->peer_conn == peer);
    assert_int_equal(bind_on(t, 3, cid, &t->b.key), 400);
    /* A bound connection has no timer, and a late end is harmless. */
    bench_tick_to(&t->b, t->b.now_ms + 31000);
    assert_null(bench_did(&t->b, TURN_DO_TCP_CLOSE, 0));
    turn_server_tcp_closed(t->b.s, t->b.now_ms, peer);
    turn_server_tcp_closed(t->b.s, t->b.now_ms, peer);
    bench_drain(&t->b);
    assert_int_equal(turn_server_stats(t->b.s).tcp_connections, 0);
}

static void an_unbound_connection_is_closed_after_30_s(void **state)
{
    struct set *t = *state;
    turn_id peer = accept_peer(t, "8.8.8.8:1000");
    uint32_t cid = sent_cid(t);
    bench_tick_to(&t->b, t->b.now_ms + 29999);
    assert_null(bench_did(&t->b, TURN_DO_TCP_CLOSE, 0));
    bench_tick_to(&t->b, t->b.now_ms + 1);
    assert_true(bench_did(&t->b, TURN_DO_TCP_CLOSE, 0)->peer_conn == peer);
    assert_int_equal(bind_on(t, 2, cid, &t->b.key), 400);
}

static void unbound_and_all_connections_have_a_cap(void **state)
{
    static const char *const peers[] = {"8.8.8.8:1", "8.8.8.8:2", "8.8.8.8:3", "8.8.8.8:4"};
    struct set *t = *state;
    assert_true(accept_peer(t, "8.8.8.8:91") && accept_peer(t, "8.8.8.8:92"));
    assert_true(accept_peer(t, "8.8.8.8:93") == 0); /* max_unbound is 2 */
    bench_tick_to(&t->b, t->b.now_ms + 30000);
    for (size_t i = 0; i < 4; i++) {
        assert_true(accept_peer(t, peers[i]) != 0);
        assert_int_equal(bind_on(t, 10 + i, sent_cid(t), &t->b.key), 0);
    }
    assert_true(accept_peer(t, "8.8.8.8:5") == 0); /* max_connections is 4 */
    assert_int_equal(connect_to(t, "8.8.4.4:80"), 508);
    assert_int_equal(turn_server_stats(t->b.s).tcp_unbound, 0);
}

static void any_peer_still_has_to_pass_the_policy(void **state)
{
    struct set *t = *state;
    assert_true(accept_peer(t, "127.0.0.1:1000") == 0);
    assert_true(accept_peer(t, "198.51.100.1:1000") == 0);
    assert_true(accept_peer(t, "2001:4860::1") == 0);
    assert_true(accept_peer(t, "8.8.8.8:1000") != 0);
}

static void connect_is_answered_when_the_peer_is_there(void **state)
{
    struct set *t = *state;
    assert_int_equal(connect_to(t, "8.8.8.8:80"), 1);
    const struct turn_action *out = bench_did(&t->b, TURN_DO_TCP_CONNECT, 0);
    assert_true(out->relay == t->relay);
    turn_id peer = out->peer_conn;
    assert_int_equal(connect_to(t, "8.8.8.8:80"), 446);
    turn_server_tcp_opened(t->b.s, t->b.now_ms, peer, true);
    bench_drain(&t->b);
    uint32_t cid = sent_cid(t);
    turn_server_tcp_opened(t->b.s, t->b.now_ms, peer, true);
    turn_server_tcp_opened(t->b.s, t->b.now_ms, peer, false);
    bench_drain(&t->b);
    assert_int_equal(t->b.n_did, 0);
    assert_int_equal(bind_on(t, 2, cid, &t->b.key), 0);
    assert_int_equal(connect_to(t, "10.0.0.1:80"), 403);
}

static void a_connect_that_fails_or_takes_too_long_is_447(void **state)
{
    struct set *t = *state;
    struct slice reason;
    uint16_t code;
    assert_int_equal(connect_to(t, "8.8.8.8:80"), 1);
    turn_id peer = bench_did(&t->b, TURN_DO_TCP_CONNECT, 0)->peer_conn;
    turn_server_tcp_opened(t->b.s, t->b.now_ms, peer, false);
    bench_drain(&t->b);
    struct stun_msg m = bench_sent(&t->b);
    assert_int_equal(stun_get_error(&m, &code, &reason), OK);
    assert_int_equal(code, 447);
    assert_int_equal(connect_to(t, "8.8.8.8:80"), 1);
    bench_tick_to(&t->b, t->b.now_ms + 30000);
    m = bench_sent(&t->b);
    assert_int_equal(stun_get_error(&m, &code, &reason), OK);
    assert_int_equal(code, 447);
    assert_int_equal(bench_count(&t->b, TURN_DO_TCP_CLOSE), 1);
}

static void the_end_of_an_allocation_takes_its_connections_along(void **state)
{
    struct set *t = *state;
    turn_id bound = accept_peer(t, "8.8.8.8:1");
    assert_int_equal(bind_on(t, 2, sent_cid(t), &t->b.key), 0);
    turn_id waits = accept_peer(t, "8.8.8.8:2");
    uint32_t cid = sent_cid(t);
    turn_server_conn_gone(t->b.s, t->b.now_ms, 1);
    bench_drain(&t->b);
    assert_int_equal(bench_count(&t->b, TURN_DO_TCP_CLOSE), 2);
    assert_int_equal(bench_count(&t->b, TURN_DO_RELAY_CLOSE), 1);
    /* What was under way comes late, and finds nothing: not even a successor in its place. */
    t->control = bench_tcp(3);
    assert_int_equal(bench_allocate(&t->b, &t->control, TURN_TCP), 0);
    turn_id old = t->relay;
    t->relay = bench_did(&t->b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_true(t->relay != old);
    turn_id next = accept_peer(t, "8.8.8.8:3");
    assert_true(next != bound && next != waits);
    struct addr peer = bench_addr("8.8.8.8:4");
    assert_true(turn_server_tcp_accepted(t->b.s, t->b.now_ms, old, &peer) == 0);
    turn_server_tcp_closed(t->b.s, t->b.now_ms, bound);
    turn_server_tcp_closed(t->b.s, t->b.now_ms, waits);
    turn_server_relay_opened(t->b.s, t->b.now_ms, old, NULL);
    bench_drain(&t->b);
    assert_int_equal(t->b.n_did, 0);
    assert_int_equal(bind_on(t, 4, cid, &t->b.key), 400);
    assert_int_equal(turn_server_stats(t->b.s).tcp_connections, 1);
}

/* Anything in any order, with ids that are stale or made up: what is counted must agree with
 * what was opened and closed. */
static void random_events_leave_the_books_right(void **state)
{
    struct set *t = *state;
    struct bench *b = &t->b;
    turn_id seen[64] = {0};
    uint32_t cids[16] = {0}, rnd = 12345;
    int64_t relays = 1;
    for (int step = 0; step < 20000; step++) {
        rnd = rnd * 1664525 + 1013904223;
        uint32_t r = rnd >> 8, pick = r / 16 % 64;
        struct turn_conn c = bench_tcp(1 + r / 1024 % 6);
        struct addr peer = bench_addr("8.8.8.8:1");
        peer.port = (uint16_t)(r / 64 % 8);
        switch (r % 12) {
        case 0:
        case 1: (void)bench_allocate(b, &c, r & 4096 ? TURN_TCP : TURN_UDP); break;
        case 2: (void)bench_refresh(b, &c, r & 4096 ? 0 : 600); break;
        case 3: (void)bind_on(t, 1 + r / 1024 % 6, cids[pick % 16], &b->key); break;
        case 4:
            t->control = c;
            (void)connect_to(t, r & 8192 ? "8.8.4.4:80" : "8.8.4.4:81");
            break;
        case 5: turn_server_tcp_opened(b->s, b->now_ms, seen[pick], r & 4096); break;
        case 6: turn_server_tcp_closed(b->s, b->now_ms, seen[pick]); break;
        case 7: turn_server_conn_gone(b->s, b->now_ms, 1 + r / 1024 % 6); break;
        case 8:
            turn_server_relay_opened(b->s, b->now_ms, seen[pick], r & 64 ? &peer : NULL);
            break;
        case 9: bench_tick_to(b, b->now_ms + r % 40000); break;
        case 10: (void)bench_permit(b, &c, "8.8.8.8"); break;
        default: (void)turn_server_tcp_accepted(b->s, b->now_ms, seen[pick], &peer); break;
        }
        if (r % 12 > 4 && r % 12 != 9 && r % 12 != 10) {
            bench_drain(b);
        }
        b->opens = rnd % 4 != 0;
        for (size_t i = 0; i < b->n_did; i++) {
            relays += b->did[i].what == TURN_DO_RELAY_OPEN;
            relays -= b->did[i].what == TURN_DO_RELAY_CLOSE;
            turn_id id = b->did[i].peer_conn ? b->did[i].peer_conn : b->did[i].relay;
            seen[(step + (int)i) % 64] = id ? id : seen[(step + (int)i) % 64];
        }
        if (b->sent_len > 0) {
            struct stun_msg m = bench_sent(b);
            uint32_t cid;
            if (stun_get_u32(&m, STUN_CONNECTION_ID, &cid) == OK) {
                cids[step % 16] = cid;
            }
        }
        struct turn_stats now = turn_server_stats(b->s);
        assert_true(relays >= 0 && now.allocations == (uint64_t)relays);
        assert_true(now.tcp_unbound <= now.tcp_connections);
    }
    for (turn_id id = 1; id <= 6; id++) {
        turn_server_conn_gone(b->s, b->now_ms, id);
        bench_drain(b);
    }
    struct turn_stats end = turn_server_stats(b->s);
    assert_int_equal(end.allocations + end.tcp_connections + end.tcp_unbound + end.permissions,
                     0);
    assert_true(turn_server_deadline_ms(b->s) == UINT64_MAX);
}

/* A request that goes on to wait for its key: the ticket. */
static turn_id hold_bind(struct set *t, turn_id conn, uint32_t cid)
{
    assert_int_equal(bind_on(t, conn, cid, &t->b.key), 1);
    return bench_did(&t->b, TURN_DO_FIND_KEY, 0)->key.ticket;
}

static void give_key(struct set *t, turn_id ticket)
{
    turn_server_key(t->b.s, t->b.now_ms, ticket, &t->b.key);
    bench_drain(&t->b);
}

static void a_connection_is_bound_once_whatever_waits(void **state)
{
    struct set *t = *state;
    assert_true(accept_peer(t, "8.8.8.8:1") != 0);
    uint32_t first = sent_cid(t);
    assert_true(accept_peer(t, "8.8.8.8:2") != 0);
    uint32_t second = sent_cid(t);
    t->b.answers_late = true;
    turn_id one = hold_bind(t, 2, first), other = hold_bind(t, 2, second);
    give_key(t, one);
    assert_int_equal(bench_count(&t->b, TURN_DO_TCP_PIPE), 1);
    give_key(t, other);
    assert_int_equal(t->b.n_did, 0); /* it would be in the midst of the peer's bytes */
}

/* `cut` ends the allocation and its connection. */
static void check_what_waits(struct set *t, void (*cut)(struct set *t))
{
    struct ask a;
    t->b.answers_late = true;
    ask_begin(&t->b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_TCP);
    /* Another user's, so that the allocation's own key does not do. */
    assert_int_equal(ask_end(&t->b, &a, &t->control, &t->b.other_key), 1);
    turn_id ticket = bench_did(&t->b, TURN_DO_FIND_KEY, 0)->key.ticket;
    cut(t);
    assert_true(bench_did(&t->b, TURN_DO_CONN_CLOSE, 0)->conn == 1);
    turn_server_key(t->b.s, t->b.now_ms, ticket, &t->b.other_key);
    bench_drain(&t->b);
    assert_int_equal(t->b.n_did, 0); /* no allocation on a closed connection */
}

static void expire(struct set *t)
{
    bench_tick_to(&t->b, t->b.now_ms + 600000);
}

static void kick(struct set *t)
{
    assert_int_equal(turn_server_kick(t->b.s, t->b.now_ms, t->relay), OK);
    bench_drain(&t->b);
}

static void what_waits_ends_with_an_expired_connection(void **state)
{
    check_what_waits(*state, expire);
}

static void what_waits_ends_with_a_kicked_connection(void **state)
{
    check_what_waits(*state, kick);
}

int main(void)
{
#define T(name, up) cmocka_unit_test_setup_teardown(name, up, teardown)
    const struct CMUnitTest tests[] = {
        T(an_attempt_is_told_and_bound, setup),
        T(an_unbound_connection_is_closed_after_30_s, setup_any),
        T(unbound_and_all_connections_have_a_cap, setup_any),
        T(any_peer_still_has_to_pass_the_policy, setup_any),
        T(connect_is_answered_when_the_peer_is_there, setup),
        T(a_connect_that_fails_or_takes_too_long_is_447, setup),
        T(the_end_of_an_allocation_takes_its_connections_along, setup_any),
        T(a_connection_is_bound_once_whatever_waits, setup_any),
        T(what_waits_ends_with_an_expired_connection, setup),
        T(what_waits_ends_with_a_kicked_connection, setup),
        T(random_events_leave_the_books_right, setup_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
