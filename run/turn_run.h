/* Runs a TURN server core: listeners, relays, peer connections, pipes, timers. */
#pragma once

#include "lib/tls/dtls_server.h"
#include "lib/turn/server.h"

#include "io/log.h"
#include "io/loop.h"
#include "io/tcp.h"

struct tls_context;
struct turn_run;

enum {
    TURN_LISTEN_MAX = 32
};

/* A web server that shares the TCP listeners. It gets what is not for TURN, byte for byte. */
struct turn_web {
    struct addr tls;   /* for TLS, by what the client asks for; family 0: none */
    struct addr plain; /* for HTTP; family 0: none */
    bool says_client;  /* a PROXY header, version 2, goes first */
    uint32_t max;      /* connections */
    uint32_t idle_s;   /* without a byte; then it is closed */
};

/* A name that TLS clients may ask for (SNI), of this server. */
struct turn_name {
    const char *name;
    uint8_t realm; /* index; the listener's if it has none of its own */
    bool has_realm;
};

struct turn_run_config {
    struct turn_config server;
    const struct log *log;
    struct tls_context *tls;       /* TLS on the TCP listeners; NULL: none. Outlives the run */
    struct tls_context *dtls;      /* DTLS on the UDP ones; NULL: none now. Outlives the run */
    uint32_t max_dtls;             /* associations; 0: never any */
    uint32_t max_dtls_per_address; /* of one IPv4 address, or one IPv6 /64 */
    struct addr listen[TURN_LISTEN_MAX]; /* each for UDP and TCP */
    uint8_t listen_realm[TURN_LISTEN_MAX];
    /* Sockets at those addresses that are open already, 0: none. They are taken over. */
    int listen_tcp[TURN_LISTEN_MAX], listen_udp[TURN_LISTEN_MAX];
    size_t n_listen;
    struct addr relay_ip4, relay_ip6; /* where relays are opened; family 0: none of that kind */
    uint16_t relay_first, relay_last; /* ports */
    uint32_t max_connections;         /* TCP connections from clients, in all */
    uint32_t udp_buffer;              /* of a listener, in bytes; 0: as the system has it */
    /* Of one network, 0: any number: new ones in a second, and those that have no allocation.
     */
    uint32_t max_accepts_per_s, max_strangers;
    uint32_t idle_s;  /* a TCP connection that made no allocation and bound nothing is closed */
    uint32_t first_s; /* the same when its first message is not whole by then */
    /* Proxies that tell their clients' addresses (lib/proxy), and must. */
    const struct addr_net *proxy_from; /* outlives the run */
    size_t n_proxy_from;
    struct turn_web web;
    const struct turn_name *names; /* outlive the run */
    size_t n_names;
    /* What may this user sign with? Answer with turn_run_keys(), now or later. */
    void (*find_keys)(const struct turn_ask *ask, void *ctx);
    void *ctx;
    /* After turn_run_drain() the last allocation is gone: comes once, from the loop. */
    void (*drained)(void *ctx);
    void *drained_ctx;
};

enum {
    TURN_ID_TEXT = 17 /* hexadecimal digits of an id and an end mark */
};

struct turn_traffic {
    uint64_t packets_to_peers, packets_to_client; /* datagrams through UDP relays */
    uint64_t bytes_to_peers, bytes_to_client;
    uint64_t tcp_to_peers, tcp_to_client; /* bytes through TCP relays */
    uint64_t dropped; /* datagrams for which a client's connection, or a record, had no room */
};

struct turn_refusals { /* how often something was refused for this reason, a literal */
    const char *why;
    uint64_t n;
};

/* ERR_SYSTEM after a log line that says what could not be done. */
MUST_USE int turn_run_new(struct turn_run **out, struct loop *l,
                          const struct turn_run_config *cfg);
void turn_run_free(struct turn_run *r);
/* Answers find_keys; NULL: it cannot be told now. An answer that nobody waits for is no harm.
 */
void turn_run_keys(struct turn_run *r, turn_id ticket, const struct turn_keys *keys);
/* To look at the core, not to feed it. */
const struct turn_server *turn_run_core(const struct turn_run *r);
struct turn_stats turn_run_stats(const struct turn_run *r);
struct turn_traffic turn_run_traffic(const struct turn_run *r);
/* The n-th reason; false: there are no more. */
bool turn_run_refusals(const struct turn_run *r, size_t n, struct turn_refusals *out);
size_t turn_run_clients(const struct turn_run *r); /* TCP connections that carry no pipe */
struct slice turn_run_realm(const struct turn_run *r, uint8_t index); /* its name */
/* Connections joined to the web server: now, and ever. */
void turn_run_web(const struct turn_run *r, size_t *now, uint64_t *ever);
/* Bytes through an allocation's TCP connections, those that ended too; through one of them. */
struct tcp_pipe_count turn_run_tcp_count(const struct turn_run *r, turn_id session);
struct tcp_pipe_count turn_run_link_count(const struct turn_run *r, turn_id peer_conn);
/* As turn_server_kick, and it is carried out. */
MUST_USE int turn_run_kick(struct turn_run *r, turn_id session);
void turn_run_drain(struct turn_run *r);
/* As turn_server_set_policy. */
void turn_run_set_policy(struct turn_run *r, const struct turn_policy *policy);
/* For connections from now on; those that there are keep what they began with. */
void turn_run_set_tls(struct turn_run *r, struct tls_context *tls);
void turn_run_set_dtls(struct turn_run *r, struct tls_context *dtls);
struct dtls_server_stats turn_run_dtls(const struct turn_run *r);
/* An id as it stands in log lines; `out` has TURN_ID_TEXT bytes. */
const char *turn_id_text(turn_id id, char *out);
MUST_USE int turn_id_parse(struct slice s, turn_id *out);
struct addr turn_run_addr(const struct turn_run *r, size_t n); /* with the port it got */
