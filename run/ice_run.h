/* Runs an ICE agent over TCP: listens on its host candidates, opens and accepts paths, frames
 * packets (RFC 4571). Paths through a TURN relay come from a turn_client_run. */
#pragma once

#include "lib/ice/agent.h"

#include "io/log.h"
#include "io/loop.h"
#include "io/tcp.h"
#include "run/turn_client_run.h"

struct ice_run;

enum ice_event_type {
    ICE_EVENT_SELECTED, /* packets may flow: local, remote */
    ICE_EVENT_PACKET,   /* not STUN; good until the function returns */
    ICE_EVENT_DRAINED,  /* the selected path can take more again */
    ICE_EVENT_LOST      /* no path, or the selected one is gone: `why`. Nothing follows */
};

struct ice_event {
    enum ice_event_type type;
    struct ice_cand local, remote;
    struct slice packet;
    const char *why;
};

struct ice_run_config {
    struct ice_config ice;
    const struct log *log;
    const char *tag; /* what the log lines belong to; outlives this */
    void (*event)(const struct ice_event *e, void *ctx);
    void *ctx;
};

MUST_USE int ice_run_new(struct ice_run **out, struct loop *l,
                         const struct ice_run_config *cfg);
void ice_run_free(struct ice_run *r); /* NULL is fine; allowed inside its event */

/* Listens on `ip`, any port, and makes a passive host candidate of it; an active one as well
 * when `may_connect`. */
MUST_USE int ice_run_add_host(struct ice_run *r, const struct addr *ip, bool may_connect);
/* The relay's address as a passive candidate, and an active one when `may_connect`. `relay` is
 * used for connects, and outlives this or is taken away with ice_run_relay_gone(). */
MUST_USE int ice_run_add_relay(struct ice_run *r, struct turn_client_run *relay,
                               const struct addr *relayed, const struct addr *base,
                               bool may_connect);
void ice_run_relay_gone(struct ice_run *r);
size_t ice_run_local(const struct ice_run *r, struct ice_cand *out, size_t cap);
MUST_USE int ice_run_set_remote(struct ice_run *r, struct slice ufrag, struct slice pwd,
                                const struct ice_cand *cands, size_t n);
/* RELAY_PEER and RELAY_NO_CONNECT go here; the stream belongs to this from here on. */
void ice_run_relay_event(struct ice_run *r, const struct relay_event *e);

/* Sends one packet on the selected path. ERR_BADSTATE without one. */
MUST_USE int ice_run_send(struct ice_run *r, struct slice packet);
bool ice_run_is_full(const struct ice_run *r); /* wait for ICE_EVENT_DRAINED */
/* Stops and goes on reading the selected path: the peer's window closes. */
void ice_run_hold(struct ice_run *r, bool hold);
