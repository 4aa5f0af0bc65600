/* The meeting server: its spaces, and which SIP dialog belongs to which. */
#include "cmd/meet/meeting.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/text.h"

#include "lib/sip/msg.h"

#include "cmd/meet/share.h"
#include "cmd/meet/share_impl.h"

enum {
    REPORTS_PER_S = 5 /* log lines any sender of SIP can cause */
};

static struct space *space_find(const struct meeting *m, struct slice name)
{
    struct space *s = m->spaces;
    while (s && !text_is(name, s->name)) {
        s = s->next;
    }
    return s;
}

/* The space that the request URI names; NULL: none of ours. */
static struct space *space_called(const struct meeting *m, const struct sip_action *a)
{
    uint8_t name[SPACE_NAME_MAX];
    struct wr w = wr_over(name, sizeof name);
    bool ours = !m->cfg.domain || text_is(a->target_host, m->cfg.domain);
    return ours && sip_unescape(a->target_user, &w) == OK ? space_find(m, wr_done(&w)) : NULL;
}

static struct share *share_of(const struct meeting *m, sip_dialog d)
{
    struct share *s = m->shares;
    while (s && s->dialog != d) {
        s = s->next;
    }
    return s;
}

void meeting_answer(struct meeting *m, sip_dialog d, const struct sip_answer *a)
{
    int err = sip_run_answer(m->sip, d, a);
    if (err) {
        LOG(m->cfg.log, LOG_WARN, "sip-answer-failed", LOG_N("status", a->status),
            LOG_S("why", err_text(err)));
    }
}

static void invited(struct meeting *m, const struct sip_action *a)
{
    struct space *space = space_called(m, a);
    if (!space) {
        const struct sip_answer no = {
            .status = 404,
            .headers = slice_str("Warning: 399 causeway-meet \"There is no such space\"\r\n")};
        LOG(m->cfg.log, LOG_INFO, "share-refused", LOG_N("status", 404),
            LOG_B("space", a->target_user), LOG_B("from", a->from_uri),
            LOG_S("why", "there is no such space"));
        meeting_answer(m, a->dialog, &no);
        return;
    }
    struct share *s;
    if (share_new(&s, space, a)) {
        return;
    }
    if (space->share) {
        /* The number is the application sharing server's, with its meaning (MS-OCER 8.20). */
        struct share *old = space->share;
        space->share = s;
        share_end(old, "somebody else shares now",
                  "ms-diagnostics-public: 21000;reason=\"A new sharer joined\";"
                  "component=\"causeway-meet\"\r\n");
    }
    space->share = s;
}

/* What the endpoint refused by itself, which no share ever hears of. */
static void reported(struct meeting *m, const struct sip_action *a)
{
    uint32_t held;
    if (log_limit_pass(&m->reports, loop_now_ms(m->loop) / 1000, REPORTS_PER_S, &held)) {
        LOG(m->cfg.log, LOG_WARN, "sip-refused", LOG_S("why", a->why), LOG_B("start", a->bytes),
            LOG_N("held_back", held));
    }
}

static void on_sip(const struct sip_action *a, void *ctx)
{
    struct meeting *m = ctx;
    if (a->what == SIP_DO_REPORT) {
        reported(m, a);
        return;
    }
    if (a->what == SIP_DO_INVITED) {
        invited(m, a);
        return;
    }
    struct share *s = share_of(m, a->dialog);
    if (s) {
        share_sip(s, a);
    }
}

static void say_listening(const struct meeting *m)
{
    char text[ADDR_TEXT_MAX];
    struct addr at = web_addr(m->web);
    LOG(m->cfg.log, LOG_INFO, "listening", LOG_S("for", "web"), LOG_S("transport", "http"),
        LOG_S("addr", addr_text(&at, text)));
}

int meeting_new(struct meeting **out, struct loop *l, const struct meeting_config *cfg)
{
    struct meeting *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m) {
        return ERR_NOMEM;
    }
    m->loop = l;
    m->cfg = *cfg;
    m->cfg.sip.action = on_sip;
    m->cfg.sip.ctx = m;
    int err = resolver_new(&m->resolver, l, m->cfg.dns.family ? &m->cfg.dns : NULL);
    err = err ? err : web_new(&m->web, l, &m->cfg.web);
    err = err ? err : sip_run_new(&m->sip, l, &m->cfg.sip);
    if (err) {
        meeting_free(m);
        return err;
    }
    say_listening(m);
    *out = m;
    return OK;
}

void meeting_free(struct meeting *m)
{
    if (!m) {
        return;
    }
    while (m->shares) {
        share_kill(m->shares);
    }
    if (m->sip) {
        sip_run_free(m->sip);
    }
    while (m->spaces) {
        struct space *s = m->spaces;
        m->spaces = s->next;
        free(s);
    }
    if (m->web) {
        web_free(m->web);
    }
    resolver_free(m->resolver);
    free(m);
}

int meeting_add_space(struct meeting *m, const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > SPACE_NAME_MAX) {
        return ERR_LIMIT;
    }
    if (space_find(m, slice_str(name))) {
        return ERR_BADSTATE;
    }
    struct space *s = calloc(1, sizeof *s);
    if (!s) {
        return ERR_NOMEM;
    }
    memcpy(s->name, name, len);
    s->meeting = m;
    s->next = m->spaces;
    m->spaces = s;
    char how[SPACE_NAME_MAX + 320] = "";
    if (m->cfg.domain) {
        (void)snprintf(how, sizeof how, "To share a screen here, call sip:%s@%s.", name,
                       m->cfg.domain);
    }
    return web_space_set(m->web, s->name, WEB_WAITING, NULL, how);
}
