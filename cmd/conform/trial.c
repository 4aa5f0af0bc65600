/* One check over one transport. */
#include "cmd/conform/trial.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/conform/words.h"

void trial_begin(struct trial *t, struct dial *d, const struct target *target,
                 const struct check *check, enum via via)
{
    *t = (struct trial){.target = target, .check = check, .via = via, .dial = d};
    t->exchanges_end = &t->exchanges;
    t->nothing.wire = &stun_wire_rfc8489;
    t->nowhere.dial = d;
    t->nowhere.frames_end = &t->nowhere.frames;
}

void trial_close(struct trial *t)
{
    dial_close_all(t->dial);
    t->n_allocs = 0;
}

void trial_done(struct trial *t)
{
    while (t->exchanges) {
        struct exchange *x = t->exchanges;
        t->exchanges = x->next;
        free(x);
    }
}

bool is_over(const struct trial *t)
{
    return t->outcome != STILL_OPEN;
}

__attribute__((format(printf, 3, 0))) static void decide(struct trial *t, enum outcome outcome,
                                                         const char *format, va_list ap)
{
    if (t->outcome == STILL_OPEN) {
        t->outcome = outcome;
        (void)vsnprintf(t->why, sizeof t->why, format, ap);
    }
}

void fail(struct trial *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    decide(t, FAILED, format, ap);
    va_end(ap);
}

void skip(struct trial *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    decide(t, SKIPPED, format, ap);
    va_end(ap);
}

static struct exchange *add(struct trial *t, enum way way, struct slice bytes)
{
    struct exchange *x = NULL;
    if (t->n_exchanges < TRIAL_EXCHANGES_MAX) {
        x = calloc(1, sizeof *x + bytes.len);
    }
    if (!x) {
        return NULL;
    }
    x->way = way;
    x->len = bytes.len;
    if (bytes.len > 0) {
        memcpy(x->b, bytes.p, bytes.len);
    }
    *t->exchanges_end = x;
    t->exchanges_end = &x->next;
    t->n_exchanges++;
    return x;
}

void note(struct trial *t, const char *format, ...)
{
    struct exchange *x = is_over(t) ? NULL : add(t, NOTED, slice_of(NULL, 0));
    va_list ap;
    va_start(ap, format);
    if (x) {
        (void)vsnprintf(x->what, sizeof x->what, format, ap);
    }
    va_end(ap);
}

void trial_record(struct trial *t, enum way way, struct slice bytes)
{
    struct exchange *x = is_over(t) ? NULL : add(t, way, bytes);
    if (x) {
        struct wr w = wr_over((uint8_t *)x->what, sizeof x->what - 1);
        words_frame(&w, bytes);
        (void)words_end(&w);
    }
}
