/* How many TCP connections a user and all may have, how often he may Connect, and how often
 * somebody may guess. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

static struct bench *begin(void (*tune)(struct turn_config *cfg))
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bench_start(b, tune);
    return b;
}

static void end(struct bench *b)
{
    bench_stop(b);
    free(b);
}

/* A TCP relay on control connection `conn`: its id. */
static turn_id relay_on(struct bench *b, turn_id conn)
{
    struct turn_conn c = bench_tcp(conn);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    return bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
}

static turn_id accept_on(struct bench *b, turn_id relay, uint16_t port)
{
    struct addr peer = bench_addr("8.8.8.8");
    peer.port = port;
    turn_id id = turn_server_tcp_accepted(b->s, b->now_ms, relay, &peer);
    bench_drain(b);
    return id;
}

static int connect_on(struct bench *b, turn_id conn, const char *text)
{
    struct addr peer = bench_addr(text);
    struct turn_conn c = bench_tcp(conn);
    struct ask a;
    ask_begin(b, &a, STUN_CONNECT);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &peer);
    return ask_end(b, &a, &c, &b->key);
}

/* Binds what was told last, on data connection `conn`. */
static int bind_on(struct bench *b, turn_id conn)
{
    struct stun_msg m = bench_sent(b);
    struct turn_conn c = bench_tcp(conn);
    struct ask a;
    uint32_t cid;
    assert_int_equal(stun_get_u32(&m, STUN_CONNECTION_ID, &cid), OK);
    ask_begin(b, &a, STUN_CONNECTION_BIND);
    stun_put_u32(&a.w, STUN_CONNECTION_ID, cid);
    return ask_end(b, &a, &c, &b->key);
}

static const char *last_deny(const struct bench *b)
{
    const char *why = NULL;
    for (size_t i = 0; i < b->n_did; i++) {
        bool is_deny =
            b->did[i].what == TURN_DO_REPORT && strcmp(b->did[i].report.event, "deny") == 0;
        why = is_deny ? b->did[i].report.why : why;
    }
    return why ? why : "";
}

static void tune_user(struct turn_config *cfg)
{
    cfg->tcp_accept_any = true;
    cfg->max_unbound = 4;
    cfg->tcp.per_user = 5;
    cfg->tcp.unbound_per_user = 3;
}

static void a_user_s_connections_count_over_all_his_relays(void **state)
{
    (void)state;
    struct bench *b = begin(tune_user);
    turn_id one = relay_on(b, 1), other = relay_on(b, 2), peer[5];
    for (uint16_t i = 0; i < 5; i++) {
        peer[i] = accept_on(b, i % 2 ? one : other, (uint16_t)(100 + i));
        assert_true(peer[i] != 0);
        assert_int_equal(bind_on(b, 10u + i), 0);
    }
    assert_true(accept_on(b, one, 200) == 0);
    assert_string_equal(last_deny(b), "too many TCP connections of the user");
    assert_int_equal(connect_on(b, 2, "8.8.8.8:80"), 486);
    turn_server_tcp_closed(b->s, b->now_ms, peer[0]);
    bench_drain(b);
    assert_true(accept_on(b, one, 200) != 0); /* exactly one came back */
    assert_true(accept_on(b, other, 201) == 0);
    turn_server_conn_gone(b->s, b->now_ms, 2); /* with three */
    bench_drain(b);
    for (uint16_t i = 0; i < 2; i++) { /* max_connections of the relay is 4 */
        assert_int_equal(accept_on(b, one, (uint16_t)(300 + i)) != 0, i == 0);
    }
    end(b);
}

static void unbound_ones_count_by_themselves(void **state)
{
    (void)state;
    struct bench *b = begin(tune_user);
    turn_id one = relay_on(b, 1), other = relay_on(b, 2);
    assert_true(accept_on(b, one, 1) && accept_on(b, one, 2) && accept_on(b, other, 3));
    assert_true(accept_on(b, other, 4) == 0);
    assert_int_equal(connect_on(b, 1, "8.8.8.8:80"), 486);
    bench_tick_to(b, b->now_ms + 30000); /* nobody bound them */
    assert_true(accept_on(b, other, 4) != 0);
    end(b);
}

static void tune_all(struct turn_config *cfg)
{
    cfg->tcp_accept_any = true;
    cfg->max_unbound = 4;
    cfg->tcp.in_all = 3;
}

static void all_users_together_have_a_limit(void **state)
{
    (void)state;
    struct bench *b = begin(tune_all);
    turn_id one = relay_on(b, 1), other = relay_on(b, 2);
    assert_true(accept_on(b, one, 1) && accept_on(b, other, 2) && accept_on(b, one, 3));
    assert_true(accept_on(b, other, 4) == 0);
    assert_string_equal(last_deny(b), "too many TCP connections in all");
    assert_int_equal(connect_on(b, 1, "8.8.8.8:80"), 508);
    end(b);
}

static void tune_connects(struct turn_config *cfg)
{
    cfg->tcp.connects_per_s = 2;
    cfg->max_unbound = 4;
}

