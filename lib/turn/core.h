/* What the files of the server share: its objects, and who may do what to them. An object's
 * state changes in the file that is named beside it. */
#pragma once

#include "lib/base/map.h"
#include "lib/base/timerq.h"

#include "lib/turn/dialect.h"
#include "lib/turn/pool.h"
#include "lib/turn/server.h"

enum {
    PERM_LIFE_S = 300,    /* RFC 8656 9 */
    CHANNEL_LIFE_S = 600, /* RFC 8656 12 */
    RESERVE_LIFE_S = 30,  /* RFC 8656 7.2: at least 30 s */
    ALLOC_RELAYS = 2,     /* one for each address family */
    CONNECT_WAIT_S = 30,  /* RFC 6062 5.2 */
    BIND_WAIT_S = 30,     /* RFC 6062 5.2, 5.3: at least 30 s */
    TICKET_LEN = 32,      /* of MOBILITY-TICKET: what coturn's client can keep */
    NONCE_LEN = 52,
    NONCE_SHORT_LEN = 40, /* for who has not proven its address: an answer must be little */
    USERNAME_KEPT = TURN_NAME_MAX, /* a longer one is nobody's */
    TEXT_KEPT = 128,               /* bytes of realm and software */
    PARKED_MAX = 64,               /* requests that wait for a key */
    FRAME_KEPT = 2048,             /* bytes of such a request */
    FLOW_SETS = 128,               /* users who have ended their last allocation ... */
    FLOW_WAYS = 8,                 /* ... and how many of one set */
    REPLY_MAX = 2048,
    ICMP_OWED_MAX = 32,
    ANSWER_METHODS = 8, /* what is counted: reply.c has the tables */
    ANSWER_CODES = 32
};

enum pool_kind {
    KIND_ALLOC = 1,
    KIND_PERM,
    KIND_CHAN,
    KIND_PEER,
    KIND_USER,
    KIND_RESERVE,
    KIND_PARKED,
    KIND_RELAY2 /* the second relay of the allocation in the same place */
};

enum timer_kind {
    TIMER_RELAY,
    TIMER_PERM,
    TIMER_CHAN,
    TIMER_PEER,
    TIMER_RESERVE
};

/* Keys are bytes without padding, as lib/base/map.h asks. */
struct tuple_key {
    uint8_t b[1 + 8 + 2 * 19];
};
struct peer_key { /* an address, with or without its port, as seen by one allocation */
    uint8_t b[8 + 19];
};
struct number_key {
    uint8_t b[8 + 2];
};

struct flow { /* flow.c */
    struct bucket to_peer, to_client;
};

struct flow_kept { /* flow.c: of a user without allocations */
    uint64_t who;  /* keyed hash of his digest */
    uint64_t at_ms;
    struct flow flow;
};

struct user { /* quota.c */
    struct slot slot;
    struct map_link by_name;
    uint8_t digest[32]; /* SHA-256 of realm and name: the key */
    uint8_t userhash[32];
    uint8_t realm; /* index */
    uint8_t name[USERNAME_KEPT];
    size_t name_len;
    uint32_t n_allocs; /* relays, and ports kept */
    uint32_t n_peers, n_unbound;
    struct flow flow;
};

enum relay_state {
    RELAY_NONE,
    RELAY_OPENING,
    RELAY_FAILED, /* as the last one: the allocation ends */
    RELAY_OPEN
};

struct relay { /* relay.c: a port, for the peers of one address family */
    struct alloc *alloc;
    struct timer timer; /* each has a lifetime of its own (RFC 8656 5) */
    enum relay_state state;
    uint8_t family;
    struct addr told; /* its address, to the client */
};

struct path { /* path.c: a 5-tuple, while it leads to an allocation */
    struct map_link by_tuple;
    struct tuple_key tuple;
    struct alloc *alloc; /* NULL: it leads nowhere */
};

struct move { /* mobility.c */
    bool is_allowed;
    uint32_t number, before; /* of the ticket given last, and of the one that led to it */
    uint64_t before_until_ms;
    struct stun_tid tid; /* of the Refresh that moved it last */
    struct path path;    /* where the client is about to be: a Refresh came from there */
    struct turn_conn conn;
};

