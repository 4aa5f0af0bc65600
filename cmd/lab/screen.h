/* The stand-in Skype client's screen: a private X server showing the moving page, and
 * FreeRDP's shadow server sharing it. Everything is in a temporary folder of its own. */
#pragma once

#include "lib/share/picture.h"

#include "io/loop.h"

struct screen;

struct screen_spec {
    uint16_t width, height;
    void (*ready)(void *ctx); /* it can be shared: screen_connect works */
    /* Something of it ended, or could not be started; `why` names it. Stop it then. */
    void (*failed)(void *ctx, const char *why);
    void (*stopped)(void *ctx); /* last call, after screen_stop */
    void *ctx;
};

MUST_USE int screen_start(struct screen **out, struct loop *l, const struct screen_spec *spec);
/* A new connected stream to the RDP server that shares the screen; it speaks second. */
MUST_USE int screen_connect(struct screen *s, int *fd);
/* Stops all movement; afterwards every look at the screen shows the same pixels. */
void screen_freeze(struct screen *s, bool frozen);
/* The pixels of the X screen, and the same as a PNG file. */
MUST_USE int screen_read(struct screen *s, struct picture *out);
MUST_USE int screen_snapshot(struct screen *s, const char *path);
void screen_stop(struct screen *s);
