/* The stand-in Front End: takes the client's SIP connections and leads each to the meeting
 * server, bytes unchanged, so that the client needs no route there. */
#pragma once

#include "lib/base/addr.h"

#include "io/log.h"
#include "io/loop.h"

struct front_end;

struct front_end_config {
    struct addr listen, to;
    const struct log *log;
};

MUST_USE int front_end_new(struct front_end **out, struct loop *l,
                           const struct front_end_config *cfg);
void front_end_free(struct front_end *f); /* NULL is fine */
