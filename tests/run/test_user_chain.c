/* Who is asked, in which order, what is remembered, and that nobody waits for ever. */
#include "lib/turn/credentials.h"

#include "run/user_chain.h"

#include "tests/unit.h"

enum {
    PLENTY = 100 /* of questions in one test */
};

struct fake { /* a store that the test answers for, at once or later */
    struct user_store base;
    size_t n;
    uint64_t id[PLENTY];
    enum user_ask what[PLENTY];
    uint8_t realm; /* of the last one */
    char name[PLENTY][USER_NAME_MAX + 1];
    const char *at_once; /* a value; "": none. NULL: later */
    bool in_trouble, is_freed;
};

struct bench {
    struct loop *loop;
    struct user_chain *chain;
    struct fake a, b;
    struct log log;
    struct slice secrets[2];
    size_t n_secrets;
    size_t n_answers; /* and the last one: */
    turn_id ticket;
    bool is_known; /* keys, not trouble */
    struct turn_keys keys;
};

static void tell(struct fake *f, uint64_t id, const char *value)
{
    struct user_answer a = {.n = value && *value ? 1 : 0};
    a.value[0] = slice_str(value);
    a.what = value ? USER_TOLD : USER_TROUBLE;
    f->base.answer(id, &a, f->base.ctx);
}

static void fake_ask(struct user_store *s, const struct user_question *q)
{
    struct fake *f = (struct fake *)(void *)s;
    assert_true(f->n < PLENTY && q->name.len <= USER_NAME_MAX);
    f->id[f->n] = q->id;
    f->what[f->n] = q->what;
    f->realm = slice_eq(q->realm, slice_str("TANDBERG")) ? 0 : 1;
    if (q->name.len > 0) {
        memcpy(f->name[f->n], q->name.p, q->name.len);
    }
    f->name[f->n++][q->name.len] = 0;
    if (f->in_trouble || f->at_once) {
        tell(f, q->id, f->in_trouble ? NULL : f->at_once);
    }
}

static void fake_free(struct user_store *s)
{
    ((struct fake *)(void *)s)->is_freed = true;
}

static bool find_fixed(uint8_t realm, const struct turn_ask *ask, struct turn_keys *out,
                       void *ctx)
{
    struct slice name = ask->username;
    (void)ctx;
    if (realm != 0 ||
        (!slice_eq(name, slice_str("fixed")) && !slice_eq(name, slice_str("1:fixed")))) {
        return false;
    }
    out->key[0] = (struct stun_key){.b = "fixed", .len = 16};
    out->n = 1;
    return true;
}

static const struct slice *secrets(uint8_t realm, size_t *n, void *ctx)
{
    const struct bench *b = ctx;
    (void)realm;
    *n = b->n_secrets;
    return b->secrets;
}

static void on_keys(turn_id ticket, const struct turn_keys *keys, void *ctx)
{
    struct bench *b = ctx;
    b->n_answers++;
    b->ticket = ticket;
    b->is_known = keys != NULL;
    b->keys = keys ? *keys : (struct turn_keys){.n = 0};
    loop_stop(b->loop);
}

static struct bench *bench_new(void (*tune)(struct user_chain_config *cfg))
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->log = (struct log){.level = LOG_ERROR, .program = "test", .fd = 2};
    assert_int_equal(loop_new(&b->loop), OK);
    struct user_chain_config cfg = {
        .loop = b->loop,
        .log = &b->log,
        .realms = {slice_str("TANDBERG"), slice_str("north.example")},
        .n_realms = 2,
        .find_fixed = find_fixed,
        .secrets = secrets,
        .fixed_ctx = b,
        .sha1 = true,
        .cache_s = 60,
        .stranger_s = 10,
        .timeout_ms = 60000,
        .answer = on_keys,
        .answer_ctx = b
    };
    if (tune) {
        tune(&cfg);
    }
    assert_int_equal(user_chain_new(&b->chain, &cfg), OK);
    struct fake *all[] = {&b->a, &b->b};
    for (size_t i = 0; i < 2; i++) {
        all[i]->base = (struct user_store){.name = "fake", .ask = fake_ask, .free = fake_free};
        assert_int_equal(user_chain_add(b->chain, &all[i]->base), OK);
    }
    return b;
}

