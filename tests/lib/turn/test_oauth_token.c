/* Tokens of third-party authorization: what is sealed comes out, and nothing else does. */
#include "lib/base/crypto.h"

#include "lib/turn/oauth_token.h"

#include "tests/hex.h"
#include "tests/unit.h"

static const uint8_t nonce[12] = "h4j3k2l2n4b5";

static struct oauth_key key_of(uint8_t len)
{
    struct oauth_key k = {.len = len, .until_unix_s = UINT64_MAX};
    memset(k.b, 7, len);
    return k;
}

static struct oauth_token a_token(uint8_t key_len)
{
    struct oauth_token t = {
        .mac_key = {.len = key_len}, .made_unix_s = 1700000000, .lifetime_s = 3600};
    memset(t.mac_key.b, 9, key_len);
    return t;
}

static struct slice seal(const struct oauth_token *t, const struct oauth_key *k, uint8_t *buf,
                         size_t cap)
{
    struct wr w = wr_over(buf, cap);
    assert_int_equal(oauth_token_seal(t, k, slice_str("turn.example"), nonce, &w), OK);
    return wr_done(&w);
}

static void tokens_go_round(void **state)
{
    (void)state;
    static const uint8_t lens[] = {1, 20, 32, STUN_KEY_MAX};
    for (size_t i = 0; i < 8; i++) {
        struct oauth_key k = key_of(i % 2 ? 16 : 32);
        struct oauth_token t = a_token(lens[i / 2]), back;
        uint8_t buf[256];
        struct slice sealed = seal(&t, &k, buf, sizeof buf);
        struct slice in = exact(sealed.p, sealed.len);
        assert_int_equal(sealed.len, 2 + 12 + 2 + lens[i / 2] + 8 + 4 + 16);
        assert_int_equal(oauth_token_open(&back, &k, slice_str("turn.example"), in), OK);
        assert_memory_equal(&back.mac_key, &t.mac_key, sizeof t.mac_key);
        assert_int_equal(back.made_unix_s, t.made_unix_s);
        assert_int_equal(back.lifetime_s, t.lifetime_s);
        exact_free(in);
    }
}

static void nothing_else_opens(void **state)
{
    (void)state;
    struct oauth_key k = key_of(32), other = key_of(32), shorter = key_of(16);
    struct oauth_token t = a_token(20), back;
    uint8_t buf[256];
    struct slice name = slice_str("turn.example"), sealed = seal(&t, &k, buf, sizeof buf);
    other.b[31] ^= 1;
    assert_int_equal(oauth_token_open(&back, &other, name, sealed), ERR_AUTH);
    assert_int_equal(oauth_token_open(&back, &shorter, name, sealed), ERR_AUTH);
    /* A token for another server. */
    assert_int_equal(oauth_token_open(&back, &k, slice_str("turn.exampl"), sealed), ERR_AUTH);
    assert_int_equal(oauth_token_open(&back, &k, slice_of(NULL, 0), sealed), ERR_AUTH);
    for (size_t n = 0; n < sealed.len; n++) {
        struct slice cut = exact(sealed.p, n);
        assert_int_not_equal(oauth_token_open(&back, &k, name, cut), OK);
        assert_int_equal(back.mac_key.len, 0);
        exact_free(cut);
        buf[n] ^= 0x80; /* also the lengths: much more than there is */
        assert_int_not_equal(oauth_token_open(&back, &k, name, sealed), OK);
        buf[n] ^= 0x80;
    }
    assert_int_equal(oauth_token_open(&back, &k, name, sealed), OK);
}

/* The length says what it likes, also less than there is: only one is a nonce's. */
static void cve_2026_43994_no_nonce_of_another_length_is_read(void **state)
{
    (void)state;
    struct oauth_key k = key_of(32);
    struct oauth_token back;
    uint8_t token[OAUTH_TOKEN_MAX] = {0};
    for (size_t n = 0; n <= UINT16_MAX; n++) {
        token[0] = (uint8_t)(n >> 8);
        token[1] = (uint8_t)n;
        struct slice whole = exact(token, sizeof token);
        int err = oauth_token_open(&back, &k, slice_str("turn.example"), whole);
        assert_true(n == 12 ? err != OK : err == ERR_MALFORMED);
        assert_int_equal(back.mac_key.len, 0);
        exact_free(whole);
    }
}

