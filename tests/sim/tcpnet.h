/* Two ICE agents on a network that exists in this process: a clock that is moved by hand, and
 * connections that are made, refused, lost or closed as a plan says. */
#pragma once

#include "lib/ice/agent.h"

enum {
    NET_HOSTS = 4, /* addresses of each agent */
    NET_CONNS = 256,
    NET_EVENTS = 4096,
    NET_PACKET = 1500
};

enum net_fate {
    NET_WORKS,
    NET_REFUSES,
    NET_SWALLOWS, /* no answer at all */
    NET_BREAKS    /* works, and is closed after a while */
};

struct net_conn {
    ice_path path[2];
    int opener;
    bool dead[2];                    /* as that agent sees it */
    uint64_t latency_ms, last_ms[2]; /* last_ms: a stream keeps its order */
};

enum net_what {
    NET_FREE,
    NET_OPENED,
    NET_ACCEPT,
    NET_PACKET_IN,
    NET_CLOSED
};

struct net_event {
    enum net_what what;
    uint64_t at_ms, order;
    int agent;
    size_t conn;
    bool ok;
    ice_path path;
    struct addr local, remote;
    size_t len;
    uint8_t data[NET_PACKET];
};

struct net {
    uint64_t now_ms, order;
    uint64_t rng;
    struct ice_agent *agent[2];
    enum net_fate fate[2][NET_HOSTS][NET_HOSTS]; /* of opener, from its host, to the other's */
    struct net_conn conn[NET_CONNS];
    size_t n_conns;
    struct net_event *event; /* NET_EVENTS of them */
    bool failed[2];
    char why[2][256];
    size_t n_selected[2];
    unsigned n_data[2];
};

uint64_t net_random(struct net *n); /* from the seed in n->rng */
void net_fill_random(void *out, size_t len, void *ctx);
/* Address `host` of `agent`: 10.<agent>.0.<host>, and its listening port. */
struct addr net_addr(int agent, int host);
/* Takes the agents' actions and moves the clock, until `until_ms` or nothing is left to do. */
void net_run(struct net *n, uint64_t until_ms);
/* The connection an agent has selected, or NET_CONNS. */
size_t net_selected(const struct net *n, int agent);
