/* Listens in on the demo's cables and tells what it hears, as it happens. */
#pragma once

#include "io/loop.h"

#include "cmd/causeway/hear.h"
#include "cmd/causeway/net.h"

struct watch;

struct watched {
    uint64_t at_us; /* wall clock, when it was on the cable */
    enum leg leg;
    enum host from, to;
    uint16_t from_port, to_port;
    bool is_opening; /* a TCP connection begins; `heard` is empty */
    struct heard heard;
};

typedef void watch_fn(const struct watched *w, void *ctx);

/* Captures on every leg; that of LEG_MEDIA goes to the file `save_media_to` too, unless it is
 * NULL. What one leg repeats of another is left out: each message is told once per host it
 * reaches. `fn` is called from the loop, in the order of time as far as one turn of the loop
 * can know it. `why`, of CAPTURE_WHY_MAX bytes, tells what went wrong. */
MUST_USE int watch_new(struct watch **out, struct loop *l, const struct net *net,
                       const char *save_media_to, watch_fn *fn, void *ctx, char *why);
/* Takes, and tells, what was captured up to now. */
void watch_flush(struct watch *w);
uint64_t watch_lost(const struct watch *w); /* packets that came too fast to be taken */
void watch_free(struct watch *w);           /* NULL is fine; writes the file out */
