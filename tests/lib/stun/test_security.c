/* Nonce cookies, password algorithms, user hashes, MESSAGE-INTEGRITY-SHA256. */
#include "lib/base/crypto.h"

#include "lib/stun/integrity.h"
#include "lib/stun/security.h"

#include "tests/hex.h"
#include "tests/unit.h"

/* RFC 8489 B.1 up to MESSAGE-INTEGRITY-SHA256. As printed there, the header's length counts the
 * header itself, and so does the HMAC: the one printed, and the one of the message set right.
 */
static const char rfc_text[] =
    "000100882112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679363473"
    "410000000014000b6578616d706c652e6f726700";
static const char rfc_mac[] =
    "e4686c8f0edeb59013e07090010a93efccbccc544c0a45d9f830aa6d6f735a01";
static const char right_mac[] =
    "234112fbd4e27f983eb4032836f998216f5b23f8d927753fbc4f882bfbdf0dec";
#define RFC_USERNAME "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9"
#define RFC_REALM    "example.org"
#define RFC_PASSWORD "TheMatrIX"

static struct stun_key rfc_key(void)
{
    struct stun_key key;
    assert_int_equal(stun_key_made(&key, STUN_ALGORITHM_SHA256, slice_str(RFC_USERNAME),
                                   slice_str(RFC_REALM), slice_str(RFC_PASSWORD)),
                     OK);
    return key;
}

static void the_rfc_vector_checks(void **state)
{
    (void)state;
    uint8_t raw[256], want[SHA256_LEN], mac[SHA256_LEN];
    struct stun_key key = rfc_key();
    struct slice text = slice_of(raw, unhex(rfc_text, raw, sizeof raw));
    size_t len;
    assert_int_equal(stun_integrity(&stun_wire_rfc8489, &key, text, 20 + 0x9c, mac, &len), OK);
    assert_int_equal(unhex(rfc_mac, want, sizeof want), len);
    assert_memory_equal(mac, want, sizeof want);
}

static void the_vector_set_right_is_a_message(void **state)
{
    (void)state;
    uint8_t raw[256], hash[STUN_USERHASH_LEN];
    struct stun_key key = rfc_key();
    size_t n = unhex(rfc_text, raw, sizeof raw);
    n += unhex("001c0020", raw + n, sizeof raw - n);
    n += unhex(right_mac, raw + n, sizeof raw - n);
    struct slice in = exact(raw, n), got;
    struct stun_msg m;
    assert_int_equal(stun_parse(&m, in, &stun_wire_rfc8489), OK);
    assert_int_equal(m.n_unknown, 0);
    assert_true(stun_is_signed(&m) && !m.integrity);
    assert_int_equal(stun_userhash(hash, slice_str(RFC_USERNAME), slice_str(RFC_REALM)), OK);
    assert_int_equal(stun_get_bytes(&m, STUN_USERHASH, &got), OK);
    assert_true(slice_eq(got, slice_of(hash, sizeof hash)));
    assert_int_equal(stun_check_integrity(&m, &key), OK);
    key.b[31] ^= 1;
    assert_int_equal(stun_check_integrity(&m, &key), ERR_AUTH);
    exact_free(in);
}

static void the_sha256_key_is_the_hash_of_three_texts(void **state)
{
    (void)state;
    struct stun_key key;
    uint8_t want[SHA256_LEN];
    assert_int_equal(sha256(slice_str("user:realm:pass"), want), OK);
    assert_int_equal(stun_key_made(&key, STUN_ALGORITHM_SHA256, slice_str("user"),
                                   slice_str("realm"), slice_str("pass")),
                     OK);
    assert_int_equal(key.len, SHA256_LEN);
    assert_int_equal(key.algorithm, STUN_ALGORITHM_SHA256);
    assert_memory_equal(key.b, want, sizeof want);
    static const uint8_t big[2000];
    assert_int_equal(stun_key_made(&key, STUN_ALGORITHM_SHA256, slice_of(big, sizeof big),
                                   slice_str("realm"), slice_str("pass")),
                     ERR_LIMIT);
}

