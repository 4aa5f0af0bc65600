/* Listens in on the demo's cables and tells what it hears, as it happens. */
#pragma once

#include "io/loop.h"

#include "cmd/causeway/hear.h"
#include "cmd/causeway/net.h"

struct watch;

struct watched {
    enum leg leg;
    enum host from, to;
    uint16_t from_port, to_port;
    bool is_opening; /* a TCP connection begins; `heard` is empty */
    struct heard heard;
};

typedef void watch_fn(const struct watched *w, void *ctx);

/* Captures on every leg; that of LEG_MEDIA goes to the file `save_media_to` too, unless it is
 * NULL. What one leg repeats of another is left out: each message is told once per host it
 * reaches. `why`, of CAPTURE_WHY_MAX bytes, tells what went wrong. */
MUST_USE int watch_new(struct watch **out, struct loop *l, const struct net *net,
                       const char *save_media_to, watch_fn *fn, void *ctx, char *why);
/* Takes what was captured up to now. */
void watch_flush(struct watch *w);
void watch_free(struct watch *w); /* NULL is fine; writes the file out */
