/* What the meeting server and a web page say to each other in binary WebSocket messages, one
 * each. docs/viewer-protocol.md is the description for those who write another viewer. */
#pragma once

#include "lib/share/viewer.h"

enum {
    VIEW_HEAD_LEN = 12, /* UPDATE before its rectangles */
    VIEW_RECT_LEN = 13, /* a rectangle before its bytes */
    VIEW_CURSOR_LEN = 9,
    VIEW_POINTER_LEN = 5,
    VIEW_ACK_LEN = 5
};

enum view_type {
    VIEW_UPDATE = 1,  /* server: parts of the picture */
    VIEW_CURSOR = 2,  /* server: the pointer's picture, RGBA; no pixels: hidden */
    VIEW_POINTER = 3, /* server: the pointer is at x, y */
    VIEW_ACK = 4      /* viewer: update `seq` is painted */
};

enum view_format {
    VIEW_JPEG = 1,
    VIEW_PNG = 2
};

struct view_rect {
    struct rect r;
    enum view_format format;
    struct slice bytes;
};

struct view_msg {
    enum view_type type;
    uint32_t seq;           /* UPDATE, ACK */
    bool lossless;          /* UPDATE: with it, all of the picture is there without loss */
    uint16_t width, height; /* UPDATE: of the picture. CURSOR */
    uint16_t x, y;          /* POINTER; CURSOR: its hot spot */
    uint16_t n_rects;       /* UPDATE */
    struct view_rect rect[VIEWER_RECTS_MAX];
    struct slice pixels; /* CURSOR: width * height * 4 */
};

/* An UPDATE is written piece by piece, its pictures being large: the head, then each
 * rectangle's head followed by its bytes. */
void view_put_update(struct wr *w, const struct viewer_update *u);
void view_put_rect(struct wr *w, const struct view_rect *r);
/* Anything but an UPDATE. */
void view_put(struct wr *w, const struct view_msg *m);

/* ERR_MALFORMED, or ERR_SHORT, for what no sender writes. Slices borrow `in`. */
MUST_USE int view_parse(struct view_msg *out, struct slice in);
