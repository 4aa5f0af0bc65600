/* TURN server core (RFC 8656, RFC 6062). No sockets and no clock: bytes, events and the time
 * go in, actions come out. One instance belongs to one thread. */
#pragma once

#include "lib/base/dgram.h"

#include "lib/stun/msg.h"
#include "lib/turn/bandwidth.h"
#include "lib/turn/nat_discovery.h"
#include "lib/turn/policy.h"
#include "lib/turn/rate.h"

struct turn_dialect;
struct turn_server;

enum {
    TURN_HEAD_MAX = 48, /* a Data indication up to its payload, IPv6 peer */
    TURN_KEYS_MAX = 16,
    TURN_REALMS_MAX = 16,
    TURN_ALGORITHMS_MAX = 2,
    TURN_NAME_MAX = 128 /* bytes of a user's name */
};

/* Names a thing outside the core. The high half is a generation, so a late event about an
 * object that is gone finds nothing instead of finding its successor. 0 names nothing. */
typedef uint64_t turn_id;

enum turn_transport {
    TURN_UDP = 17,
    TURN_TCP = 6
};

enum turn_connect { /* to whom clients may Connect, of those who may be peers */
    TURN_CONNECT_ANY,
    TURN_CONNECT_NAMED, /* whom the policy names */
    TURN_CONNECT_NONE   /* peers come to them */
};

struct turn_tcp_quota { /* of peers' TCP connections, beside an allocation's own; 0: any number
                         */
    uint32_t in_all;    /* 0: as many as all allocations may have */
    uint32_t per_user, unbound_per_user;
    uint32_t connects_per_s; /* Connect requests of one user */
    enum turn_connect connect;
};

enum turn_bandwidth { /* whose it is; each for both directions by themselves */
    TURN_BANDWIDTH_ALLOC,
    TURN_BANDWIDTH_USER,
    TURN_BANDWIDTH_ALL,
    TURN_BANDWIDTHS
};

struct turn_config {
    struct slice realms[TURN_REALMS_MAX]; /* the first one is the default; no two alike */
    uint8_t n_realms;                     /* at least 1 */
    struct slice software;
    /* enum stun_algorithm, the best one first: what PASSWORD-ALGORITHMS offers, and nothing
     * else is taken. None: it is not sent, and keys are made with MD5 (RFC 8489 9.2.4). */
    uint8_t algorithms[TURN_ALGORITHMS_MAX], n_algorithms;
    /* RFC 7635: the name of this server, for which an authorization server makes tokens; none:
     * tokens are not taken. */
    struct slice third_party;
    bool anonymity; /* nonces say that USERHASH has to be used (RFC 8489 9.2.5) */
    /* Where clients are sent that we cannot serve, IPv4 and IPv6; family 0: nowhere. The domain
     * is for those who check a certificate there (RFC 8489 14.16). */
    struct addr alternate[2];
    struct slice alternate_domain;
    uint8_t nonce_secret[32]; /* the same in every worker */
    uint32_t nonce_life_s;
    uint32_t max_allocations, max_per_user;
    uint32_t max_unbound; /* TCP peer connections waiting for ConnectionBind, an allocation */
    uint32_t max_connections; /* TCP peer connections of an allocation, bound ones too */
    struct turn_tcp_quota tcp;
    struct bandwidth bandwidth[TURN_BANDWIDTHS];
    uint32_t max_permissions, max_channels; /* of an allocation */
    /* A second and source prefix, 0: any number. Answers over UDP to those without credentials;
     * wrong names and passwords, beyond which nobody's key is looked up for that prefix. */
    uint32_t max_unproven_per_s, max_failures_per_s;
    struct rate_prefix rate_prefix;
    uint32_t lifetime_default_s, lifetime_max_s;
    uint8_t worker;            /* index, carried in CONNECTION-IDs */
    bool mobility;             /* allocations may move to another 5-tuple (RFC 8016) */
    bool tcp_accept_any;       /* peers may connect to a TCP relay without a permission */
    bool relay_ip4, relay_ip6; /* families that there is a relay address of */
    bool can_df;               /* relays can forbid fragments: DONT-FRAGMENT is known */
    struct turn_nat nat[2];  /* NAT discovery; its sockets' clients speak the dialect for it */
    struct addr external_ip; /* told to clients in place of the relay's address; may be unset */
    const struct turn_policy *policy; /* outlives the server */
};

