/* Who is this user? Asks the configuration, the shared secrets and the databases, in this
 * order; remembers for a while, and never waits longer than a limit. */
#pragma once

#include "lib/turn/oauth_token.h"

#include "run/user_store.h"

struct user_chain;

enum {
    USER_STORES_MAX = 3
};

struct user_chain_config {
    struct loop *loop;
    const struct log *log;
    struct slice realms[TURN_REALMS_MAX]; /* as in turn_config */
    uint8_t n_realms;
    /* The configuration's own users, n keys each and, for a userhash, the name; false: not one
     * of them. */
    bool (*find_fixed)(uint8_t realm, const struct turn_ask *ask, struct turn_keys *out,
                       void *ctx);
    /* The configuration's shared secrets (TURN REST); *n at most USER_VALUES_MAX. */
    const struct slice *(*secrets)(uint8_t realm, size_t *n, void *ctx);
    /* The configuration's own keys of tokens (RFC 7635); false: not one of them. NULL: none. */
    bool (*find_token_key)(struct slice id, struct oauth_key *out, void *ctx);
    struct slice third_party; /* as in turn_config */
    void *fixed_ctx;
    bool sha1, sha256;   /* HMACs that TURN REST passwords may be made with */
    bool strict_expiry;  /* also ends what an expired name allocated before */
    uint32_t cache_s;    /* a user, or secrets, are asked for again after this */
    uint32_t stranger_s; /* the same for names that nobody has */
    uint32_t timeout_ms; /* for all stores together */
    /* NULL: cannot be told. May come before user_chain_find() returns. */
    void (*answer)(turn_id ticket, const struct turn_keys *keys, void *ctx);
    void *answer_ctx;
};

MUST_USE int user_chain_new(struct user_chain **out, const struct user_chain_config *cfg);
void user_chain_free(struct user_chain *c); /* and its stores; NULL is fine */
/* Stores are asked in the order they were added; `s` belongs to the chain, also on failure. */
MUST_USE int user_chain_add(struct user_chain *c, struct user_store *s);
/* A realm that is not one of the configuration's has no users. */
void user_chain_find(struct user_chain *c, const struct turn_ask *ask);
/* Forgets what databases said: after a reload. */
void user_chain_forget(struct user_chain *c);
