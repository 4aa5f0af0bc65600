/* Results for people. */
#include "cmd/conform/report.h"

#include <stdio.h>

enum {
    LAST_SHOWN = 6, /* of a failed check's exchanges, unless verbose */
    PER_LINE = 32   /* bytes of hexadecimal */
};

static const struct {
    const char *word, *colour;
} outcomes[] = {
    [STILL_OPEN] = {"?",    ""        },
    [PASSED] = {"pass", "\033[32m"},
    [FAILED] = {"FAIL", "\033[31m"},
    [SKIPPED] = {"skip", "\033[33m"},
};
static const char *const ways[] = {[SENT] = "->", [CAME] = "<-", [NOTED] = "--"};

static void print_bytes(const struct exchange *x)
{
    for (size_t i = 0; i < x->len; i++) {
        (void)printf("%s%02x",
                     i % PER_LINE == 0 ? "\n               "
                     : i % 4 == 0      ? " "
                                       : "",
                     x->b[i]);
    }
}

static void print_exchanges(const struct report_text *r, const struct trial *t)
{
    size_t hidden =
        r->is_verbose || t->n_exchanges < LAST_SHOWN ? 0 : t->n_exchanges - LAST_SHOWN;
    size_t i = 0;
    for (const struct exchange *x = t->exchanges; x; x = x->next) {
        if (i++ < hidden) {
            continue;
        }
        (void)printf("            %s %s", ways[x->way], x->what);
        if (r->is_verbose) {
            print_bytes(x);
        }
        (void)printf("\n");
    }
}

static void text_group(struct report *base, const char *title)
{
    (void)base;
    (void)printf("\n%s\n", title);
}

static void text_result(struct report *base, const struct trial *t)
{
    const struct report_text *r = (const struct report_text *)(void *)base;
    const char *on = r->is_coloured ? outcomes[t->outcome].colour : "";
    (void)printf("  %s%s%s  %s  %s", on, outcomes[t->outcome].word,
                 r->is_coloured ? "\033[0m" : "", t->via == VIA_UDP ? "udp" : "tcp",
                 t->check->id);
    if (t->outcome == SKIPPED) {
        (void)printf(": %s", t->why);
    }
    (void)printf("\n");
    if (t->outcome == FAILED) {
        (void)printf("            %s: %s\n            %s\n", t->check->rfc, t->check->must,
                     t->why);
    }
    if (t->outcome == FAILED || r->is_verbose) {
        print_exchanges(r, t);
    }
    (void)fflush(stdout);
}

void report_text_begin(struct report_text *r, const struct run *run)
{
    char server[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], peer[ADDR_TEXT_MAX];
    r->base = (struct report){text_group, text_result};
    (void)printf("causeway-conform: %s, from %s, peers on %s\n",
                 addr_text(&run->target.server, server), addr_text(&run->target.local, local),
                 addr_text(&run->target.peer, peer));
}

void report_text_end(struct report_text *r, const struct run *run)
{
    enum outcome worst = run->n[FAILED] ? FAILED : PASSED;
    (void)printf("\n%s%zu passed, %zu failed, %zu skipped%s\n",
                 r->is_coloured ? outcomes[worst].colour : "", run->n[PASSED], run->n[FAILED],
                 run->n[SKIPPED], r->is_coloured ? "\033[0m" : "");
}

void report_list(const struct run *run)
{
    static const char *const over[] = {
        [VIA_UDP] = "udp", [VIA_TCP] = "tcp", [VIA_BOTH] = "udp, tcp"};
    for (const struct check_group *g = check_groups; g->title; g++) {
        for (const struct check *c = g->checks; c->id; c++) {
            if (run_wants(run, c)) {
                (void)printf("%s\n    %s, over %s\n    %s\n", c->id, c->rfc, over[c->over],
                             c->must);
            }
        }
    }
}
