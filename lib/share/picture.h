/* A shared screen as the meeting server keeps it: its own copy of the pixels, in tiles that
 * know when they last changed. Producers write into it, viewers read from it. */
#pragma once

#include "lib/share/link.h"

enum {
    PICTURE_TILE = 64,
    PICTURE_TILES_MAX =
        (LINK_WIDTH_MAX / PICTURE_TILE) * ((LINK_HEIGHT_MAX + 63) / PICTURE_TILE)
};

struct picture_tile {
    uint64_t version;    /* of the picture, when this tile last changed */
    uint64_t changed_ms; /* and the time of it */
};

struct picture {
    uint16_t width, height; /* 0: nothing yet */
    uint16_t tiles_x, tiles_y;
    uint64_t version; /* grows with each change */
    uint8_t *pixels;  /* BGRX, width * 4 bytes a row */
    struct picture_tile *tile;
};

void picture_init(struct picture *p);
void picture_done(struct picture *p);

/* Black, of this size; every tile counts as changed. ERR_LIMIT, nothing done, when a side is 0
 * or beyond LINK_WIDTH_MAX or LINK_HEIGHT_MAX. */
MUST_USE int picture_resize(struct picture *p, uint64_t now_ms, uint16_t width,
                            uint16_t height);

/* Copies `r` out of `from` (pixels laid out as this picture's). Tiles whose pixels stay the
 * same are not marked. ERR_MALFORMED, nothing done, when `r` sticks out. */
MUST_USE int picture_update(struct picture *p, uint64_t now_ms, const struct rect *r,
                            const uint8_t *from);