struct alloc { /* alloc.c */
    struct slot slot;
    struct path path; /* of `conn` */
    struct turn_conn conn;
    struct move move;
    bool is_away; /* its connection has ended; it may come again with its ticket */
    struct user *user;
    struct stun_key key;
    uint64_t key_until_ms; /* then it has to be asked for again */
    uint64_t ends_ms;      /* with the token that it was made with; 0: there is none */
    struct stun_tid tid;   /* of the Allocate that made it */
    enum turn_transport transport;
    bool is_open;
    struct relay relay[ALLOC_RELAYS];
    struct turn_missing missing; /* of the two families asked for */
    uint32_t lifetime_s;
    struct reserve *reserve; /* made with it; only while it opens */
    uint64_t reservation;    /* token given out; 0: none */
    struct perm *perms;
    struct chan *chans;
    struct peer *peers;
    uint32_t n_perms, n_chans, n_peers, n_unbound;
    uint64_t to_peers, to_client; /* bytes */
    uint8_t icmp_owed;            /* how many datagrams may still be answered by ICMP */
    uint64_t begun_ms;            /* when its port was open */
    struct flow flow;
    uint64_t flow_report_ms; /* not again before */
};

struct perm { /* perm.c */
    struct slot slot;
    struct map_link by_ip;
    struct peer_key key;
    struct addr ip; /* port 0 */
    struct alloc *alloc;
    struct perm *next, **at;
    struct timer timer;
};

struct chan { /* chan.c */
    struct slot slot;
    struct map_link by_number, by_peer;
    struct number_key number_key;
    struct peer_key peer_key;
    struct alloc *alloc;
    struct chan *next, **at;
    struct timer timer;
    struct addr peer;
    uint16_t number;
};

enum peer_state {
    PEER_CONNECTING, /* the client's Connect waits for its answer */
    PEER_WAITING,    /* for ConnectionBind */
    PEER_BOUND
};

struct peer { /* tcp.c: a peer's TCP connection */
    struct slot slot;
    struct map_link by_cid, by_addr;
    uint32_t cid; /* CONNECTION-ID */
    struct peer_key key;
    struct alloc *alloc;
    struct peer *next, **at;
    struct timer timer;
    enum peer_state state;
    struct addr addr;
    struct stun_tid tid; /* of the Connect */
};

struct reserve { /* alloc.c: a port kept for RESERVATION-TOKEN */
    struct slot slot;
    struct map_link by_token;
    uint64_t token;
    struct user *user; /* whose quota it counts against */
    uint8_t family;
    struct timer timer;
};

struct parked { /* auth.c: a request that waits for a key */
    struct slot slot;
    struct turn_conn conn;
    size_t len;
    uint8_t frame[FRAME_KEPT];
};

struct turn_server {
    struct turn_config cfg;
    struct turn_env env;
    uint8_t realms[TURN_REALMS_MAX][TEXT_KEPT], software[TEXT_KEPT],
        alternate_domain[TEXT_KEPT], third_party[TEXT_KEPT];
    struct pool allocs, perms, chans, peers, users, reserves, parked;
    struct map path_by_tuple, perm_by_ip, chan_by_number, chan_by_peer, peer_by_cid,
        peer_by_addr, user_by_name, reserve_by_token;
    struct timerq timers;
    struct turn_action *ring; /* actions not yet pulled */
    size_t ring_cap, ring_at, ring_n;
    uint8_t reply[REPLY_MAX];                      /* an input leads to one message at most */
    uint8_t ticket[TICKET_LEN], ticket_secret[32]; /* mobility.c */
    uint8_t nonce[NONCE_LEN];                      /* of this answer */
    size_t nonce_len;
    uint8_t tag_secret[16];   /* nonce.c */
    struct stun_tid next_tid; /* of our indications */
    uint64_t now_ms;          /* of the input being handled */
    struct turn_stats stats;
    struct rates answers_by_prefix, failures_by_prefix, connects_by_user;
    struct flow flow; /* of all */
    struct flow_kept flows_kept[FLOW_SETS][FLOW_WAYS];
    uint64_t answers[ANSWER_METHODS][ANSWER_CODES];
    bool is_draining;
};

/* One request on its way through. */
struct call {
    const struct turn_conn *conn;
    struct alloc *alloc;        /* of its 5-tuple; NULL: none */
    const struct stun_key *key; /* NULL: it has not authenticated */
    uint64_t key_until_ms;
    uint64_t ends_ms;       /* when what it makes must end; 0: never */
    uint8_t algorithm;      /* enum stun_algorithm: what its key must be made with */
    uint16_t code;          /* wrong with it as a whole, to be said once it is authentic */
    struct dgram_opts opts; /* of the datagram it came in */
    struct turn_req req;
};

