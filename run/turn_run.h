/* Runs a TURN server core: listeners, relays, peer connections, pipes, timers. */
#pragma once

#include "lib/turn/server.h"

#include "io/log.h"
#include "io/loop.h"

struct turn_run;

enum {
    TURN_LISTEN_MAX = 32
};

struct turn_run_config {
    struct turn_config server;
    const struct log *log;
    struct addr listen[TURN_LISTEN_MAX]; /* each for UDP and TCP */
    size_t n_listen;
    struct addr relay_ip4, relay_ip6; /* where relays are opened; family 0: none of that kind */
    uint16_t relay_first, relay_last; /* ports */
    uint32_t max_connections;         /* TCP connections from clients, in all */
    uint32_t idle_s; /* a TCP connection that made no allocation and bound nothing is closed */
    /* What may `username` sign with? Answer with turn_run_keys(), now or later. */
    void (*find_keys)(turn_id ticket, struct slice username, void *ctx);
    void *ctx;
};

/* ERR_SYSTEM after a log line that says what could not be done. */
MUST_USE int turn_run_new(struct turn_run **out, struct loop *l,
                          const struct turn_run_config *cfg);
void turn_run_free(struct turn_run *r);
/* Answers find_keys; NULL: it cannot be told now. An answer that nobody waits for is no harm.
 */
void turn_run_keys(struct turn_run *r, turn_id ticket, const struct turn_keys *keys);
struct turn_stats turn_run_stats(const struct turn_run *r);
struct addr turn_run_addr(const struct turn_run *r, size_t n); /* with the port it got */
