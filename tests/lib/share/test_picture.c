/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>

#include "lib/share/picture.h"

static uint8_t *pixels_new(const struct picture *p, uint8_t value)
{
    size_t n = (size_t)p->width * p->height * 4;
    uint8_t *px = malloc(n);
    assert_non_null(px);
    memset(px, value, n);
    return px;
}

static void resize_marks_every_tile_and_clears(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p);
    assert_int_equal(picture_resize(&p, 7, 130, 64), OK);
    assert_int_equal(p.tiles_x, 3);
    assert_int_equal(p.tiles_y, 1);
    uint64_t first = p.version;
    assert_true(first > 0);
    assert_int_equal(picture_resize(&p, 9, 64, 65), OK);
    assert_true(p.version > first);
    assert_int_equal(p.tiles_x, 1);
    assert_int_equal(p.tiles_y, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(p.tile[i].version, p.version);
        assert_int_equal(p.tile[i].changed_ms, 9);
    }
    for (size_t i = 0; i < 64 * 65 * 4; i++) {
        assert_int_equal(p.pixels[i], 0);
    }
    picture_done(&p);
    assert_int_equal(p.width, 0);
}

static void impossible_sizes_change_nothing(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p);
    assert_int_equal(picture_resize(&p, 0, 10, 10), OK);
    uint64_t version = p.version;
    assert_int_equal(picture_resize(&p, 1, 0, 10), ERR_LIMIT);
    assert_int_equal(picture_resize(&p, 1, 10, 0), ERR_LIMIT);
    assert_int_equal(picture_resize(&p, 1, LINK_WIDTH_MAX + 1, 10), ERR_LIMIT);
    assert_int_equal(picture_resize(&p, 1, 10, LINK_HEIGHT_MAX + 1), ERR_LIMIT);
    assert_int_equal(p.version, version);
    assert_int_equal(p.width, 10);
    assert_int_equal(picture_resize(&p, 1, LINK_WIDTH_MAX, LINK_HEIGHT_MAX), OK);
    assert_int_equal((size_t)p.tiles_x * p.tiles_y, PICTURE_TILES_MAX);
    picture_done(&p);
}

static void only_tiles_that_change_are_marked(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p);
    assert_int_equal(picture_resize(&p, 0, 192, 128), OK);
    uint64_t version = p.version;
    uint8_t *from = pixels_new(&p, 0);
    struct rect all = {.w = 192, .h = 128};
    assert_int_equal(picture_update(&p, 5, &all, from), OK);
    assert_int_equal(p.version, version);

    /* The last pixel of tile 1 of row 1, and the first of tile 2 of row 0. */
    from[(127 * 192 + 127) * 4 + 1] = 1;
    from[(0 * 192 + 128) * 4 + 2] = 1;
    assert_int_equal(picture_update(&p, 6, &all, from), OK);
    assert_int_equal(p.version, version + 1);
    for (size_t i = 0; i < 6; i++) {
        bool changed = i == 2 || i == 4;
        assert_int_equal(p.tile[i].version, changed ? version + 1 : version);
        assert_int_equal(p.tile[i].changed_ms, changed ? 6 : 0);
    }
    assert_memory_equal(p.pixels, from, 192 * 128 * 4);
    free(from);
    picture_done(&p);
}

static void the_fourth_byte_is_no_colour(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p);
    assert_int_equal(picture_resize(&p, 0, 3, 3), OK);
    uint64_t version = p.version;
    uint8_t *from = pixels_new(&p, 0);
    from[3] = 0xff;
    struct rect all = {.w = 3, .h = 3};
    assert_int_equal(picture_update(&p, 5, &all, from), OK);
    assert_int_equal(p.version, version);
    free(from);
    picture_done(&p);
}

static void only_the_rectangle_is_copied(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p);
    assert_int_equal(picture_resize(&p, 0, 150, 150), OK);
    uint8_t *from = pixels_new(&p, 0x55);
    struct rect r = {.x = 60, .y = 61, .w = 70, .h = 5};
    assert_int_equal(picture_update(&p, 5, &r, from), OK);
    for (size_t y = 0; y < 150; y++) {
        for (size_t x = 0; x < 150; x++) {
            bool in = x >= 60 && x < 130 && y >= 61 && y < 66;
            assert_int_equal(p.pixels[(y * 150 + x) * 4], in ? 0x55 : 0);
        }
    }
    free(from);
    picture_done(&p);
}

static void rectangles_sticking_out_are_refused(void **state)
{
    (void)state;
    static const struct rect out[] = {
        {.x = 1,   .w = 100, .h = 50  },
        {.y = 1,   .w = 100, .h = 50  },
        {.w = 101, .h = 1  },
        {.w = 1, .h = 51        },
        {.x = 65535,  .w = 65535,          .h = 1         },
        {.x = 101,  .w = 0,          .h = 0},
        {.y = 0xffff,  .w = 1,          .h = 1},
    };
    struct picture p;
    picture_init(&p);
    assert_int_equal(picture_update(&p, 1, &out[0], NULL), ERR_MALFORMED);
    assert_int_equal(picture_resize(&p, 0, 100, 50), OK);
    uint64_t version = p.version;
    uint8_t *from = pixels_new(&p, 1);
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
        assert_int_equal(picture_update(&p, 1, &out[i], from), ERR_MALFORMED);
    }
    struct rect empty = {.x = 100, .y = 50};
    assert_int_equal(picture_update(&p, 1, &empty, from), OK);
    assert_int_equal(p.version, version);
    struct rect whole = {.w = 100, .h = 50};
    assert_int_equal(picture_update(&p, 1, &whole, from), OK);
    assert_int_equal(p.version, version + 1);
    free(from);
    picture_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_marks_every_tile_and_clears),
        cmocka_unit_test(impossible_sizes_change_nothing),
        cmocka_unit_test(only_tiles_that_change_are_marked),
        cmocka_unit_test(the_fourth_byte_is_no_colour),
        cmocka_unit_test(only_the_rectangle_is_copied),
        cmocka_unit_test(rectangles_sticking_out_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
