/* What the files of turn_run share: the sockets that stand for the core's ids. */
#pragma once

#include "lib/base/map.h"

#include "lib/turn/dialect.h"

#include "io/tcp.h"
#include "io/udp.h"
#include "run/turn_run.h"
#include "run/turn_run_dtls.h"

struct listener {
    struct turn_run *run;
    struct addr at;
    uint8_t realm;
    struct udp *udp;
    struct tcp_listener *tcp;
};

struct client { /* a client's TCP connection, until it ends or becomes part of a pipe */
    struct turn_run *run;
    struct map_link by_id;
    turn_id id;
    struct tcp *tcp;
    struct tls *tls; /* beneath `tcp`, whose it is; NULL: none */
    struct turn_conn conn;
    struct addr server; /* where the client connected to: at the proxy, if it came by one */
    struct tcp *web;    /* to the web server it is for, until that stands; else NULL */
    struct addr web_at;
    struct network *network; /* turn_run_crowd.c; NULL: of none */
    struct client *next, **prev;
    unsigned at; /* DOOR_* */
    uint64_t begun_ms;
    uint64_t seen_ms;   /* when a whole message last came, or the connection */
    bool is_from_proxy; /* the other end is one of proxy_from */
    bool has_spoken;    /* a whole message has come */
    bool is_waiting;    /* not read while a request of it waits for a key */
};

enum { /* where bytes come from that a door is looked for with */
    DOOR_OUTSIDE = 1,
    DOOR_BEHIND_PROXY = 2,
    DOOR_IN_TLS = 4
};

enum door_step {
    DOOR_MORE, /* it cannot be told yet */
    DOOR_ON,   /* what follows comes to a door again */
    DOOR_IN,   /* what follows is somebody else's, and so may be the client */
    DOOR_SHUT  /* it is refused, as `why` says */
};

struct client_hello;
struct web_link;

struct door_entry {
    size_t used;     /* bytes taken, with DOOR_ON and DOOR_IN */
    const char *why; /* a literal */
};

struct relay { /* a relay's port, or one kept for a reservation */
    struct turn_run *run;
    struct map_link by_id;
    turn_id id;
    struct relay *next, **at;
    struct addr addr;
    enum turn_transport transport;
    struct udp *udp;
    struct tcp_listener *tcp;
    uint64_t dropped;            /* datagrams for which the client's connection had no room */
    struct tcp_pipe_count ended; /* bytes of its TCP connections that are gone */
};

struct peer_link { /* a peer's TCP connection, and the pipe it becomes part of */
    struct turn_run *run;
    struct map_link by_id;
    turn_id id, relay;
    struct peer_link *next, **at;
    struct tcp *tcp;
    struct tcp_pipe *pipe;
    struct tcp_pipe_count count; /* client to peer, peer to client; when the pipe has ended */
};

struct ports { /* which of the relays' ports are taken, as far as we know */
    uint8_t taken[65536 / 8];
};

enum {
    REFUSALS_MAX = 128 /* reasons are literals, some 80 of the core and ours */
};

struct turn_run {
    struct loop *loop;
    struct turn_run_config cfg;
    struct turn_server *core;
    struct loop_timer *timer, *sweep;
    struct loop_idle *drained;
    struct turn_dtls *dtls; /* NULL: none */
    struct listener listeners[TURN_LISTEN_MAX];
    size_t n_listeners;
    struct map clients_by_id, relays_by_id, peers_by_id;
    struct map networks;
    struct rates accepts; /* by network */
    struct client *clients;
    struct relay *relays;
    struct peer_link *peers;
    size_t n_clients;
    turn_id last_client; /* ids count up and never come again */
    bool acts;           /* inside run_actions */
    struct ports udp_ports, tcp_ports;
    struct log_limit noise, denials, renewals, events, full, tls_noise, door_noise, web_noise;
    struct web_link *web_links;
    size_t n_web;
    uint64_t n_web_ever;
    struct turn_refusals refusals[REFUSALS_MAX];
    size_t n_refusals;
    struct tcp_pipe_count ended; /* bytes of all peers' TCP connections that are gone */
    uint64_t dropped;            /* datagrams, of all relays */
    bool is_draining;
    uint8_t scratch[65536 + 8]; /* a datagram and its padding, side by side */
};

