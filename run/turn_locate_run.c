/* Runs the search for the servers that a URI means: its queries go to the resolver. */
#include "run/turn_locate_run.h"

#include <stdlib.h>

struct turn_locate_run {
    struct locate *core;
    struct resolver *resolver;
    struct resolve *asked; /* NULL: no query is out */
    turn_located *fn;
    void *ctx;
};

static void step(struct turn_locate_run *r);

static void on_answer(const struct dns_record *records, size_t n, void *ctx)
{
    struct turn_locate_run *r = ctx;
    r->asked = NULL;
    locate_answer(r->core, records, n);
    step(r);
}

static void step(struct turn_locate_run *r)
{
    struct locate_action a;
    do {
        locate_next(r->core, &a);
        /* A query that cannot even be asked has no answer. */
    } while (a.what == LOCATE_QUERY &&
             resolver_ask(&r->asked, r->resolver, a.type, a.name, on_answer, r));
    if (a.what != LOCATE_QUERY) {
        r->fn(a.what == LOCATE_SERVER ? &a.server : NULL, a.way, r->ctx);
    }
}

int turn_locate_run_new(struct turn_locate_run **out, struct resolver *resolver,
                        const struct turn_uri *uri, const enum turn_way ways[LOCATE_WAYS_MAX])
{
    struct turn_locate_run *r = calloc(1, sizeof *r);
    struct locate_config cfg = {.uri = *uri, .random = io_random_env};
    *out = NULL;
    if (!r) {
        return ERR_NOMEM;
    }
    while (cfg.n_ways < LOCATE_WAYS_MAX && ways[cfg.n_ways]) {
        cfg.ways[cfg.n_ways] = ways[cfg.n_ways];
        cfg.n_ways++;
    }
    r->resolver = resolver;
    int err = locate_new(&r->core, &cfg);
    if (err) {
        free(r);
        return err;
    }
    *out = r;
    return OK;
}

void turn_locate_run_next(struct turn_locate_run *r, turn_located *fn, void *ctx)
{
    r->fn = fn;
    r->ctx = ctx;
    step(r);
}

void turn_locate_run_free(struct turn_locate_run *r)
{
    if (r) {
        if (r->asked) {
            resolve_cancel(r->asked);
        }
        locate_free(r->core);
        free(r);
    }
}