/* server.c */
void call_run(struct turn_server *s, struct call *c); /* authentic: do what it asks */
struct stun_tid server_tid(struct turn_server *s);
struct peer_key key_of_ip(const struct alloc *a, const struct addr *ip);
struct peer_key key_of_peer(const struct alloc *a, const struct addr *peer);
void timer_set(struct turn_server *s, struct timer *t, enum timer_kind kind, uint32_t in_s);

/* nat_discovery.c */
struct nat_answer {
    struct turn_conn via;    /* where it goes, and from where */
    struct turn_reply reply; /* origin, other and padding are set */
};
/* 0, or the code to answer with. */
uint16_t nat_plan(const struct turn_server *s, const struct call *c, struct nat_answer *out,
                  const char **why);

/* reply.c: the one way out. */
const char *reason_of(uint16_t code); /* a literal, as in ERROR-CODE */
struct turn_action *action_put(struct turn_server *s, enum turn_do what);
struct turn_action *action_last(struct turn_server *s); /* the one put last */
/* What has been written into s->reply. */
void message_send(struct turn_server *s, const struct turn_conn *conn, const struct wr *w);
void reply_success(struct turn_server *s, const struct call *c, struct turn_reply *reply);
/* `why` is a literal for the log. */
void reply_error(struct turn_server *s, const struct call *c, uint16_t code, const char *why);
/* 508; or 300 where there is another server. */
void reply_elsewhere(struct turn_server *s, const struct call *c, const char *why);
/* 401 or 438, with a fresh nonce. */
void reply_challenge(struct turn_server *s, const struct call *c, uint16_t code,
                     const char *why);
void attempt_send(struct turn_server *s, const struct peer *p);
/* An answer that comes later: a call as the request left it. */
struct call call_again(const struct alloc *a, enum stun_method method,
                       const struct stun_tid *tid);
/* A report about `a`, which may be NULL; the caller may add to it. */
struct turn_report *report_put(struct turn_server *s, const char *event, const char *why,
                               const struct alloc *a);

/* auth.c */
void auth_begin(struct turn_server *s, struct call *c);
/* Many clients may share the id of a token's key, which is all that their names say: does the
 * call, of the same name, come with the token that `a` was made or last refreshed with? */
bool auth_is_same_token(const struct alloc *a, const struct call *c);
void auth_drop_conn(struct turn_server *s, turn_id conn);

/* nonce.c */
/* A fresh one for this call, in s->nonce. */
MUST_USE int nonce_make(struct turn_server *s, const struct call *c);
/* Is the call's nonce one of ours, for its realm, and young enough? */
bool nonce_ok(const struct turn_server *s, const struct call *c);

/* quota.c */
/* Counts one more allocation, or port kept, of the user. NULL, and the code to answer with,
 * beyond a limit. */
struct user *user_take(struct turn_server *s, uint8_t realm, struct slice name, uint16_t *code);
/* One more of a user who has some. False: that is beyond his limit. */
bool user_take_more(const struct turn_server *s, struct user *u);
void user_give(struct turn_server *s, struct user *u);
/* Is it who signs this call? Names are told apart by their realms. */
bool user_is(const struct user *u, const struct call *c);
/* NULL: `a` may have one more TCP connection that is not bound yet. Otherwise why not, and the
 * code to answer with. */
const char *quota_refuses_peer(const struct turn_server *s, const struct alloc *a,
                               uint16_t *code);
/* Keeps the counts; once for each connection and each change of whether it is bound. */
void quota_count_peer(struct alloc *a, int more);
void quota_count_unbound(struct turn_server *s, struct alloc *a, int more);
/* Counts a Connect of the user in this second; false: too many. */
bool quota_pass_connect(struct turn_server *s, const struct user *u);
/* Counts an answer over UDP to one who has not authenticated; false: it must not go out. */
bool quota_pass_answer(struct turn_server *s, const struct addr *client);
/* False: there were too many wrong passwords from around there in this second. */
bool quota_may_try(const struct turn_server *s, const struct addr *client);
void quota_count_failure(struct turn_server *s, const struct addr *client);

/* flow.c */
/* Takes a datagram's bytes out of what may be relayed now; false: it must not go out. */
bool flow_pass(struct turn_server *s, struct alloc *a, bool is_to_peer, size_t n);
/* Around the time that a user has no allocation: with the next one he goes on where he was, so
 * that to end one and make another gives nothing back. */
void flow_keep(struct turn_server *s, const struct user *u);
void flow_resume(struct turn_server *s, struct user *u);

/* path.c */
struct path *path_of_conn(const struct turn_server *s, const struct turn_conn *c);
struct path *path_of_conn_id(const struct turn_server *s, turn_id conn);
struct alloc *alloc_of_conn(const struct turn_server *s, const struct turn_conn *c);
void path_add(struct turn_server *s, struct path *p, struct alloc *a,
              const struct turn_conn *c);
