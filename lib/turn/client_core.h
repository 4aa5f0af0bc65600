/* Inside the TURN client: what its files share. Not for others. */
#pragma once

#include "lib/base/timerq.h"

#include "lib/turn/client.h"

enum {
    CLIENT_TEXT_MAX = 768, /* REALM, NONCE: 763 (RFC 8489 14.9) */
    CLIENT_MSG_MAX = 8192, /* no server has reason to send more in one message */
    CLIENT_REQUEST_MAX = 3072,
    CLIENT_PERMS_MAX = 32,
    CLIENT_PERMS_BATCH = 16,     /* stays below the STUN_ATTRS_MAX of servers like ours */
    CLIENT_STALE_MAX = 3,        /* new nonces in a row before we give up */
    CLIENT_SERVERS_MAX = 4,      /* that may send us from one to the next */
    CLIENT_ALGORITHMS_MAX = 256, /* bytes of PASSWORD-ALGORITHMS */
    CLIENT_PERM_REFRESH_MS = 240 * 1000, /* they live 300 s (RFC 8656 9.2) */
    CLIENT_RELEASE_MS = 1000,
    CLIENT_PEER_MS = 30 * 1000 /* what a server may spend on reaching a peer (RFC 6062 5.2) */
};

enum client_state {
    CLIENT_IDLE,
    CLIENT_PROBING,    /* Allocate without credentials is out */
    CLIENT_ALLOCATING, /* with credentials */
    CLIENT_CONFIRMING, /* the Refresh that follows at once */
    CLIENT_UP,
    CLIENT_RELEASING,
    CLIENT_DONE
};

struct client_txn {
    struct stun_tid tid;
    uint64_t deadline_ms; /* TIMER_NEVER: nothing is out */
    uint16_t method;
    uint8_t n_stale;
};

enum client_perm_state {
    PERM_DUE,
    PERM_ASKED,
    PERM_DONE,
    PERM_REFUSED
};

struct client_perm {
    struct addr addr;
    enum client_perm_state state;
    bool alone; /* was part of a refused batch: ask for it by itself */
};

enum client_data_state {
    DATA_FREE,
    DATA_CONNECTING, /* Connect is out on the control connection */
    DATA_OPENING,    /* the owner opens a connection to the server */
    DATA_BINDING,    /* ConnectionBind is out on it */
    DATA_UP
};

struct client_data {
    enum client_data_state state;
    turn_data id;
    struct addr peer;
    uint32_t connection_id;
    struct client_txn txn; /* Connect or ConnectionBind; while opening its deadline only */
};

struct client_action {
    struct turn_client_action a;
    size_t bytes_at; /* of a.bytes in the arena, which may move */
};

struct client_text {
    uint8_t b[CLIENT_TEXT_MAX];
    size_t len;
};

struct turn_client {
    struct turn_client_config cfg; /* its slices point into the texts below */
    struct turn_client_env env;
    struct client_text username, password, software, realm, nonce;
    struct stun_key key;
    uint8_t algorithms[CLIENT_ALGORITHMS_MAX]; /* as the server listed them; none: MD5 */
    size_t algorithms_len;
    bool hides_name;                         /* USERHASH in place of USERNAME */
    struct addr servers[CLIENT_SERVERS_MAX]; /* that we have been at */
    size_t n_servers;
    enum client_state state;
    struct addr relayed, mapped;
    uint32_t lifetime_s;
    bool saw_forgery; /* an answer failed the integrity check */
    bool permit_asked;
    uint64_t refresh_ms, keepalive_ms, perms_ms; /* next ones; TIMER_NEVER: none */
    struct client_txn main, perm_txn;
    struct client_perm perm[CLIENT_PERMS_MAX];
    size_t n_perms;
    struct client_data *data; /* cfg.max_data of them */
    uint32_t generation;
    struct client_action *queue;
    size_t q_at, q_len, q_cap;
    uint8_t *arena;
    size_t arena_len, arena_cap;
};

static inline struct slice client_text(const struct client_text *t)
{
    return slice_of(t->b, t->len);
}

/* client_send.c */
void client_input(struct turn_client *c); /* at the head of every call in */
void client_push(struct turn_client *c, struct turn_client_action a);
void client_report(struct turn_client *c, const char *why, uint16_t code);
/* Closes all data connections and ends it. */
void client_fail(struct turn_client *c, const char *why, uint16_t code);
const char *client_error_text(uint16_t code);
void client_send_probe(struct turn_client *c, uint64_t now_ms);
void client_send_allocate(struct turn_client *c, uint64_t now_ms);
void client_send_refresh(struct turn_client *c, uint64_t now_ms, uint32_t lifetime_s);
void client_send_permissions(struct turn_client *c, uint64_t now_ms);
void client_send_connect(struct turn_client *c, uint64_t now_ms, struct client_data *d);
void client_send_bind(struct turn_client *c, uint64_t now_ms, struct client_data *d);
void client_send_keepalive(struct turn_client *c);

/* client_auth.c */
/* Takes nonce, realm and password algorithms and makes the key for them. NULL, or why it
 * cannot be: somebody may have changed what the server offers (RFC 8489 9.2.5). */
const char *client_take_challenge(struct turn_client *c, const struct stun_msg *m);
/* The credentials of a request, up to the integrity attribute. */
void client_put_credentials(const struct turn_client *c, struct stun_writer *s);
/* Is it signed with our key, and by the attribute that was agreed on? */
bool client_is_authentic(const struct turn_client *c, const struct stun_msg *m);
/* RFC 8489 9.2.5: a response that has to be taken as if it had never come. */
bool client_must_ignore(const struct turn_client *c, const struct stun_msg *m);
/* A 300: goes to the other server, or ends it. */
void client_redirect(struct turn_client *c, const struct stun_msg *m);
int client_keep(struct client_text *t, struct slice s, size_t max);

/* client_data.c */
void client_data_close(struct turn_client *c, struct client_data *d, const char *why,
                       uint16_t code);
void client_on_attempt(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m);
void client_on_connect(struct turn_client *c, uint64_t now_ms, struct client_data *d,
                       const struct stun_msg *m);
struct client_data *client_data_by_tid(struct turn_client *c, const struct stun_tid *tid);
void client_data_tick(struct turn_client *c, uint64_t now_ms);

/* client.c */
enum client_answer {
    ANSWER_OK,
    ANSWER_REPEAT, /* the nonce was stale and there is a new one */
    ANSWER_ERROR,  /* with a code */
    ANSWER_FORGED  /* leave it: the transaction is still open */
};
/* Judges a response to an authenticated request and takes a new nonce from it. */
enum client_answer client_judge(struct turn_client *c, struct client_txn *t,
                                const struct stun_msg *m, uint16_t *code);
bool client_txn_is(const struct client_txn *t, const struct stun_msg *m);
