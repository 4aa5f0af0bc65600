/* TURN client core: one allocation of a TCP relay, asked for over a TCP control connection
 * (RFC 8656, RFC 6062). Keeps the allocation, its permissions and the control connection alive;
 * takes peers' connections (ConnectionAttempt, then ConnectionBind on a second connection) and
 * makes its own (Connect). No sockets: bytes, events and time go in, actions come out. */
#pragma once

#include "lib/stun/msg.h"

struct turn_client;
/* One data connection to the server, and so one peer; never 0. */
typedef uint64_t turn_data;

struct turn_client_config {
    struct slice username, password, software; /* copied */
    struct addr server;  /* that is connected to first: to notice when others lead back there */
    uint32_t lifetime_s; /* asked for; 600 */
    uint32_t keepalive_ms; /* Binding indications on the control connection; 5000 */
    uint32_t answer_ms;    /* how long the server may take to answer; 10000 */
    uint32_t max_data;     /* data connections at a time */
};

struct turn_client_env {
    void (*random)(void *out, size_t len, void *ctx);
    void *ctx;
};

enum turn_client_do {
    TURN_CLIENT_SEND,       /* `bytes` on the control connection */
    TURN_CLIENT_REDIRECT,   /* close the control connection, connect to `server` from here on,
                               and call turn_client_start() again (RFC 8489 10) */
    TURN_CLIENT_ALLOCATED,  /* `relayed`, `mapped`, `lifetime_s`: first Refresh has succeeded */
    TURN_CLIENT_PERMITTED,  /* permissions of turn_client_permit() are installed */
    TURN_CLIENT_OPEN_DATA,  /* connect to the server again, as `data`; answer _data_opened() */
    TURN_CLIENT_SEND_DATA,  /* `bytes` on data connection `data` */
    TURN_CLIENT_PEER,       /* `data` is a byte stream to and from `peer` from here on */
    TURN_CLIENT_CLOSE_DATA, /* close `data`: `why` */
    TURN_CLIENT_REPORT, /* `why`, `code`: a step, for the log: "allocate", "challenge", ... */
    TURN_CLIENT_FAILED  /* `why`, `code`: there is no allocation (any more). The last action */
};

struct turn_client_action {
    enum turn_client_do what;
    turn_data data;
    struct slice bytes; /* good until the next call in */
    struct addr relayed, mapped, peer, server;
    uint32_t lifetime_s;
    uint16_t code;   /* STUN error code, or 0 */
    const char *why; /* one sentence, a literal */
};

MUST_USE int turn_client_new(struct turn_client **out, const struct turn_client_config *cfg,
                             const struct turn_client_env *env);
void turn_client_free(struct turn_client *c); /* NULL is fine */

/* The control connection is open: Allocate without credentials, then with, then Refresh. */
void turn_client_start(struct turn_client *c, uint64_t now_ms);
/* Takes whole messages off the control stream; `used` bytes of it are done with. */
MUST_USE int turn_client_recv(struct turn_client *c, uint64_t now_ms, struct slice bytes,
                              size_t *used);
void turn_client_control_closed(struct turn_client *c, uint64_t now_ms);
/* CreatePermission for the addresses not yet permitted (ports do not count); kept fresh.
 * ERR_LIMIT beyond 32 different ones. */
MUST_USE int turn_client_permit(struct turn_client *c, uint64_t now_ms,
                                const struct addr *peers, size_t n);
/* Connect to `peer` (RFC 6062 4.3): TURN_CLIENT_PEER or CLOSE_DATA with this `data` follows. */
MUST_USE int turn_client_connect(struct turn_client *c, uint64_t now_ms,
                                 const struct addr *peer, turn_data *data);
void turn_client_data_opened(struct turn_client *c, uint64_t now_ms, turn_data data, bool ok);
/* Until TURN_CLIENT_PEER: takes the ConnectionBind response and not one byte more. */
MUST_USE int turn_client_data_recv(struct turn_client *c, uint64_t now_ms, turn_data data,
                                   struct slice bytes, size_t *used);
void turn_client_data_closed(struct turn_client *c, uint64_t now_ms, turn_data data);
/* Refresh with lifetime 0; TURN_CLIENT_FAILED ("released") follows the answer, or 1 s. */
void turn_client_release(struct turn_client *c, uint64_t now_ms);
void turn_client_tick(struct turn_client *c, uint64_t now_ms);
bool turn_client_next(struct turn_client *c, struct turn_client_action *out);
uint64_t turn_client_deadline_ms(const struct turn_client *c);
