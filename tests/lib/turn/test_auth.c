/* Keys that come later, in numbers, or not at all. */
#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static const struct turn_keys stranger;

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct turn_conn c = bench_tcp(9);
    assert_non_null(b);
    *state = b;
    bench_start(b, NULL);
    /* For the nonce. */
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    b->answers_late = true;
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static turn_id ticket_of(const struct bench *b)
{
    const struct turn_action *a = bench_did(b, TURN_DO_FIND_KEY, 0);
    assert_non_null(a);
    return a->key.ticket;
}

/* The code that the answer to the ticket leads to; 1: no reply. */
static int answer(struct bench *b, turn_id ticket, const struct turn_keys *keys)
{
    struct slice reason;
    uint16_t code = 0;
    turn_server_keys(b->s, b->now_ms, ticket, keys);
    bench_drain(b);
    if (b->sent_len == 0) {
        return 1;
    }
    struct stun_msg m = bench_sent(b);
    return stun_get_error(&m, &code, &reason) == OK ? code : 0;
}

static void any_of_several_keys_will_do(void **state)
{
    struct bench *b = *state;
    for (turn_id i = 0; i < 3; i++) {
        struct turn_conn c = bench_tcp(1 + i);
        struct turn_keys keys = {.n = 3, .until_ms = UINT64_MAX};
        keys.key[i] = b->key;
        assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
        assert_int_equal(answer(b, ticket_of(b), &keys), 0);
        struct stun_msg m = bench_sent(b);
        assert_int_equal(stun_check_integrity(&m, &b->key), OK);
        /* The allocation goes on with the one that fitted. */
        assert_int_equal(bench_refresh(b, &c, 0), 0);
    }
    struct turn_conn c = bench_tcp(5);
    struct turn_keys keys = {.n = 3, .until_ms = UINT64_MAX};
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    assert_int_equal(answer(b, ticket_of(b), &keys), 401);
    assert_string_equal(bench_did(b, TURN_DO_REPORT, 0)->report.why, "wrong password");
    /* Beyond `n` there is nothing. */
    keys.key[3] = b->key;
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    assert_int_equal(answer(b, ticket_of(b), &keys), 401);
}

static void a_key_is_asked_for_again(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct turn_keys keys = {.n = 1, .until_ms = b->now_ms + 1000};
    keys.key[0] = b->key;
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    assert_int_equal(answer(b, ticket_of(b), &keys), 0);
    b->now_ms += 999;
    assert_int_equal(bench_refresh(b, &c, 600), 0);
    b->now_ms += 1;
    assert_int_equal(bench_refresh(b, &c, 600), 1);
    keys.until_ms = b->now_ms + 1000;
    assert_int_equal(answer(b, ticket_of(b), &keys), 0);
    assert_int_equal(bench_refresh(b, &c, 600), 0);
    b->now_ms += 1000;
    /* The user is no more. */
    assert_int_equal(bench_refresh(b, &c, 600), 1);
    assert_int_equal(answer(b, ticket_of(b), &stranger), 401);
    assert_int_equal(bench_refresh(b, &c, 600), 1);
    assert_int_equal(answer(b, ticket_of(b), &stranger), 401);
}

static void without_an_answer_only_what_runs_goes_on(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1), other = bench_tcp(2);
    struct turn_keys keys = {.n = 1, .until_ms = b->now_ms + 1000};
    keys.key[0] = b->key;
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    assert_int_equal(answer(b, ticket_of(b), &keys), 0);
    b->now_ms += 1000;
    assert_int_equal(bench_refresh(b, &c, 600), 1);
    assert_int_equal(answer(b, ticket_of(b), NULL), 0);
    assert_int_equal(bench_allocate(b, &other, TURN_TCP), 1);
    assert_int_equal(answer(b, ticket_of(b), NULL), 500);
    /* Not even then with a wrong password. */
    struct ask a;
    struct stun_key wrong = b->key;
    wrong.b[0] ^= 1;
    ask_begin(b, &a, STUN_REFRESH);
    assert_int_equal(ask_end(b, &a, &c, &wrong), 1);
    assert_int_equal(answer(b, ticket_of(b), NULL), 401);
}

static void a_connection_waits_while_its_request_does(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct turn_keys keys = {.n = 1, .until_ms = UINT64_MAX};
    keys.key[0] = b->key;
    assert_false(turn_server_conn_waits(b->s, c.id));
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    turn_id ticket = ticket_of(b);
    assert_true(turn_server_conn_waits(b->s, c.id));
    assert_false(turn_server_conn_waits(b->s, 2));
    assert_int_equal(turn_server_ticket_conn(b->s, ticket), c.id);
    assert_int_equal(answer(b, ticket, &keys), 0);
    assert_false(turn_server_conn_waits(b->s, c.id));
    assert_int_equal(turn_server_ticket_conn(b->s, ticket), 0);
}

static void late_answers_find_nothing(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct turn_keys keys = {.n = 1, .until_ms = UINT64_MAX};
    keys.key[0] = b->key;
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    turn_id ticket = ticket_of(b);
    turn_server_conn_gone(b->s, b->now_ms, c.id);
    bench_drain(b);
    assert_int_equal(answer(b, ticket, &keys), 1);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 1);
    ticket = ticket_of(b);
    assert_int_equal(answer(b, ticket, &keys), 0);
    assert_int_equal(answer(b, ticket, NULL), 1);
}

static void two_realms(struct turn_config *cfg)
{
    cfg->realms[1] = slice_str("north.example");
    cfg->n_realms = 2;
    cfg->max_per_user = 1;
}

static void realms_are_apart(void **state)
{
    struct bench *b = *state;
    struct turn_conn here = bench_tcp(1), there = bench_tcp(2), lost = bench_tcp(3);
    struct turn_keys keys = {.key = {b->key}, .n = 1, .until_ms = UINT64_MAX};
    struct slice realm;
    bench_stop(b);
    bench_start(b, two_realms);
    there.realm = lost.realm = 1;
    b->realm = "north.example";
    assert_int_equal(bench_allocate(b, &there, TURN_TCP), 0); /* for its nonce */
    b->answers_late = true;
    /* The other realm's nonce is none here, and its name nobody's. */
    assert_int_equal(bench_allocate(b, &here, TURN_TCP), 401);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_bytes(&m, STUN_REALM, &realm), OK);
    assert_true(slice_eq(realm, slice_str("TANDBERG")));
    b->realm = "TANDBERG";
    assert_int_equal(bench_allocate(b, &here, TURN_TCP), 1);
    const struct turn_action *a = bench_did(b, TURN_DO_FIND_KEY, 0);
    assert_true(slice_eq(a->key.realm, slice_str("TANDBERG")));
    assert_int_equal(answer(b, a->key.ticket, &keys), 438);
    m = bench_sent(b);
    struct slice nonce;
    assert_int_equal(stun_get_bytes(&m, STUN_NONCE, &nonce), OK);
    memcpy(b->nonce, nonce.p, nonce.len);
    /* The namesake's allocation counts for the namesake. */
    assert_int_equal(bench_allocate(b, &here, TURN_TCP), 1);
    assert_int_equal(answer(b, ticket_of(b), &keys), 0);
    assert_int_equal(bench_allocate(b, &lost, TURN_TCP), 401);
    /* A connection that changes its realm does not take its allocation along. */
    here.realm = 1;
    assert_int_equal(bench_refresh(b, &here, 600), 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_of_several_keys_will_do, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_is_asked_for_again, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_answer_only_what_runs_goes_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_connection_waits_while_its_request_does, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(realms_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(late_answers_find_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
