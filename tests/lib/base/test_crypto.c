/* Digests and HMACs against published vectors. */
#include "lib/base/crypto.h"

#include "tests/hex.h"
#include "tests/unit.h"

static void check(const char *want, const uint8_t *got, size_t len)
{
    uint8_t bytes[64];
    assert_int_equal(unhex(want, bytes, sizeof bytes), len);
    assert_memory_equal(got, bytes, len);
}

static void digests_match(void **state)
{
    (void)state;
    uint8_t out[32];
    assert_int_equal(md5(slice_str("abc"), out), OK);
    check("900150983cd24fb0d6963f7d28e17f72", out, MD5_LEN); /* RFC 1321 A.5 */
    assert_int_equal(md5(slice_of(NULL, 0), out), OK);
    check("d41d8cd98f00b204e9800998ecf8427e", out, MD5_LEN);
    assert_int_equal(sha256(slice_str("abc"), out), OK);
    check("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", out, SHA256_LEN);
    assert_int_equal(crc32_iso(slice_str("123456789")), 0xcbf43926);
    assert_int_equal(crc32_iso(slice_of(NULL, 0)), 0);
}

/* RFC 2202 3 and RFC 4231 4: the same inputs, but for the length of the last key. */
static void hmacs_match(void **state)
{
    (void)state;
    uint8_t b0[20], aa[131], dd[50], out[32];
    memset(b0, 0x0b, sizeof b0);
    memset(aa, 0xaa, sizeof aa);
    memset(dd, 0xdd, sizeof dd);
    const char *large = "Test Using Larger Than Block-Size Key - Hash Key First";
    const struct {
        struct slice key1, key256, text;
        const char *sha1, *sha256;
    } v[] = {
        {slice_of(b0,       20),               slice_of(b0,                               20),              slice_str("Hi There"),
         "b617318655057264e28bc0b6fb378c8ef146be00",                                                                                                                              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {slice_str("Jefe"), slice_str("Jefe"), slice_str("what do ya want for nothing?"),
         "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",                                                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {slice_of(aa,      20),                    slice_of(aa,                               20),              slice_of(dd,                                                                                                                            50),
         "125d7342b9ac11cd91a39af48aa17b4f63f175d3",                                                         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {slice_of(aa,              80),       slice_of(aa,                                      131), slice_str(large),
         "aa4ae5e15272d00e95705637ce8a3b55ed402112",                                                          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"                                                                   },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        /* In one piece, and cut in three with an empty one between. */
        for (size_t cut = 0; cut < v[i].text.len; cut += 3) {
            struct hmac_piece in = {
                {slice_of(v[i].text.p, cut), slice_of(NULL, 0), slice_from(v[i].text, cut)}
            };
            assert_int_equal(hmac_sha1(v[i].key1, &in, out), OK);
            check(v[i].sha1, out, SHA1_LEN);
            assert_int_equal(hmac_sha256(v[i].key256, &in, out), OK);
            check(v[i].sha256, out, SHA256_LEN);
        }
    }
    struct hmac_piece none = {{{0}}};
    assert_int_equal(hmac_sha1(slice_of(NULL, 0), &none, out), OK);
    check("fbdb1d1b18aa6c08324b7d64b71fb76370690e1d", out, SHA1_LEN);
}

static void secrets_compare_and_go_away(void **state)
{
    (void)state;
    char secret[] = "secret";
    assert_true(secret_eq(slice_str("abc"), slice_str("abc")));
    assert_false(secret_eq(slice_str("abc"), slice_str("abd")));
    assert_false(secret_eq(slice_str("abc"), slice_str("abcd")));
    assert_true(secret_eq(slice_of(NULL, 0), slice_str("")));
    secret_wipe(secret, sizeof secret);
    assert_memory_equal(secret, "\0\0\0\0\0\0", 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_match),
        cmocka_unit_test(hmacs_match),
        cmocka_unit_test(secrets_compare_and_go_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
