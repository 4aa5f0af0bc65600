/* One RDP connection as a viewer, by FreeRDP: bytes from a descriptor in, pixels out. */
#pragma once

#include "cmd/rdp/feed.h"

enum {
    VIEW_STREAM_FD = 3 /* the RDP bytes; FreeRDP's own from view_connect on */
};

struct view;

/* Loads everything FreeRDP needs from the file system. `feed` must stay. */
MUST_USE int view_new(struct view **out, struct feed *feed);
/* Returns when RDP is established, however long the peer is silent before. */
MUST_USE int view_connect(struct view *v);
/* Waits for the peer or the server and handles what came. ERR_SYSTEM: the server is gone;
 * any other error: the sharer is, view_reason says why. */
MUST_USE int view_step(struct view *v);
/* A sentence for people. */
const char *view_reason(const struct view *v);