/* What the core may ask of its surroundings while it runs; a test gives its own. */
struct turn_env {
    void (*random)(void *out, size_t len, void *ctx);
    uint64_t (*unix_s)(void *ctx); /* wall clock, for nonces only */
    void *ctx;
};

struct turn_conn { /* the client's side of a 5-tuple */
    turn_id id;    /* TCP, DTLS: the connection's, given by the caller; plain UDP: 0 */
    struct addr client, local;
    enum turn_transport transport; /* DTLS: TURN_UDP */
    bool is_proven; /* the client's address cannot be forged: TCP; DTLS after its cookie */
    const struct turn_dialect *dialect;
    uint8_t realm; /* index in turn_config.realms; it stays the same while the 5-tuple does */
};

/* What became of a datagram to a peer: ICMP's words for one over IPv4, ICMPv6's over IPv6. */
struct turn_icmp {
    uint8_t type, code;
    uint32_t mtu; /* where it was too big; else 0 */
};

/* What a user may sign with: several while secrets are being changed, or where keys of both
 * password algorithms are known; none for a stranger. */
struct turn_keys {
    struct stun_key key[TURN_KEYS_MAX];
    size_t n;
    uint8_t name[TURN_NAME_MAX]; /* whose keys: for an ask that told a userhash only */
    size_t name_len;
    uint64_t ends_ms; /* no allocation made with them outlives this; 0: any may */
    uint64_t
        until_ms; /* an allocation's key is asked for again after this; UINT64_MAX: never */
};

/* Whose keys? */
struct turn_ask {
    turn_id ticket;
    struct slice realm, username;
    struct slice userhash; /* in place of a username (RFC 8489 14.4); empty: there is none */
    struct slice token; /* ACCESS-TOKEN (RFC 7635): `username` is the id of the token's key, and
                           the token's mac_key is asked for. Empty: there is none */
    uint8_t algorithm;  /* enum stun_algorithm: keys made with another one are of no use */
};

enum turn_do {
    TURN_DO_SEND,        /* bytes to the client: conn, or client and local if that is 0 */
    TURN_DO_RELAY_OPEN,  /* `relay`, as `open` says; answer turn_server_relay_opened() */
    TURN_DO_RELAY_SEND,  /* datagram from the relay port to a peer */
    TURN_DO_RELAY_CLOSE, /* also of a reserved port that nobody came for */
    TURN_DO_TCP_CONNECT, /* from the relay's address and port; answer turn_server_tcp_opened()
                          */
    TURN_DO_TCP_PIPE,    /* join client data connection `conn` and `peer_conn`; the core sees no
                            more of their bytes. Answer turn_server_tcp_closed() at the end */
    TURN_DO_TCP_CLOSE,   /* a peer connection, bound or not */
    TURN_DO_CONN_CLOSE,  /* a client's connection: control or data */
    TURN_DO_FIND_KEY,    /* answer with turn_server_keys(), now or later */
    TURN_DO_REPORT       /* something an operator may want to see */
};

struct turn_report {
    const char *event; /* a literal: "alloc", "refresh", "expire", "release", "permission",
                          "channel", "connect", "attempt", "bind", "close", "relay-end",
                          "move", "away", "deny", "limit" */
    const char *why;   /* a literal, or NULL */
    struct slice username;
    struct addr client, was, relayed[2], peer; /* relayed: one for each family that there is */
    turn_id relays[2];                         /* that end with this; 0: none */
    uint16_t code;                             /* of an error reply */
    uint32_t lifetime_s;
    uint64_t to_peers, to_client; /* bytes through a UDP relay, when its allocation ends */
    bool is_noise; /* an unauthenticated peer can cause it at will: count, do not print each */
};

