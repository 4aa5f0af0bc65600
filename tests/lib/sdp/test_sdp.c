/* The line walk. */
#include "lib/sdp/sdp.h"

#include "tests/unit.h"

static void walks_both_line_ends(void **state)
{
    (void)state;
    static const char text[] = "v=0\r\na=mid:1\na=rtcp-mux\n\n=x\nm=video 0 X 1";
    struct rd r = rd_over(slice_str(text));
    struct sdp_line l;
    static const struct {
        char type;
        const char *key, *value, *raw;
    } want[] = {
        {'v', "",         "0",           "v=0\r\n"      },
        {'a', "mid",      "1",           "a=mid:1\n"    },
        {'a', "rtcp-mux", "",            "a=rtcp-mux\n" },
        {0,   "",         "",            "\n"           },
        {0,   "",         "",            "=x\n"         },
        {'m', "",         "video 0 X 1", "m=video 0 X 1"},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_true(sdp_next(&r, &l));
        assert_int_equal(l.type, want[i].type);
        assert_true(slice_eq(l.key, slice_str(want[i].key)));
        assert_true(slice_eq(l.value, slice_str(want[i].value)));
        assert_true(slice_eq(l.raw, slice_str(want[i].raw)));
    }
    assert_false(sdp_next(&r, &l));
}

static void hidden_line_ends_break_a_line(void **state)
{
    (void)state;
    struct sdp_line l;
    struct rd r = rd_over(slice_str("a=mid:1\ra=crypto:1\r\n"));
    assert_true(sdp_next(&r, &l));
    assert_int_equal(l.type, 0);
    r = rd_over(slice_of("a=mid:\0\n", 8));
    assert_true(sdp_next(&r, &l));
    assert_int_equal(l.type, 0);
}

static void every_cut_stays_inside(void **state)
{
    (void)state;
    static const char text[] = "v=0\r\na=x:y\r\na=b\nm=";
    for (size_t n = 0; n < sizeof text; n++) {
        struct slice s = exact(text, n);
        struct rd r = rd_over(s);
        struct sdp_line l;
        size_t sum = 0;
        while (sdp_next(&r, &l)) {
            sum += l.raw.len;
        }
        assert_int_equal(sum, n); /* nothing is lost */
        exact_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_both_line_ends),
        cmocka_unit_test(hidden_line_ends_break_a_line),
        cmocka_unit_test(every_cut_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
