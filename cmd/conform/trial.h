/* One check over one transport: its sockets, what went over them, and what came of it. */
#pragma once

#include "cmd/conform/check.h"

enum {
    TRIAL_WHY_MAX = 400,
    TRIAL_WHAT_MAX = 500,
    TRIAL_EXCHANGES_MAX = 300, /* later ones are not kept */
    TRIAL_SENT_MAX = 4096,
    TRIAL_ALLOCS_MAX = 8
};

struct account {
    struct slice name, password;
};

struct target {                      /* what is tested, and from where */
    struct addr server, local, peer; /* the latter two without ports */
    struct account user, other;      /* empty: not given */
    uint32_t timeout_ms, quiet_ms;   /* for an answer; for what must not come */
    bool nat;                        /* mapped addresses are not ours */
};

enum way {
    SENT,
    CAME,
    NOTED
};

struct exchange {
    struct exchange *next;
    enum way way;
    char what[TRIAL_WHAT_MAX];
    size_t len; /* of the bytes; 0 for a note */
    uint8_t b[];
};

struct trial {
    const struct target *target;
    const struct check *check;
    enum via via;
    struct dial *dial;
    enum outcome outcome;
    char why[TRIAL_WHY_MAX];
    struct exchange *exchanges, **exchanges_end;
    size_t n_exchanges;
    uint8_t sent[TRIAL_SENT_MAX]; /* the last message that was made */
    size_t sent_len;
    struct stun_tid tid;                   /* its transaction */
    struct line *allocs[TRIAL_ALLOCS_MAX]; /* over UDP: they would outlive us */
    size_t n_allocs;
    struct line nowhere;     /* stands for a socket when there is none: scripts go on blindly */
    struct stun_msg nothing; /* and for a message */
};

void trial_begin(struct trial *t, struct dial *d, const struct target *target,
                 const struct check *check, enum via via);
/* Closes everything that the check opened. */
void trial_close(struct trial *t);
void trial_done(struct trial *t); /* forgets the exchanges */

/* Once it is decided, helpers do nothing more. */
bool is_over(const struct trial *t);
/* The first verdict counts. */
__attribute__((format(printf, 2, 3))) void fail(struct trial *t, const char *format, ...);
__attribute__((format(printf, 2, 3))) void skip(struct trial *t, const char *format, ...);
__attribute__((format(printf, 2, 3))) void note(struct trial *t, const char *format, ...);
void trial_record(struct trial *t, enum way way, struct slice bytes);
