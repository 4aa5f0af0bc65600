/* What the meeting server and its RDP viewer process (causeway-rdp) say to each other over the
 * control socket, one message a packet. The picture itself is in shared memory: rows of
 * `width` BGRX pixels from the top left, without gaps. The server trusts nothing in here. */
#pragma once

#include "lib/base/wire.h"

enum {
    LINK_RECTS_MAX = 64,
    LINK_CURSOR_MAX = 96, /* pixels a side */
    LINK_MESSAGE_MAX = 64 + LINK_CURSOR_MAX * LINK_CURSOR_MAX * 4,
    LINK_WIDTH_MAX = 3840,
    LINK_HEIGHT_MAX = 2160,
    LINK_MEMORY = LINK_WIDTH_MAX * LINK_HEIGHT_MAX * 4
};

enum link_type {
    LINK_SIZE = 1, /* viewer: the desktop is width x height now; all of it is about to change */
    LINK_DAMAGE,  /* viewer: these parts of shared memory are new. It touches the memory no more
                     until LINK_ACK for this `seq` has come */
    LINK_CURSOR,  /* viewer: the pointer's picture, BGRA, empty to hide it */
    LINK_POINTER, /* viewer: the pointer is at x, y */
    LINK_STATE,   /* viewer: how far the RDP connection got; text says it */
    LINK_GONE,    /* viewer: it ends; text says why. Nothing follows, and it reads no more: a
                     LINK_ACK may fail before this was received */
    LINK_ACK      /* server: `seq` has been copied */
};

enum link_state {
    LINK_CONNECTING,
    LINK_ACTIVE, /* the first picture is complete */
    LINK_PAUSED
};

struct rect {
    uint16_t x, y, w, h;
};

struct link_msg {
    enum link_type type;
    uint32_t seq;           /* DAMAGE, ACK */
    uint16_t width, height; /* SIZE, CURSOR */
    uint16_t x, y;          /* POINTER; CURSOR: its hot spot */
    enum link_state state;
    uint8_t n_rects;
    struct rect rect[LINK_RECTS_MAX];
    struct slice text;   /* STATE, GONE: printable ASCII, at most 200 bytes */
    struct slice pixels; /* CURSOR */
};

/* ERR_MALFORMED for anything not exactly as the sender must write it. Slices borrow `in`. */
MUST_USE int link_parse(struct link_msg *out, struct slice in);
void link_put(struct wr *w, const struct link_msg *m);
