/* Runs the search for the servers that a URI means. */
#pragma once

#include "lib/turn/locate.h"

#include "io/resolve.h"

struct turn_locate_run;

/* A server to try, or NULL: there are no more. From the loop, or inside turn_locate_run_next().
 */
typedef void turn_located(const struct addr *server, enum turn_way way, void *ctx);

/* `ways` are those that the caller can use, the best one first, up to TURN_WAY_NONE or
 * LOCATE_WAYS_MAX of them. ERR_UNSUPPORTED: the URI wants another one. */
MUST_USE int turn_locate_run_new(struct turn_locate_run **out, struct resolver *r,
                                 const struct turn_uri *uri,
                                 const enum turn_way ways[LOCATE_WAYS_MAX]);
/* Asks for the first server, or for the next one. Not again before it was told. */
void turn_locate_run_next(struct turn_locate_run *r, turn_located *fn, void *ctx);
void turn_locate_run_free(struct turn_locate_run *r); /* NULL is fine */
