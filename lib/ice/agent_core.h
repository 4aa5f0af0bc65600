/* Inside the ICE agent: what its files share. Not for others. */
#pragma once

#include "lib/base/timerq.h"

#include "lib/ice/agent.h"

enum {
    ICE_UFRAG_MAX = 256,   /* RFC 8839 5.4 */
    ICE_OUTBOUND_MAX = 40, /* of ICE_PATHS_MAX; the others are for whoever connects to us */
    ICE_QUEUE_MAX = 4 * ICE_PATHS_MAX,
    ICE_MSG_MAX = 1280, /* two ufrags of 256, and the rest */
    ICE_ARENA = 8 * ICE_MSG_MAX,
    ICE_SETTLE_MS = 300, /* how long a better pair may still come before one is nominated */
    ICE_LINGER_MS = 3000 /* our other connections live on this long, should the first fail */
};

enum pair_state {
    PAIR_FREE,
    PAIR_WAITING,    /* not connected yet */
    PAIR_CONNECTING, /* its owner was told to */
    PAIR_OPEN,       /* connected; no check sent */
    PAIR_CHECKING,
    PAIR_VALID, /* our check was answered */
    PAIR_FAILED /* may still be open when `path` is not 0 */
};

enum pair_fault {
    FAULT_NONE,
    FAULT_REFUSED, /* the connection */
    FAULT_SLOW,    /* likewise, in the time it had */
    FAULT_UNANSWERED,
    FAULT_ERROR, /* the check was answered with one */
    FAULT_CLOSED,
    FAULT_COUNT
};

/* Over TCP a candidate pair and a connection are nearly one: a pair has at most one path, and
 * one that the peer opened is a pair of its own. */
struct ice_pair {
    enum pair_state state;
    enum pair_fault fault;
    ice_path path; /* 0: closed or never opened */
    bool is_inbound, peer_checked, peer_nominated;
    bool wants_nomination;                    /* we control: the next check has USE-CANDIDATE */
    bool is_asking;                           /* a check is out: `tid` */
    bool asked_nomination, asked_controlling; /* what that check said */
    struct stun_tid tid;
    uint64_t deadline_ms;
    struct ice_cand local, remote;
};

struct ice_queued {
    struct ice_action a;
};

struct ice_agent {
    struct ice_config cfg; /* its slices point into the texts below */
    struct ice_env env;
    const struct ice_profile *profile;
    const struct stun_wire *wire; /* the peer's form, once it is known */
    char ufrag[ICE_UFRAG_MAX], pwd[ICE_UFRAG_MAX], remote_ufrag[ICE_UFRAG_MAX];
    size_t remote_ufrag_len;
    struct stun_key local_key, remote_key;
    bool is_controlling, has_remote, is_done;
    bool data_seen; /* on the selected path: it cannot be changed any more */
    uint64_t tie_breaker;
    uint64_t next_check_ms, patience_ms, settle_ms, keepalive_ms, linger_ms;
    struct ice_cand local[ICE_CANDS_MAX], remote[ICE_CANDS_MAX];
    size_t n_local, n_remote;
    struct ice_pair pair[ICE_PATHS_MAX];
    struct ice_pair *selected;
    uint64_t n_paths; /* ever made */
    unsigned fault[FAULT_COUNT];
    unsigned n_inbound;
    char why[240];
    struct ice_queued queue[ICE_QUEUE_MAX];
    size_t q_at, q_len;
    uint8_t arena[ICE_ARENA];
    size_t arena_len;
};

/* agent.c */
void ice_push(struct ice_agent *a, const struct ice_action *what);
void ice_report(struct ice_agent *a, const struct ice_pair *p, const char *why);
/* Room for one message; NULL while too many wait to be taken. */
uint8_t *ice_room(struct ice_agent *a);
void ice_send(struct ice_agent *a, const struct ice_pair *p, struct slice message);
void ice_pair_fail(struct ice_agent *a, struct ice_pair *p, enum pair_fault fault, bool close);
void ice_select(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p);
void ice_set_role(struct ice_agent *a, bool controlling);

/* cand.c */
uint64_t ice_pair_priority(const struct ice_agent *a, const struct ice_pair *p);
void ice_form_pairs(struct ice_agent *a);
struct ice_pair *ice_pair_free(struct ice_agent *a);
/* The candidates an inbound connection runs between. */
void ice_match_inbound(struct ice_agent *a, struct ice_pair *p, const struct addr *local,
                       const struct addr *remote);

/* check.c */
void ice_send_check(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p);
void ice_send_keepalive(struct ice_agent *a, const struct ice_pair *p);
void ice_on_stun(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p, struct slice packet);
