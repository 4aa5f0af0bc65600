/* What one web viewer has of a picture, tile by tile, and what it gets next. */
#include "lib/share/viewer.h"

#include <stdlib.h>

enum {
    /* Of an update's rectangles; the others are for the refresh, which must get on while
       something moves elsewhere. */
    LOSSY_RECTS_MAX = 48
};

/* LOSSY_RECTS_MAX is enough once each row of tiles is at most one rectangle. */
_Static_assert((LINK_HEIGHT_MAX + PICTURE_TILE - 1) / PICTURE_TILE <= LOSSY_RECTS_MAX,
               "a row of tiles each must fit");

struct sent {
    uint64_t version; /* of the tile, when it was sent; 0: never */
    bool lossless;
};

struct viewer {
    uint16_t width, height;
    uint32_t last_seq;
    size_t n_flight;
    uint32_t flight[VIEWER_IN_FLIGHT];
    struct sent sent[PICTURE_TILES_MAX];
    bool want[PICTURE_TILES_MAX]; /* scratch of viewer_next: tiles to make rectangles of */
    bool used[PICTURE_TILES_MAX]; /* scratch of rects_make: in a rectangle already */
};

int viewer_new(struct viewer **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? OK : ERR_NOMEM;
}

void viewer_free(struct viewer *v)
{
    free(v);
}

void viewer_reset(struct viewer *v)
{
    memset(v->sent, 0, sizeof(v->sent));
}

static size_t tiles_of(const struct picture *p)
{
    return (size_t)p->tiles_x * p->tiles_y;
}

static bool is_changed(const struct viewer *v, const struct picture *p, size_t i)
{
    return v->sent[i].version != p->tile[i].version;
}

/* When tile `i` is to be sent again without loss. Only of one that is not changed. */
static uint64_t refresh_ms(const struct viewer *v, const struct picture *p, size_t i)
{
    return v->sent[i].lossless ? UINT64_MAX : p->tile[i].changed_ms + VIEWER_REFRESH_MS;
}

/* A rectangle of tiles in pixels; those at the right and bottom may be cut. */
static struct rect tiles_rect(const struct picture *p, size_t tx, size_t ty, size_t nx,
                              size_t ny)
{
    size_t x = tx * PICTURE_TILE, y = ty * PICTURE_TILE;
    size_t x_end = (tx + nx) * PICTURE_TILE, y_end = (ty + ny) * PICTURE_TILE;
    x_end = x_end < p->width ? x_end : p->width;
    y_end = y_end < p->height ? y_end : p->height;
    return (struct rect){.x = (uint16_t)x,
                         .y = (uint16_t)y,
                         .w = (uint16_t)(x_end - x),
                         .h = (uint16_t)(y_end - y)};
}

/* Whether `nx` tiles from the one at `at` are all wanted and in no rectangle yet. */
static bool run_is_free(const struct viewer *v, size_t at, size_t nx)
{
    for (size_t i = at; i < at + nx; i++) {
        if (!v->want[i] || v->used[i]) {
            return false;
        }
    }
    return true;
}

/* Takes the run of wanted tiles that starts at tx, ty, as far right and then as far down as it
 * goes, for one rectangle. */
static struct rect run_take(struct viewer *v, const struct picture *p, size_t tx, size_t ty)
{
    size_t w = p->tiles_x, nx = 1, ny = 1;
    while (tx + nx < w && run_is_free(v, ty * w + tx + nx, 1)) {
        nx++;
    }
    while (ty + ny < p->tiles_y && run_is_free(v, (ty + ny) * w + tx, nx)) {
        ny++;
    }
    for (size_t y = ty; y < ty + ny; y++) {
        memset(&v->used[y * w + tx], true, nx * sizeof(v->used[0]));
    }
    return tiles_rect(p, tx, ty, nx, ny);
}

/* Makes at most `max` rectangles of the wanted tiles; those that got into one are `used`.
 * False when some were left over. */
static bool rects_make(struct viewer *v, const struct picture *p, size_t max, struct rect *out,
                       size_t *n)
{
    *n = 0;
    memset(v->used, 0, sizeof(v->used));
    for (size_t i = 0; i < tiles_of(p); i++) {
        if (!v->want[i] || v->used[i]) {
            continue;
        }
        if (*n == max) {
            return false;
        }
        out[(*n)++] = run_take(v, p, i % p->tiles_x, i / p->tiles_x);
    }
    return true;
}

