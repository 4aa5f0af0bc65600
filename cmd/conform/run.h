/* Runs the checks. */
#pragma once

#include "cmd/conform/trial.h"

struct run {
    struct target target;
    const char *only; /* a pattern for ids, NULL: all */
    /* What was found out before: over which transports the server answers, and challenges an
     * Allocate. enum via. */
    unsigned answers, has_turn;
    size_t n[SKIPPED + 1]; /* by outcome */
};

/* What shows results, one after the other. */
struct report {
    void (*group)(struct report *r, const char *title);
    void (*result)(struct report *r, const struct trial *t);
};

bool run_wants(const struct run *r, const struct check *c);
/* ERR_NOTFOUND: nobody answers there. ERR_AUTH: the server refuses the user. ERR_NOMEM,
 * ERR_SYSTEM: no sockets. */
MUST_USE int run_all(struct run *r, struct report *report);
