/* A place where users are kept: what every database looks like to the server. */
#pragma once

#include "lib/turn/server.h"

#include "io/log.h"
#include "io/loop.h"

enum {
    USER_NAME_MAX = 128,  /* bytes; the server refuses longer ones before it asks */
    USER_REALM_MAX = 128, /* bytes, as the server's */
    USER_VALUE_MAX = 256, /* bytes of a value; longer ones are left out */
    USER_VALUES_MAX = 8,  /* secrets that are good at the same time */
    USER_WAITING_MAX = 64 /* questions without an answer: as many as the server parks */
};

enum user_ask {
    USER_ASK_KEY,     /* of a user: its keys in hexadecimal, MD5's and SHA-256's */
    USER_ASK_BY_HASH, /* the same, with the name; a store that has no such index knows nobody */
    USER_ASK_TOKEN_KEY, /* RFC 7635, `name` is its id: one value as oauth_key_from_row() reads
                         */
    USER_ASK_SECRETS    /* of the realm: values as they are; no name */
};

/* Its texts are good during the call. */
struct user_question {
    uint64_t id;
    enum user_ask what;
    struct slice realm, name;
    struct slice userhash; /* USER_ASK_BY_HASH: in place of a name */
};

enum user_told {
    USER_TOLD,   /* the values; none: there is no such user, or there are no secrets */
    USER_TROUBLE /* cannot be told now; the store has logged why */
};

struct user_answer {
    enum user_told what;
    struct slice value[USER_VALUES_MAX]; /* good during the call */
    size_t n;
    struct slice name; /* USER_ASK_BY_HASH: whose values; good as long */
};

/* The first member of each store's own struct. */
struct user_store {
    const char *name; /* for log lines: "sqlite" */
    /* Leads to exactly one call of `answer` with the question's id, now or later, unless the
     * store is freed first. */
    void (*ask)(struct user_store *s, const struct user_question *q);
    void (*free)(struct user_store *s);
    /* Set by who asks. */
    void (*answer)(uint64_t id, const struct user_answer *a, void *ctx);
    void *ctx;
};
