/* One HTTP GET, for the demo's own look at the meeting server's pictures. */
#pragma once

#include "lib/base/addr.h"

#include "io/loop.h"

struct fetch;

enum {
    FETCH_MAX = 64 * 1024 * 1024 /* bytes of an answer: a 4K picture as PNG fits */
};

/* Asks `server` from the network namespace the thread is in. `done` is called once, from the
 * loop, with the body and status, or status 0 when there was no whole answer in time; the fetch
 * is freed after it. `path` is copied. */
MUST_USE int fetch_start(struct fetch **out, struct loop *l, const struct addr *server,
                         const char *path,
                         void (*done)(unsigned status, struct slice body, void *ctx),
                         void *ctx);
void fetch_cancel(struct fetch *f); /* `done` is not called; NULL is fine */
