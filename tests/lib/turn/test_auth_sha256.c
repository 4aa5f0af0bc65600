/* RFC 8489 9.2.4: password algorithms, the two integrity attributes, hashed names. */
#include "lib/stun/security.h"

#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static const uint8_t both[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};

static void offer_both(struct turn_config *cfg)
{
    memcpy(cfg->algorithms, both, sizeof both);
    cfg->n_algorithms = sizeof both;
}

static void offer_sha256(struct turn_config *cfg)
{
    cfg->algorithms[0] = STUN_ALGORITHM_SHA256;
    cfg->n_algorithms = 1;
}

struct scene {
    struct bench b;
    struct stun_key md5, sha256; /* of turn:secret */
    struct turn_conn c;
};

/* Reads the challenge into the bench's nonce. */
static struct stun_msg challenge(struct scene *s)
{
    struct ask a;
    struct stun_msg m;
    struct slice nonce;
    ask_begin(&s->b, &a, STUN_ALLOCATE);
    assert_int_equal(ask_end(&s->b, &a, &s->c, NULL), 401);
    assert_int_equal(stun_parse(&m, slice_of(s->b.sent, s->b.sent_len), &stun_wire_rfc8489),
                     OK);
    assert_int_equal(stun_get_bytes(&m, STUN_NONCE, &nonce), OK);
    memcpy(s->b.nonce, nonce.p, nonce.len);
    s->b.nonce_len = nonce.len;
    return m;
}

static struct scene *scene_new(void (*tune)(struct turn_config *cfg))
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    bench_start(&s->b, tune);
    s->b.answers_late = true;
    s->c = bench_tcp(1);
    s->md5 = s->b.key;
    assert_int_equal(stun_key_made(&s->sha256, STUN_ALGORITHM_SHA256, slice_str("turn"),
                                   slice_str("TANDBERG"), slice_str("secret")),
                     OK);
    (void)challenge(s);
    return s;
}

static void scene_free(struct scene *s)
{
    bench_stop(&s->b);
    free(s);
}

struct how {
    bool with_list, with_choice, by_hash, by_name;
    enum stun_hash hash; /* what it is signed with */
    uint8_t list[2], n_list, choice;
};

static const struct how by_sha256 = {
    .with_list = true,
    .with_choice = true,
    .by_name = true,
    .hash = STUN_SHA256,
    .list = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5},
    .n_list = 2,
    .choice = STUN_ALGORITHM_SHA256
};

/* An Allocate; the code, 0: success, 1: no reply (it waits for its key). */
static int ask(struct scene *s, struct how h, const struct stun_key *key)
{
    struct ask a;
    uint8_t hash[STUN_USERHASH_LEN];
    struct stun_key with = *key;
    with.hash = (uint8_t)h.hash;
    assert_int_equal(stun_userhash(hash, slice_str("turn"), slice_str("TANDBERG")), OK);
    ask_begin(&s->b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_TCP);
    if (h.by_name) {
        stun_put_bytes(&a.w, STUN_USERNAME, slice_str("turn"));
    }
    if (h.by_hash) {
        stun_put_bytes(&a.w, STUN_USERHASH, slice_of(hash, sizeof hash));
    }
    stun_put_bytes(&a.w, STUN_REALM, slice_str("TANDBERG"));
    stun_put_bytes(&a.w, STUN_NONCE, slice_of(s->b.nonce, s->b.nonce_len));
    if (h.with_list) {
        stun_put_algorithms(&a.w, STUN_PASSWORD_ALGORITHMS, slice_of(h.list, h.n_list));
    }
    if (h.with_choice) {
        stun_put_algorithms(&a.w, STUN_PASSWORD_ALGORITHM, slice_of(&h.choice, 1));
    }
    stun_put_integrity(&a.w, &with);
    return ask_end(&s->b, &a, &s->c, NULL);
}

/* Answers what waits with both of the user's keys; the code of the reply. */
static int answer(struct scene *s)
{
    struct turn_keys keys = {
        .key = {s->md5, s->sha256},
          .n = 2, .until_ms = UINT64_MAX
    };
    const struct turn_action *a = bench_did(&s->b, TURN_DO_FIND_KEY, 0);
    struct slice reason;
    uint16_t code;
    assert_non_null(a);
    memcpy(keys.name, "turn", 4);
    keys.name_len = 4;
    turn_server_keys(s->b.s, s->b.now_ms, a->key.ticket, &keys);
    bench_drain(&s->b);
    assert_true(s->b.sent_len > 0);
    struct stun_msg m = bench_sent(&s->b);
    return stun_get_error(&m, &code, &reason) == OK ? code : 0;
}