static int setup(void **state)
{
    *state = bench_new(NULL);
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    user_chain_free(b->chain);
    assert_true(b->a.is_freed && b->b.is_freed);
    loop_free(b->loop);
    free(b);
    return 0;
}

static void find(struct bench *b, const char *name)
{
    static turn_id ticket = 100;
    const struct turn_ask ask = {.ticket = ++ticket,
                                 .realm = slice_str("TANDBERG"),
                                 .username = slice_str(name),
                                 .algorithm = STUN_ALGORITHM_MD5};
    user_chain_find(b->chain, &ask);
    assert_true(b->n_answers == 0 || b->ticket <= ticket);
}

/* "N:alice", N seconds from now. */
static const char *timed(int64_t in_s)
{
    static char name[64];
    (void)snprintf(name, sizeof name, "%lld:alice", (long long)((int64_t)loop_unix_s() + in_s));
    return name;
}

#define HEX "00112233445566778899aabbccddeeff"

static void the_configuration_comes_first(void **state)
{
    struct bench *b = *state;
    find(b, "fixed");
    assert_int_equal(b->n_answers, 1);
    assert_int_equal(b->keys.n, 1);
    assert_memory_equal(b->keys.key[0].b, "fixed", 5);
    assert_true(b->keys.until_ms <= loop_now_ms(b->loop) + 60000);
    b->secrets[b->n_secrets++] = slice_str("north-north");
    find(b, "1:fixed"); /* in spite of its looks */
    assert_int_equal(b->keys.n, 1);
    assert_int_equal(b->a.n, 0);
}

static void stores_are_asked_in_turn_and_remembered(void **state)
{
    struct bench *b = *state;
    find(b, "alice");
    assert_int_equal(b->a.n, 1);
    assert_int_equal(b->a.what[0], USER_ASK_KEY);
    assert_string_equal(b->a.name[0], "alice");
    assert_int_equal(b->b.n, 0);
    tell(&b->a, b->a.id[0], "");
    assert_int_equal(b->b.n, 1);
    assert_string_equal(b->b.name[0], "alice");
    assert_int_equal(b->n_answers, 0);
    tell(&b->a, b->a.id[0], HEX); /* not its turn any more, but the id still counts */
    assert_int_equal(b->n_answers, 1);
    assert_int_equal(b->keys.key[0].b[1], 0x11);
    tell(&b->b, b->b.id[0], HEX); /* late */
    assert_int_equal(b->n_answers, 1);
    find(b, "alice");
    assert_int_equal(b->n_answers, 2);
    assert_int_equal(b->keys.n, 1);
    assert_int_equal(b->a.n, 1);
    user_chain_forget(b->chain);
    find(b, "alice");
    assert_int_equal(b->a.n, 2);
}

static void find_in(struct bench *b, const char *realm, const char *name)
{
    const struct turn_ask ask = {.ticket = 1,
                                 .realm = slice_str(realm),
                                 .username = slice_str(name),
                                 .algorithm = STUN_ALGORITHM_MD5};
    user_chain_find(b->chain, &ask);
}

