/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>

#include "run/web_run_impl.h"

struct stage {
    struct web w;
    struct web_space s;
    struct picture p;
    uint8_t *from;
};

static struct stage *stage_new(uint16_t width, uint16_t height)
{
    struct stage *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    picture_init(&t->p);
    assert_int_equal(picture_resize(&t->p, 0, width, height), OK);
    assert_int_equal(encoder_new(&t->w.encoder), OK);
    t->from = calloc((size_t)width * height, 4);
    assert_non_null(t->from);
    t->s.picture = &t->p;
    return t;
}

static void stage_free(struct stage *t)
{
    web_space_forget(&t->s);
    assert_int_equal(t->s.cache_bytes, 0);
    encoder_free(t->w.encoder);
    picture_done(&t->p);
    free(t->from);
    free(t);
}

static void dot(struct stage *t, uint16_t x, uint16_t y, uint8_t value)
{
    struct rect r = {.x = x, .y = y, .w = 1, .h = 1};
    t->from[((size_t)y * t->p.width + x) * 4] = value;
    assert_int_equal(picture_update(&t->p, 1, &r, t->from), OK);
}

static struct slice encoded(struct stage *t, struct rect r, bool lossless)
{
    struct viewer_rect v = {.r = r, .lossless = lossless};
    struct slice out;
    assert_int_equal(web_encoded(&t->w, &t->s, &v, &out), OK);
    assert_true(out.len > 0);
    return out;
}

/* Whether asking again encodes again: that adds an entry to the cache. */
static bool is_kept(struct stage *t, struct rect r, bool lossless)
{
    size_t before = t->s.cache_next;
    (void)encoded(t, r, lossless);
    return t->s.cache_next == before;
}

static void one_encoding_serves_all(void **state)
{
    (void)state;
    struct stage *t = stage_new(256, 128);
    struct rect left = {.w = 128, .h = 128}, right = {.x = 128, .w = 128, .h = 128};
    assert_false(is_kept(t, left, false));
    assert_true(is_kept(t, left, false));
    assert_false(is_kept(t, left, true));
    assert_false(is_kept(t, right, false));
    assert_true(is_kept(t, left, false));
    dot(t, 200, 100, 9); /* the right half is new, the left one is not */
    assert_true(is_kept(t, left, false));
    assert_true(is_kept(t, left, true));
    assert_false(is_kept(t, right, false));
    assert_true(is_kept(t, right, false));
    web_space_forget(&t->s);
    assert_false(is_kept(t, left, false));
    stage_free(t);
}

static void what_is_kept_is_bounded(void **state)
{
    (void)state;
    struct stage *t = stage_new(2048, 2048);
    uint32_t x = 1;
    struct rect all = {.w = 2048, .h = 2048};
    for (uint8_t round = 1; round < 6; round++) { /* noise: 12 MB of PNG each */
        for (size_t i = 0; round == 1 && i < (size_t)2048 * 2048 * 4; i++) {
            x = x * 1664525 + 1013904223;
            t->from[i] = (uint8_t)(x >> 24);
        }
        t->from[0] = (uint8_t)(t->from[0] + 1);
        assert_int_equal(picture_update(&t->p, round, &all, t->from), OK);
        (void)encoded(t, all, true);
        assert_true(t->s.cache_bytes > 8 << 20);
        assert_true(t->s.cache_bytes <= WEB_CACHE_BYTES);
        size_t sum = 0;
        for (size_t i = 0; i < WEB_CACHE; i++) {
            sum += t->s.cache[i].bytes.len;
        }
        assert_int_equal(sum, t->s.cache_bytes);
    }
    stage_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_encoding_serves_all),
        cmocka_unit_test(what_is_kept_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
