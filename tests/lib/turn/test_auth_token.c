/* Third-party authorization in the server (RFC 7635): challenges, tokens, and their ends. */
#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static const struct stun_key mac_key = {.b = "twenty bytes of key.", .len = 20};

static void with_tokens(struct turn_config *cfg)
{
    cfg->third_party = slice_str("turn.example");
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    bench_start(b, with_tokens);
    b->answers_late = true;
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

/* A request of the bearer of "token"; NULL: without it. As ask_end(). */
static int ask(struct bench *b, const struct turn_conn *c, enum stun_method method,
               const char *token)
{
    struct ask a;
    ask_begin(b, &a, method);
    if (method == STUN_ALLOCATE) {
        stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_TCP);
    }
    if (token) {
        stun_put_bytes(&a.w, STUN_ACCESS_TOKEN, slice_str(token));
    }
    stun_put_bytes(&a.w, STUN_USERNAME, slice_str("north")); /* the key's id */
    stun_put_bytes(&a.w, STUN_REALM, slice_str("TANDBERG"));
    stun_put_bytes(&a.w, STUN_NONCE, slice_of(b->nonce, b->nonce_len));
    stun_put_integrity(&a.w, &mac_key);
    return ask_end(b, &a, c, NULL);
}

static void get_nonce(struct bench *b, const struct turn_conn *c)
{
    struct ask a;
    struct slice got;
    ask_begin(b, &a, STUN_ALLOCATE);
    assert_int_equal(ask_end(b, &a, c, NULL), 401);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_bytes(&m, STUN_NONCE, &got), OK);
    memcpy(b->nonce, got.p, got.len);
    b->nonce_len = got.len;
    assert_int_equal(stun_get_bytes(&m, STUN_THIRD_PARTY_AUTHORIZATION, &got), OK);
    assert_true(slice_eq(got, slice_str("turn.example")));
}

static int answer(struct bench *b, const struct stun_key *key, uint64_t ends_ms)
{
    struct turn_keys keys = {.n = key ? 1 : 0, .until_ms = ends_ms, .ends_ms = ends_ms};
    const struct turn_action *a = bench_did(b, TURN_DO_FIND_KEY, 0);
    struct slice reason;
    uint16_t code;
    assert_non_null(a);
    if (key) {
        keys.key[0] = *key;
    }
    turn_server_keys(b->s, b->now_ms, a->key.ticket, &keys);
    bench_drain(b);
    struct stun_msg m = bench_sent(b);
    return stun_get_error(&m, &code, &reason) == OK ? code : 0;
}

static uint32_t lifetime_s(const struct bench *b)
{
    uint32_t v;
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_get_u32(&m, STUN_LIFETIME, &v), OK);
    return v;
}

static void a_token_allocates_until_it_ends(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    uint64_t begin_ms = b->now_ms, ends_ms = begin_ms + 100 * 1000;
    get_nonce(b, &c);
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, "token"), 1);
    const struct turn_action *a = bench_did(b, TURN_DO_FIND_KEY, 0);
    assert_true(slice_eq(a->key.token, slice_str("token")));
    assert_true(slice_eq(a->key.username, slice_str("north")));
    assert_int_equal(answer(b, &mac_key, ends_ms), 0);
    assert_int_equal(lifetime_s(b), 100);
    struct stun_msg m = bench_sent(b);
    assert_int_equal(stun_check_integrity(&m, &mac_key), OK);
    /* Without the token, which need not come again: no longer than before. */
    b->now_ms += 40 * 1000;
    assert_int_equal(ask(b, &c, STUN_REFRESH, NULL), 0);
    assert_int_equal(lifetime_s(b), 60);
    /* A new one makes it longer, and is asked about. */
    assert_int_equal(ask(b, &c, STUN_REFRESH, "token-2"), 1);
    assert_int_equal(answer(b, &mac_key, b->now_ms + 1000 * 1000), 0);
    assert_int_equal(lifetime_s(b), 600);
    assert_int_equal(turn_server_stats(b->s).allocations, 1);
    bench_tick_to(b, b->now_ms + 600 * 1000);
    assert_int_equal(turn_server_stats(b->s).allocations, 0);
}

static void a_bad_token_allocates_nothing(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct stun_key other = mac_key;
    other.b[0] ^= 1;
    get_nonce(b, &c);
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, "token"), 1);
    assert_int_equal(answer(b, NULL, 0), 401);
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, "token"), 1);
    assert_int_equal(answer(b, &other, b->now_ms + 60000), 401);
    /* Less than a second is left. */
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, "token"), 1);
    assert_int_equal(answer(b, &mac_key, b->now_ms + 999), 401);
    assert_null(bench_did(b, TURN_DO_RELAY_OPEN, 0));
    assert_int_equal(turn_server_stats(b->s).allocations, 0);
}

static void keys_of_passwords_and_tokens_do_not_mix(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct stun_key as_password = mac_key;
    as_password.algorithm = STUN_ALGORITHM_MD5;
    get_nonce(b, &c);
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, NULL), 1);
    assert_int_equal(bench_did(b, TURN_DO_FIND_KEY, 0)->key.token.len, 0);
    assert_int_equal(answer(b, &mac_key, b->now_ms + 60000), 401);
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, "token"), 1);
    assert_int_equal(answer(b, &as_password, b->now_ms + 60000), 401);
}

static void where_they_are_off_tokens_say_nothing(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct ask a;
    bench_stop(b);
    bench_start(b, NULL);
    b->answers_late = true;
    ask_begin(b, &a, STUN_ALLOCATE);
    assert_int_equal(ask_end(b, &a, &c, NULL), 401);
    struct stun_msg m = bench_sent(b);
    struct slice nonce;
    assert_false(stun_has(&m, STUN_THIRD_PARTY_AUTHORIZATION));
    assert_int_equal(stun_get_bytes(&m, STUN_NONCE, &nonce), OK);
    memcpy(b->nonce, nonce.p, nonce.len);
    b->nonce_len = nonce.len;
    assert_int_equal(ask(b, &c, STUN_ALLOCATE, "token"), 1);
    assert_int_equal(bench_did(b, TURN_DO_FIND_KEY, 0)->key.token.len, 0);
    assert_int_equal(answer(b, &mac_key, b->now_ms + 60000), 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_allocates_until_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_token_allocates_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_of_passwords_and_tokens_do_not_mix, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(where_they_are_off_tokens_say_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
