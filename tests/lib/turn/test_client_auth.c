/* The client's credentials with a server that knows RFC 8489, bidding down, and the way to
 * another server. */
#include "lib/stun/security.h"
#include "lib/turn/client.h"

#include "tests/unit.h"

#define REALM       "TANDBERG"
#define COOKIE_BOTH "obMatJos2gAAArest"
#define COOKIE_HASH "obMatJos2wAAArest"
#define COOKIE_NONE "obMatJos2AAAArest"

struct script {
    struct turn_client *c;
    struct stun_key md5, sha256;
    struct turn_client_action a; /* the last one */
    struct stun_msg m;           /* of a TURN_CLIENT_SEND */
    uint8_t sent[2048];
};

static void random_bytes(void *out, size_t len, void *ctx)
{
    uint8_t *next = ctx;
    memset(out, ++*next, len);
}

static int setup(void **state)
{
    static uint8_t seed;
    const struct turn_client_env env = {.random = random_bytes, .ctx = &seed};
    struct turn_client_config cfg = {.username = slice_str("turn"),
                                     .password = slice_str("secret"),
                                     .lifetime_s = 600,
                                     .keepalive_ms = 5000,
                                     .answer_ms = 10000,
                                     .max_data = 2};
    struct script *s = calloc(1, sizeof *s);
    assert_non_null(s);
    *state = s;
    assert_int_equal(addr_parse(slice_str("192.0.2.1:3478"), &cfg.server), OK);
    assert_int_equal(turn_client_new(&s->c, &cfg, &env), OK);
    assert_int_equal(stun_key_made(&s->md5, STUN_ALGORITHM_MD5, cfg.username, slice_str(REALM),
                                   cfg.password),
                     OK);
    assert_int_equal(stun_key_made(&s->sha256, STUN_ALGORITHM_SHA256, cfg.username,
                                   slice_str(REALM), cfg.password),
                     OK);
    return 0;
}

static int teardown(void **state)
{
    struct script *s = *state;
    turn_client_free(s->c);
    free(s);
    return 0;
}

/* The next action that is no report; false: there is none. */
static bool next(struct script *s)
{
    do {
        if (!turn_client_next(s->c, &s->a)) {
            return false;
        }
    } while (s->a.what == TURN_CLIENT_REPORT);
    if (s->a.what == TURN_CLIENT_SEND) {
        memcpy(s->sent, s->a.bytes.p, s->a.bytes.len);
        assert_int_equal(
            stun_parse(&s->m, slice_of(s->sent, s->a.bytes.len), &stun_wire_rfc8489), OK);
    }
    return true;
}

static void expect_send(struct script *s)
{
    assert_true(next(s));
    assert_int_equal(s->a.what, TURN_CLIENT_SEND);
}

static void expect_failed(struct script *s, const char *word)
{
    assert_true(next(s));
    assert_int_equal(s->a.what, TURN_CLIENT_FAILED);
    assert_non_null(strstr(s->a.why, word));
}

struct reply {
    uint16_t code; /* 0: success, with addresses */
    const char *nonce;
    const uint8_t *list; /* enum stun_algorithm */
    size_t n_list;
    const struct stun_key *key; /* NULL: unsigned */
    const char *others[3];      /* ALTERNATE-SERVER */
};

static void answer(struct script *s, struct reply r)
{
    uint8_t buf[1024];
    struct stun_writer w;
    struct slice out;
    struct addr a;
    size_t used;
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, r.code ? STUN_ERROR : STUN_SUCCESS,
               s->m.method, &s->m.tid);
    if (r.nonce) {
        stun_put_bytes(&w, STUN_NONCE, slice_str(r.nonce));
        stun_put_bytes(&w, STUN_REALM, slice_str(REALM));
    }
    if (r.n_list > 0) {
        stun_put_algorithms(&w, STUN_PASSWORD_ALGORITHMS, slice_of(r.list, r.n_list));
    }
    if (r.code) {
        stun_put_error(&w, r.code, "No");
    } else {
        assert_int_equal(addr_parse(slice_str("192.0.2.1:24000"), &a), OK);
        stun_put_u32(&w, STUN_LIFETIME, 600);
        stun_put_addr(&w, STUN_XOR_RELAYED_ADDRESS, &a);
    }
    for (size_t i = 0; i < 3 && r.others[i]; i++) {
        assert_int_equal(addr_parse(slice_str(r.others[i]), &a), OK);
        stun_put_addr(&w, STUN_ALTERNATE_SERVER, &a);
    }
    if (r.key) {
        stun_put_integrity(&w, r.key);
    }
    assert_int_equal(stun_end(&w, &out), OK);
    struct slice in = exact(out.p, out.len);
    assert_int_equal(turn_client_recv(s->c, 1000, in, &used), OK);
    exact_free(in);
}

