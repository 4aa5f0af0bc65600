/* STUN messages: the RFC's vectors, every truncation, every output too small. */
#include "lib/stun/msg.h"

#include "tests/hex.h"
#include "tests/unit.h"

/* RFC 5769 2.1 to 2.4. */
static const char rfc_request[] =
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a6836765920202000080014"
    "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
static const char rfc_response4[] =
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200008"
    "0001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
static const char rfc_response6[] =
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200014"
    "0002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275"
    "bfe3ed4180280004c8fb0b4c";
static const char rfc_long_term[] =
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe3"
    "82b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b"
    "6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
static const char rfc_key[] = "564f6b4a7862526c31526d5478556b2f57764a784274";
static const char rfc_long_term_key[] = "e8ca7ad59d5eb0518e312911d2dab2a9";

static const struct {
    const char *hex, *key, *mapped;
    bool has_fingerprint;
} vectors[] = {
    {rfc_request,   rfc_key,           NULL,                                           true },
    {rfc_response4, rfc_key,           "192.0.2.1:32853",                              true },
    {rfc_response6, rfc_key,           "[2001:db8:1234:5678:11:2233:4455:6677]:32853", true },
    {rfc_long_term, rfc_long_term_key, NULL,                                           false},
};

/* The worked MS-ICE2 check: controlling, with USE-CANDIDATE, and the answer to it. */
static const char ms_request[] =
    "000100582112a442101112131415161718191a1b002500000024000400"
    "6409ff802a00080123456789abcdef0006000c536b34423a636d7358000000"
    "80540004330000008070000400000002"
    "00080014eeb0deca48e5ddf39de7586bb5bc7cc3c2e04e6d8028000486998681";
static const char ms_response[] =
    "010100442112a442101112131415161718191a1b0020000800017cd2e112a65a"
    "0006000c536b34423a636d73580000008070000400000002"
    "000800143874"
    "07292c39b5db81710123eeaf9fcd8e113a6280280004f8c9c960";
static const char ms_password[] = "PwdOfRemotePeer0123456789";

static size_t load(const char *hex, uint8_t out[256])
{
    return unhex(hex, out, 256);
}

static struct stun_key key_of(struct slice password)
{
    struct stun_key key;
    assert_int_equal(stun_key_short_term(&key, password), OK);
    return key;
}

static void the_rfc_vectors_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint8_t raw[256], pw[64];
        struct slice in = exact(raw, load(vectors[i].hex, raw));
        struct stun_key key = key_of(slice_of(pw, unhex(vectors[i].key, pw, sizeof pw)));
        struct stun_msg m;
        assert_int_equal(stun_parse(&m, in, &stun_wire_rfc8489), OK);
        assert_int_equal(m.method, STUN_BINDING);
        assert_int_equal(stun_check_integrity(&m, &key), OK);
        assert_int_equal(stun_fingerprint_ok(&m), vectors[i].has_fingerprint);
        if (vectors[i].mapped) {
            struct addr a;
            char text[ADDR_TEXT_MAX];
            assert_int_equal(stun_get_addr(&m, STUN_XOR_MAPPED_ADDRESS, &a), OK);
            assert_string_equal(addr_text(&a, text), vectors[i].mapped);
        }
        key.b[0] ^= 1;
        assert_int_equal(stun_check_integrity(&m, &key), ERR_AUTH);
        exact_free(in);
    }
}

static void the_long_term_key_is_the_rfcs(void **state)
{
    (void)state;
    struct stun_key key;
    uint8_t want[16];
    (void)unhex(vectors[3].key, want, sizeof want);
    assert_int_equal(stun_key_long_term(&key,
                                        slice_str("\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83"
                                                  "\x83\xe3\x82\xaf\xe3\x82\xb9"),
                                        slice_str("example.org"), slice_str("TheMatrIX")),
                     OK);
    assert_memory_equal(key.b, want, sizeof want);
}

static void a_cut_message_is_never_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint8_t raw[256];
        size_t len = load(vectors[i].hex, raw);
        for (size_t n = 0; n < len; n++) {
            struct stun_msg m;
            struct slice in = exact(raw, n);
            assert_int_equal(stun_parse(&m, in, &stun_wire_rfc8489), ERR_SHORT);
            exact_free(in);
            if (n < 20 || n % 4) {
                continue;
            }
            /* The same, with a header that says so: whole attributes or an error. */
            uint8_t copy[256];
            memcpy(copy, raw, n);
            copy[2] = 0;
            copy[3] = (uint8_t)(n - 20);
            in = exact(copy, n);
            int err = stun_parse(&m, in, &stun_wire_rfc8489);
            assert_true(err == OK || err == ERR_SHORT);
            assert_false(err == OK && stun_fingerprint_ok(&m));
            exact_free(in);
        }
        raw[len] = 0;
        struct stun_msg m;
        assert_int_equal(stun_parse(&m, slice_of(raw, len + 1), &stun_wire_rfc8489),
                         ERR_MALFORMED);
    }
}

