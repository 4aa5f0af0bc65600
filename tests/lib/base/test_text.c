/* Text out of and into cursors. */
#include "lib/base/text.h"

#include "tests/unit.h"

static void printed_text_fits_or_is_an_error(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 16; cap++) {
        uint8_t *buf = malloc(cap);
        struct wr w = wr_over(buf, cap);
        wr_text(&w, "%s-%d", "abc", 42);
        /* Six letters, and room for the end mark that vsnprintf writes. */
        assert_int_equal(w.err, cap > 6 ? OK : ERR_NOSPACE);
        assert_int_equal(w.len, cap > 6 ? 6 : 0);
        wr_text(&w, "%s", "0123456789");
        assert_int_equal(w.err, ERR_NOSPACE);
        free(buf);
    }
}

static void numbers_are_whole_and_bounded(void **state)
{
    (void)state;
    uint64_t v;
    assert_int_equal(text_u64(slice_str("0"), 0, &v), OK);
    assert_int_equal(text_u64(slice_str("007"), 7, &v), OK);
    assert_true(v == 7);
    assert_int_equal(text_u64(slice_str("18446744073709551615"), UINT64_MAX, &v), OK);
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1x", "256", "0x1", "999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(text_u64(slice_str(bad[i]), 255, &v), ERR_MALFORMED);
        assert_true(v == 0);
    }
    assert_int_equal(text_u64(slice_str("18446744073709551616"), UINT64_MAX, &v),
                     ERR_MALFORMED);
    assert_int_equal(text_u64(slice_str("1"), 0, &v), ERR_MALFORMED);
}

static void words_ignore_case(void **state)
{
    (void)state;
    assert_true(text_is(slice_str("InVite"), "invite"));
    assert_false(text_is(slice_str("invites"), "invite"));
    assert_false(text_is(slice_str("invit"), "invite"));
    assert_true(text_starts(slice_str("Content-Length: 1"), "content-length:"));
    assert_false(text_starts(slice_str("con"), "content"));
    assert_false(text_is(slice_str("[nvite"), "{nvite"));
}

static void splitting_and_trimming(void **state)
{
    (void)state;
    struct slice s = slice_str("a,b,,c");
    assert_true(slice_eq(text_split(&s, ','), slice_str("a")));
    assert_true(slice_eq(text_split(&s, ','), slice_str("b")));
    assert_true(slice_eq(text_split(&s, ','), slice_str("")));
    assert_true(slice_eq(text_split(&s, ','), slice_str("c")));
    assert_int_equal(s.len, 0);
    assert_int_equal(text_split(&s, ',').len, 0);
    s = slice_str("  a   b ");
    assert_true(slice_eq(text_split(&s, ' '), slice_str("a")));
    assert_true(slice_eq(text_split(&s, ' '), slice_str("b")));
    assert_int_equal(text_split(&s, ' ').len, 0);
    assert_true(slice_eq(text_trim(slice_str(" \t a b \r\n")), slice_str("a b")));
    assert_int_equal(text_trim(slice_str(" \r\n")).len, 0);
}

static void base64_goes_both_ways(void **state)
{
    (void)state;
    static const char *const v[][2] = {
  /* RFC 4648 10 */
        {"",       ""        },
        {"f",      "Zg=="    },
        {"fo",     "Zm8="    },
        {"foo",    "Zm9v"    },
        {"foob",   "Zm9vYg=="},
        {"fooba",  "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"}
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        uint8_t out[16];
        size_t len;
        struct wr w = wr_over(out, sizeof out);
        text_put_base64(&w, slice_str(v[i][0]));
        assert_true(slice_eq(wr_done(&w), slice_str(v[i][1])));
        struct slice in = exact(v[i][1], strlen(v[i][1]));
        size_t want = strlen(v[i][0]);
        for (size_t cap = 0; cap <= want; cap++) {
            uint8_t *tight = malloc(cap ? cap : 1);
            int err = text_base64(in, tight, cap, &len);
            assert_int_equal(err, cap == want ? OK : ERR_NOSPACE);
            assert_int_equal(len, cap == want ? want : 0);
            assert_memory_equal(tight, v[i][0], len);
            free(tight);
        }
        exact_free(in);
    }
    uint8_t out[16];
    size_t len;
    assert_int_equal(text_base64(slice_str("Zg"), out, sizeof out, &len), OK); /* unpadded */
    assert_int_equal(text_base64(slice_str("Z"), out, sizeof out, &len), ERR_MALFORMED);
    assert_int_equal(text_base64(slice_str("Zm 9"), out, sizeof out, &len), ERR_MALFORMED);
    assert_int_equal(text_base64(slice_of("Zm\0v", 4), out, sizeof out, &len), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_text_fits_or_is_an_error),
        cmocka_unit_test(numbers_are_whole_and_bounded),
        cmocka_unit_test(words_ignore_case),
        cmocka_unit_test(splitting_and_trimming),
        cmocka_unit_test(base64_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