void path_remove(struct turn_server *s, struct path *p); /* no harm if it leads nowhere */

/* mobility.c */
/* The ticket to tell; empty: none. Good until the next one. */
struct slice move_ticket(struct turn_server *s, const struct alloc *a);
uint16_t move_check_allocate(const struct turn_server *s, const struct turn_req *r,
                             const char **why);
/* A Refresh with a ticket: c->alloc is then the ticket's. False: it has been refused. */
MUST_USE bool move_begin(struct turn_server *s, struct call *c);
/* What comes on a new 5-tuple after that Refresh gives up the old one. */
void move_arrive(struct turn_server *s, const struct call *c);
/* The connection of an allocation that may move has ended. */
void move_conn_gone(struct turn_server *s, struct path *p);

/* relay.c */
turn_id relay_id(const struct turn_server *s, const struct relay *r);
/* NULL when it is gone; it may be opening still. */
struct relay *relay_of_id(const struct turn_server *s, turn_id id);
/* The open one for peers of this family; NULL: there is none. */
const struct relay *relay_of(const struct alloc *a, uint8_t family);
/* The first that is open; NULL: none is. */
const struct relay *relay_first(const struct alloc *a);
/* What the request asks for, as far as it can be had; the first one counts already. */
void relay_choose(struct turn_server *s, struct alloc *a, const struct turn_req *r);
/* Asks for the ports of all that are chosen; turn_server_relay_opened() goes on. */
void relay_open_all(struct turn_server *s, struct alloc *a, bool even,
                    const struct reserve *from);
void relay_live(struct turn_server *s, struct alloc *a, uint8_t family, uint32_t life_s);
/* Ends one of two, with what hangs on it. */
void relay_end(struct turn_server *s, struct relay *r, const char *why);
/* Closes all of them, and what they count for is given back. */
void relay_close_all(struct turn_server *s, struct alloc *a);
void relay_late(struct turn_server *s, struct relay *r); /* its lifetime is over */

/* alloc.c */
/* All of its relays have been opened, or could not be. */
void alloc_opened(struct turn_server *s, struct alloc *a);
void alloc_request(struct turn_server *s, struct call *c);
void alloc_refresh(struct turn_server *s, struct call *c);
/* Ends it with all that hangs on it. `event` and `why` are for the log. */
void alloc_end(struct turn_server *s, struct alloc *a, const char *event, const char *why);
/* And closes its control connection, with what waits on that. */
void alloc_cut(struct turn_server *s, struct alloc *a, const char *event, const char *why);
void reserve_end(struct turn_server *s, struct reserve *r);

/* perm.c */
void perm_request(struct turn_server *s, struct call *c);
/* For `peer`'s address, made or refreshed for 300 s from now (RFC 8656 9.2). ERR_LIMIT when the
 * allocation has its share already; it is then unchanged. */
MUST_USE int perm_install(struct turn_server *s, struct alloc *a, const struct addr *peer);
bool perm_has(const struct turn_server *s, const struct alloc *a, const struct addr *peer);
void perm_end(struct turn_server *s, struct perm *p);
void perm_send(struct turn_server *s, struct call *c);
void relay_send(struct turn_server *s, const struct call *c, const struct addr *peer,
                struct slice data);
/* NULL: `peer` may be reached from `a`. Otherwise why not, and the code to answer with. */
const char *peer_refused(const struct turn_server *s, const struct alloc *a,
                         const struct addr *peer, uint16_t *code);

/* header.c */
/* What the IP header of a datagram that is relayed says. False: it has come to its end. */
bool header_to_peer(const struct call *c, const struct addr *peer, struct dgram_opts *out);
bool header_to_client(const struct turn_conn *c, const struct dgram_opts *in,
                      const struct addr *peer, struct dgram_opts *out);

/* chan.c */
void chan_request(struct turn_server *s, struct call *c);
void chan_data(struct turn_server *s, struct call *c);
const struct chan *chan_of_peer(const struct turn_server *s, const struct alloc *a,
                                const struct addr *peer);
void chan_end(struct turn_server *s, struct chan *c);

/* tcp.c */
void tcp_request(struct turn_server *s, struct call *c); /* Connect */
void tcp_bind(struct turn_server *s, struct call *c);
void tcp_late(struct turn_server *s, struct peer *p); /* its timer has fallen due */
/* With its socket; a Connect that waits is not answered. */
void tcp_end(struct turn_server *s, struct peer *p, const char *why);