static void features_stand_in_the_nonce(void **state)
{
    (void)state;
    static const struct {
        uint32_t features;
        const char *text;
    } rows[] = {
        {0,                                                "obMatJos2AAAA"},
        {STUN_FEATURE_ALGORITHMS,                          "obMatJos2gAAA"},
        {STUN_FEATURE_ANONYMITY,                           "obMatJos2QAAA"},
        {STUN_FEATURE_ALGORITHMS | STUN_FEATURE_ANONYMITY, "obMatJos2wAAA"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[32];
        for (size_t cap = 0; cap <= STUN_NONCE_COOKIE_LEN; cap++) {
            struct wr w = wr_over(buf, cap);
            stun_put_nonce_cookie(&w, rows[i].features);
            assert_int_equal(w.err, cap < STUN_NONCE_COOKIE_LEN ? ERR_NOSPACE : OK);
        }
        assert_memory_equal(buf, rows[i].text, STUN_NONCE_COOKIE_LEN);
        assert_int_equal(stun_nonce_features(slice_str(rows[i].text)), rows[i].features);
    }
    assert_int_equal(stun_nonce_features(slice_str("obMatJos2gAAArest")),
                     STUN_FEATURE_ALGORITHMS);
    /* None of these begins with a cookie. */
    assert_int_equal(stun_nonce_features(slice_str("obMatJos2gAA")), 0);
    assert_int_equal(stun_nonce_features(slice_str("obMatJos3gAAA")), 0);
    assert_int_equal(stun_nonce_features(slice_str("obMatJos2g*AA")), 0);
    assert_int_equal(stun_nonce_features(slice_str("obMatJos2gA==")), 0);
    assert_int_equal(stun_nonce_features(slice_str("")), 0);
}

static enum stun_algorithm of_hex(const char *hex)
{
    uint8_t raw[64];
    struct slice in = exact(raw, unhex(hex, raw, sizeof raw));
    enum stun_algorithm a = stun_algorithm_of(in);
    exact_free(in);
    return a;
}

static void the_first_known_algorithm_is_taken(void **state)
{
    (void)state;
    assert_int_equal(of_hex("0002000000010000"), STUN_ALGORITHM_SHA256);
    assert_int_equal(of_hex("0001000000020000"), STUN_ALGORITHM_MD5);
    /* Unknown ones, with parameters and padding, are passed over. */
    assert_int_equal(of_hex("0063000361626300"
                            "00020000"),
                     STUN_ALGORITHM_SHA256);
    /* Known ones have no parameters. */
    assert_int_equal(of_hex("00020004616263640001"
                            "0000"),
                     STUN_ALGORITHM_MD5);
    assert_int_equal(of_hex(""), STUN_ALGORITHM_NONE);
    assert_int_equal(of_hex("00630000"), STUN_ALGORITHM_NONE);
    static const char whole[] = "0063000361626300"
                                "00020000";
    for (size_t n = 2; n < sizeof whole - 1; n += 2) {
        char cut[sizeof whole];
        memcpy(cut, whole, n);
        cut[n] = 0;
        assert_int_equal(of_hex(cut), STUN_ALGORITHM_NONE);
    }
}

static void lists_are_written_and_compared(void **state)
{
    (void)state;
    static const uint8_t both[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};
    uint8_t buf[64];
    struct stun_writer s;
    struct stun_tid tid = {.len = 12};
    struct slice out, value;
    struct stun_msg m;
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_ERROR, STUN_ALLOCATE, &tid);
    stun_put_algorithms(&s, STUN_PASSWORD_ALGORITHMS, slice_of(both, 2));
    assert_int_equal(stun_end(&s, &out), OK);
    assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
    assert_int_equal(stun_get_bytes(&m, STUN_PASSWORD_ALGORITHMS, &value), OK);
    assert_true(slice_eq(value, slice_of("\0\2\0\0\0\1\0\0", 8)));
    assert_true(stun_algorithms_are(value, slice_of(both, 2)));
    assert_false(stun_algorithms_are(value, slice_of(both, 1)));
    assert_false(stun_algorithms_are(slice_of(value.p, 7), slice_of(both, 2)));
    assert_false(stun_algorithms_are(slice_of("\0\1\0\0\0\2\0\0", 8), slice_of(both, 2)));
}

/* The order of the attributes, one letter each: L LIFETIME, P PRIORITY, 1 and 2 the integrity
 * attributes, x one of them that is wrong, U unknown and comprehension-required. */
