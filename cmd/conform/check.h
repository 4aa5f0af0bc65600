/* A check: a row of a table, and a short script. */
#pragma once

#include "cmd/conform/dial.h"

enum via {
    VIA_UDP = 1,
    VIA_TCP = 2,
    VIA_BOTH = VIA_UDP | VIA_TCP
};

enum needs {
    NEEDS_TURN = 1, /* the server challenges an Allocate */
    NEEDS_USER = 2 | NEEDS_TURN,
    NEEDS_OTHER_USER = 4 | NEEDS_USER
};

enum outcome {
    STILL_OPEN,
    PASSED,
    FAILED,
    SKIPPED
};

struct trial;

struct check {
    const char *id;   /* stable: others refer to it */
    const char *rfc;  /* "RFC 8489 6.3.1": number and section */
    const char *must; /* one sentence */
    unsigned over;    /* enum via: which transports it is about */
    unsigned needs;   /* enum needs */
    void (*run)(struct trial *t);
};

/* A row of the tables, laid out as a call. */
#define CHECK(id, rfc, must, over, needs, run) \
    {                                          \
        id, rfc, must, over, needs, run        \
    }

struct check_group {
    const char *title;
    const struct check *checks; /* ends with a NULL id */
};

extern const struct check checks_stun[], checks_stream[], checks_auth[], checks_sha256[],
    checks_alloc[],
    checks_refresh[], checks_perm[], checks_data[], checks_channel[], checks_tcp_alloc[],
    checks_tcp_connect[], checks_tcp_data[], checks_forbidden[], checks_dual[], checks_mobility[], checks_header[];
extern const struct check_group check_groups[]; /* ends with a NULL title */
