/* Mobility (RFC 8016): who may take an allocation where, with which ticket, and what becomes of
 * the 5-tuple that is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

enum {
    TICKET_MAX = 64
};

static const char peer[] = "8.8.8.8:7000";

struct world {
    struct bench b;
    struct turn_conn home, away; /* where the client begins, where it goes */
    turn_id relay;
    uint8_t ticket[TICKET_MAX];
    size_t ticket_len;
};

static void with_mobility(struct turn_config *cfg)
{
    cfg->mobility = true;
}

/* Keeps the answer's ticket. False: it has none. */
static bool keep_ticket(struct world *w)
{
    struct stun_msg m = bench_sent(&w->b);
    struct slice ticket;
    if (stun_get_bytes(&m, STUN_MOBILITY_TICKET, &ticket) || ticket.len > TICKET_MAX) {
        return false;
    }
    memcpy(w->ticket, ticket.p, ticket.len);
    w->ticket_len = ticket.len;
    return true;
}

static int allocate(struct world *w, const struct turn_conn *c, enum turn_transport transport,
                    struct slice ticket)
{
    struct ask a;
    ask_begin(&w->b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, transport);
    stun_put_bytes(&a.w, STUN_MOBILITY_TICKET, ticket);
    return ask_end(&w->b, &a, c, &w->b.key);
}

static int refresh_as(struct world *w, const struct turn_conn *c, uint32_t life_s,
                      const struct stun_key *key)
{
    struct ask a;
    ask_begin(&w->b, &a, STUN_REFRESH);
    stun_put_u32(&a.w, STUN_LIFETIME, life_s);
    stun_put_bytes(&a.w, STUN_MOBILITY_TICKET, slice_of(w->ticket, w->ticket_len));
    return ask_end(&w->b, &a, c, key);
}

static int refresh(struct world *w, const struct turn_conn *c)
{
    return refresh_as(w, c, 600, &w->b.key);
}

static size_t from_peer(struct world *w)
{
    struct addr p = bench_addr(peer);
    assert_int_equal(
        turn_server_from_peer(w->b.s, w->b.now_ms, w->relay, &p, dgram_of(slice_str("hello"))),
        OK);
    bench_drain(&w->b);
    return bench_count(&w->b, TURN_DO_SEND);
}

static bool heard_at(struct world *w, const struct turn_conn *c)
{
    assert_int_equal(from_peer(w), 1);
    const struct turn_action *a = bench_did(&w->b, TURN_DO_SEND, 0);
    return a->conn == c->id && addr_eq(&a->addr, &c->client);
}

/* On the channel that start() binds. How many datagrams go to the peer. */
static size_t say(struct world *w, const struct turn_conn *c)
{
    static const uint8_t data[] = {0x40, 0x00, 0, 2, 'h', 'i', 0, 0};
    size_t len = c->transport == TURN_TCP ? 8 : 6;
    assert_int_equal(
        turn_server_from_client(w->b.s, w->b.now_ms, c, dgram_of(slice_of(data, len))), OK);
    bench_drain(&w->b);
    return bench_count(&w->b, TURN_DO_RELAY_SEND);
}

static const struct turn_report *told(struct world *w, const char *event)
{
    const struct turn_action *a;
    for (size_t i = 0; (a = bench_did(&w->b, TURN_DO_REPORT, i)) != NULL; i++) {
        if (strcmp(a->report.event, event) == 0) {
            return &a->report;
        }
    }
    return NULL;
}

static void start(struct world *w, struct turn_conn home, enum turn_transport transport)
{
    struct addr p = bench_addr(peer);
    struct ask a;
    w->home = home;
    w->away = bench_udp("203.0.113.9:4000");
    assert_int_equal(allocate(w, &w->home, transport, slice_of(NULL, 0)), 0);
    w->relay = bench_did(&w->b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_true(keep_ticket(w));
    assert_int_equal(bench_permit(&w->b, &w->home, peer), 0);
    if (transport == TURN_UDP) {
        ask_begin(&w->b, &a, STUN_CHANNEL_BIND);
        stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, 0x4000);
        stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &p);
        assert_int_equal(ask_end(&w->b, &a, &w->home, &w->b.key), 0);
    }
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    bench_start(&w->b, with_mobility);
    struct turn_conn c = bench_tcp(99); /* the first exchange, for the nonce */
    assert_int_equal(bench_allocate(&w->b, &c, TURN_TCP), 0);
    assert_int_equal(bench_refresh(&w->b, &c, 0), 0);
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    bench_stop(&w->b);
    free(w);
    return 0;
}

