/* Reads PNG with libpng and compares. */
#include "cmd/causeway/psnr.h"

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SIDE_MAX = 16384
};

struct pixels {
    png_image image;
    uint8_t *rgb;
};

static int read_rgb(struct pixels *p, bool ok, const char *what, char *why)
{
    p->image.format = PNG_FORMAT_RGB;
    if (ok && p->image.width <= SIDE_MAX && p->image.height <= SIDE_MAX) {
        p->rgb = malloc(PNG_IMAGE_SIZE(p->image));
        if (!p->rgb) {
            png_image_free(&p->image);
            return ERR_NOMEM;
        }
        ok = png_image_finish_read(&p->image, NULL, p->rgb, 0, NULL) != 0;
    }
    if (!ok || !p->rgb) {
        (void)snprintf(why, PSNR_WHY_MAX, "%s: %s", what, p->image.message);
        png_image_free(&p->image);
        return ERR_MALFORMED;
    }
    return 0;
}

static double compare(const struct pixels *a, const struct pixels *b)
{
    size_t n = PNG_IMAGE_SIZE(a->image);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - (double)b->rgb[i];
        sum += d * d;
    }
    return sum == 0 ? PSNR_SAME_DB : 10 * log10(255.0 * 255.0 * (double)n / sum);
}

static int judge(const struct pixels *a, const struct pixels *b, double *db, char *why)
{
    if (a->image.width != b->image.width || a->image.height != b->image.height) {
        (void)snprintf(why, PSNR_WHY_MAX, "their sizes differ: %ux%u and %ux%u", a->image.width,
                       a->image.height, b->image.width, b->image.height);
        return ERR_MALFORMED;
    }
    *db = compare(a, b);
    *db = *db > PSNR_SAME_DB ? PSNR_SAME_DB : *db;
    return OK;
}

static int against_file(const struct pixels *a, const char *path, double *db, char *why)
{
    struct pixels b = {.image = {.version = PNG_IMAGE_VERSION}};
    bool ok = png_image_begin_read_from_file(&b.image, path) != 0;
    int err = read_rgb(&b, ok, path, why);
    err = err ? err : judge(a, &b, db, why);
    free(b.rgb);
    return err;
}

int psnr_png(struct slice png, const char *path, double *db, char *why)
{
    struct pixels a = {.image = {.version = PNG_IMAGE_VERSION}};
    bool ok = png_image_begin_read_from_memory(&a.image, png.p, png.len) != 0;
    int err = read_rgb(&a, ok, "the page's picture", why);
    err = err ? err : against_file(&a, path, db, why);
    free(a.rgb);
    return err;
}

int psnr_files(const char *path_a, const char *path_b, double *db, char *why)
{
    struct pixels a = {.image = {.version = PNG_IMAGE_VERSION}};
    bool ok = png_image_begin_read_from_file(&a.image, path_a) != 0;
    int err = read_rgb(&a, ok, path_a, why);
    err = err ? err : against_file(&a, path_b, db, why);
    free(a.rgb);
    return err;
}