struct turn_action {
    enum turn_do what;
    turn_id conn, relay, peer_conn;
    struct addr addr;  /* RELAY_SEND, TCP_CONNECT: the peer. SEND over UDP: the client */
    struct addr local; /* SEND over UDP: where the client's datagram had come to */
    uint8_t head[TURN_HEAD_MAX], head_len, tail_len; /* head, body, then tail_len zero bytes */
    struct dgram_opts opts; /* RELAY_SEND, and SEND over UDP: for the IP header */
    struct slice body; /* relayed: the caller's own bytes; a reply: good until the next input */
    union {
        struct {
            enum turn_transport transport;
            uint8_t family;
            bool even;
            turn_id reserve; /* keep the next port as well, under this id; 0: no */
            turn_id from;    /* take the port kept under this id; 0: any free one */
        } open;
        struct turn_ask key;
        struct turn_report report;
    };
};

MUST_USE int turn_server_new(struct turn_server **out, const struct turn_config *cfg,
                             const struct turn_env *env);
void turn_server_free(struct turn_server *s); /* NULL is fine */

/* Input. `now_ms` is monotonic and must not go back. A peer's mistakes are not errors here:
 * they become STUN error replies. ERR_NOMEM and ERR_LIMIT mean the input was dropped;
 * ERR_MALFORMED that the stream cannot be understood and should be closed. */
MUST_USE int turn_server_from_client(struct turn_server *s, uint64_t now_ms,
                                     const struct turn_conn *c, struct dgram frame);
MUST_USE int turn_server_from_peer(struct turn_server *s, uint64_t now_ms, turn_id relay,
                                   const struct addr *peer, struct dgram datagram);
/* ICMP came for a datagram from the relay to `peer`, whose port may be unknown (0). */
void turn_server_from_icmp(struct turn_server *s, uint64_t now_ms, turn_id relay,
                           const struct addr *peer, const struct turn_icmp *what);
void turn_server_conn_gone(struct turn_server *s, uint64_t now_ms, turn_id conn);
void turn_server_relay_opened(struct turn_server *s, uint64_t now_ms, turn_id relay,
                              const struct addr *bound); /* NULL: it could not be opened */
void turn_server_tcp_opened(struct turn_server *s, uint64_t now_ms, turn_id peer_conn, bool ok);
/* A peer connected to a TCP relay. 0: not wanted, close it. Its bytes stay unread, or in a
 * bounded buffer, until TURN_DO_TCP_PIPE. */
turn_id turn_server_tcp_accepted(struct turn_server *s, uint64_t now_ms, turn_id relay,
                                 const struct addr *peer);
/* The peer's side ended: before it was bound, or with the pipe. */
void turn_server_tcp_closed(struct turn_server *s, uint64_t now_ms, turn_id peer_conn);
/* What may be read now from one end of a pipe, in bytes; SIZE_MAX: any number. 0: nothing
 * before `again_ms`. What was read is told, more than was allowed too: it is made up for. */
size_t turn_server_tcp_room(struct turn_server *s, uint64_t now_ms, turn_id peer_conn,
                            bool is_to_peer, uint64_t *again_ms);
void turn_server_tcp_took(struct turn_server *s, uint64_t now_ms, turn_id peer_conn,
                          bool is_to_peer, size_t n);
bool turn_config_is_limited(const struct turn_config *cfg); /* does it have any bandwidth? */
/* NULL: it cannot be told now. Then an allocation's own user goes on; others get a 500. */
void turn_server_keys(struct turn_server *s, uint64_t now_ms, turn_id ticket,
                      const struct turn_keys *keys);