static void realms_have_their_own_users(void **state)
{
    struct bench *b = *state;
    b->a.at_once = HEX;
    b->b.at_once = "";
    find(b, "alice");
    assert_int_equal(b->a.realm, 0);
    find_in(b, "north.example", "alice"); /* what is known of her namesake does not count */
    assert_int_equal(b->a.n, 2);
    assert_int_equal(b->a.realm, 1);
    b->a.at_once = "";
    find_in(b, "north.example", "fixed"); /* the configuration's user is of the first realm */
    assert_true(b->is_known && b->keys.n == 0);
    find_in(b, "nowhere.example", "alice");
    assert_true(b->n_answers == 4 && b->is_known && b->keys.n == 0);
    assert_int_equal(b->a.n, 3);
    /* Secrets are asked for once in each realm, and make other keys there. */
    b->a.at_once = "north-north";
    find(b, timed(60));
    struct stun_key here = b->keys.key[0];
    find_in(b, "north.example", timed(60));
    assert_int_equal(b->a.n, 5);
    assert_memory_not_equal(here.b, b->keys.key[0].b, here.len);
    find_in(b, "north.example", timed(60));
    assert_int_equal(b->a.n, 5);
}

static void both_keys_of_a_user_are_given(void **state)
{
    struct bench *b = *state;
    struct user_answer a = {.n = 3};
    a.value[0] = slice_str(HEX);
    a.value[1] = slice_str(HEX HEX);
    a.value[2] = slice_str(HEX);
    find(b, "alice");
    b->a.base.answer(b->a.id[0], &a, b->a.base.ctx);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(b->keys.n, 2);
        assert_int_equal(b->keys.key[0].algorithm, STUN_ALGORITHM_MD5);
        assert_int_equal(b->keys.key[1].algorithm, STUN_ALGORITHM_SHA256);
        find(b, "alice"); /* from memory */
    }
    assert_int_equal(b->a.n, 1);
}

/* The key "00112233..." sealed it for turn.example, now or `ago_s` before. */
static struct slice a_token(uint64_t ago_s, uint8_t *buf, size_t cap)
{
    static const uint8_t nonce[12] = {1};
    struct oauth_key k = {.len = 32, .until_unix_s = UINT64_MAX};
    struct oauth_token t = {
        .mac_key = {.b = "mac", .len = 20},
        .made_unix_s = loop_unix_s() - ago_s,
        .lifetime_s = 600
    };
    struct wr w = wr_over(buf, cap);
    assert_int_equal(oauth_token_seal(&t, &k, slice_str("turn.example"), nonce, &w), OK);
    return wr_done(&w);
}

#define ZERO_KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void be_a_third_party(struct user_chain_config *cfg)
{
    cfg->third_party = slice_str("turn.example");
}

static void find_by_token(struct bench *b, struct slice token)
{
    const struct turn_ask ask = {.ticket = 1,
                                 .realm = slice_str("TANDBERG"),
                                 .username = slice_str("1700000000"), /* no TURN REST name */
                                 .token = token};
    b->secrets[0] = slice_str("north-north");
    b->n_secrets = 1;
    user_chain_find(b->chain, &ask);
}

static void tokens_are_opened_with_the_stores_key(void **state)
{
    (void)state;
    struct bench *b = bench_new(be_a_third_party);
    uint8_t buf[256];
    find_by_token(b, a_token(0, buf, sizeof buf));
    assert_int_equal(b->a.what[0], USER_ASK_TOKEN_KEY);
    assert_string_equal(b->a.name[0], "1700000000");
    tell(&b->a, b->a.id[0], "");
    tell(&b->b, b->b.id[0], ZERO_KEY "|A256GCM|0|0");
    assert_int_equal(b->keys.n, 1);
    assert_memory_equal(b->keys.key[0].b, "mac", 3);
    assert_true(b->keys.ends_ms > loop_now_ms(b->loop) + 590000 &&
                b->keys.ends_ms <= loop_now_ms(b->loop) + 601000);
    b->a.at_once = ZERO_KEY "|A256GCM|0|0";
    find_by_token(b, a_token(601, buf, sizeof buf));
    assert_true(b->n_answers == 2 && b->is_known && b->keys.n == 0);
    /* Nobody has the key; then a row that is none, which is trouble. */
    b->a.at_once = b->b.at_once = "";
    find_by_token(b, a_token(0, buf, sizeof buf));
    assert_true(b->n_answers == 3 && b->is_known && b->keys.n == 0);
    b->a.at_once = ZERO_KEY "|A512GCM|0|0";
    find_by_token(b, a_token(0, buf, sizeof buf));
    assert_true(b->n_answers == 4 && !b->is_known);
    void *p = b;
    teardown(&p);
}

