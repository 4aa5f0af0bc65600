/* The comparison of two pictures. */
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/causeway/psnr.h"

enum {
    SIDE = 16,
    PNG_MAX = 8192
};

static char path[] = "/tmp/causeway-test-XXXXXX";

/* A grey picture with `wrong` samples off by `by`. */
static size_t make(uint8_t png[PNG_MAX], unsigned width, size_t wrong, int by)
{
    uint8_t rgb[SIDE * SIDE * 3 * 2];
    memset(rgb, 100, sizeof rgb);
    for (size_t i = 0; i < wrong; i++) {
        rgb[i] = (uint8_t)(100 + by);
    }
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = width, .height = SIDE, .format = PNG_FORMAT_RGB};
    png_alloc_size_t len = PNG_MAX;
    assert_true(png_image_write_to_memory(&image, png, &len, 0, rgb, 0, NULL));
    return len;
}

static void keep(const uint8_t *png, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(png, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static double compare(size_t wrong, int by)
{
    uint8_t a[PNG_MAX], b[PNG_MAX];
    char why[PSNR_WHY_MAX];
    double db = -1;
    keep(b, make(b, SIDE, 0, 0));
    size_t len = make(a, SIDE, wrong, by);
    assert_int_equal(psnr_png(slice_of(a, len), path, &db, why), 0);
    return db;
}

static void the_measure_is_the_usual_one(void **state)
{
    (void)state;
    assert_true(compare(0, 0) == PSNR_SAME_DB);
    /* Every sample off by one: 20 log10(255). */
    double one = compare(SIDE * SIDE * 3, 1);
    assert_true(one > 48.13 && one < 48.14);
    double quarter = compare(SIDE * SIDE * 3 / 4, 2); /* the same mean square */
    assert_true(quarter > 48.13 && quarter < 48.14);
    assert_true(compare(SIDE * SIDE * 3, 10) < 35);
}

static void another_size_or_no_picture_is_an_error(void **state)
{
    (void)state;
    uint8_t a[PNG_MAX], b[PNG_MAX];
    char why[PSNR_WHY_MAX] = "";
    double db;
    keep(b, make(b, SIDE, 0, 0));
    size_t len = make(a, SIDE * 2, 0, 0);
    assert_int_equal(psnr_png(slice_of(a, len), path, &db, why), ERR_MALFORMED);
    assert_string_equal(why, "their sizes differ: 32x16 and 16x16");
    len = make(a, SIDE, 0, 0);
    /* The last 12 bytes, IEND, bring nothing of the picture. */
    for (size_t n = 0; n < len - 12 - 4; n += 5) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, a, n);
        assert_int_equal(psnr_png(slice_of(exact, n), path, &db, why), ERR_MALFORMED);
        free(exact);
    }
    (void)unlink(path);
    assert_int_equal(psnr_png(slice_of(a, len), path, &db, why), ERR_MALFORMED);
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0) {
        return 1;
    }
    (void)close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_measure_is_the_usual_one),
        cmocka_unit_test(another_size_or_no_picture_is_an_error),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