/* For one key that is good for ever. NULL: no such user. */
void turn_server_key(struct turn_server *s, uint64_t now_ms, turn_id ticket,
                     const struct stun_key *key);
/* Handles one thing that fell due: again while turn_server_deadline_ms() is not after now. */
void turn_server_tick(struct turn_server *s, uint64_t now_ms);

/* Output. Call until false after every input. */
bool turn_server_next(struct turn_server *s, struct turn_action *out);
/* When to call tick; UINT64_MAX: not until something else happens. */
uint64_t turn_server_deadline_ms(const struct turn_server *s);

/* Does a request of this TCP connection wait for its key? The stream should then not be read
 * on: what follows a ConnectionBind is for the peer. Ask again after turn_server_keys(). */
bool turn_server_conn_waits(const struct turn_server *s, turn_id conn);
/* The connection whose request waits under `ticket`; 0: none does. */
turn_id turn_server_ticket_conn(const struct turn_server *s, turn_id ticket);

/* Does the connection carry an allocation? One that does not may be closed when it idles. */
bool turn_server_conn_used(const struct turn_server *s, turn_id conn);

struct turn_stats {
    uint64_t allocations, allocations_total, denied_total, auth_failures_total;
    uint64_t tcp_connections, tcp_unbound, permissions, channels;
    /* Datagrams through UDP relays, and their bytes. */
    uint64_t packets_to_peers, packets_to_client, bytes_to_peers, bytes_to_client;
    uint64_t icmp_to_client; /* messages told */
    /* How often a bandwidth was used up: datagrams dropped, and streams that had to wait. */
    uint64_t held_back[TURN_BANDWIDTHS], packets_held_back;
};
struct turn_stats turn_server_stats(const struct turn_server *s);

/* How many requests of a method were answered with a code, 0 for success. */
struct turn_answers {
    uint16_t method, code;
    uint64_t n;
};
/* The n-th of all pairs of method and code, those with n = 0 too; false: there are no more. */
bool turn_server_answers(const struct turn_server *s, size_t nth, struct turn_answers *out);

struct turn_session_relay {
    turn_id id;       /* 0: there is none */
    struct addr addr; /* as told to the client */
    uint64_t left_ms;
};
/* An allocation as an operator sees it; its id is that of the relay it began with. */
struct turn_session {
    turn_id id;
    struct slice username; /* good until the next input */
    struct turn_conn conn;
    enum turn_transport transport;      /* of the relays */
    struct turn_session_relay relay[2]; /* one for each address family */
    uint64_t age_ms;
    uint64_t to_peers, to_client; /* bytes through a UDP relay */
    uint32_t permissions, channels, peers;
    bool is_away; /* its connection has ended, and it may come again with its ticket */
};
struct turn_session_peer { /* a peer's TCP connection */
    turn_id id;
    struct addr addr;
    bool is_bound;
};
bool turn_server_session(const struct turn_server *s, uint64_t now_ms, turn_id id,
                         struct turn_session *out);
/* The one that follows `after` (0: the first), which need not be there any more; false: none.
 * Whoever comes and goes meanwhile may be missed, those who stay are seen once. */
bool turn_server_session_after(const struct turn_server *s, uint64_t now_ms, turn_id after,
                               struct turn_session *out);
bool turn_server_session_peer(const struct turn_server *s, turn_id id, size_t n,
                              struct turn_session_peer *out);
/* Input: ends the allocation with all that hangs on it, and its control connection.
 * ERR_NOTFOUND when there is none. */
MUST_USE int turn_server_kick(struct turn_server *s, uint64_t now_ms, turn_id id);
/* From here on there are no new allocations; those there are go on. */
void turn_server_drain(struct turn_server *s);
/* Instead of the one in turn_config; outlives the server or the next call. Permissions and
 * channels for peers that it refuses end at once. A peer's TCP connection that is there stays:
 * it was allowed when it was made, and turn_server_kick() ends it. */
void turn_server_set_policy(struct turn_server *s, const struct turn_policy *policy);
