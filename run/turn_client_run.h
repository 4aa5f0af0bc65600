/* Runs a TURN client core: the control connection, a data connection for each peer. What comes
 * out is a relayed address and byte streams to peers. */
#pragma once

#include "lib/turn/client.h"

#include "io/log.h"
#include "io/loop.h"
#include "io/tcp.h"
#include "run/turn_locate_run.h"

struct turn_client_run;

enum relay_event_type {
    RELAY_READY,      /* `relayed` can be told to others */
    RELAY_PERMITTED,  /* the server has judged what turn_client_run_permit() asked for */
    RELAY_PEER,       /* `stream` leads to `peer`, and is the receiver's from here on */
    RELAY_NO_CONNECT, /* turn_client_run_connect() as `data` came to nothing: `why` */
    RELAY_LOST        /* there is no relay, or none any more: `why`, `code`. Nothing follows */
};

struct relay_event {
    enum relay_event_type type;
    struct addr relayed, mapped, peer;
    struct tcp *stream;
    turn_data data;
    const char *why;
    uint16_t code; /* STUN error code, or 0 */
};

struct turn_client_run_config {
    struct addr server;
    /* In place of `server`: those that the URI means are tried one after the other. Both
     * outlive the object, or are NULL. */
    const struct turn_uri *uri;
    struct resolver *resolver;
    struct slice username, password; /* copied */
    const struct log *log;
    const char *tag;     /* what the log lines belong to; copied */
    uint32_t connect_ms; /* how long a server's TCP may take */
    void (*event)(const struct relay_event *e, void *ctx);
    void *ctx;
};

/* Starts at once; the first event comes from the loop. */
MUST_USE int turn_client_run_new(struct turn_client_run **out, struct loop *l,
                                 const struct turn_client_run_config *cfg);
/* No event comes any more. The allocation is given back to the server, which takes a moment:
 * the object frees itself after that. NULL is fine. */
void turn_client_run_close(struct turn_client_run *r);

MUST_USE int turn_client_run_permit(struct turn_client_run *r, const struct addr *peers,
                                    size_t n);
/* RELAY_PEER or RELAY_NO_CONNECT with this `data` follows. */
MUST_USE int turn_client_run_connect(struct turn_client_run *r, const struct addr *peer,
                                     turn_data *data);
/* The receiver of a RELAY_PEER says that he closed its stream. */
void turn_client_run_peer_gone(struct turn_client_run *r, turn_data data);
