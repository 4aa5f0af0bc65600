/* The web server of the meeting server: page, JSON interface, and one WebSocket per viewer, on
 * libwebsockets and our loop. Keeps a table of spaces that the program fills. */
#pragma once

#include "lib/base/addr.h"

#include "lib/share/picture.h"

#include "io/log.h"
#include "io/loop.h"

struct web;

enum web_state { /* of a space, as the page shows it */
    WEB_WAITING,
    WEB_CONNECTING,
    WEB_LIVE,
    WEB_PAUSED,
    WEB_ENDED
};

struct web_config {
    struct addr listen;
    const struct log *log;
    uint32_t max_viewers; /* in all */
    uint32_t max_viewers_per_space;
    uint32_t max_fps;  /* updates a second to one viewer */
    uint32_t stall_ms; /* a viewer that acknowledges nothing for so long is dropped; 0: 30 s */
};

MUST_USE int web_new(struct web **out, struct loop *l, const struct web_config *cfg);
/* Closes every connection; runs the loop while that lasts, so never from one of its callbacks.
 */
void web_free(struct web *w);
struct addr web_addr(const struct web *w); /* with the port it got */

/* Names have 1 to 64 bytes of UTF-8 without '/' and control characters, else ERR_MALFORMED.
 * Adds the space, or changes what is shown of it; every viewer of it hears at once. `sharer`
 * and `detail` (one sentence: why it ended, what it waits for) are copied; may be NULL. */
MUST_USE int web_space_set(struct web *w, const char *name, enum web_state state,
                           const char *sharer, const char *detail);
void web_space_remove(struct web *w, const char *name);
/* The picture to show in the space from now on; NULL: none, the last one stays visible greyed
 * until the next. Owned by the caller, who takes it away again before he frees it. */
void web_space_picture(struct web *w, const char *name, struct picture *p);
/* The picture has changed (call after picture_update): viewers are served from the loop. */
void web_space_changed(struct web *w, const char *name);
/* The sharer's pointer: BGRA pixels are copied, w = 0 hides it. */
void web_space_cursor(struct web *w, const char *name, const struct link_msg *cursor);
