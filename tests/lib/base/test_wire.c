/* The sticky cursors. */
#include "lib/base/wire.h"

#include "tests/unit.h"

static void numbers_go_both_ways(void **state)
{
    (void)state;
    uint8_t *buf = malloc(15);
    struct wr w = wr_over(buf, 15);
    wr_u8(&w, 0x01);
    wr_u16(&w, 0x0203);
    wr_u32(&w, 0x04050607);
    wr_u64(&w, 0x08090a0b0c0d0e0f);
    assert_int_equal(w.err, OK);
    for (size_t i = 0; i < 15; i++) {
        assert_int_equal(buf[i], i + 1);
    }
    struct rd r = rd_over(wr_done(&w));
    assert_int_equal(rd_u8(&r), 0x01);
    assert_int_equal(rd_u16(&r), 0x0203);
    assert_int_equal(rd_u32(&r), 0x04050607);
    assert_true(rd_u64(&r) == 0x08090a0b0c0d0e0f);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(r.err, OK);
    free(buf);
}

static void the_first_failed_read_sticks(void **state)
{
    (void)state;
    struct slice in = exact("\x01\x02\x03", 3);
    struct rd r = rd_over(in);
    assert_int_equal(rd_u32(&r), 0);
    assert_int_equal(r.err, ERR_SHORT);
    assert_int_equal(rd_u8(&r), 0);
    assert_int_equal(rd_left(&r), 0);
    assert_null(rd_take(&r, 1).p);
    r = rd_over(in);
    (void)rd_take(&r, SIZE_MAX);
    assert_int_equal(r.err, ERR_SHORT);
    exact_free(in);
}

static void the_first_failed_write_sticks(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 7; cap++) {
        uint8_t *buf = malloc(cap ? cap : 1);
        struct wr w = wr_over(buf, cap);
        wr_u32(&w, 1);
        wr_bytes(&w, slice_str("abc"));
        assert_int_equal(w.err, ERR_NOSPACE);
        assert_true(w.len <= cap);
        assert_int_equal(wr_done(&w).len, 0);
        wr_u8(&w, 1);
        assert_int_equal(w.err, ERR_NOSPACE);
        assert_null(wr_room(&w, cap + 1));
        free(buf);
    }
}

static void slices_end_where_they_end(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_from(slice_str("abc"), 1), slice_str("bc")));
    assert_int_equal(slice_from(slice_str("abc"), 4).len, 0);
    assert_true(slice_eq(slice_of(NULL, 0), slice_str("")));
    assert_false(slice_eq(slice_str("a"), slice_str("b")));
    assert_int_equal(slice_str(NULL).len, 0);
    assert_string_equal(err_text(OK), "ok");
    assert_string_equal(err_text(ERR_LIMIT), "a configured limit was reached");
    assert_string_equal(err_text(-99), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_go_both_ways),
        cmocka_unit_test(the_first_failed_read_sticks),
        cmocka_unit_test(the_first_failed_write_sticks),
        cmocka_unit_test(slices_end_where_they_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
