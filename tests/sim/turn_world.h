/* What the files of the simulation share. */
#pragma once

#include "tests/sim/turn_sim.h"

enum {
    WORLD_CLIENTS = 64, /* of a small world */
    WORLD_PEERS = 4096, /* of a large one, besides the few: in 45.0.0.0/16 */
    WORLD_HOSTS = 250,  /* clients' addresses; more clients share them */
    WORLD_IDS = 64,
    WORLD_NONCE = 64
};

struct endpoint { /* a client's socket */
    struct turn_conn conn;
    uint8_t user;
    bool is_closed; /* TCP: the server closed it, or it became a data connection */
    uint8_t nonce[WORLD_NONCE];
    size_t nonce_len;
    uint32_t nonce_s;
    struct frame last;
};

struct pending { /* what the driver owes the core */
    enum turn_do what;
    turn_id id;
};

struct world {
    struct turn_server *s;
    struct turn_policy policy, strict;
    struct model m;
    uint64_t rng, core_rng;
    int plant;
    struct endpoint *clients;
    size_t n_clients;
    struct frame *flight; /* datagrams on their way to the server */
    size_t n_flights, max_flights;
    struct pending *pending;
    size_t n_pending, max_pending;
    struct endpoint **of_conn; /* by its connection's id; NULL: nobody's any more */
    size_t n_of_conn;
    turn_id ids[WORLD_IDS]; /* seen in actions, live or not */
    size_t n_ids;
    turn_id next_conn;
    uint32_t next_tid;
    uint32_t n_ports;
    uint64_t events;
};

uint64_t world_mix(uint64_t x); /* neighbours lead to numbers far apart */
/* False: no memory. */
bool world_start(struct world *w, const struct sim_plan *plan);
void world_clear(struct world *w);
bool world_is_large(const struct world *w);
/* How much more happens at once than in a small world. */
uint32_t world_scale(const struct world *w);
/* `n` of them, or a few. False: no memory. */
bool world_make_clients(struct world *w, size_t n);
void world_set_conn(struct world *w, struct endpoint *e, turn_id conn);
/* NULL: nobody has that connection, or over plain UDP that address. */
struct endpoint *world_client(struct world *w, turn_id conn, const struct addr *at);
/* Live ones; NULL: none. */
struct m_alloc *world_pick_alloc(struct world *w, enum turn_transport transport);
const struct m_link *world_pick_link(struct world *w);
/* 0 to n - 1. */
uint32_t world_pick(struct world *w, uint32_t n);
/* Often up to the moment when something falls due. */
uint64_t world_some_time(struct world *w);
bool world_chance(struct world *w, uint32_t percent);
struct addr world_peer(struct world *w);
/* Mostly one that the allocation has a permission for. */
struct addr world_peer_of(struct world *w, const struct m_alloc *a);
bool world_peer_ok(const struct addr *peer, bool is_strict);
bool world_peer_may_come(const struct addr *peer, bool is_strict);
/* Of a datagram on its way to the server. */
struct dgram_opts world_opts(struct world *w);
struct turn_icmp world_icmp(struct world *w);
const char *world_kind_text(const struct ask_facts *f);
/* Adds what only the strict policy refuses. */
void world_deny_strictly(struct turn_policy *p);
/* A message that `e` may send now; signed, or wrongly signed, or noise. */
void world_write(struct world *w, struct endpoint *e, struct frame *f);