/* turn_run.c */
/* After every input to the core: carries out what it asks for. */
void run_actions(struct turn_run *r);
/* What is behind the action's head: the body and its zero bytes. Good until the next call. */
struct slice run_body(struct turn_run *r, const struct turn_action *a);

/* That the clients of the listener at `local` speak. */
const struct turn_dialect *run_dialect(const struct turn_run *r, const struct addr *local);
/* A client on a UDP listener. */
struct turn_conn run_udp_conn(struct turn_run *r, const struct addr *client,
                              const struct addr *local);
/* From the listener that is at `local`. */
void run_to_client(struct turn_run *r, const struct addr *client, const struct addr *local,
                   struct slice head, struct dgram body);
void run_dropped(struct turn_run *r, turn_id relay); /* counts a datagram to its client */

/* turn_run_client.c */
void client_accepted(struct tcp *t, const struct addr *peer, void *ctx);
struct client *client_find(struct turn_run *r, turn_id id);
/* Door of what is plain STUN and ChannelData from here on. */
enum door_step client_begin(struct client *c, struct slice first, struct door_entry *e);
void client_ended(struct tcp *t, void *ctx); /* events of its stream */
void client_closed(struct tcp *t, int sys_errno, void *ctx);
/* Reads on if it was waiting for a key, and does no more. */
void client_wake(struct turn_run *r, turn_id id);
void client_send(struct client *c, const struct turn_action *a);
/* Tells the core; what is queued still goes out. */
void client_close(struct client *c);
/* At once: for one that is owed nothing, and must not stay on beyond its turn. */
void client_drop(struct client *c);
void client_free(struct client *c); /* its stream is somebody else's, and the core knows */
void clients_sweep(struct turn_run *r);

/* turn_run_door.c */
void door_open(struct client *c);                    /* for a connection that has just come */
void door_refuse(struct client *c, const char *why); /* says so, counts it, and drops it */
/* The door for bytes that come from `at` (DOOR_*), for tests. */
enum parse door_of(unsigned at, struct slice first, const char **name);

/* turn_run_tls.c */
/* Door of TLS. */
enum door_step client_tls_begin(struct client *c, struct slice first, struct door_entry *e);
void client_tls_closed(struct client *c); /* it ended: because of TLS? */

/* turn_run_web.c */
/* Are these first bytes HTTP's? */
enum parse web_match_http(struct slice first);
/* Door of HTTP without TLS. */
enum door_step web_begin_http(struct client *c, struct slice first, struct door_entry *e);
/* Joins it to a web server there. */
enum door_step web_begin(struct client *c, const struct addr *to, struct door_entry *e);
/* Is a client that asks for this TLS server the web server's? */
bool web_wants(const struct turn_run *r, const struct client_hello *h);
/* What the configuration says of an SNI name; NULL: nothing. */
const struct turn_name *run_name_of(const struct turn_run *r, struct slice name);
void web_sweep(struct turn_run *r);
void web_done(struct turn_run *r);

/* turn_run_crowd.c */
MUST_USE int crowd_init(struct turn_run *r, const uint8_t secret[16]);
/* Counts it among those from around its client's address, which may have changed. NULL, or why it
 * is not wanted; it must be left all the same. */
const char *crowd_join(struct client *c);
void crowd_leave(struct client *c);

/* turn_run_relay.c */
/* Can relays be opened at all? Better known at the start than from the first client. */
MUST_USE int relays_check(struct turn_run *r);
void relay_open(struct turn_run *r, const struct turn_action *a);
void relay_close(struct relay *rl);
void relay_out(struct relay *rl, const struct turn_action *a); /* of a UDP relay */
struct relay *relay_find(const struct turn_run *r, turn_id id);

/* turn_run_tcp.c */
void peer_accepted(struct tcp *t, const struct addr *peer, void *ctx);
void peer_connect(struct turn_run *r, const struct turn_action *a);
void peer_pipe(struct turn_run *r, const struct turn_action *a);
void peer_close(struct peer_link *p);
struct peer_link *peer_find(const struct turn_run *r, turn_id id);

/* turn_run_log.c */
void run_count_refusal(struct turn_run *r, const char *why); /* a literal */
void run_report(struct turn_run *r, const struct turn_action *a);
