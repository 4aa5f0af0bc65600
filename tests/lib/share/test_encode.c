/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <png.h>
#include <stdlib.h>
#include <turbojpeg.h>

#include "lib/share/encode.h"

/* A picture with edges and slow gradients in every channel. */
static void picture_paint(struct picture *p, uint16_t width, uint16_t height)
{
    picture_init(p);
    assert_int_equal(picture_resize(p, 0, width, height), OK);
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            uint8_t *px = p->pixels + (y * width + x) * 4;
            px[0] = (uint8_t)(x * 2);
            px[1] = (uint8_t)(y * 3);
            px[2] = (x / 16 + y / 16) % 2 ? 200 : 40;
            px[3] = (uint8_t)(x * 31 + y); /* must not matter */
        }
    }
}

static const uint8_t *source_row(const struct picture *p, const struct rect *r, size_t y)
{
    return p->pixels + ((r->y + y) * p->width + r->x) * 4;
}

static void check_png(struct encoder *e, const struct picture *p, const struct rect *r)
{
    struct slice out;
    assert_int_equal(encode_png(e, p, r, &out), OK);
    png_image img = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&img, out.p, out.len));
    assert_int_equal(img.width, r->w);
    assert_int_equal(img.height, r->h);
    assert_int_equal(img.format & PNG_FORMAT_FLAG_ALPHA, 0);
    img.format = PNG_FORMAT_BGR;
    uint8_t *px = malloc(PNG_IMAGE_SIZE(img));
    assert_non_null(px);
    assert_true(png_image_finish_read(&img, NULL, px, 0, NULL));
    for (size_t y = 0; y < r->h; y++) {
        for (size_t x = 0; x < r->w; x++) {
            assert_memory_equal(px + (y * r->w + x) * 3, source_row(p, r, y) + x * 4, 3);
        }
    }
    free(px);
}

static void check_jpeg(struct encoder *e, const struct picture *p, const struct rect *r)
{
    struct slice out;
    assert_int_equal(encode_jpeg(e, p, r, 90, &out), OK);
    tjhandle tj = tjInitDecompress();
    int w, h, sampling, colours;
    assert_int_equal(tjDecompressHeader3(tj, out.p, out.len, &w, &h, &sampling, &colours), 0);
    assert_int_equal(w, r->w);
    assert_int_equal(h, r->h);
    assert_int_equal(sampling, TJSAMP_444);
    uint8_t *px = malloc((size_t)r->w * r->h * 4);
    assert_non_null(px);
    assert_int_equal(tjDecompress2(tj, out.p, out.len, px, 0, 0, 0, TJPF_BGRX, 0), 0);
    double sum = 0;
    for (size_t y = 0; y < r->h; y++) {
        for (size_t i = 0; i < (size_t)r->w * 4; i++) {
            int d = i % 4 == 3 ? 0 : px[y * r->w * 4 + i] - source_row(p, r, y)[i];
            assert_true(d > -48 && d < 48);
            sum += d * d;
        }
    }
    assert_true(sum / (3.0 * r->w * r->h) < 16); /* 36 dB */
    free(px);
    tjDestroy(tj);
}

static void every_shape_comes_back(void **state)
{
    (void)state;
    static const struct rect shapes[] = {
        {.w = 1,   .h = 1 },
        {        .x = 130, .y = 94,  .w = 1, .h = 1},
        {  .w = 131, .h = 95},
        {      .x = 3,  .y = 5, .w = 17, .h = 1},
        {  .x = 64,  .y = 64, .w = 67, .h = 31},
        {.x = 9,        .w = 1,          .h = 95},
    };
    struct picture p;
    struct encoder *e;
    picture_paint(&p, 131, 95);
    assert_int_equal(encoder_new(&e), OK);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        check_png(e, &p, &shapes[i]);
        check_jpeg(e, &p, &shapes[i]);
    }
    encoder_free(e);
    picture_done(&p);
}

static void a_picture_of_one_pixel(void **state)
{
    (void)state;
    struct picture p;
    struct encoder *e;
    struct rect r = {.w = 1, .h = 1};
    picture_paint(&p, 1, 1);
    assert_int_equal(encoder_new(&e), OK);
    check_png(e, &p, &r);
    check_jpeg(e, &p, &r);
    encoder_free(e);
    picture_done(&p);
}

static void noise_fits_too(void **state)
{
    (void)state;
    struct picture p;
    struct encoder *e;
    struct slice out;
    struct rect r = {.w = 200, .h = 200};
    picture_init(&p);
    assert_int_equal(picture_resize(&p, 0, 200, 200), OK);
    uint32_t x = 1;
    for (size_t i = 0; i < 200 * 200 * 4; i++) {
        x = x * 1664525 + 1013904223;
        p.pixels[i] = (uint8_t)(x >> 24);
    }
    assert_int_equal(encoder_new(&e), OK);
    assert_int_equal(encode_jpeg(e, &p, &r, 100, &out), OK);
    check_png(e, &p, &r);
    encoder_free(e);
    picture_done(&p);
}

static void what_sticks_out_is_refused(void **state)
{
    (void)state;
    static const struct rect out[] = {
        {.w = 11,    .h = 1 },
        {.w = 1,     .h = 11},
        {.x = 65535, .w = 1,  .h = 1},
        {.w = 0,          .h = 1           },
        {.w = 1,          .h = 0},
    };
    struct picture p;
    struct encoder *e;
    struct slice got;
    picture_paint(&p, 10, 10);
    assert_int_equal(encoder_new(&e), OK);
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
        assert_int_equal(encode_png(e, &p, &out[i], &got), ERR_MALFORMED);
        assert_int_equal(got.len, 0);
        assert_int_equal(encode_jpeg(e, &p, &out[i], 90, &got), ERR_MALFORMED);
        assert_int_equal(got.len, 0);
    }
    struct rect r = {.w = 1, .h = 1};
    assert_int_equal(encode_jpeg(e, &p, &r, 0, &got), ERR_MALFORMED);
    assert_int_equal(encode_jpeg(e, &p, &r, 101, &got), ERR_MALFORMED);
    encoder_free(e);
    encoder_free(NULL);
    picture_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_comes_back),
        cmocka_unit_test(a_picture_of_one_pixel),
        cmocka_unit_test(noise_fits_too),
        cmocka_unit_test(what_sticks_out_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
