/* The way into the demo for a browser: a port of the machine's own loopback, forwarded to the
 * meeting server's page inside its namespace. */
#pragma once

#include "lib/base/addr.h"

#include "io/loop.h"

struct door;

/* Listens on 127.0.0.1 at `port`, or the next free one after it (of DOOR_TRIES). Call before
 * the process leaves the machine's network. */
enum {
    DOOR_TRIES = 20
};
MUST_USE int door_new(struct door **out, struct loop *l, uint16_t port);
uint16_t door_port(const struct door *d);
/* Where connections lead from now on: to `inside`, made from namespace `ns`; `home` is where
 * the process lives. */
void door_open(struct door *d, int home, int ns, const struct addr *inside);
void door_free(struct door *d); /* NULL is fine; ends what goes through */
