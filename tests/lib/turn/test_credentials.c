/* TURN REST's passwords and keys in hexadecimal, against what openssl's command line says. */
#include "lib/base/crypto.h"

#include "lib/turn/credentials.h"

#include "tests/unit.h"

static const struct {
    const char *name;
    enum stun_hash hash;
    const char *password;
} vectors[] = {
    {"1700000000:alice", STUN_SHA1,   "Cd/49soE35ICqcJF/bCTn8Z4OyE="                },
    {"1700000000:alice", STUN_SHA256, "EuME0Xh0HllnbpbObfs8aBsd78Vr1EMwxArqbyCrGl8="},
    {"1700000000",       STUN_SHA1,   "CWyHi3zCeWqXBir9thl4m+iZPRY="                },
    {"1700000000",       STUN_SHA256, "bPm3umkFB1D/6To/diuRJFJIGuru3Y0PaHdhRgDLads="},
};

static void passwords_are_those_of_others(void **state)
{
    (void)state;
    struct slice secret = slice_str("north"), realm = slice_str("TANDBERG");
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct slice name = slice_str(vectors[i].name), want = slice_str(vectors[i].password);
        /* Each size that is too small, in blocks of that size. */
        for (size_t cap = 0; cap <= want.len; cap++) {
            struct slice room = exact(want.p, cap);
            struct wr w = wr_over((uint8_t *)(uintptr_t)room.p, cap);
            int err = credential_password(&w, vectors[i].hash, secret, name);
            assert_int_equal(err, cap < want.len ? ERR_NOSPACE : OK);
            assert_true(cap < want.len || slice_eq(wr_done(&w), want));
            exact_free(room);
        }
        struct stun_key made, long_term;
        struct credential_maker maker = {
            .hash = vectors[i].hash, .algorithm = STUN_ALGORITHM_MD5, .secret = secret};
        assert_int_equal(credential_key(&made, &maker, name, realm), OK);
        assert_int_equal(stun_key_long_term(&long_term, name, realm, want), OK);
        assert_int_equal(made.len, MD5_LEN);
        assert_memory_equal(made.b, long_term.b, MD5_LEN);
        maker.algorithm = STUN_ALGORITHM_SHA256;
        assert_int_equal(credential_key(&made, &maker, name, realm), OK);
        assert_int_equal(stun_key_made(&long_term, STUN_ALGORITHM_SHA256, name, realm, want),
                         OK);
        assert_int_equal(made.len, SHA256_LEN);
        assert_memory_equal(made.b, long_term.b, SHA256_LEN);
    }
}

static void names_with_a_time_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_timed;
        uint64_t expires_s;
    } cases[] = {
        {"1700000000",                  true,  1700000000},
        {"1700000000:alice",            true,  1700000000},
        {"1700000000:",                 true,  1700000000},
        {"1700000000:a:b",              true,  1700000000},
        {"0:x",                         true,  0         },
        {"18446744073709551615:x",      true,  UINT64_MAX},
        {"18446744073709551616:x",      false, 0         },
        {"99999999999999999999999999x", false, 0         },
        {"",                            false, 0         },
        {":alice",                      false, 0         },
        {"alice",                       false, 0         },
        {"alice:1700000000",            false, 0         },
        {"-1:alice",                    false, 0         },
        {"+1700000000:alice",           false, 0         },
        {" 1700000000:alice",           false, 0         },
        {"1700000000 :alice",           false, 0         },
        {"0x65:alice",                  false, 0         },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t expires_s;
        struct slice name = exact(cases[i].name, strlen(cases[i].name));
        assert_int_equal(credential_is_timed(name, &expires_s), cases[i].is_timed);
        if (cases[i].is_timed) {
            assert_int_equal(expires_s, cases[i].expires_s);
        }
        exact_free(name);
    }
}

static void keys_go_to_hexadecimal_and_back(void **state)
{
    (void)state;
    static const char hex[] =
        "00112233445566778899aabbccddeeff0102030405060708090a0b0c0d0e0fF0F";
    for (size_t len = 0; len < sizeof hex; len++) {
        struct stun_key key;
        struct slice text = exact(hex, len);
        int err = credential_key_from_hex(&key, text);
        assert_int_equal(err, len == 32 || len == 64 ? OK : ERR_MALFORMED);
        exact_free(text);
        if (err) {
            assert_int_equal(key.len, 0);
            continue;
        }
        uint8_t out[64];
        for (size_t cap = 0; cap <= len; cap++) {
            struct wr w = wr_over(out, cap);
            credential_key_to_hex(&w, &key);
            assert_int_equal(w.err, cap < len ? ERR_NOSPACE : OK);
        }
        assert_int_equal(key.b[1], 0x11);
        assert_int_equal(key.len, len / 2);
        assert_memory_equal(out, hex, 32);
    }
    for (size_t at = 0; at < 32; at++) {
        static const char bad[] = "gG/:@`-. x";
        for (size_t i = 0; i < sizeof bad; i++) { /* with the end mark */
            char text[33] = "00112233445566778899aabbccddeeff";
            struct stun_key key;
            text[at] = bad[i];
            assert_int_equal(credential_key_from_hex(&key, slice_of(text, 32)), ERR_MALFORMED);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_are_those_of_others),
        cmocka_unit_test(names_with_a_time_are_told_apart),
        cmocka_unit_test(keys_go_to_hexadecimal_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