static void a_ticket_is_for_those_who_ask_where_it_is_on(void **state)
{
    struct world *w = *state;
    struct turn_conn c = bench_udp("192.0.2.7:1"), d = bench_udp("192.0.2.7:2");
    assert_int_equal(bench_allocate(&w->b, &d, TURN_UDP), 0);
    assert_false(keep_ticket(w));
    assert_int_equal(allocate(w, &c, TURN_UDP, slice_str("mine")), 400);
    assert_int_equal(allocate(w, &c, TURN_UDP, slice_of(NULL, 0)), 0);
    assert_true(keep_ticket(w));
    assert_true(w->ticket_len <= 32); /* what coturn's client has room for */
    assert_null(memchr(w->ticket, 0, w->ticket_len));
    bench_stop(&w->b);
    bench_start(&w->b, NULL);
    assert_int_equal(bench_allocate(&w->b, &d, TURN_UDP), 0);
    assert_int_equal(allocate(w, &c, TURN_UDP, slice_of(NULL, 0)), 405);
    assert_int_equal(refresh(w, &c), 405);
    assert_int_equal(refresh(w, &d), 405);
}

static void the_old_path_goes_on_until_the_new_one_is_used(void **state)
{
    struct world *w = *state;
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    assert_int_equal(refresh(w, &w->away), 0);
    assert_true(heard_at(w, &w->home));
    assert_int_equal(say(w, &w->home), 1);
    assert_true(heard_at(w, &w->home));
    assert_int_equal(say(w, &w->away), 1);
    const struct turn_report *r = told(w, "move");
    assert_non_null(r);
    assert_true(addr_eq(&r->was, &w->home.client) && addr_eq(&r->client, &w->away.client));
    assert_true(heard_at(w, &w->away));
    /* And then it is nobody's. */
    assert_int_equal(say(w, &w->home), 0);
    assert_int_equal(bench_refresh(&w->b, &w->home, 600), 437);
    assert_int_equal(bench_refresh(&w->b, &w->away, 600), 0);
    struct turn_session is;
    assert_true(turn_server_session(w->b.s, w->b.now_ms, w->relay, &is));
    assert_true(addr_eq(&is.conn.client, &w->away.client) && is.permissions == 1);
    assert_int_equal(bench_allocate(&w->b, &w->home, TURN_UDP), 0);
}

static void a_request_on_the_new_path_is_use_as_well(void **state)
{
    struct world *w = *state;
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    assert_int_equal(refresh(w, &w->away), 0);
    assert_int_equal(bench_allocate(&w->b, &w->away, TURN_UDP), 437);
    start(w, bench_udp("192.0.2.7:2"), TURN_UDP);
    w->away.client.port++;
    assert_int_equal(refresh(w, &w->away), 0);
    struct ask a;
    ask_begin(&w->b, &a, STUN_REFRESH);
    assert_int_equal(ask_end(&w->b, &a, &w->away, NULL), 401); /* nobody's word moves nothing */
    assert_true(heard_at(w, &w->home));
    assert_int_equal(bench_permit(&w->b, &w->away, "8.8.4.4"), 0);
    assert_true(heard_at(w, &w->away));
}

static void a_refresh_sent_again_gets_the_same_answer(void **state)
{
    struct world *w = *state;
    uint8_t first[BENCH_FRAME];
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    assert_int_equal(refresh(w, &w->away), 0);
    size_t len = w->b.sent_len;
    memcpy(first, w->b.sent, len);
    for (int used = 0; used < 2; used++) {
        w->b.next_tid--;
        assert_int_equal(refresh(w, &w->away), 0);
        assert_int_equal(w->b.sent_len, len);
        assert_memory_equal(w->b.sent, first, len);
        assert_int_equal(say(w, &w->away), 1);
    }
    /* With another transaction it is a mistake: it has not moved. */
    assert_int_equal(refresh(w, &w->away), 400);
}

static void a_ticket_serves_once_but_for_a_lost_answer(void **state)
{
    struct world *w = *state;
    uint8_t old[TICKET_MAX];
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    memcpy(old, w->ticket, sizeof old);
    assert_int_equal(refresh(w, &w->away), 0);
    struct turn_conn third = bench_udp("203.0.113.9:4001");
    assert_int_equal(refresh(w, &third), 0); /* with the old one: the answer got lost */
    assert_true(keep_ticket(w));
    assert_memory_not_equal(w->ticket, old, w->ticket_len);
    /* Only the last of the two counts. */
    assert_int_equal(say(w, &w->away), 0);
    assert_true(heard_at(w, &w->home));
    assert_int_equal(say(w, &third), 1);
    memcpy(w->ticket, old, sizeof old);
    bench_tick_to(&w->b, w->b.now_ms + 30000);
    assert_int_equal(refresh(w, &w->away), 437);
    assert_true(heard_at(w, &third));
}

