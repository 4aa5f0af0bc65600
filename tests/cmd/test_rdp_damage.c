/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "cmd/rdp/damage.h"

static void add(struct damage *d, int x, int y, int w, int h)
{
    damage_add(d, &(struct rect){(uint16_t)x, (uint16_t)y, (uint16_t)w, (uint16_t)h});
}

static void assert_only(const struct damage *d, int x, int y, int w, int h)
{
    assert_int_equal(d->n, 1);
    assert_int_equal(d->rect[0].x, x);
    assert_int_equal(d->rect[0].y, y);
    assert_int_equal(d->rect[0].w, w);
    assert_int_equal(d->rect[0].h, h);
}

static void test_empty_is_nothing(void **state)
{
    struct damage d = {0};
    (void)state;
    add(&d, 5, 5, 0, 7);
    add(&d, 5, 5, 7, 0);
    assert_int_equal(d.n, 0);
}

static void test_what_fits_becomes_one(void **state)
{
    struct damage d = {0};
    (void)state;
    add(&d, 0, 0, 64, 64);
    add(&d, 64, 0, 64, 64); /* beside */
    assert_only(&d, 0, 0, 128, 64);
    add(&d, 0, 64, 128, 10); /* below */
    assert_only(&d, 0, 0, 128, 74);
    add(&d, 3, 3, 8, 8); /* inside */
    assert_only(&d, 0, 0, 128, 74);
    add(&d, 0, 0, 3840, 2160); /* around */
    assert_only(&d, 0, 0, 3840, 2160);
}

static void test_the_last_piece_joins_all(void **state)
{
    struct damage d = {0};
    (void)state;
    add(&d, 0, 0, 10, 10);
    add(&d, 20, 0, 10, 10);
    add(&d, 0, 10, 30, 5);
    assert_int_equal(d.n, 3);
    add(&d, 10, 0, 10, 10);
    assert_only(&d, 0, 0, 30, 15);
}

static void test_apart_stays_apart(void **state)
{
    struct damage d = {0};
    (void)state;
    add(&d, 0, 0, 10, 10);
    add(&d, 11, 0, 10, 10);
    add(&d, 5, 20, 10, 10);
    assert_int_equal(d.n, 3);
}

static void test_full_list_becomes_the_box_around(void **state)
{
    struct damage d = {0};
    (void)state;
    for (int i = 0; i < LINK_RECTS_MAX; i++) {
        add(&d, 100 + i * 20, 50 + i, 10, 10);
    }
    assert_int_equal(d.n, LINK_RECTS_MAX);
    add(&d, 3000, 7, 2, 2);
    assert_only(&d, 100, 7, 2902, 50 + LINK_RECTS_MAX - 1 + 10 - 7);
}

enum {
    SIDE = 96
};

static void mark(bool map[SIDE][SIDE], const struct rect *r)
{
    for (size_t y = r->y; y < (size_t)r->y + r->h; y++) {
        for (size_t x = r->x; x < (size_t)r->x + r->w; x++) {
            map[y][x] = true;
        }
    }
}

/* Any order, any overlap: nothing that changed is forgotten, and while the list is not full,
 * nothing is sent that did not change. */
static void test_covers_exactly(void **state)
{
    uint32_t seed = 3;
    (void)state;
    for (int round = 0; round < 200; round++) {
        static bool want[SIDE][SIDE], have[SIDE][SIDE];
        struct damage d = {0};
        memset(want, 0, sizeof want);
        memset(have, 0, sizeof have);
        for (int i = 0; i < 60; i++) {
            seed = seed * 1664525 + 1013904223;
            struct rect r = {.x = (uint16_t)(seed >> 8 & 63),
                             .y = (uint16_t)(seed >> 14 & 63),
                             .w = (uint16_t)(seed >> 20 & 31),
                             .h = (uint16_t)(seed >> 25 & 31)};
            damage_add(&d, &r);
            mark(want, &r);
        }
        for (size_t i = 0; i < d.n; i++) {
            mark(have, &d.rect[i]);
        }
        assert_memory_equal(want, have, sizeof want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_is_nothing),
        cmocka_unit_test(test_what_fits_becomes_one),
        cmocka_unit_test(test_the_last_piece_joins_all),
        cmocka_unit_test(test_apart_stays_apart),
        cmocka_unit_test(test_full_list_becomes_the_box_around),
        cmocka_unit_test(test_covers_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