static void challenges_list_what_is_offered(void **state)
{
    (void)state;
    struct scene *s = scene_new(offer_both);
    struct slice list;
    struct stun_msg m = challenge(s);
    assert_int_equal(stun_get_bytes(&m, STUN_PASSWORD_ALGORITHMS, &list), OK);
    assert_true(slice_eq(list, slice_of("\0\2\0\0\0\1\0\0", 8)));
    assert_int_equal(stun_nonce_features(slice_of(s->b.nonce, s->b.nonce_len)),
                     STUN_FEATURE_ALGORITHMS);
    /* To an address that is not proven too, in the bytes that a shorter nonce saves. */
    s->c = bench_udp("192.0.2.7:1");
    m = challenge(s);
    assert_true(stun_has(&m, STUN_PASSWORD_ALGORITHMS));
    assert_int_equal(s->b.sent_len, 20 + 44 + 12 + 12 + 20 + 8);
    scene_free(s);
    s = scene_new(NULL);
    m = challenge(s);
    assert_false(stun_has(&m, STUN_PASSWORD_ALGORITHMS));
    assert_int_equal(stun_nonce_features(slice_of(s->b.nonce, s->b.nonce_len)), 0);
    scene_free(s);
}

static void sha256_is_answered_with_sha256(void **state)
{
    (void)state;
    struct scene *s = scene_new(offer_both);
    assert_int_equal(ask(s, by_sha256, &s->sha256), 1);
    assert_int_equal(bench_did(&s->b, TURN_DO_FIND_KEY, 0)->key.algorithm,
                     STUN_ALGORITHM_SHA256);
    assert_int_equal(answer(s), 0);
    struct stun_msg m = bench_sent(&s->b);
    assert_true(m.integrity_sha256 && !m.integrity);
    assert_int_equal(stun_check_integrity(&m, &s->sha256), OK);
    scene_free(s);
}

static void old_clients_go_on_as_ever(void **state)
{
    (void)state;
    const struct how old = {.by_name = true, .hash = STUN_SHA1};
    struct scene *s = scene_new(offer_both);
    assert_int_equal(ask(s, old, &s->md5), 1);
    assert_int_equal(answer(s), 0);
    struct stun_msg m = bench_sent(&s->b);
    assert_true(m.integrity && !m.integrity_sha256);
    assert_int_equal(stun_check_integrity(&m, &s->md5), OK);
    scene_free(s);
    /* Unless the operator wants no MD5. */
    s = scene_new(offer_sha256);
    assert_int_equal(ask(s, old, &s->md5), 401);
    assert_null(bench_did(&s->b, TURN_DO_FIND_KEY, 0));
    scene_free(s);
}

static void md5_by_choice_is_signed_with_sha256(void **state)
{
    (void)state;
    struct how h = by_sha256;
    struct scene *s = scene_new(offer_both);
    h.choice = STUN_ALGORITHM_MD5;
    assert_int_equal(ask(s, h, &s->md5), 1);
    assert_int_equal(answer(s), 0);
    struct stun_msg m = bench_sent(&s->b);
    assert_true(m.integrity_sha256 && !m.integrity);
    assert_int_equal(stun_check_integrity(&m, &s->md5), OK);
    scene_free(s);
}

/* The right password, but a key of the other algorithm. */
static void keys_of_the_other_algorithm_do_not_fit(void **state)
{
    (void)state;
    struct how h = by_sha256;
    struct scene *s = scene_new(offer_both);
    assert_int_equal(ask(s, h, &s->md5), 1);
    assert_int_equal(answer(s), 401);
    h = (struct how){.by_name = true, .hash = STUN_SHA256};
    assert_int_equal(ask(s, h, &s->sha256), 1);
    assert_int_equal(answer(s), 401);
    scene_free(s);
}

static void bidding_down_is_seen(void **state)
{
    (void)state;
    struct how rows[6];
    for (size_t i = 0; i < 6; i++) {
        rows[i] = by_sha256;
    }
    rows[0].with_list = false;
    rows[1].with_choice = false;
    rows[2].n_list = 1; /* somebody cut the list */
    rows[3].list[0] = STUN_ALGORITHM_MD5;
    rows[3].list[1] = STUN_ALGORITHM_SHA256;
    rows[4].choice = 99;
    rows[5].n_list = 0;
    for (size_t i = 0; i < 6; i++) {
        struct scene *s = scene_new(offer_both);
        assert_int_equal(ask(s, rows[i], &s->sha256), 400);
        assert_null(bench_did(&s->b, TURN_DO_FIND_KEY, 0));
        struct stun_msg m = bench_sent(&s->b);
        assert_false(stun_has(&m, STUN_NONCE) || stun_has(&m, STUN_REALM));
        scene_free(s);
    }
    /* MD5 was not offered. */
    struct scene *s = scene_new(offer_sha256);
    struct how h = by_sha256;
    h.n_list = 1;
    h.choice = STUN_ALGORITHM_MD5;
    assert_int_equal(ask(s, h, &s->md5), 400);
    h.choice = STUN_ALGORITHM_SHA256;
    assert_int_equal(ask(s, h, &s->sha256), 1);
    assert_int_equal(answer(s), 0);
    scene_free(s);
    /* A nonce from which somebody took the bit is not ours. */
    s = scene_new(offer_both);
    s->b.nonce[9] = 'A';
    h = (struct how){.by_name = true, .hash = STUN_SHA1};
    assert_int_equal(ask(s, h, &s->md5), 1);
    assert_int_equal(answer(s), 438);
    scene_free(s);
}

