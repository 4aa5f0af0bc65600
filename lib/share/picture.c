/* The server's copy of a shared screen: what is copied in, and which tiles that changes. */
#include "lib/share/picture.h"

#include <stdlib.h>

void picture_init(struct picture *p)
{
    *p = (struct picture){.version = 0};
}

void picture_done(struct picture *p)
{
    free(p->pixels);
    free(p->tile);
    picture_init(p);
}

static void tile_mark(const struct picture *p, uint64_t now_ms, size_t i)
{
    p->tile[i] = (struct picture_tile){.version = p->version, .changed_ms = now_ms};
}

int picture_resize(struct picture *p, uint64_t now_ms, uint16_t width, uint16_t height)
{
    if (width == 0 || height == 0 || width > LINK_WIDTH_MAX || height > LINK_HEIGHT_MAX) {
        return ERR_LIMIT;
    }
    uint16_t tiles_x = (uint16_t)((width + PICTURE_TILE - 1) / PICTURE_TILE);
    uint16_t tiles_y = (uint16_t)((height + PICTURE_TILE - 1) / PICTURE_TILE);
    size_t tiles = (size_t)tiles_x * tiles_y;
    uint8_t *pixels = calloc((size_t)width * height, 4);
    struct picture_tile *tile = calloc(tiles, sizeof(*tile));
    if (!pixels || !tile) {
        free(pixels);
        free(tile);
        return ERR_NOMEM;
    }
    uint64_t version = p->version + 1;
    picture_done(p);
    *p = (struct picture){.width = width,
                          .height = height,
                          .tiles_x = tiles_x,
                          .tiles_y = tiles_y,
                          .version = version,
                          .pixels = pixels,
                          .tile = tile};
    for (size_t i = 0; i < tiles; i++) {
        tile_mark(p, now_ms, i);
    }
    return OK;
}

/* The fourth byte of a pixel is no colour: producers leave anything there. */
static bool row_same(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (memcmp(a, b, n * 4) == 0) {
        return true;
    }
    for (size_t i = 0; i < n * 4; i += 4) {
        if (a[i] != b[i] || a[i + 1] != b[i + 1] || a[i + 2] != b[i + 2]) {
            return false;
        }
    }
    return true;
}

/* Copies the part `r`, which lies within one tile; true when that changed a pixel. */
static bool part_update(struct picture *p, const struct rect *r, const uint8_t *from)
{
    bool changed = false;
    for (size_t y = r->y; y < (size_t)r->y + r->h; y++) {
        size_t at = (y * p->width + r->x) * 4;
        if (!row_same(p->pixels + at, from + at, r->w)) {
            memcpy(p->pixels + at, from + at, (size_t)r->w * 4);
            changed = true;
        }
    }
    return changed;
}

/* What is common to `r` and the tile at tx, ty. */
static struct rect tile_part(const struct rect *r, size_t tx, size_t ty)
{
    size_t x = tx * PICTURE_TILE, y = ty * PICTURE_TILE;
    size_t x_end = x + PICTURE_TILE, y_end = y + PICTURE_TILE;
    x = r->x > x ? r->x : x;
    y = r->y > y ? r->y : y;
    x_end = (size_t)r->x + r->w < x_end ? (size_t)r->x + r->w : x_end;
    y_end = (size_t)r->y + r->h < y_end ? (size_t)r->y + r->h : y_end;
    return (struct rect){.x = (uint16_t)x,
                         .y = (uint16_t)y,
                         .w = (uint16_t)(x_end - x),
                         .h = (uint16_t)(y_end - y)};
}

int picture_update(struct picture *p, uint64_t now_ms, const struct rect *r,
                   const uint8_t *from)
{
    if ((uint32_t)r->x + r->w > p->width || (uint32_t)r->y + r->h > p->height) {
        return ERR_MALFORMED;
    }
    if (r->w == 0 || r->h == 0) {
        return OK;
    }
    uint64_t before = p->version;
    size_t tx_last = (size_t)(r->x + r->w - 1) / PICTURE_TILE;
    size_t ty_last = (size_t)(r->y + r->h - 1) / PICTURE_TILE;
    for (size_t ty = r->y / PICTURE_TILE; ty <= ty_last; ty++) {
        for (size_t tx = r->x / PICTURE_TILE; tx <= tx_last; tx++) {
            struct rect part = tile_part(r, tx, ty);
            if (part_update(p, &part, from)) {
                p->version = before + 1;
                tile_mark(p, now_ms, ty * p->tiles_x + tx);
            }
        }
    }
    return OK;
}
