/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>

#include "lib/share/viewer.h"

/* A picture, the producer's pixels, a viewer, and what that viewer has on its canvas. */
struct stage {
    struct picture p;
    uint8_t *from;
    struct viewer *v;
    uint16_t width, height;
    uint8_t *canvas;  /* as the picture's pixels */
    uint8_t *quality; /* a pixel: 0 never painted, 1 lossy, 2 lossless */
    struct viewer_update u;
};

static void stage_size(struct stage *s, uint64_t now_ms, uint16_t width, uint16_t height)
{
    free(s->from);
    s->from = calloc((size_t)width * height, 4);
    assert_non_null(s->from);
    assert_int_equal(picture_resize(&s->p, now_ms, width, height), OK);
}

static struct stage *stage_new(uint16_t width, uint16_t height)
{
    struct stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    picture_init(&s->p);
    assert_int_equal(viewer_new(&s->v), OK);
    stage_size(s, 0, width, height);
    return s;
}

static void stage_free(struct stage *s)
{
    picture_done(&s->p);
    viewer_free(s->v);
    free(s->from);
    free(s->canvas);
    free(s->quality);
    free(s);
}

static void stage_fill(struct stage *s, uint64_t now_ms, struct rect r, uint8_t value)
{
    for (size_t y = r.y; y < (size_t)r.y + r.h; y++) {
        memset(s->from + (y * s->p.width + r.x) * 4, value, (size_t)r.w * 4);
    }
    assert_int_equal(picture_update(&s->p, now_ms, &r, s->from), OK);
}

/* Paints what the update says, with the picture as it is now: an update is encoded at once. */
static bool stage_next(struct stage *s, uint64_t now_ms)
{
    if (!viewer_next(s->v, now_ms, &s->p, &s->u)) {
        return false;
    }
    assert_true(s->u.n > 0 && s->u.n <= VIEWER_RECTS_MAX);
    if (s->width != s->u.width || s->height != s->u.height) {
        size_t n = (size_t)s->u.width * s->u.height;
        free(s->canvas);
        free(s->quality);
        s->canvas = calloc(n, 4);
        s->quality = calloc(n, 1);
        s->width = s->u.width;
        s->height = s->u.height;
    }
    for (size_t i = 0; i < s->u.n; i++) {
        const struct rect *r = &s->u.rect[i].r;
        assert_true(r->w > 0 && r->h > 0);
        assert_true(r->x + r->w <= s->u.width && r->y + r->h <= s->u.height);
        for (size_t y = r->y; y < (size_t)r->y + r->h; y++) {
            size_t at = y * s->width + r->x;
            memcpy(s->canvas + at * 4, s->p.pixels + at * 4, (size_t)r->w * 4);
            memset(s->quality + at, s->u.rect[i].lossless ? 2 : 1, r->w);
        }
    }
    return true;
}

static bool next_and_ack(struct stage *s, uint64_t now_ms)
{
    if (!stage_next(s, now_ms)) {
        return false;
    }
    assert_int_equal(viewer_ack(s->v, s->u.seq), OK);
    return true;
}

static void drain(struct stage *s, uint64_t now_ms)
{
    for (size_t i = 0; i < 100 && next_and_ack(s, now_ms); i++) {
    }
    assert_false(viewer_next(s->v, now_ms, &s->p, &s->u));
}

static size_t quality_count(const struct stage *s, uint8_t quality)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)s->width * s->height; i++) {
        n += s->quality[i] == quality;
    }
    return n;
}

static void a_late_joiner_gets_the_whole_picture(void **state)
{
    (void)state;
    struct stage *s = stage_new(1000, 700);
    stage_fill(s, 10, (struct rect){.w = 500, .h = 300}, 9);
    assert_true(stage_next(s, 90000));
    assert_int_equal(s->u.n, 1);
    assert_int_equal(s->u.rect[0].r.w, 1000);
    assert_int_equal(s->u.rect[0].r.h, 700);
    assert_false(s->u.rect[0].lossless);
    assert_int_equal(s->u.width, 1000);
    assert_int_equal(s->u.height, 700);
    assert_memory_equal(s->canvas, s->p.pixels, 1000 * 700 * 4);
    stage_free(s);
}

static void nothing_to_show_is_no_update(void **state)
{
    (void)state;
    struct stage *s = stage_new(10, 10);
    picture_done(&s->p);
    assert_false(stage_next(s, 0));
    assert_true(viewer_deadline_ms(s->v, &s->p) == UINT64_MAX);
    stage_free(s);
}