/* Wants everything between the first and the last wanted tile of each row. */
static void gaps_fill(struct viewer *v, const struct picture *p)
{
    for (size_t row = 0; row < tiles_of(p); row += p->tiles_x) {
        size_t first = p->tiles_x, last = 0;
        for (size_t x = 0; x < p->tiles_x; x++) {
            if (v->want[row + x]) {
                first = first < x ? first : x;
                last = x;
            }
        }
        for (size_t x = first; x < last; x++) {
            v->want[row + x] = true;
        }
    }
}

static void add_rects(struct viewer *v, const struct picture *p, const struct rect *r, size_t n,
                      struct viewer_update *out)
{
    bool lossless = out->lossless;
    for (size_t i = 0; i < n; i++) {
        out->rect[out->n++] = (struct viewer_rect){.r = r[i], .lossless = lossless};
    }
    for (size_t i = 0; i < tiles_of(p); i++) {
        if (v->used[i]) {
            v->sent[i] = (struct sent){.version = p->tile[i].version, .lossless = lossless};
        }
    }
}

/* What has changed since this viewer got it. All of it fits: scattered tiles are made one
 * rectangle a row. */
static void next_lossy(struct viewer *v, const struct picture *p, struct viewer_update *out)
{
    struct rect r[LOSSY_RECTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < tiles_of(p); i++) {
        v->want[i] = is_changed(v, p, i);
    }
    if (!rects_make(v, p, LOSSY_RECTS_MAX, r, &n)) {
        gaps_fill(v, p);
        (void)rects_make(v, p, LOSSY_RECTS_MAX, r, &n);
    }
    out->lossless = false;
    add_rects(v, p, r, n, out);
}

/* What stopped changing long enough ago and did not go out lossy just now (is `used`); as much
 * of it as fits, the rest next time. */
static void next_refresh(struct viewer *v, uint64_t now_ms, const struct picture *p,
                         struct viewer_update *out)
{
    struct rect r[VIEWER_RECTS_MAX];
    size_t n = 0, tiles = 0;
    for (size_t i = 0; i < tiles_of(p); i++) {
        v->want[i] =
            tiles < VIEWER_REFRESH_TILES && !v->used[i] && refresh_ms(v, p, i) <= now_ms;
        tiles += v->want[i];
    }
    (void)rects_make(v, p, VIEWER_RECTS_MAX - out->n, r, &n);
    out->lossless = true;
    add_rects(v, p, r, n, out);
}

static bool all_lossless(const struct viewer *v, const struct picture *p)
{
    for (size_t i = 0; i < tiles_of(p); i++) {
        if (is_changed(v, p, i) || !v->sent[i].lossless) {
            return false;
        }
    }
    return true;
}

bool viewer_next(struct viewer *v, uint64_t now_ms, const struct picture *p,
                 struct viewer_update *out)
{
    *out = (struct viewer_update){.width = p->width, .height = p->height};
    if (p->width == 0 || v->n_flight == VIEWER_IN_FLIGHT) {
        return false;
    }
    if (v->width != p->width || v->height != p->height) {
        viewer_reset(v);
        v->width = p->width;
        v->height = p->height;
    }
    next_lossy(v, p, out);
    next_refresh(v, now_ms, p, out);
    if (out->n == 0) {
        return false;
    }
    out->lossless = all_lossless(v, p);
    out->seq = ++v->last_seq;
    v->flight[v->n_flight++] = out->seq;
    return true;
}

int viewer_ack(struct viewer *v, uint32_t seq)
{
    for (size_t i = 0; i < v->n_flight; i++) {
        if (v->flight[i] == seq) {
            v->flight[i] = v->flight[--v->n_flight];
            return OK;
        }
    }
    return ERR_MALFORMED;
}

uint64_t viewer_deadline_ms(const struct viewer *v, const struct picture *p)
{
    if (p->width == 0 || v->n_flight == VIEWER_IN_FLIGHT) {
        return UINT64_MAX;
    }
    if (v->width != p->width || v->height != p->height) {
        return 0;
    }
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < tiles_of(p); i++) {
        uint64_t t = is_changed(v, p, i) ? 0 : refresh_ms(v, p, i);
        at = t < at ? t : at;
    }
    return at;
}