static struct stun_tid a_tid(uint8_t first)
{
    struct stun_tid tid = {.len = 12};
    for (uint8_t i = 0; i < 12; i++) {
        tid.b[i] = (uint8_t)(first + i);
    }
    return tid;
}

static int write_ms_request(uint8_t *buf, size_t cap, struct slice *out)
{
    struct stun_writer s;
    struct stun_tid tid = a_tid(0x10);
    struct stun_key key = key_of(slice_str(ms_password));
    stun_begin(&s, buf, cap, &stun_wire_ms_ice2, STUN_REQUEST, STUN_BINDING, &tid);
    stun_put_flag(&s, STUN_USE_CANDIDATE);
    stun_put_u32(&s, STUN_PRIORITY, 6556159);
    stun_put_u64(&s, STUN_ICE_CONTROLLING, 0x0123456789abcdef);
    stun_put_bytes(&s, STUN_USERNAME, slice_str("Sk4B:cmsX"));
    stun_put_bytes(&s, STUN_CANDIDATE_IDENTIFIER, slice_str("3"));
    stun_put_u32(&s, STUN_IMPLEMENTATION_VERSION, 2);
    stun_put_integrity(&s, &key);
    stun_put_fingerprint(&s);
    return stun_end(&s, out);
}

static void the_ms_ice2_check_is_written_byte_for_byte(void **state)
{
    (void)state;
    uint8_t buf[256], want[256];
    size_t len = load(ms_request, want);
    struct slice out, text;
    assert_int_equal(len, 108);
    assert_int_equal(write_ms_request(buf, sizeof buf, &out), OK);
    assert_int_equal(out.len, len);
    assert_memory_equal(buf, want, len);
    struct stun_msg m;
    struct stun_key key = key_of(slice_str(ms_password));
    assert_int_equal(stun_parse(&m, out, &stun_wire_ms_ice2), OK);
    assert_int_equal(stun_check_integrity(&m, &key), OK);
    assert_true(stun_fingerprint_ok(&m));
    assert_int_equal(stun_get_bytes(&m, STUN_USERNAME, &text), OK);
    assert_true(slice_eq(text, slice_str("Sk4B:cmsX")));
    /* The same bytes under the RFC's rule have another HMAC. */
    assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
    assert_int_equal(stun_check_integrity(&m, &key), ERR_AUTH);
    len = load(ms_response, want);
    assert_int_equal(len, 88);
    assert_int_equal(stun_parse(&m, slice_of(want, len), &stun_wire_ms_ice2), OK);
    assert_int_equal(stun_check_integrity(&m, &key), OK);
    assert_true(stun_fingerprint_ok(&m));
}

static void a_buffer_too_small_is_an_error(void **state)
{
    (void)state;
    for (size_t cap = 0; cap <= 108; cap++) {
        uint8_t *buf = malloc(cap ? cap : 1);
        struct slice out;
        assert_int_equal(write_ms_request(buf, cap, &out), cap < 108 ? ERR_NOSPACE : OK);
        assert_int_equal(out.len, cap < 108 ? 0 : 108);
        free(buf);
    }
}

static void what_follows_the_integrity_is_ignored(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct stun_writer s;
    struct stun_tid tid = a_tid(1);
    struct stun_key key = key_of(slice_str("pw"));
    struct slice out;
    uint32_t v;
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_REQUEST, STUN_REFRESH, &tid);
    stun_put_u32(&s, STUN_LIFETIME, 600);
    stun_put_integrity(&s, &key);
    stun_put_u32(&s, STUN_PRIORITY, 1);
    wr_u32(&s.w, 0x7ff00000); /* unknown, comprehension required */
    stun_put_fingerprint(&s);
    assert_int_equal(stun_end(&s, &out), OK);
    struct stun_msg m;
    assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
    assert_int_equal(stun_check_integrity(&m, &key), OK);
    assert_int_equal(stun_get_u32(&m, STUN_LIFETIME, &v), OK);
    assert_int_equal(v, 600);
    assert_int_equal(stun_get_u32(&m, STUN_PRIORITY, &v), ERR_NOTFOUND);
    assert_false(stun_has(&m, STUN_PRIORITY));
    assert_int_equal(m.n_unknown, 0);
    assert_true(stun_fingerprint_ok(&m));
}

