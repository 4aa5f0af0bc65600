/* JPEG by libturbojpeg, PNG by libpng. */
#include "lib/share/encode.h"

#include <png.h>
#include <stdlib.h>
#include <turbojpeg.h>

enum {
    /* Screens are flat: more effort buys little, and time is what a viewer notices. */
    PNG_EFFORT = 2
};

struct encoder {
    tjhandle jpeg;
    uint8_t *buf;
    size_t cap, len;
};

int encoder_new(struct encoder **out)
{
    struct encoder *e = calloc(1, sizeof(*e));
    *out = NULL;
    if (!e) {
        return ERR_NOMEM;
    }
    e->jpeg = tjInitCompress();
    if (!e->jpeg) {
        free(e);
        return ERR_NOMEM;
    }
    *out = e;
    return OK;
}

void encoder_free(struct encoder *e)
{
    if (e) {
        (void)tjDestroy(e->jpeg);
        free(e->buf);
        free(e);
    }
}

/* Room for `cap` bytes; what is there stays. */
static bool buf_grow(struct encoder *e, size_t cap)
{
    if (cap <= e->cap) {
        return true;
    }
    size_t bigger = cap > e->cap * 2 ? cap : e->cap * 2;
    uint8_t *p = realloc(e->buf, bigger);
    if (!p) {
        return false;
    }
    e->buf = p;
    e->cap = bigger;
    return true;
}

static bool is_inside(const struct picture *p, const struct rect *r)
{
    return r->w > 0 && r->h > 0 && (uint32_t)r->x + r->w <= p->width &&
           (uint32_t)r->y + r->h <= p->height;
}

static const uint8_t *rect_pixels(const struct picture *p, const struct rect *r, size_t y)
{
    return p->pixels + (((size_t)r->y + y) * p->width + r->x) * 4;
}

int encode_jpeg(struct encoder *e, const struct picture *p, const struct rect *r, int quality,
                struct slice *out)
{
    *out = slice_of(NULL, 0);
    if (!is_inside(p, r) || quality < 1 || quality > 100) {
        return ERR_MALFORMED;
    }
    if (!buf_grow(e, tjBufSize(r->w, r->h, TJSAMP_444))) {
        return ERR_NOMEM;
    }
    unsigned char *buf = e->buf;
    unsigned long len = e->cap;
    if (tjCompress2(e->jpeg, rect_pixels(p, r, 0), r->w, p->width * 4, r->h, TJPF_BGRX, &buf,
                    &len, TJSAMP_444, quality, TJFLAG_NOREALLOC) != 0) {
        return ERR_NOMEM;
    }
    *out = slice_of(e->buf, len);
    return OK;
}

static void png_take(png_structp png, png_bytep data, size_t n)
{
    struct encoder *e = png_get_io_ptr(png);
    if (!buf_grow(e, e->len + n)) {
        png_error(png, "out of memory");
    }
    memcpy(e->buf + e->len, data, n);
    e->len += n;
}

static void png_flush_nothing(png_structp png)
{
    (void)png;
}

static void png_say_nothing(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

/* libpng leaves by longjmp when memory ends, to here and no further. */
static bool png_rows(png_structp png, png_infop info, const struct picture *p,
                     const struct rect *r)
{
    if (setjmp(png_jmpbuf(png))) {
        return false;
    }
    png_set_IHDR(png, info, r->w, r->h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, PNG_EFFORT);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
    png_write_info(png, info);
    png_set_bgr(png);
    png_set_filler(png, 0, PNG_FILLER_AFTER);
    for (size_t y = 0; y < r->h; y++) {
        png_write_row(png, rect_pixels(p, r, y));
    }
    png_write_end(png, NULL);
    return true;
}

int encode_png(struct encoder *e, const struct picture *p, const struct rect *r,
               struct slice *out)
{
    *out = slice_of(NULL, 0);
    if (!is_inside(p, r)) {
        return ERR_MALFORMED;
    }
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, png_say_nothing);
    if (!png) {
        return ERR_NOMEM;
    }
    int err = ERR_NOMEM;
    png_infop info = png_create_info_struct(png);
    if (!info) {
        goto out;
    }
    e->len = 0;
    png_set_write_fn(png, e, png_take, png_flush_nothing);
    if (png_rows(png, info, p, r)) {
        *out = slice_of(e->buf, e->len);
        err = OK;
    }
out:
    png_destroy_write_struct(&png, &info);
    return err;
}
