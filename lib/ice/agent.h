/* One ICE agent over TCP (RFC 6544 on RFC 8445, with [MS-ICE2] as a profile). No sockets: a
 * path is a connection, named by the agent and opened by whoever carries out its actions.
 * RTP and RTCP share one connection; component 2's candidates are copies of component 1's. */
#pragma once

#include "lib/stun/msg.h"

struct ice_agent;
typedef uint64_t ice_path; /* never 0 */

enum {
    ICE_CANDS_MAX = 32,
    ICE_PATHS_MAX = 64,
    ICE_FOUNDATION_MAX = 33 /* 32 characters (RFC 8445 5.3) and an end mark */
};

enum ice_tcp_type {
    ICE_ACTIVE,
    ICE_PASSIVE,
    ICE_SO
};

enum ice_cand_type {
    ICE_HOST,
    ICE_SRFLX,
    ICE_PRFLX,
    ICE_RELAY
};

struct ice_cand {
    char foundation[ICE_FOUNDATION_MAX];
    struct addr addr, base; /* base: raddr and rport in SDP */
    uint32_t priority;      /* 0 in ice_agent_add_local: the profile's formula */
    uint8_t component;
    enum ice_cand_type type;
    enum ice_tcp_type tcp;
};

/* What differs between RFC 6544 and [MS-ICE2], as data. */
struct ice_profile {
    const char *name;
    const struct stun_wire *wire;
    const struct stun_wire *also; /* taken as well, and answered in kind; NULL: none */
    uint32_t (*priority)(const struct ice_cand *c);
    uint32_t implementation_version; /* 0: attribute not sent */
    bool candidate_identifier;
    bool response_username; /* responses carry the request's USERNAME */
    bool regular_nomination;
};
extern const struct ice_profile ice_profile_rfc6544, ice_profile_ms_ice2;

struct ice_config {
    const struct ice_profile *profile;
    struct slice local_ufrag, local_pwd; /* copied */
    bool controlling;
    uint32_t pace_ms;    /* Ta, 50 (RFC 8445 14.2) */
    uint32_t check_ms;   /* how long a check may stay unanswered on an open path */
    uint32_t connect_ms; /* how long a path may take to open */
    uint32_t
        patience_ms; /* ICE_DO_FAILED when nothing was selected this long after set_remote */
    uint32_t keepalive_ms; /* Binding indications on the selected path, 25000 */
};

struct ice_env {
    void (*random)(void *out, size_t len, void *ctx);
    void *ctx;
};

enum ice_do {
    ICE_DO_CONNECT,  /* local (its base) -> remote, as `path`; answer ice_agent_connected() */
    ICE_DO_SEND,     /* `data` in one RFC 4571 frame on `path` */
    ICE_DO_CLOSE,    /* close `path` */
    ICE_DO_SELECTED, /* application data may flow on `path`; local and remote say which pair.
                        Comes again when that path closes early or the peer picks another */
    ICE_DO_DATA,     /* `data` came on `path` and is not STUN: for the application */
    ICE_DO_REPORT,   /* a step, for the log: `why`, with path, local, remote */
    ICE_DO_FAILED    /* `why`; nothing follows */
};

struct ice_action {
    enum ice_do what;
    ice_path path;
    struct ice_cand local, remote; /* CONNECT, SELECTED, REPORT */
    struct slice data;             /* good until the next call in */
    const char *why;               /* a literal; of FAILED the agent's own text */
};

MUST_USE int ice_agent_new(struct ice_agent **out, const struct ice_config *cfg,
                           const struct ice_env *env);
void ice_agent_free(struct ice_agent *a);
/* Before set_remote. ERR_LIMIT past ICE_CANDS_MAX. */
MUST_USE int ice_agent_add_local(struct ice_agent *a, const struct ice_cand *c);
/* Local candidates as they stand, priorities and foundations filled in, for the SDP. */
size_t ice_agent_local(const struct ice_agent *a, struct ice_cand *out, size_t cap);
/* Copies all. Checks begin; those that came before are answered already and now count. Again
 * with the same ufrag and pwd it changes nothing; with others it is ERR_UNSUPPORTED (no
 * restarts). ERR_LIMIT when `pwd` is longer than STUN_KEY_MAX. */
MUST_USE int ice_agent_set_remote(struct ice_agent *a, uint64_t now_ms, struct slice ufrag,
                                  struct slice pwd, const struct ice_cand *cands, size_t n);
void ice_agent_connected(struct ice_agent *a, uint64_t now_ms, ice_path path, bool ok);
/* Somebody connected to the passive candidate with address `local`. When there are too many
 * paths, the oldest whose peer has sent no right check is closed for it. 0: there is none. */
ice_path ice_agent_accepted(struct ice_agent *a, uint64_t now_ms, const struct addr *local,
                            const struct addr *remote);
void ice_agent_closed(struct ice_agent *a, uint64_t now_ms, ice_path path);
/* One RFC 4571 frame's packet. */
MUST_USE int ice_agent_recv(struct ice_agent *a, uint64_t now_ms, ice_path path,
                            struct slice packet);
void ice_agent_tick(struct ice_agent *a, uint64_t now_ms);
bool ice_agent_next(struct ice_agent *a, struct ice_action *out);
uint64_t ice_agent_deadline_ms(const struct ice_agent *a);
/* 0 until there is one. */
ice_path ice_agent_selected(const struct ice_agent *a);