static const uint8_t both[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};
static const uint8_t md5_first[] = {STUN_ALGORITHM_MD5, STUN_ALGORITHM_SHA256};
static const uint8_t unknown[] = {99};

static void start(struct script *s, struct reply challenge)
{
    turn_client_start(s->c, 1000);
    expect_send(s);
    assert_false(stun_has(&s->m, STUN_PASSWORD_ALGORITHM) || stun_is_signed(&s->m));
    challenge.code = 401;
    answer(s, challenge);
}

static void the_first_known_algorithm_is_used(void **state)
{
    struct script *s = *state;
    struct slice list, choice;
    start(s, (struct reply){.nonce = COOKIE_BOTH, .list = both, .n_list = 2});
    expect_send(s);
    assert_true(s->m.integrity_sha256 && !s->m.integrity);
    assert_int_equal(stun_check_integrity(&s->m, &s->sha256), OK);
    assert_int_equal(stun_get_bytes(&s->m, STUN_PASSWORD_ALGORITHMS, &list), OK);
    assert_true(stun_algorithms_are(list, slice_of(both, 2)));
    assert_int_equal(stun_get_bytes(&s->m, STUN_PASSWORD_ALGORITHM, &choice), OK);
    assert_int_equal(stun_algorithm_of(choice), STUN_ALGORITHM_SHA256);
    assert_true(stun_has(&s->m, STUN_USERNAME));
    answer(s, (struct reply){.key = &s->sha256});
    expect_send(s); /* the Refresh that confirms: with all of it again */
    assert_true(s->m.integrity_sha256 && stun_has(&s->m, STUN_PASSWORD_ALGORITHMS));
    answer(s, (struct reply){.key = &s->sha256});
    assert_true(next(s) && s->a.what == TURN_CLIENT_ALLOCATED);
}

static void md5_when_the_server_prefers_it_but_signed_with_sha256(void **state)
{
    struct script *s = *state;
    struct stun_key strong = s->md5;
    start(s, (struct reply){.nonce = COOKIE_BOTH, .list = md5_first, .n_list = 2});
    expect_send(s);
    assert_true(s->m.integrity_sha256 && !s->m.integrity);
    assert_int_equal(stun_check_integrity(&s->m, &s->md5), OK);
    /* An answer signed with SHA-1 is not the server's: as if it had not come. */
    answer(s, (struct reply){.key = &s->md5});
    assert_false(next(s));
    strong.hash = STUN_SHA256;
    answer(s, (struct reply){.key = &strong});
    expect_send(s);
}

static void old_servers_see_what_they_always_saw(void **state)
{
    struct script *s = *state;
    start(s, (struct reply){.nonce = "plain"});
    expect_send(s);
    assert_true(s->m.integrity && !s->m.integrity_sha256);
    assert_int_equal(stun_check_integrity(&s->m, &s->md5), OK);
    assert_false(stun_has(&s->m, STUN_PASSWORD_ALGORITHM) ||
                 stun_has(&s->m, STUN_PASSWORD_ALGORITHMS));
}

static void a_list_that_is_missing_was_taken_out(void **state)
{
    struct script *s = *state;
    start(s, (struct reply){.nonce = COOKIE_BOTH});
    expect_failed(s, "somebody took");
}

static void a_list_that_goes_away_later_too(void **state)
{
    struct script *s = *state;
    start(s, (struct reply){.nonce = COOKIE_BOTH, .list = both, .n_list = 2});
    expect_send(s);
    answer(s, (struct reply){.code = 438, .nonce = "plain"});
    expect_failed(s, "nonce");
}

