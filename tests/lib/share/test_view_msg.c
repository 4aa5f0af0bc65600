/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>

#include "lib/share/view_msg.h"

enum {
    TYPES = 4
};

/* One message of each type; its bytes end up in `w`. */
static void sample_put(struct wr *w, size_t which)
{
    static const uint8_t pixels[2 * 3 * 4] = {1, 2, 3, 4};
    struct viewer_update u = {.seq = 0x01020304, .lossless = true, .width = 640, .height = 480};
    struct view_rect rect[2] = {
        {.r = {.w = 640, .h = 64}, .format = VIEW_JPEG, .bytes = slice_str("jpeg")},
        {.r = {.x = 639, .y = 479, .w = 1, .h = 1},                        .format = VIEW_PNG  },
    };
    struct view_msg m[TYPES] = {
        {0          },
        {            .type = VIEW_CURSOR, .width = 2, .height = 3, .x = 1, .y = 2},
        { .type = VIEW_POINTER,     .x = 600, .y = 65535},
        {                .type = VIEW_ACK,.seq = 0xfffffffe},
    };
    m[1].pixels = slice_of(pixels, sizeof(pixels));
    u.n = 2;
    if (which > 0) {
        view_put(w, &m[which]);
        return;
    }
    view_put_update(w, &u);
    view_put_rect(w, &rect[0]);
    view_put_rect(w, &rect[1]);
}

static size_t sample_len(size_t which)
{
    uint8_t buf[256];
    struct wr w = wr_over(buf, sizeof(buf));
    sample_put(&w, which);
    assert_int_equal(w.err, OK);
    return w.len;
}

/* Its bytes in a block of exactly their size. */
static uint8_t *sample_bytes(size_t which, size_t len)
{
    uint8_t buf[256];
    struct wr w = wr_over(buf, sizeof(buf));
    sample_put(&w, which);
    uint8_t *p = malloc(len ? len : 1);
    assert_non_null(p);
    memcpy(p, buf, len);
    return p;
}

static void an_update_comes_back(void **state)
{
    (void)state;
    size_t len = sample_len(0);
    uint8_t *p = sample_bytes(0, len);
    struct view_msg m;
    assert_int_equal(len, VIEW_HEAD_LEN + 2 * VIEW_RECT_LEN + 4);
    assert_int_equal(view_parse(&m, slice_of(p, len)), OK);
    assert_int_equal(m.type, VIEW_UPDATE);
    assert_int_equal(m.seq, 0x01020304);
    assert_true(m.lossless);
    assert_int_equal(m.width, 640);
    assert_int_equal(m.height, 480);
    assert_int_equal(m.n_rects, 2);
    assert_int_equal(m.rect[0].r.w, 640);
    assert_int_equal(m.rect[0].format, VIEW_JPEG);
    assert_true(slice_eq(m.rect[0].bytes, slice_str("jpeg")));
    assert_int_equal(m.rect[1].r.x, 639);
    assert_int_equal(m.rect[1].r.y, 479);
    assert_int_equal(m.rect[1].format, VIEW_PNG);
    assert_int_equal(m.rect[1].bytes.len, 0);
    free(p);
}

static void the_small_ones_come_back(void **state)
{
    (void)state;
    static const size_t lens[TYPES] = {0, VIEW_CURSOR_LEN + 24, VIEW_POINTER_LEN, VIEW_ACK_LEN};
    struct view_msg m;
    for (size_t i = 1; i < TYPES; i++) {
        assert_int_equal(sample_len(i), lens[i]);
        uint8_t *p = sample_bytes(i, lens[i]);
        assert_int_equal(view_parse(&m, slice_of(p, lens[i])), OK);
        assert_int_equal(m.type, i + 1);
        if (m.type == VIEW_CURSOR) {
            assert_int_equal(m.width, 2);
            assert_int_equal(m.height, 3);
            assert_int_equal(m.x, 1);
            assert_int_equal(m.y, 2);
            assert_int_equal(m.pixels.len, 24);
            assert_int_equal(m.pixels.p[3], 4);
        }
        assert_int_equal(m.seq, m.type == VIEW_ACK ? 0xfffffffe : 0);
        assert_int_equal(m.x, m.type == VIEW_POINTER ? 600 : m.type == VIEW_CURSOR);
        free(p);
    }
}

static void every_cut_and_every_tail_is_refused(void **state)
{
    (void)state;
    struct view_msg m;
    for (size_t i = 0; i < TYPES; i++) {
        size_t len = sample_len(i);
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *p = sample_bytes(i, cut);
            assert_int_not_equal(view_parse(&m, slice_of(p, cut)), OK);
            free(p);
        }
        uint8_t *p = sample_bytes(i, len + 1);
        assert_int_equal(view_parse(&m, slice_of(p, len + 1)), ERR_MALFORMED);
        free(p);
    }
}

static void every_output_too_small_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        size_t len = sample_len(i);
        for (size_t cap = 0; cap < len; cap++) {
            uint8_t *p = malloc(cap ? cap : 1);
            assert_non_null(p);
            struct wr w = wr_over(p, cap);
            sample_put(&w, i);
            assert_int_equal(w.err, ERR_NOSPACE);
            free(p);
        }
    }
}

static void lies_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t which, at;
        uint8_t value;
    } lies[] = {
        {0, 0,                                     0   }, /* type */
        {3, 0,                                     5   },
        {0, 1,                                     2   }, /* flags */
        {0, 10,                                    1   }, /* 258 rectangles */
        {0, VIEW_HEAD_LEN,                         1   }, /* x: sticks out at the right */
        {0, VIEW_HEAD_LEN + 6,                     0xff}, /* h */
        {0, VIEW_HEAD_LEN + 8,                     3   }, /* format */
        {0, VIEW_HEAD_LEN + 8,                     0   },
        {0, VIEW_HEAD_LEN + 9,                     0xff}, /* length */
        {0, VIEW_HEAD_LEN + 2 * VIEW_RECT_LEN - 4, 0   }, /* second one 0 wide */
        {1, 1,                                     0x10}, /* cursor too wide */
        {1, 2,                                     1   }, /* smaller than its pixels */
    };
    struct view_msg m;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        size_t len = sample_len(lies[i].which);
        uint8_t *p = sample_bytes(lies[i].which, len);
        p[lies[i].at] = lies[i].value;
        assert_int_not_equal(view_parse(&m, slice_of(p, len)), OK);
        free(p);
    }
    struct view_msg update = {.type = VIEW_UPDATE};
    uint8_t buf[16];
    struct wr w = wr_over(buf, sizeof(buf));
    view_put(&w, &update);
    assert_int_equal(w.err, ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_comes_back),
        cmocka_unit_test(the_small_ones_come_back),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(every_output_too_small_is_seen),
        cmocka_unit_test(lies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