/* A scan: whether a Connect leads to anything or is refused, it counts, and a new relay gives
 * no new tries. */
static void a_user_s_connects_in_a_second_have_a_limit(void **state)
{
    (void)state;
    struct bench *b = begin(tune_connects);
    (void)relay_on(b, 1);
    b->now_ms = 5000;
    assert_int_equal(connect_on(b, 1, "8.8.8.8:1"), 1);
    assert_int_equal(connect_on(b, 1, "10.0.0.1:2"), 403);
    assert_int_equal(connect_on(b, 1, "8.8.8.8:3"), 486);
    assert_string_equal(last_deny(b), "too many Connects of the user");
    turn_server_conn_gone(b->s, b->now_ms, 1);
    bench_drain(b);
    (void)relay_on(b, 2);
    assert_int_equal(connect_on(b, 2, "8.8.8.8:4"), 486);
    b->now_ms = 6000;
    assert_int_equal(connect_on(b, 2, "8.8.8.8:5"), 1);
    end(b);
}

static void tune_passive(struct turn_config *cfg)
{
    cfg->tcp.connect = TURN_CONNECT_NONE;
    cfg->tcp_accept_any = true;
}

static void connect_can_be_switched_off(void **state)
{
    (void)state;
    struct bench *b = begin(tune_passive);
    turn_id relay = relay_on(b, 1);
    assert_int_equal(connect_on(b, 1, "8.8.8.8:80"), 403);
    assert_null(bench_did(b, TURN_DO_TCP_CONNECT, 0));
    assert_true(accept_on(b, relay, 1) != 0); /* peers may come */
    end(b);
}

static const struct turn_policy naming = {
    .allow = {{{.family = ADDR_IP4, .ip = {10, 1}}, 16}},
    .n_allow = 1,
    .accept = {{{.family = ADDR_IP4, .ip = {9, 9}}, 16}},
    .n_accept = 1,
};

static void tune_named(struct turn_config *cfg)
{
    cfg->tcp.connect = TURN_CONNECT_NAMED;
    cfg->policy = &naming;
}

static void connect_reaches_those_that_are_named(void **state)
{
    (void)state;
    struct bench *b = begin(tune_named);
    (void)relay_on(b, 1);
    assert_int_equal(connect_on(b, 1, "8.8.8.8:80"), 403);
    assert_string_equal(last_deny(b), "Connect to an address that is not named");
    assert_null(bench_did(b, TURN_DO_TCP_CONNECT, 0));
    assert_int_equal(connect_on(b, 1, "10.1.2.3:80"), 1);
    assert_int_equal(connect_on(b, 1, "9.9.9.9:80"), 1);
    assert_int_equal(connect_on(b, 1, "10.2.2.3:80"), 403);
    end(b);
}

static void tune_guesses(struct turn_config *cfg)
{
    cfg->max_failures_per_s = 2;
}

static int ask_as(struct bench *b, const struct turn_conn *c, bool is_right)
{
    struct stun_key key = b->key;
    struct ask a;
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    key.b[0] ^= !is_right;
    return ask_end(b, &a, c, &key);
}

/* Who guesses is not answered any more, nor are those around him who are not known yet; those
 * with an allocation notice nothing. */
static void wrong_passwords_end_the_answers_for_a_second(void **state)
{
    (void)state;
    struct bench *b = begin(tune_guesses);
    struct turn_conn known = bench_udp("203.0.113.9:1"), near = bench_udp("203.0.113.77:2");
    struct turn_conn tcp = bench_tcp(1), far = bench_udp("203.0.112.1:3");
    tcp.client = bench_addr("203.0.113.50:4");
    assert_int_equal(bench_allocate(b, &known, TURN_UDP), 0);
    b->now_ms = 5000;
    assert_int_equal(ask_as(b, &near, false), 401);
    near.client.ip[3] = 78;
    assert_int_equal(ask_as(b, &near, false), 401);
    assert_int_equal(ask_as(b, &near, true), 1);
    assert_null(bench_did(b, TURN_DO_FIND_KEY, 0)); /* no database is asked */
    assert_int_equal(ask_as(b, &tcp, true), 500);   /* there nobody would ask again */
    assert_int_equal(bench_refresh(b, &known, 600), 0);
    assert_int_equal(ask_as(b, &far, true), 0);
    b->now_ms = 6000;
    assert_int_equal(ask_as(b, &near, true), 0);
    assert_int_equal(turn_server_stats(b->s).auth_failures_total, 2);
    end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_s_connections_count_over_all_his_relays),
        cmocka_unit_test(unbound_ones_count_by_themselves),
        cmocka_unit_test(all_users_together_have_a_limit),
        cmocka_unit_test(a_user_s_connects_in_a_second_have_a_limit),
        cmocka_unit_test(connect_can_be_switched_off),
        cmocka_unit_test(connect_reaches_those_that_are_named),
        cmocka_unit_test(wrong_passwords_end_the_answers_for_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