static void unknown_attributes_are_listed(void **state)
{
    (void)state;
    uint8_t buf[256], answer[256];
    struct stun_writer s;
    struct stun_tid tid = a_tid(1);
    struct slice out, list;
    struct stun_msg m;
    uint16_t code;
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_REQUEST, STUN_BINDING, &tid);
    wr_u32(&s.w, 0x7ff00000);
    wr_u32(&s.w, 0xfff00000); /* comprehension optional */
    assert_int_equal(stun_end(&s, &out), OK);
    assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
    assert_int_equal(m.n_unknown, 1);
    stun_begin(&s, answer, sizeof answer, &stun_wire_rfc8489, STUN_ERROR, m.method, &m.tid);
    stun_put_error(&s, 420, "Unknown Attribute");
    stun_put_unknown(&s, &m);
    assert_int_equal(stun_end(&s, &out), OK);
    assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
    assert_int_equal(stun_get_error(&m, &code, &list), OK);
    assert_int_equal(code, 420);
    assert_true(slice_eq(list, slice_str("Unknown Attribute")));
    assert_int_equal(stun_get_bytes(&m, STUN_UNKNOWN_ATTRIBUTES, &list), OK);
    assert_true(slice_eq(list, slice_of("\x7f\xf0", 2)));
}

static void an_address_error_has_its_family(void **state)
{
    (void)state;
    uint8_t buf[64], family;
    struct stun_writer s;
    struct stun_tid tid = a_tid(1);
    struct slice out, reason;
    struct stun_msg m;
    uint16_t code;
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_SUCCESS, STUN_ALLOCATE, &tid);
    stun_put_addr_error(&s, ADDR_IP6, 440, "No");
    assert_int_equal(stun_end(&s, &out), OK);
    assert_int_equal(out.len, 20 + 4 + 8);
    static const uint8_t value[] = {0x80, 0x01, 0, 6, 2, 0, 4, 40, 'N', 'o'};
    assert_memory_equal(buf + 20, value, sizeof value);
    assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
    assert_int_equal(stun_get_addr_error(&m, &family, &code), OK);
    assert_true(family == ADDR_IP6 && code == 440);
    assert_int_equal(stun_get_error(&m, &code, &reason), ERR_NOTFOUND);
}

static void methods_and_classes_go_both_ways(void **state)
{
    (void)state;
    for (unsigned method = 0; method < 0x1000; method += 7) {
        for (unsigned cls = 0; cls < 4; cls++) {
            uint8_t buf[20];
            struct stun_writer s;
            struct stun_tid tid = a_tid(9);
            struct slice out;
            struct stun_msg m;
            stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, (enum stun_class)cls,
                       (uint16_t)method, &tid);
            assert_int_equal(stun_end(&s, &out), OK);
            assert_true(stun_looks_like(out));
            assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489), OK);
            assert_int_equal(m.method, method);
            assert_int_equal(m.cls, cls);
        }
    }
}

static void too_many_attributes_are_refused(void **state)
{
    (void)state;
    uint8_t buf[256];
    for (int n = STUN_ATTRS_MAX; n <= STUN_ATTRS_MAX + 1; n++) {
        struct stun_writer s;
        struct stun_tid tid = a_tid(1);
        struct slice out;
        struct stun_msg m;
        stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_REQUEST, STUN_BINDING, &tid);
        for (int i = 0; i < n; i++) {
            stun_put_flag(&s, STUN_DONT_FRAGMENT);
        }
        assert_int_equal(stun_end(&s, &out), OK);
        assert_int_equal(stun_parse(&m, out, &stun_wire_rfc8489),
                         n > STUN_ATTRS_MAX ? ERR_LIMIT : OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_vectors_check),
        cmocka_unit_test(the_long_term_key_is_the_rfcs),
        cmocka_unit_test(a_cut_message_is_never_whole),
        cmocka_unit_test(the_ms_ice2_check_is_written_byte_for_byte),
        cmocka_unit_test(a_buffer_too_small_is_an_error),
        cmocka_unit_test(what_follows_the_integrity_is_ignored),
        cmocka_unit_test(unknown_attributes_are_listed),
        cmocka_unit_test(an_address_error_has_its_family),
        cmocka_unit_test(methods_and_classes_go_both_ways),
        cmocka_unit_test(too_many_attributes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
