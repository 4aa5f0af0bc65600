/* The viewer's end of the link: copies what changed into shared memory, one acknowledged
 * message at a time, and says how the connection stands. */
#pragma once

#include "cmd/rdp/damage.h"

enum {
    FEED_CELL = 64, /* pixels: how finely it is noted what was painted at all */
    FEED_CELLS_X = LINK_WIDTH_MAX / FEED_CELL,
    FEED_CELLS_MAX = FEED_CELLS_X * ((LINK_HEIGHT_MAX + FEED_CELL - 1) / FEED_CELL),
    /* A sharer that never paints some part (one window is shared, the rest stays black) has
     * given its first picture this long after it began to paint. */
    FEED_FIRST_MS = 500
};

/* The newest shape and place; the server is told at the next flush. */
struct feed_pointer {
    bool has_shape, has_place;
    uint16_t x, y;
    uint16_t width, height, hot_x, hot_y;                  /* 0 x 0: hidden */
    uint8_t pixels[LINK_CURSOR_MAX * LINK_CURSOR_MAX * 4]; /* BGRA */
};

struct feed {
    int fd;       /* the control socket */
    uint8_t *mem; /* LINK_MEMORY bytes */
    uint16_t width, height;
    uint32_t seq;
    bool waits_for_ack;
    bool is_active; /* LINK_ACTIVE was said */
    uint64_t painted_ms;
    struct damage damage;
    size_t n_unpainted;
    bool painted[FEED_CELLS_MAX];
    struct feed_pointer pointer;
};

/* Every function here that fails gives ERR_SYSTEM: the server is gone, or broke the rules. */

MUST_USE int feed_size(struct feed *f, uint16_t width, uint16_t height);
/* Parts outside of the picture are ignored. */
void feed_damage(struct feed *f, int x, int y, int w, int h);
/* Sends what may be sent now, from `pixels` with `stride` bytes a row. */
MUST_USE int feed_flush(struct feed *f, uint64_t now_ms, const uint8_t *pixels, size_t stride);
/* Takes what the server sent; never waits. */
MUST_USE int feed_receive(struct feed *f);
MUST_USE int feed_state(struct feed *f, enum link_state state, const char *text);
/* When feed_flush has something to say although nothing happened; UINT64_MAX: never. */
uint64_t feed_deadline_ms(const struct feed *f);

/* The last message. Usable from any thread and from a signal handler, so not on a struct feed.
 */
void feed_gone(int fd, const char *text);
