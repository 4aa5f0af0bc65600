/* What an operator sees of the allocations, and does to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

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

static turn_id allocated(struct bench *b, turn_id conn, enum turn_transport transport)
{
    struct turn_conn c = bench_tcp(conn);
    assert_int_equal(bench_allocate(b, &c, transport), 0);
    return bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
}

static void sessions_are_seen_once_in_turn(void **state)
{
    struct bench *b = *state;
    struct turn_session got;
    assert_false(turn_server_session_after(b->s, b->now_ms, 0, &got));
    turn_id id[3];
    for (turn_id i = 0; i < 3; i++) {
        id[i] = allocated(b, i + 1, TURN_TCP);
    }
    turn_id at = 0;
    for (size_t i = 0; i < 3; i++, at = got.id) {
        assert_true(turn_server_session_after(b->s, b->now_ms, at, &got));
        assert_true(got.id == id[i] && got.conn.id == i + 1);
    }
    assert_false(turn_server_session_after(b->s, b->now_ms, at, &got));
    /* Whoever has gone is a place to go on from all the same. */
    turn_server_conn_gone(b->s, b->now_ms, 2);
    bench_drain(b);
    assert_true(turn_server_session_after(b->s, b->now_ms, id[0], &got) && got.id == id[2]);
    assert_true(turn_server_session_after(b->s, b->now_ms, id[1], &got) && got.id == id[2]);
    assert_false(turn_server_session(b->s, b->now_ms, id[1], &got));
}

static void a_session_tells_its_age_and_its_peers(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    turn_id id = allocated(b, 1, TURN_TCP);
    assert_int_equal(bench_permit(b, &c, "8.8.8.8"), 0);
    struct addr peer = bench_addr("8.8.8.8:1000");
    turn_id link = turn_server_tcp_accepted(b->s, b->now_ms, id, &peer);
    bench_drain(b);
    struct turn_session got;
    assert_true(turn_server_session(b->s, b->now_ms + 7000, id, &got));
    assert_true(slice_eq(got.username, slice_str("turn")));
    assert_int_equal(got.age_ms, 7000);
    assert_int_equal(got.relay[0].left_ms, 593000);
    assert_int_equal(got.permissions, 1);
    assert_int_equal(got.peers, 1);
    struct turn_session_peer p;
    assert_true(turn_server_session_peer(b->s, id, 0, &p));
    assert_true(p.id == link && addr_eq(&p.addr, &peer) && !p.is_bound);
    assert_false(turn_server_session_peer(b->s, id, 1, &p));
}

static void a_kick_frees_all(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    turn_id id = allocated(b, 1, TURN_TCP);
    assert_int_equal(bench_permit(b, &c, "8.8.8.8"), 0);
    struct addr peer = bench_addr("8.8.8.8:1000");
    turn_id link = turn_server_tcp_accepted(b->s, b->now_ms, id, &peer);
    bench_drain(b);
    b->n_did = 0;
    assert_int_equal(turn_server_kick(b->s, b->now_ms, id), OK);
    bench_drain(b);
    assert_true(bench_did(b, TURN_DO_RELAY_CLOSE, 0)->relay == id);
    assert_true(bench_did(b, TURN_DO_TCP_CLOSE, 0)->peer_conn == link);
    assert_true(bench_did(b, TURN_DO_CONN_CLOSE, 0)->conn == 1);
    assert_int_equal(turn_server_kick(b->s, b->now_ms, id), ERR_NOTFOUND);
    struct turn_stats st = turn_server_stats(b->s);
    assert_int_equal(st.allocations + st.tcp_connections + st.permissions, 0);
}

static void draining_refuses_the_new_and_keeps_the_old(void **state)
{
    struct bench *b = *state;
    struct turn_conn old = bench_tcp(1), fresh = bench_tcp(2);
    (void)allocated(b, 1, TURN_TCP);
    turn_server_drain(b->s);
    assert_int_equal(bench_allocate(b, &fresh, TURN_TCP), 508);
    assert_int_equal(bench_refresh(b, &old, 600), 0);
    assert_int_equal(bench_permit(b, &old, "8.8.8.8"), 0);
    assert_int_equal(bench_refresh(b, &old, 0), 0);
    assert_int_equal(turn_server_stats(b->s).allocations, 0);
}

static void a_new_policy_ends_what_it_refuses(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    (void)allocated(b, 1, TURN_UDP);
    const struct addr denied = bench_addr("8.8.8.8:1000");
    struct ask a;
    ask_begin(b, &a, STUN_CHANNEL_BIND);
    stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, 0x4000);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &denied);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 0);
    assert_int_equal(bench_permit(b, &c, "9.9.9.9"), 0);
    static struct turn_policy stricter;
    stricter = b->policy;
    assert_int_equal(addr_net_parse(slice_str("8.8.8.0/24"), &stricter.deny[0]), OK);
    stricter.n_deny = 1;
    turn_server_set_policy(b->s, &stricter);
    struct turn_stats st = turn_server_stats(b->s);
    assert_int_equal(st.permissions, 1);
    assert_int_equal(st.channels, 0);
    assert_int_equal(st.allocations, 1);
    assert_int_equal(bench_permit(b, &c, "8.8.8.8"), 403);
}

static uint64_t answered(const struct bench *b, uint16_t method, uint16_t code)
{
    struct turn_answers row;
    for (size_t i = 0; turn_server_answers(b->s, i, &row); i++) {
        if (row.method == method && row.code == code) {
            return row.n;
        }
    }
    fail_msg("no row for method %u, code %u", method, code);
    return 0;
}

static void answers_are_counted_by_method_and_code(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    uint64_t challenges = answered(b, STUN_ALLOCATE, 401);
    (void)allocated(b, 1, TURN_TCP);
    assert_int_equal(answered(b, STUN_ALLOCATE, 0), 1);
    assert_true(answered(b, STUN_ALLOCATE, 401) >= challenges);
    assert_int_equal(bench_permit(b, &c, "127.0.0.1"), 403);
    assert_int_equal(answered(b, STUN_CREATE_PERMISSION, 403), 1);
    assert_int_equal(answered(b, STUN_CREATE_PERMISSION, 0), 0);
    struct addr peer = bench_addr("8.8.8.8:1000");
    struct ask a;
    ask_begin(b, &a, STUN_CONNECT);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &peer);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 1);
    turn_id link = bench_did(b, TURN_DO_TCP_CONNECT, 0)->peer_conn;
    turn_server_tcp_opened(b->s, b->now_ms, link, false);
    bench_drain(b);
    assert_int_equal(answered(b, STUN_CONNECT, 447), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_are_seen_once_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_tells_its_age_and_its_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kick_frees_all, setup, teardown),
        cmocka_unit_test_setup_teardown(draining_refuses_the_new_and_keeps_the_old, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_policy_ends_what_it_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_are_counted_by_method_and_code, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
