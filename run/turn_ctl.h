/* Answers the operator: one JSON object a line in, one out.
 *   {"do":"sessions","after":ID}  {"sessions":[...],"more":ID}   at most 128; "more" if there
 * are
 *   {"do":"session","id":ID}      {"session":{...,"links":[...]}}
 *   {"do":"kick","id":ID}  {"do":"drain"}  {"do":"reload"}       {}
 *   {"do":"stats"}                {"stats":{...}}
 * Every answer has "ok"; a false one has "error", which says what is wrong. */
#pragma once

#include "io/ctl.h"
#include "io/log.h"
#include "run/turn_run.h"

struct turn_ctl;

struct turn_ctl_config {
    struct ctl_config socket; /* without `line` and `ctx` */
    struct turn_run *run;
    const struct log *log;
    void (*drain)(void *ctx);
    /* NULL: done. Otherwise what is wrong, which is freed here. */
    char *(*reload)(void *ctx);
    void *ctx;
};

/* As ctl_listen. */
MUST_USE int turn_ctl_new(struct turn_ctl **out, struct loop *l,
                          const struct turn_ctl_config *cfg);
void turn_ctl_free(struct turn_ctl *t); /* NULL is fine */
struct ctl *turn_ctl_socket(const struct turn_ctl *t);