static void neighbours_become_one_rectangle(void **state)
{
    (void)state;
    struct stage *s = stage_new(640, 640);
    drain(s, 1000);
    /* 3 x 2 tiles, and one apart from them */
    stage_fill(s, 2000, (struct rect){.x = 70, .y = 70, .w = 180, .h = 100}, 1);
    stage_fill(s, 2000, (struct rect){.x = 600, .y = 600, .w = 1, .h = 1}, 1);
    assert_true(stage_next(s, 2000));
    assert_int_equal(s->u.n, 2);
    assert_int_equal(s->u.rect[0].r.x, 64);
    assert_int_equal(s->u.rect[0].r.y, 64);
    assert_int_equal(s->u.rect[0].r.w, 192);
    assert_int_equal(s->u.rect[0].r.h, 128);
    assert_int_equal(s->u.rect[1].r.x, 576);
    assert_int_equal(s->u.rect[1].r.w, 64);
    stage_free(s);
}

static void scattered_tiles_all_go_out_in_one_update(void **state)
{
    (void)state;
    struct stage *s = stage_new(3840, 2160);
    drain(s, 1000);
    for (uint16_t y = 0; y < 34; y++) {
        for (uint16_t x = y % 2; x < 60; x = (uint16_t)(x + 2)) {
            struct rect r = {.x = (uint16_t)(x * 64), .y = (uint16_t)(y * 64), .w = 1, .h = 1};
            stage_fill(s, 2000, r, 1);
        }
    }
    assert_true(stage_next(s, 2000));
    assert_memory_equal(s->canvas, s->p.pixels, 3840 * 2160 * 4);
    stage_free(s);
}

static void two_in_flight_then_the_newest(void **state)
{
    (void)state;
    struct stage *s = stage_new(128, 64);
    assert_true(stage_next(s, 0));
    uint32_t first = s->u.seq;
    stage_fill(s, 1, (struct rect){.w = 1, .h = 1}, 1);
    assert_true(stage_next(s, 1));
    uint32_t second = s->u.seq;
    assert_int_not_equal(first, second);
    for (uint8_t i = 2; i < 50; i++) {
        stage_fill(s, i, (struct rect){.w = 1, .h = 1}, i);
        assert_false(stage_next(s, i));
        assert_true(viewer_deadline_ms(s->v, &s->p) == UINT64_MAX);
    }
    assert_int_equal(viewer_ack(s->v, 77), ERR_MALFORMED);
    assert_int_equal(viewer_ack(s->v, first), OK);
    assert_int_equal(viewer_ack(s->v, first), ERR_MALFORMED);
    assert_true(viewer_deadline_ms(s->v, &s->p) <= 60);
    assert_true(stage_next(s, 60));
    assert_int_equal(s->u.n, 1);
    assert_int_equal(s->u.rect[0].r.w, 64);
    assert_int_equal(s->canvas[0], 49);
    assert_false(stage_next(s, 61));
    assert_int_equal(viewer_ack(s->v, second), OK);
    assert_false(stage_next(s, 62));
    stage_free(s);
}

static void the_refresh_comes_500_ms_after_the_last_change(void **state)
{
    (void)state;
    struct stage *s = stage_new(64, 64);
    uint64_t now = 1000;
    stage_fill(s, now, (struct rect){.w = 1, .h = 1}, 1);
    assert_true(next_and_ack(s, now));
    for (uint8_t i = 2; i < 20; i++) { /* it moves: never lossless */
        now += VIEWER_REFRESH_MS - 1;
        assert_false(stage_next(s, now));
        stage_fill(s, now, (struct rect){.w = 1, .h = 1}, i);
        assert_int_equal(viewer_deadline_ms(s->v, &s->p), 0);
        assert_true(next_and_ack(s, now));
        assert_false(s->u.rect[0].lossless);
        assert_false(s->u.lossless);
        assert_true(viewer_deadline_ms(s->v, &s->p) == now + VIEWER_REFRESH_MS);
    }
    assert_false(stage_next(s, now + VIEWER_REFRESH_MS - 1));
    assert_true(stage_next(s, now + VIEWER_REFRESH_MS));
    assert_true(s->u.rect[0].lossless);
    assert_true(s->u.lossless);
    assert_int_equal(viewer_ack(s->v, s->u.seq), OK);
    assert_false(stage_next(s, now + 100000));
    assert_true(viewer_deadline_ms(s->v, &s->p) == UINT64_MAX);
    stage_free(s);
}

