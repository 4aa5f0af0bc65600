/* Runs the checks, each over each transport it is about. */
#include "cmd/conform/run.h"

#include <fnmatch.h>
#include <stdlib.h>

#include "cmd/conform/talk.h"

static const enum via vias[] = {VIA_UDP, VIA_TCP};

bool run_wants(const struct run *r, const struct check *c)
{
    return !r->only || fnmatch(r->only, c->id, 0) == 0;
}

/* A word from the server, whatever it is. */
static bool probe_answers(struct trial *t)
{
    struct line *c = dial_server(t);
    tell(t, c, REQ(BINDING));
    if (any_frame(t, c, t->target->timeout_ms)) {
        return true;
    }
    tell(t, c, REQ(ALLOCATE, .omit = OMIT_CREDENTIALS, .at = {NUM(REQUESTED_TRANSPORT, 17)}));
    return any_frame(t, c, t->target->timeout_ms) != NULL;
}

static bool probe_turn(struct trial *t)
{
    (void)challenge(t, dial_server(t));
    return !is_over(t);
}

/* Or each check would fail for it. */
static bool probe_user(struct trial *t)
{
    return code_of(ask(t, dial_server(t), REQ(ALLOCATE))) != 401; /* 400 is what is right */
}

static bool probe(struct run *r, struct trial *t, struct dial *d, enum via via,
                  bool (*fn)(struct trial *t))
{
    trial_begin(t, d, &r->target, NULL, via);
    bool ok = fn(t);
    trial_close(t);
    trial_done(t);
    return ok;
}

static const char *via_name(enum via via)
{
    return via == VIA_UDP ? "UDP" : "TCP";
}

/* Skips what cannot be tried. */
static void prepare(const struct run *r, struct trial *t)
{
    unsigned needs = t->check->needs;
    if (!(r->answers & t->via)) {
        skip(t, "the server does not answer over %s", via_name(t->via));
    } else if ((needs & NEEDS_TURN) && !(r->has_turn & t->via)) {
        skip(t, "the server does not ask for credentials with 401, so this is no TURN server "
                "with passwords");
    } else if ((needs & NEEDS_USER) == NEEDS_USER && r->target.user.name.len == 0) {
        skip(t, "needs --user");
    } else if ((needs & NEEDS_OTHER_USER) == NEEDS_OTHER_USER &&
               r->target.other.name.len == 0) {
        skip(t, "needs --other-user");
    }
}

/* Over UDP an allocation lives on without us, and may fill a quota. */
static void give_back(struct run *r, struct trial *t)
{
    struct trial *clean = calloc(1, sizeof *clean);
    if (!clean) {
        return;
    }
    trial_begin(clean, t->dial, &r->target, t->check, t->via);
    for (size_t i = 0; i < t->n_allocs; i++) {
        if (t->allocs[i]->udp) {
            (void)ask(clean, t->allocs[i],
                      REQ(REFRESH, .at = {NUM(LIFETIME, 0)}, .patience_ms = 500));
        }
    }
    trial_done(clean);
    free(clean);
}

static void run_one(struct run *r, struct trial *t, struct dial *d, const struct check *check,
                    enum via via)
{
    trial_begin(t, d, &r->target, check, via);
    prepare(r, t);
    if (!is_over(t)) {
        check->run(t);
    }
    if (!is_over(t)) {
        t->outcome = PASSED;
    }
    give_back(r, t);
    trial_close(t);
    r->n[t->outcome]++;
}

static void run_group(struct run *r, struct trial *t, struct dial *d,
                      const struct check_group *g, struct report *report)
{
    bool is_shown = false;
    for (const struct check *c = g->checks; c->id; c++) {
        for (size_t i = 0; i < 2; i++) {
            if (!(c->over & vias[i]) || !run_wants(r, c)) {
                continue;
            }
            if (!is_shown) {
                report->group(report, g->title);
                is_shown = true;
            }
            run_one(r, t, d, c, vias[i]);
            report->result(report, t);
            trial_done(t);
        }
    }
}

int run_all(struct run *r, struct report *report)
{
    struct dial *d = NULL;
    struct trial *t = calloc(1, sizeof *t);
    int err = t ? dial_new(&d) : ERR_NOMEM;
    for (size_t i = 0; i < 2 && !err; i++) {
        if (probe(r, t, d, vias[i], probe_answers)) {
            r->answers |= vias[i];
            r->has_turn |= probe(r, t, d, vias[i], probe_turn) ? vias[i] : 0;
        }
    }
    if (!err && !r->answers) {
        err = ERR_NOTFOUND;
    }
    enum via via = r->has_turn & VIA_TCP ? VIA_TCP : VIA_UDP;
    if (!err && r->has_turn && r->target.user.name.len > 0 &&
        !probe(r, t, d, via, probe_user)) {
        err = ERR_AUTH;
    }
    for (const struct check_group *g = check_groups; g->title && !err; g++) {
        run_group(r, t, d, g, report);
    }
    dial_free(d);
    free(t);
    return err;
}