/* Whose keys they are is part of the answer: without it all such users would be one. */
static void who_is_found_by_a_hash_has_a_name(void **state)
{
    struct bench *b = *state;
    static const uint8_t hash[32] = {1};
    const struct turn_ask ask = {
        .ticket = 7, .realm = slice_str("TANDBERG"), .userhash = slice_of(hash, sizeof hash)};
    struct user_answer a = {.value = {slice_str("0123456789abcdef0123456789abcdef")},
                            .n = 1,
                            .name = slice_str("alice")};
    user_chain_find(b->chain, &ask);
    assert_int_equal(b->a.what[0], USER_ASK_BY_HASH);
    b->a.base.answer(b->a.id[0], &a, b->a.base.ctx);
    assert_int_equal(b->keys.n, 1);
    assert_true(slice_eq(slice_of(b->keys.name, b->keys.name_len), a.name));
    b->b.at_once = "";
    a.name = slice_of(NULL, 0);
    user_chain_find(b->chain, &ask);
    b->a.base.answer(b->a.id[1], &a, b->a.base.ctx);
    assert_int_equal(b->n_answers, 2);
    assert_true(b->is_known);
    assert_int_equal(b->keys.n, 0);
}

static void strangers_are_remembered_too(void **state)
{
    struct bench *b = *state;
    b->a.at_once = b->b.at_once = "";
    find(b, "mallory");
    assert_true(b->is_known && b->keys.n == 0);
    find(b, "mallory");
    assert_true(b->is_known && b->keys.n == 0);
    assert_int_equal(b->n_answers, 2);
    assert_int_equal(b->a.n, 1);
    assert_int_equal(b->b.n, 1);
}

static void trouble_is_no_answer_and_not_remembered(void **state)
{
    struct bench *b = *state;
    b->a.in_trouble = true;
    b->b.at_once = "";
    find(b, "alice");
    assert_true(b->n_answers == 1 && !b->is_known);
    b->b.at_once = HEX; /* the other one knows her */
    find(b, "alice");
    assert_true(b->is_known && b->keys.n == 1);
    b->b.at_once = "not a key";
    find(b, "bob");
    assert_true(b->n_answers == 3 && !b->is_known);
    assert_int_equal(b->b.n, 3);
}

static void timed_names_belong_to_the_secrets(void **state)
{
    struct bench *b = *state;
    struct stun_key want[2];
    struct slice name;
    b->secrets[0] = slice_str("north-north");
    b->secrets[1] = slice_str("south-south");
    b->n_secrets = 2;
    b->a.at_once = b->b.at_once = "";
    find(b, timed(60));
    assert_int_equal(b->keys.n, 2);
    assert_int_equal(b->keys.until_ms, UINT64_MAX);
    name = slice_str(timed(60));
    for (size_t i = 0; i < 2; i++) {
        const struct credential_maker maker = {.algorithm = STUN_ALGORITHM_MD5,
                                               .secret = b->secrets[i]};
        assert_int_equal(credential_key(&want[i], &maker, name, slice_str("TANDBERG")), OK);
        assert_memory_equal(want[i].b, b->keys.key[i].b, 16);
    }
    find(b, timed(0));
    assert_true(b->is_known && b->keys.n == 0);
    find(b, timed(-1));
    assert_true(b->is_known && b->keys.n == 0);
    /* The stores' secrets, asked for once; their users never. */
    assert_int_equal(b->a.n, 1);
    assert_int_equal(b->a.what[0], USER_ASK_SECRETS);
    assert_int_equal(b->b.n, 1);
    /* A store's secret counts like those of the configuration. */
    user_chain_forget(b->chain);
    b->n_secrets = 0;
    b->b.at_once = "south-south";
    find(b, timed(60));
    assert_int_equal(b->keys.n, 1);
    assert_memory_equal(b->keys.key[0].b, want[1].b, 16);
}

