/* The steps of the walkthrough: which have been seen, when, and the report of it. */
#pragma once

#include "cmd/causeway/watch.h"

enum step {
    STEP_NETWORK,
    STEP_NO_ROUTE,
    STEP_READY,
    STEP_INVITE,
    STEP_CHALLENGE,
    STEP_RELAY,
    STEP_REFRESH,
    STEP_ANSWER,
    STEP_ATTEMPT,
    STEP_BIND,
    STEP_CHECKS,
    STEP_RDP,
    STEP_PICTURE,
    STEP_COMPARED,
    STEP_COUNT
};

struct steps {
    bool done[STEP_COUNT];
    uint64_t at_ms[STEP_COUNT]; /* since the start */
    bool asked[2], answered[2]; /* checks, from the edge and from the meeting server */
};

const char *step_name(enum step s);
/* The first that is not done; STEP_COUNT: all are. */
enum step steps_next(const struct steps *s);

/* What a message shows to be done; STEP_COUNT: nothing new. */
enum step steps_hear(struct steps *s, const struct watched *w);

/* Time from the INVITE to the first picture; 0 when that is not known. */
uint64_t steps_first_picture_ms(const struct steps *s);

struct steps_report {
    bool ok;
    const char *why; /* it is not ok; NULL */
    double psnr_db;  /* 0: not compared */
};
/* Writes result.json into the folder `out`. ERR_SYSTEM. */
MUST_USE int steps_write(const struct steps *s, const struct steps_report *r, const char *out);
