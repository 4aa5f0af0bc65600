/* Results for programs: one JSON object a run. */
#include <jansson.h>
#include <stdio.h>

#include "cmd/conform/report.h"

enum {
    HEX_MAX = 2 * 4096 + 1
};

static const char *const outcomes[] = {
    [STILL_OPEN] = "open", [PASSED] = "pass", [FAILED] = "fail", [SKIPPED] = "skip"};
static const char *const ways[] = {[SENT] = "sent", [CAME] = "came", [NOTED] = "note"};

static json_t *exchange_json(const struct exchange *x)
{
    char hex[HEX_MAX] = "";
    for (size_t i = 0; i < x->len && 2 * i + 3 <= sizeof hex; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", x->b[i]);
    }
    json_t *out = json_pack("{s:s, s:s}", "way", ways[x->way], "what", x->what);
    if (x->len > 0) {
        (void)json_object_set_new(out, "hex", json_string(hex));
    }
    return out;
}

static void json_group(struct report *base, const char *title)
{
    (void)base;
    (void)title;
}

static void json_result(struct report *base, const struct trial *t)
{
    struct report_json *r = (struct report_json *)(void *)base;
    json_t *check = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", t->check->id, "transport",
                              t->via == VIA_UDP ? "udp" : "tcp", "rfc", t->check->rfc, "must",
                              t->check->must, "outcome", outcomes[t->outcome]);
    if (t->why[0]) {
        (void)json_object_set_new(check, "why", json_string(t->why));
    }
    if (t->outcome == FAILED || r->is_verbose) {
        json_t *all = json_array();
        for (const struct exchange *x = t->exchanges; x; x = x->next) {
            (void)json_array_append_new(all, exchange_json(x));
        }
        (void)json_object_set_new(check, "exchange", all);
    }
    (void)json_array_append_new(r->checks, check);
}

int report_json_begin(struct report_json *r)
{
    r->base = (struct report){json_group, json_result};
    r->checks = json_array();
    return r->checks ? OK : ERR_NOMEM;
}

int report_json_end(struct report_json *r, const struct run *run)
{
    char server[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], peer[ADDR_TEXT_MAX];
    json_t *out = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "server", addr_text(&run->target.server, server),
        "local", addr_text(&run->target.local, local), "peer",
        addr_text(&run->target.peer, peer), "passed", (json_int_t)run->n[PASSED], "failed",
        (json_int_t)run->n[FAILED], "skipped", (json_int_t)run->n[SKIPPED], "checks",
        (json_t *)r->checks);
    int err = !out || json_dumpf(out, stdout, JSON_COMPACT) ? ERR_NOMEM : OK;
    (void)printf("\n");
    json_decref(out);
    return err;
}
