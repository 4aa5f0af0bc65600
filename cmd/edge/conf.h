/* The edge's options, and what they make of the server's configuration. */
#pragma once

#include <sys/types.h>

#include "lib/stun/security.h"
#include "lib/turn/policy.h"

#include "io/conf.h"
#include "io/daemon.h"
#include "run/turn_run.h"
#include "run/user_chain.h"

extern const struct conf_program edge_program;

enum {
    EDGE_NAMES_MAX = 64,
    EDGE_TOKEN_KEYS_MAX = 16
};

struct edge_user {
    uint8_t realm; /* index */
    uint8_t *name;
    size_t name_len;
    struct stun_key key[2]; /* the password itself is not kept */
    size_t n_keys;          /* 1: the password is not known, only a key is */
    uint8_t hash[STUN_USERHASH_LEN];
};

struct edge_secrets { /* of TURN REST */
    uint8_t *bytes[USER_VALUES_MAX];
    struct slice value[USER_VALUES_MAX];
    size_t n;
};

struct edge_token_key { /* RFC 7635: shared with an authorization server */
    uint8_t id[128];
    size_t id_len;
    struct oauth_key key;
};

struct edge_conf {
    struct turn_run_config run; /* points into this struct and, for texts, into the options */
    struct turn_policy policy;
    struct tls_context *tls, *dtls; /* NULL: none */
    struct addr_net proxy_from[TURN_NETS_MAX];
    struct turn_name names[EDGE_NAMES_MAX]; /* texts of the options */
    struct log log;
    struct edge_user *users; /* sorted by realm and name */
    size_t n_users;
    const struct edge_user **by_hash; /* the same, sorted by hash */
    struct edge_secrets secrets[TURN_REALMS_MAX];
    struct edge_token_key token_keys[EDGE_TOKEN_KEYS_MAX];
    size_t n_token_keys;
    struct user_chain_config chain;
    char *userdb, *postgres, *redis; /* NULL: none */
    const char *control;             /* in the options; NULL: none */
    mode_t control_mode;
    bool control_is_default;
    uint32_t drain_limit_s;
    struct addr metrics; /* family 0: none */
    struct daemon_user run_as;
    bool becomes, sandbox; /* becomes: run_as, after the sockets are open */
};

/* An address that no peer may have, however it is spelled. False: too many. */
bool edge_conf_add_own(struct edge_conf *e, const struct addr *a);
/* False after conf_fail(). `e` needs edge_conf_done() in any case. */
bool edge_conf_read(struct edge_conf *e, struct conf *c);
/* For conf_load: reads everything and forgets it. */
bool edge_conf_valid(struct conf *c);
void edge_conf_done(struct edge_conf *e);
/* A reload: moves what may change while the server runs from `fresh` into `e`. */
void edge_conf_take(struct edge_conf *e, struct edge_conf *fresh);