static void wrong_tickets_are_told_apart_and_cost_nothing(void **state)
{
    struct world *w = *state;
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    struct turn_stats before = turn_server_stats(w->b.s);
    for (size_t i = 0; i < w->ticket_len; i++) {
        w->ticket[i] ^= 1;
        assert_int_equal(refresh(w, &w->away), 400);
        assert_int_equal(bench_count(&w->b, TURN_DO_SEND), 1);
        w->ticket[i] ^= 1;
    }
    for (w->ticket_len = 0; w->ticket_len < 32; w->ticket_len++) {
        assert_int_equal(refresh(w, &w->away), 400);
    }
    assert_int_equal(refresh_as(w, &w->away, 600, &w->b.other_key), 441);
    assert_int_equal(refresh_as(w, &w->away, 0, &w->b.other_key), 441);
    assert_int_equal(refresh(w, &w->home), 400); /* it is there already */
    struct turn_stats after = turn_server_stats(w->b.s);
    assert_true(after.allocations == before.allocations &&
                after.permissions == before.permissions);
    assert_int_equal(say(w, &w->away), 0);
    assert_true(heard_at(w, &w->home));
    /* Where another allocation is, none comes. */
    assert_int_equal(bench_allocate(&w->b, &w->away, TURN_UDP), 0);
    assert_int_equal(refresh(w, &w->away), 400);
    struct turn_conn other = bench_udp("203.0.113.9:4002");
    assert_int_equal(bench_refresh(&w->b, &w->home, 0), 0);
    assert_int_equal(refresh(w, &other), 437);
}

static void a_connection_that_ends_leaves_the_allocation_waiting(void **state)
{
    struct world *w = *state;
    start(w, bench_tcp(1), TURN_UDP);
    turn_server_conn_gone(w->b.s, w->b.now_ms, 1);
    bench_drain(&w->b);
    assert_null(bench_did(&w->b, TURN_DO_RELAY_CLOSE, 0));
    assert_non_null(told(w, "away"));
    assert_false(turn_server_conn_used(w->b.s, 1));
    assert_int_equal(from_peer(w), 0);
    struct turn_session is;
    assert_true(turn_server_session(w->b.s, w->b.now_ms, w->relay, &is) && is.is_away);
    /* From TCP to UDP, at once: nobody is left to be waited for. */
    assert_int_equal(refresh(w, &w->away), 0);
    assert_true(heard_at(w, &w->away));
    assert_null(bench_did(&w->b, TURN_DO_CONN_CLOSE, 0));
    bench_tick_to(&w->b, w->b.now_ms + 600000);
    assert_int_equal(bench_count(&w->b, TURN_DO_RELAY_CLOSE), 1);
    /* Nobody comes: it lives as long as it was granted, and counts as long. */
    start(w, bench_tcp(2), TURN_UDP);
    turn_server_conn_gone(w->b.s, w->b.now_ms, 2);
    for (turn_id i = 3; i < 6; i++) {
        struct turn_conn more = bench_tcp(i);
        assert_int_equal(bench_allocate(&w->b, &more, TURN_UDP), 0);
    }
    struct turn_conn one = bench_tcp(6);
    assert_int_equal(bench_allocate(&w->b, &one, TURN_UDP), 486);
    bench_tick_to(&w->b, w->b.now_ms + 600000);
    assert_int_equal(turn_server_stats(w->b.s).allocations, 0);
    assert_int_equal(bench_count(&w->b, TURN_DO_CONN_CLOSE), 3); /* its own is gone */
}