/* Sealed with the right key, and yet no token: whoever seals may make mistakes. */
static void what_was_sealed_is_checked_too(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int err;
    } rows[] = {
        {"0001"
         "aa"
         "000065535f420000"
         "00000e10", OK           },
        {"0000"
         "000065535f420000"
         "00000e10", ERR_MALFORMED},
        {"0002"
         "aa"
         "000065535f420000"
         "00000e10", ERR_MALFORMED},
        {"ffff"
         "aa"
         "000065535f420000"
         "00000e10", ERR_MALFORMED},
        {"0001"
         "aa"
         "000065535f420000"
         "00000e10"
         "00",       ERR_MALFORMED},
        {"0001"
         "aa"
         "000065535f420000"
         "00000e",   ERR_MALFORMED},
        {"00",                ERR_MALFORMED},
        {"",                  ERR_MALFORMED},
    };
    struct oauth_key k = key_of(32);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t plain[64], buf[256];
        struct oauth_token back;
        struct wr w = wr_over(buf, sizeof buf);
        const struct aes_gcm g = {.key = slice_of(k.b, 32),
                                  .nonce = slice_of(nonce, 12),
                                  .aad = slice_str("turn.example")};
        wr_u16(&w, 12);
        wr_bytes(&w, g.nonce);
        assert_int_equal(
            aes_gcm_seal(&g, slice_of(plain, unhex(rows[i].hex, plain, sizeof plain)), &w), OK);
        assert_int_equal(oauth_token_open(&back, &k, g.aad, wr_done(&w)), rows[i].err);
    }
    /* A key of more bytes than any HMAC wants. */
    uint8_t plain[2 + 65 + 12] = {0, 65}, buf[256];
    struct oauth_token back;
    struct wr w = wr_over(buf, sizeof buf);
    const struct aes_gcm g = {.key = slice_of(k.b, 32), .nonce = slice_of(nonce, 12)};
    wr_u16(&w, 12);
    wr_bytes(&w, g.nonce);
    assert_int_equal(aes_gcm_seal(&g, slice_of(plain, sizeof plain), &w), OK);
    assert_int_not_equal(oauth_token_open(&back, &k, g.aad, wr_done(&w)), OK);
}

static size_t n_keys_at(uint64_t unix_s, uint64_t key_until_s, uint64_t *ends_ms)
{
    struct oauth_key k = key_of(32);
    struct oauth_token t = a_token(20);
    uint8_t buf[256];
    struct slice sealed = seal(&t, &k, buf, sizeof buf);
    struct turn_keys keys;
    const struct oauth_now now = {
        .unix_s = unix_s, .ms = 5000, .name = slice_str("turn.example")};
    k.until_unix_s = key_until_s;
    oauth_token_keys(&keys, &k, &now, sealed);
    *ends_ms = keys.ends_ms;
    assert_true(keys.n == 0 || keys.key[0].algorithm == STUN_ALGORITHM_NONE);
    return keys.n;
}

static void a_token_is_good_for_its_time(void **state)
{
    (void)state;
    const uint64_t made = 1700000000;
    uint64_t ends_ms;
    assert_int_equal(n_keys_at(made, UINT64_MAX, &ends_ms), 1);
    assert_int_equal(ends_ms, 5000 + 3600 * 1000);
    assert_int_equal(n_keys_at(made + 3599, UINT64_MAX, &ends_ms), 1);
    assert_int_equal(ends_ms, 5000 + 1000);
    assert_int_equal(n_keys_at(made + 3600, UINT64_MAX, &ends_ms), 0);
    assert_int_equal(n_keys_at(made - 5, UINT64_MAX, &ends_ms), 1); /* clocks differ */
    assert_int_equal(n_keys_at(made - 6, UINT64_MAX, &ends_ms), 0);
    /* Nor longer than the key that it is sealed with. */
    assert_int_equal(n_keys_at(made, made, &ends_ms), 0);
    assert_int_equal(n_keys_at(made, made + 1, &ends_ms), 1);
}

#define KEY_32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_16 "AAECAwQFBgcICQoLDA0ODw=="

static void keys_are_read_from_text_and_rows(void **state)
{
    (void)state;
    static const struct {
        const char *row;
        uint8_t len; /* 0: not a key */
        uint64_t until_s;
    } rows[] = {
        {KEY_32 "|A256GCM|0|0",              32, UINT64_MAX},
        {KEY_32 "||0|0",                     32, UINT64_MAX},
        {KEY_32 "|A128GCM|1700000000|86400", 16, 1700086400},
        {KEY_16 "|A128GCM|0|0",              16, UINT64_MAX},
        {KEY_16 "|A256GCM|0|0",              0,  0         },
        {KEY_32 "|AES-256-CBC|0|0",          0,  0         },
        {KEY_32 "|A256GCM|0",                0,  0         },
        {KEY_32 "|A256GCM|x|0",              0,  0         },
        {"*|A256GCM|0|0",                    0,  0         },
        {"",                                 0,  0         },
    };
    struct oauth_key k;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int err = oauth_key_from_row(&k, slice_str(rows[i].row));
        assert_int_equal(err, rows[i].len ? OK : ERR_MALFORMED);
        assert_int_equal(k.len, rows[i].len);
        assert_true(rows[i].len == 0 || k.until_unix_s == rows[i].until_s);
    }
    assert_int_equal(oauth_key_from_text(&k, slice_str(KEY_32)), OK);
    assert_true(k.len == 32 && k.b[31] == 31);
    assert_int_equal(oauth_key_from_text(&k, slice_str(KEY_16)), OK);
    assert_int_equal(oauth_key_from_text(&k, slice_str("AAEC")), ERR_MALFORMED);
    assert_int_equal(oauth_key_from_text(&k, slice_str("")), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_go_round),
        cmocka_unit_test(nothing_else_opens),
        cmocka_unit_test(cve_2026_43994_no_nonce_of_another_length_is_read),
        cmocka_unit_test(what_was_sealed_is_checked_too),
        cmocka_unit_test(a_token_is_good_for_its_time),
        cmocka_unit_test(keys_are_read_from_text_and_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