static struct slice build(uint8_t *buf, size_t cap, const char *order, size_t mac_len)
{
    struct stun_writer s;
    struct stun_tid tid = {.len = 12};
    struct stun_key key = {.b = "key", .len = 3};
    struct slice out;
    stun_begin(&s, buf, cap, &stun_wire_rfc8489, STUN_REQUEST, STUN_REFRESH, &tid);
    for (; *order; order++) {
        switch (*order) {
        case 'L': stun_put_u32(&s, STUN_LIFETIME, 600); break;
        case 'P': stun_put_u32(&s, STUN_PRIORITY, 1); break;
        case 'U': wr_u32(&s.w, 0x7ff00000); break;
        case 'x':
        case 'y':
            key.b[0] = 'x';
            key.hash = *order == 'x' ? STUN_SHA1 : STUN_SHA256;
            stun_put_integrity(&s, &key);
            key.b[0] = 'k';
            break;
        default:
            key.hash = *order == '1' ? STUN_SHA1 : STUN_SHA256;
            stun_put_integrity(&s, &key);
            break;
        }
    }
    if (mac_len < SHA256_LEN) { /* cut the last one, signed for its new length */
        uint8_t mac[SHA256_LEN];
        size_t at = s.w.len - 4 - SHA256_LEN;
        buf[2] = 0;
        buf[3] = (uint8_t)(at + 4 + mac_len - 20);
        struct hmac_piece text = {.part = {slice_of(buf, at)}};
        assert_int_equal(hmac_sha256(slice_of(key.b, 3), &text, mac), OK);
        buf[at + 3] = (uint8_t)mac_len;
        memcpy(buf + at + 4, mac, mac_len);
        s.w.len = at + 4 + mac_len;
    }
    assert_int_equal(stun_end(&s, &out), OK);
    return out;
}

static void order_decides_what_counts(void **state)
{
    (void)state;
    static const struct {
        const char *order;
        int check;
        bool has_priority;
        uint16_t n_unknown;
    } rows[] = {
        {"LP1",  OK,           true,  0},
        {"LP2",  OK,           true,  0},
        {"L1P2", OK,           false, 0}, /* between the two nothing counts */
        {"L1UP", OK,           false, 0},
        {"L2UP", OK,           false, 0},
        {"LU2P", OK,           false, 1},
        {"Lx2",  OK,           false, 0}, /* RFC 8489 9.2.4: the stronger one is checked */
        {"L1y",  ERR_AUTH,     false, 0},
        {"L2x",  OK,           false, 0}, /* after SHA-256 the other one is ignored */
        {"Ly1",  ERR_AUTH,     false, 0},
        {"LP",   ERR_NOTFOUND, true,  0},
    };
    struct stun_key key = {.b = "key", .len = 3};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[256];
        struct stun_msg m;
        uint32_t v;
        struct slice in = build(buf, sizeof buf, rows[i].order, SHA256_LEN);
        assert_int_equal(stun_parse(&m, in, &stun_wire_rfc8489), OK);
        assert_int_equal(stun_check_integrity(&m, &key), rows[i].check);
        assert_int_equal(stun_get_u32(&m, STUN_LIFETIME, &v), OK);
        assert_int_equal(stun_has(&m, STUN_PRIORITY), rows[i].has_priority);
        assert_int_equal(m.n_unknown, rows[i].n_unknown);
    }
}

static void only_who_allows_it_takes_a_cut_mac(void **state)
{
    (void)state;
    struct stun_key key = {.b = "key", .len = 3};
    for (size_t len = 12; len < SHA256_LEN; len++) {
        uint8_t buf[256];
        struct stun_msg m;
        bool is_allowed = len >= 16 && len % 4 == 0;
        struct slice in;
        if (len % 4 != 0) {
            continue; /* not on a word's edge: the builder cannot */
        }
        in = build(buf, sizeof buf, "L2", len);
        assert_int_equal(stun_parse(&m, in, &stun_wire_rfc8489),
                         is_allowed ? OK : ERR_MALFORMED);
        if (is_allowed) {
            assert_int_equal(stun_check_integrity(&m, &key), ERR_AUTH);
            assert_int_equal(stun_check_integrity_cut(&m, &key, len), OK);
            assert_int_equal(stun_check_integrity_cut(&m, &key, 0), OK);
            assert_int_equal(stun_check_integrity_cut(&m, &key, len + 4), ERR_AUTH);
        }
    }
    /* A length that is no number of words is malformed. */
    uint8_t buf[256];
    struct stun_msg m;
    struct slice in = build(buf, sizeof buf, "L2", 20);
    buf[in.len - 20 - 1] = 18;
    assert_int_equal(stun_parse(&m, in, &stun_wire_rfc8489), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_vector_checks),
        cmocka_unit_test(the_vector_set_right_is_a_message),
        cmocka_unit_test(the_sha256_key_is_the_hash_of_three_texts),
        cmocka_unit_test(features_stand_in_the_nonce),
        cmocka_unit_test(the_first_known_algorithm_is_taken),
        cmocka_unit_test(lists_are_written_and_compared),
        cmocka_unit_test(order_decides_what_counts),
        cmocka_unit_test(only_who_allows_it_takes_a_cut_mac),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