static void the_connection_that_is_left_is_closed(void **state)
{
    struct world *w = *state;
    struct turn_conn next = bench_tcp(2);
    start(w, bench_tcp(1), TURN_UDP);
    assert_int_equal(refresh(w, &next), 0);
    assert_true(turn_server_conn_used(w->b.s, 1) && turn_server_conn_used(w->b.s, 2));
    assert_int_equal(say(w, &next), 1);
    assert_true(bench_did(&w->b, TURN_DO_CONN_CLOSE, 0)->conn == 1);
    turn_server_conn_gone(w->b.s, w->b.now_ms, 1);
    bench_drain(&w->b);
    assert_int_equal(w->b.n_did, 0);
    /* The old one ends first: RFC 8016 3.2.2 has that as a sign, too. */
    start(w, bench_tcp(3), TURN_UDP);
    assert_int_equal(refresh(w, &w->away), 0);
    turn_server_conn_gone(w->b.s, w->b.now_ms, 3);
    bench_drain(&w->b);
    assert_non_null(told(w, "move"));
    assert_true(heard_at(w, &w->away));
    /* The new one ends before it is used: all stays as it was. */
    struct turn_conn fourth = bench_tcp(4);
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    assert_int_equal(refresh(w, &fourth), 0);
    turn_server_conn_gone(w->b.s, w->b.now_ms, 4);
    bench_drain(&w->b);
    assert_true(heard_at(w, &w->home));
}

static void both_connections_end_with_the_allocation(void **state)
{
    struct world *w = *state;
    struct turn_conn next = bench_tcp(2);
    start(w, bench_tcp(1), TURN_UDP);
    assert_int_equal(refresh(w, &next), 0);
    assert_int_equal(turn_server_kick(w->b.s, w->b.now_ms, w->relay), OK);
    bench_drain(&w->b);
    assert_int_equal(bench_count(&w->b, TURN_DO_CONN_CLOSE), 2);
    assert_true(turn_server_deadline_ms(w->b.s) == UINT64_MAX);
}

static void a_refresh_of_0_ends_it_from_the_new_path(void **state)
{
    struct world *w = *state;
    start(w, bench_udp("192.0.2.7:1"), TURN_UDP);
    assert_int_equal(refresh_as(w, &w->away, 0, &w->b.key), 0);
    assert_int_equal(bench_count(&w->b, TURN_DO_RELAY_CLOSE), 1);
    assert_int_equal(bench_refresh(&w->b, &w->home, 600), 437);
    assert_int_equal(bench_allocate(&w->b, &w->away, TURN_UDP), 0);
}

static void a_tcp_relay_moves_to_tcp_and_keeps_its_peers(void **state)
{
    struct world *w = *state;
    struct turn_conn data = bench_tcp(2), next = bench_tcp(3);
    struct addr from = bench_addr(peer);
    struct ask a;
    uint32_t cid;
    start(w, bench_tcp(1), TURN_TCP);
    assert_true(turn_server_tcp_accepted(w->b.s, w->b.now_ms, w->relay, &from) != 0);
    bench_drain(&w->b);
    struct stun_msg m = bench_sent(&w->b);
    assert_int_equal(stun_get_u32(&m, STUN_CONNECTION_ID, &cid), OK);
    ask_begin(&w->b, &a, STUN_CONNECTION_BIND);
    stun_put_u32(&a.w, STUN_CONNECTION_ID, cid);
    assert_int_equal(ask_end(&w->b, &a, &data, &w->b.key), 0);
    assert_int_equal(refresh(w, &w->away), 400); /* RFC 6062 5.1: not over UDP */
    turn_server_conn_gone(w->b.s, w->b.now_ms, 1);
    bench_drain(&w->b);
    assert_int_equal(turn_server_stats(w->b.s).tcp_connections, 1);
    from.port++;
    assert_true(turn_server_tcp_accepted(w->b.s, w->b.now_ms, w->relay, &from) == 0);
    bench_drain(&w->b);
    assert_int_equal(refresh(w, &next), 0);
    assert_true(turn_server_tcp_accepted(w->b.s, w->b.now_ms, w->relay, &from) != 0);
    bench_drain(&w->b);
    assert_true(bench_did(&w->b, TURN_DO_SEND, 0)->conn == 3); /* the ConnectionAttempt */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_ticket_is_for_those_who_ask_where_it_is_on),
        T(the_old_path_goes_on_until_the_new_one_is_used),
        T(a_request_on_the_new_path_is_use_as_well),
        T(a_refresh_sent_again_gets_the_same_answer),
        T(a_ticket_serves_once_but_for_a_lost_answer),
        T(wrong_tickets_are_told_apart_and_cost_nothing),
        T(a_connection_that_ends_leaves_the_allocation_waiting),
        T(the_connection_that_is_left_is_closed),
        T(both_connections_end_with_the_allocation),
        T(a_refresh_of_0_ends_it_from_the_new_path),
        T(a_tcp_relay_moves_to_tcp_and_keeps_its_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