static void the_still_part_is_refreshed_while_another_moves(void **state)
{
    (void)state;
    struct stage *s = stage_new(1920, 1080);
    uint64_t now = 0;
    for (uint8_t i = 1; i < 60; i++) {
        stage_fill(s, now, (struct rect){.x = 640, .y = 640, .w = 64, .h = 64}, i);
        assert_true(next_and_ack(s, now));
        assert_false(s->u.lossless);
        now += 40;
    }
    assert_int_equal(quality_count(s, 2), 1920 * 1080 - 64 * 64);
    assert_int_equal(quality_count(s, 1), 64 * 64);
    stage_free(s);
}

static void one_refresh_is_bounded(void **state)
{
    (void)state;
    struct stage *s = stage_new(1920, 1080);
    assert_true(next_and_ack(s, 0));
    assert_true(next_and_ack(s, 5000));
    assert_true(quality_count(s, 2) <= VIEWER_REFRESH_TILES * PICTURE_TILE * PICTURE_TILE);
    assert_false(s->u.lossless);
    drain(s, 5000);
    assert_int_equal(quality_count(s, 2), 1920 * 1080);
    stage_free(s);
}

static void another_picture_is_sent_whole(void **state)
{
    (void)state;
    struct stage *s = stage_new(300, 200);
    drain(s, 5000);
    picture_done(&s->p); /* versions begin anew with the next share */
    stage_size(s, 6000, 300, 200);
    viewer_reset(s->v);
    assert_true(stage_next(s, 6000));
    assert_int_equal(s->u.rect[0].r.w, 300);
    assert_int_equal(s->u.rect[0].r.h, 200);
    stage_free(s);
}

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % sides;
}

static void random_change(struct stage *s, uint32_t *seed, uint64_t now)
{
    uint32_t w = s->p.width, h = s->p.height;
    struct rect r = {.x = (uint16_t)dice(seed, w), .y = (uint16_t)dice(seed, h)};
    r.w = (uint16_t)(1 + dice(seed, w - r.x));
    r.h = (uint16_t)(1 + dice(seed, dice(seed, 4) ? 1 : h - r.y));
    stage_fill(s, now, r, (uint8_t)dice(seed, 256));
}

/* Changes, resizes, late and swapped acknowledgements at random: with acknowledgements and time
 * enough, the canvas is the picture, without loss. */
static void every_canvas_becomes_the_picture(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 60; round++) {
        uint32_t seed = round * 77 + 1, flight[VIEWER_IN_FLIGHT], n = 0;
        struct stage *s =
            stage_new((uint16_t)(1 + dice(&seed, 700)), (uint16_t)(1 + dice(&seed, 500)));
        uint64_t now = 0;
        for (size_t step = 0; step < 150; step++) {
            now += dice(&seed, 200);
            if (dice(&seed, 60) == 0) {
                stage_size(s, now, (uint16_t)(1 + dice(&seed, 700)),
                           (uint16_t)(1 + dice(&seed, 500)));
            } else if (dice(&seed, 3) == 0) {
                random_change(s, &seed, now);
            } else if (dice(&seed, 2) && n > 0) {
                uint32_t i = dice(&seed, n);
                assert_int_equal(viewer_ack(s->v, flight[i]), OK);
                flight[i] = flight[--n];
            } else if (stage_next(s, now)) {
                assert_true(n < VIEWER_IN_FLIGHT);
                flight[n++] = s->u.seq;
            }
        }
        while (n > 0) {
            assert_int_equal(viewer_ack(s->v, flight[--n]), OK);
        }
        now += VIEWER_REFRESH_MS;
        drain(s, now);
        assert_int_equal(s->width, s->p.width);
        assert_int_equal(s->height, s->p.height);
        assert_memory_equal(s->canvas, s->p.pixels, (size_t)s->width * s->height * 4);
        assert_int_equal(quality_count(s, 2), (size_t)s->width * s->height);
        assert_true(viewer_deadline_ms(s->v, &s->p) == UINT64_MAX);
        stage_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_joiner_gets_the_whole_picture),
        cmocka_unit_test(nothing_to_show_is_no_update),
        cmocka_unit_test(neighbours_become_one_rectangle),
        cmocka_unit_test(scattered_tiles_all_go_out_in_one_update),
        cmocka_unit_test(two_in_flight_then_the_newest),
        cmocka_unit_test(the_refresh_comes_500_ms_after_the_last_change),
        cmocka_unit_test(the_still_part_is_refreshed_while_another_moves),
        cmocka_unit_test(one_refresh_is_bounded),
        cmocka_unit_test(another_picture_is_sent_whole),
        cmocka_unit_test(every_canvas_becomes_the_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
