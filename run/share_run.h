/* The media of one share, for either side of it: a TURN relay if there is a server for it, ICE,
 * and the RDP byte stream as RTP x-data. SIP and the descriptions' way are the program's. */
#pragma once

#include "lib/sdp/sdp.h"

#include "io/log.h"
#include "io/loop.h"
#include "run/xdata_run.h"

struct share_run;

enum {
    SHARE_HOSTS_MAX = 8
};

enum share_event_type {
    SHARE_GATHERED, /* share_run_local() is complete; `why`: what is missing from it, or NULL */
    SHARE_READY,    /* after share_run_remote(): the peer may be told to connect */
    SHARE_CONNECTED, /* a path is selected: local, remote */
    SHARE_ENDED      /* `why`. Nothing follows */
};

struct share_event {
    enum share_event_type type;
    struct ice_cand local, remote;
    const char *why; /* a literal */
};

struct share_run_config {
    const struct log *log;
    const char *tag; /* what the log lines belong to; outlives this */
    bool controlling;
    bool may_connect;                  /* offer active candidates too */
    struct addr host[SHARE_HOSTS_MAX]; /* addresses for host candidates */
    size_t n_hosts;
    struct addr turn_server; /* family 0: none */
    /* In place of `turn_server`, both or neither; they outlive this. */
    const struct turn_uri *turn_uri;
    struct resolver *resolver;
    struct slice turn_username, turn_password;
    uint32_t turn_ms;     /* patience with the server before going on without it */
    uint32_t patience_ms; /* with the peer: for a path to be selected */
    void (*event)(const struct share_event *e, void *ctx);
    void *ctx;
};

/* Gathers at once; SHARE_GATHERED comes from the loop. */
MUST_USE int share_run_new(struct share_run **out, struct loop *l,
                           const struct share_run_config *cfg);
void share_run_free(struct share_run *r); /* NULL is fine; not inside its event */

/* ICE credentials, candidates, and the address for c= and m=: the relay's if there is one. The
 * slices are the share's. Leaves the other fields of `out` alone. */
void share_run_local(const struct share_run *r, struct sdp_share *out);
/* The other side's description: permissions are asked for and checks begin. SHARE_READY follows
 * when the TURN server has let the peer in. */
MUST_USE int share_run_remote(struct share_run *r, const struct sdp_share *remote);
/* The selected pair. ERR_BADSTATE before SHARE_CONNECTED. */
MUST_USE int share_run_selected(const struct share_run *r, struct ice_cand *local,
                                struct ice_cand *remote);
/* From now on bytes go between `fd` and the peer; `fd` stays the caller's and open until
 * share_run_free(). ERR_BADSTATE before SHARE_CONNECTED. */
MUST_USE int share_run_carry(struct share_run *r, int fd, uint8_t payload_type);
struct xdata_count share_run_count(const struct share_run *r);