static void without_secrets_a_number_is_a_name(void **state)
{
    struct bench *b = *state;
    b->a.at_once = "";
    find(b, "4915112345678");
    assert_int_equal(b->b.what[0], USER_ASK_SECRETS);
    tell(&b->b, b->b.id[0], "");
    assert_int_equal(b->b.what[1], USER_ASK_KEY);
    assert_string_equal(b->b.name[1], "4915112345678");
    tell(&b->b, b->b.id[1], HEX);
    assert_int_equal(b->keys.n, 1);
}

static void be_strict(struct user_chain_config *cfg)
{
    cfg->strict_expiry = true;
    cfg->sha256 = true;
}

static void strict_keys_end_with_the_name(void **state)
{
    struct bench *b = bench_new(be_strict);
    (void)state;
    b->secrets[b->n_secrets++] = slice_str("north-north");
    b->a.at_once = b->b.at_once = "";
    find(b, timed(60));
    uint64_t now_ms = loop_now_ms(b->loop);
    assert_int_equal(b->keys.n, 2); /* both hashes */
    assert_true(b->keys.until_ms > now_ms + 50000 && b->keys.until_ms <= now_ms + 60000);
    find(b, "18446744073709551615");
    assert_int_equal(b->keys.until_ms, UINT64_MAX);
    void *p = b;
    teardown(&p);
}

static void be_quick(struct user_chain_config *cfg)
{
    cfg->timeout_ms = 20;
}

static void nobody_waits_for_ever(void **state)
{
    struct bench *b = bench_new(be_quick);
    (void)state;
    find(b, "alice");
    loop_run(b->loop); /* until the answer stops it */
    assert_true(b->n_answers == 1 && !b->is_known);
    tell(&b->a, b->a.id[0], HEX);
    assert_int_equal(b->n_answers, 1);
    /* What the configuration's secrets give is enough. */
    b->secrets[b->n_secrets++] = slice_str("north-north");
    find(b, timed(60));
    loop_run(b->loop);
    assert_true(b->n_answers == 2 && b->is_known && b->keys.n == 1);
    void *p = b;
    teardown(&p);
}

static void so_many_wait_and_no_more(void **state)
{
    struct bench *b = *state;
    char name[USER_NAME_MAX + 2];
    for (int i = 0; i < USER_WAITING_MAX; i++) {
        (void)snprintf(name, sizeof name, "u%d", i);
        find(b, name);
    }
    assert_int_equal(b->n_answers, 0);
    find(b, "one-more");
    assert_true(b->n_answers == 1 && !b->is_known);
    tell(&b->a, b->a.id[7], HEX);
    assert_true(b->n_answers == 2 && b->is_known);
    find(b, "one-more");
    assert_int_equal(b->n_answers, 2);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    find(b, name);
    find(b, "");
    assert_true(b->n_answers == 4 && !b->is_known);
    assert_int_equal(b->a.n, USER_WAITING_MAX + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_configuration_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(stores_are_asked_in_turn_and_remembered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(realms_have_their_own_users, setup, teardown),
        cmocka_unit_test_setup_teardown(both_keys_of_a_user_are_given, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_found_by_a_hash_has_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_are_remembered_too, setup, teardown),
        cmocka_unit_test_setup_teardown(trouble_is_no_answer_and_not_remembered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(timed_names_belong_to_the_secrets, setup, teardown),
        cmocka_unit_test_setup_teardown(without_secrets_a_number_is_a_name, setup, teardown),
        cmocka_unit_test(tokens_are_opened_with_the_stores_key),
        cmocka_unit_test(strict_keys_end_with_the_name),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test_setup_teardown(so_many_wait_and_no_more, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