static void names_may_be_hashed(void **state)
{
    (void)state;
    struct how h = by_sha256;
    struct scene *s = scene_new(offer_both);
    h.by_name = false;
    h.by_hash = true;
    assert_int_equal(ask(s, h, &s->sha256), 1);
    const struct turn_action *a = bench_did(&s->b, TURN_DO_FIND_KEY, 0);
    assert_int_equal(a->key.username.len, 0);
    assert_int_equal(a->key.userhash.len, STUN_USERHASH_LEN);
    assert_int_equal(answer(s), 0);
    const struct turn_action *told = bench_did(&s->b, TURN_DO_REPORT, 0);
    assert_true(slice_eq(told->report.username, slice_str("turn")));
    /* The same request again, by name or by hash, is of the same user and needs no asking. */
    s->b.next_tid--;
    assert_int_equal(ask(s, h, &s->sha256), 0);
    s->b.next_tid--;
    assert_int_equal(ask(s, by_sha256, &s->sha256), 0);
    /* With the other algorithm the key is another one, which has to be asked for. */
    s->b.next_tid--;
    assert_int_equal(ask(s, (struct how){.by_hash = true}, &s->md5), 1);
    assert_int_equal(answer(s), 0);
    /* One of the two, not both and not neither. */
    h.by_name = true;
    assert_int_equal(ask(s, h, &s->sha256), 400);
    h.by_name = h.by_hash = false;
    assert_int_equal(ask(s, h, &s->sha256), 400);
    scene_free(s);
}

static void offer_and_send_away(struct turn_config *cfg)
{
    offer_both(cfg);
    cfg->max_allocations = 1;
    cfg->alternate[0] = bench_addr("203.0.113.4:3478");
    cfg->alternate[1] = bench_addr("[2001:db8::4]:3479");
    cfg->alternate_domain = slice_str("other.example");
}

static void who_is_sent_away(struct scene *s, const char *first, const char *second,
                             bool with_domain)
{
    struct stun_msg m = bench_sent(&s->b);
    struct addr a, b, want_a = bench_addr(first), want_b = bench_addr(second);
    struct slice domain;
    assert_int_equal(stun_get_nth_addr(&m, STUN_ALTERNATE_SERVER, 0, &a), OK);
    assert_int_equal(stun_get_nth_addr(&m, STUN_ALTERNATE_SERVER, 1, &b), OK);
    assert_true(addr_eq(&a, &want_a) && addr_eq(&b, &want_b));
    assert_int_equal(stun_get_bytes(&m, STUN_ALTERNATE_DOMAIN, &domain),
                     with_domain ? OK : ERR_NOTFOUND);
    assert_int_equal(stun_check_integrity(&m, with_domain ? &s->sha256 : &s->md5), OK);
}

/* RFC 8489 10: signed, the client's family first, and a domain only under SHA-256. */
static void who_cannot_be_served_is_sent_away(void **state)
{
    (void)state;
    struct scene *s = scene_new(offer_and_send_away);
    const struct how old = {.by_name = true, .hash = STUN_SHA1};
    assert_int_equal(ask(s, by_sha256, &s->sha256), 1);
    assert_int_equal(answer(s), 0);
    s->c = bench_tcp(2); /* the server is full now */
    assert_int_equal(ask(s, by_sha256, &s->sha256), 1);
    assert_int_equal(answer(s), 300);
    who_is_sent_away(s, "203.0.113.4:3478", "[2001:db8::4]:3479", true);
    assert_int_equal(ask(s, old, &s->md5), 1);
    assert_int_equal(answer(s), 300);
    who_is_sent_away(s, "203.0.113.4:3478", "[2001:db8::4]:3479", false);
    s->c.client = bench_addr("[2001:db8::7]:5000");
    assert_int_equal(ask(s, old, &s->md5), 1);
    assert_int_equal(answer(s), 300);
    who_is_sent_away(s, "[2001:db8::4]:3479", "203.0.113.4:3478", false);
    /* Nobody is sent away before his password is known to be right. */
    assert_int_equal(ask(s, by_sha256, &s->md5), 1);
    assert_int_equal(answer(s), 401);
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(challenges_list_what_is_offered),
        cmocka_unit_test(sha256_is_answered_with_sha256),
        cmocka_unit_test(old_clients_go_on_as_ever),
        cmocka_unit_test(md5_by_choice_is_signed_with_sha256),
        cmocka_unit_test(keys_of_the_other_algorithm_do_not_fit),
        cmocka_unit_test(bidding_down_is_seen),
        cmocka_unit_test(names_may_be_hashed),
        cmocka_unit_test(who_cannot_be_served_is_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