static void unknown_algorithms_end_it(void **state)
{
    struct script *s = *state;
    start(s, (struct reply){.nonce = COOKIE_BOTH, .list = unknown, .n_list = 1});
    expect_failed(s, "password algorithm");
}

static void the_name_is_hidden_when_asked_for(void **state)
{
    struct script *s = *state;
    uint8_t hash[STUN_USERHASH_LEN];
    struct slice got;
    start(s, (struct reply){.nonce = COOKIE_HASH, .list = both, .n_list = 2});
    expect_send(s);
    assert_false(stun_has(&s->m, STUN_USERNAME));
    assert_int_equal(stun_get_bytes(&s->m, STUN_USERHASH, &got), OK);
    assert_int_equal(stun_userhash(hash, slice_str("turn"), slice_str(REALM)), OK);
    assert_true(slice_eq(got, slice_of(hash, sizeof hash)));
}

static void an_unsigned_400_is_not_believed(void **state)
{
    struct script *s = *state;
    start(s, (struct reply){.nonce = COOKIE_BOTH, .list = both, .n_list = 2});
    expect_send(s);
    answer(s, (struct reply){.code = 400});
    assert_false(next(s));
    answer(s, (struct reply){.key = &s->sha256});
    expect_send(s);
}

static void it_goes_where_it_is_sent(void **state)
{
    struct script *s = *state;
    char text[ADDR_TEXT_MAX];
    start(s, (struct reply){.nonce = COOKIE_NONE});
    expect_send(s);
    answer(
        s,
        (struct reply){
            .code = 300, .key = &s->md5, .others = {"[2001:db8::2]:3478", "192.0.2.2:3479"}
    });
    assert_true(next(s) && s->a.what == TURN_CLIENT_REDIRECT);
    assert_string_equal(addr_text(&s->a.server, text), "192.0.2.2:3479"); /* our family */
    assert_false(next(s));
    /* From the beginning: nothing is sent of what was meant for the first one. */
    start(s, (struct reply){.nonce = COOKIE_BOTH, .list = both, .n_list = 2});
    expect_send(s);
    assert_int_equal(stun_check_integrity(&s->m, &s->sha256), OK);
}

static void an_unsigned_300_counts_before_the_password_only(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, 1000);
    expect_send(s);
    answer(s, (struct reply){.code = 300, .others = {"192.0.2.2:3479"}});
    assert_true(next(s) && s->a.what == TURN_CLIENT_REDIRECT);
    start(s, (struct reply){.nonce = COOKIE_NONE});
    expect_send(s);
    answer(s, (struct reply){.code = 300, .others = {"192.0.2.3:3479"}});
    expect_failed(s, "does not know the password");
}

static void nobody_leads_it_round(void **state)
{
    struct script *s = *state;
    static const char *const way[] = {"192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1",
                                      "192.0.2.5:1", "192.0.2.6:1"};
    for (size_t i = 0; i < 4; i++) {
        turn_client_start(s->c, 1000);
        expect_send(s);
        answer(s, (struct reply){.code = 300, .others = {way[i]}});
        assert_true(next(s) && s->a.what == TURN_CLIENT_REDIRECT);
    }
    turn_client_start(s->c, 1000);
    expect_send(s);
    answer(s, (struct reply){.code = 300, .others = {way[4]}});
    expect_failed(s, "circles");
}

static void back_to_the_first_is_no_way(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, 1000);
    expect_send(s);
    answer(s, (struct reply){.code = 300, .others = {"192.0.2.1:3478"}});
    expect_failed(s, "circles");
}

static void a_300_names_somebody(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, 1000);
    expect_send(s);
    answer(s, (struct reply){.code = 300});
    expect_failed(s, "names none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_known_algorithm_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(md5_when_the_server_prefers_it_but_signed_with_sha256,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(old_servers_see_what_they_always_saw, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_that_is_missing_was_taken_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_that_goes_away_later_too, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_algorithms_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(the_name_is_hidden_when_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unsigned_400_is_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(it_goes_where_it_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unsigned_300_counts_before_the_password_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nobody_leads_it_round, setup, teardown),
        cmocka_unit_test_setup_teardown(back_to_the_first_is_no_way, setup, teardown),
        cmocka_unit_test_setup_teardown(a_300_names_somebody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
