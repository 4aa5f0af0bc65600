/* Runs a sip_ua on the loop: listeners, time, and the carrying out of its actions. */
#include "run/sip_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/text.h"

#include "lib/sip/msg.h"

#include "run/sip_run_impl.h"

/* The start line only: bodies carry keys (a=crypto). */
static void log_message(struct sip_run *r, const struct flow *f, const char *way,
                        struct slice message)
{
    char peer[ADDR_TEXT_MAX];
    if (!r->cfg.log_messages) {
        return;
    }
    struct slice line = text_trim(text_split(&message, '\n'));
    line.len = line.len < 200 ? line.len : 200;
    LOG(r->cfg.log, LOG_DEBUG, "sip-message", LOG_S("way", way),
        LOG_S("transport", sip_transport_names[f->info.transport]),
        LOG_S("peer", addr_text(&f->info.remote, peer)), LOG_B("start", line));
}

void run_drain(struct sip_run *r)
{
    struct sip_action a;
    if (r->draining) {
        return; /* the program called us from its action: the loop below goes on */
    }
    r->draining = true;
    while (sip_ua_next(r->ua, &a)) {
        if (a.what != SIP_DO_SEND) {
            r->cfg.action(&a, r->cfg.ctx);
            continue;
        }
        struct flow *f = flow_get(r, a.flow);
        if (f) {
            log_message(r, f, "out", a.bytes);
            flow_send(f, a.bytes);
        }
    }
    r->draining = false;
    loop_timer_at(r->timer, sip_ua_deadline_ms(r->ua));
}

int run_feed(struct sip_run *r, struct flow *f, struct slice message)
{
    log_message(r, f, "in", message);
    int err = sip_ua_recv(r->ua, loop_now_ms(r->loop), &f->info, message);
    run_drain(r);
    return err;
}

static void on_timer(void *ctx)
{
    struct sip_run *r = ctx;
    sip_ua_tick(r->ua, loop_now_ms(r->loop));
    run_drain(r);
}

static int cannot_listen(struct sip_run *r, size_t n, const char *why)
{
    char at[ADDR_TEXT_MAX];
    LOG(r->cfg.log, LOG_ERROR, "sip-listen-failed",
        LOG_S("transport", sip_transport_names[r->cfg.listen[n].transport]),
        LOG_S("addr", addr_text(&r->cfg.listen[n].at, at)), LOG_S("why", why));
    return ERR_SYSTEM;
}

static int listen_at(struct sip_run *r, size_t n)
{
    struct listener *l = &r->listeners[n];
    const struct addr *at = &r->cfg.listen[n].at;
    char text[ADDR_TEXT_MAX];
    *l = (struct listener){.r = r, .transport = r->cfg.listen[n].transport};
    if (l->transport == SIP_TLS && !(r->cfg.tls_cert && r->cfg.tls_key)) {
        return cannot_listen(r, n, "TLS needs a certificate and its key");
    }
    errno = 0;
    int err =
        l->transport == SIP_UDP
            ? udp_open(&l->udp, r->loop, at, &(struct udp_options){0}, flow_datagram, l)
            : tcp_listen(&l->tcp, r->loop, at, &(struct tcp_options){0}, flow_accepted, l);
    if (err) {
        return cannot_listen(r, n, errno ? strerror(errno) : err_text(err));
    }
    struct addr got = sip_run_addr(r, n);
    LOG(r->cfg.log, LOG_INFO, "listening", LOG_S("for", "sip"),
        LOG_S("transport", sip_transport_names[l->transport]),
        LOG_S("addr", addr_text(&got, text)));
    return OK;
}

static int make_tls(struct sip_run *r)
{
    char why[TLS_WHY_MAX];
    struct tls_config cfg = {.cert_file = r->cfg.tls_cert,
                             .key_file = r->cfg.tls_key,
                             .ca_file = r->cfg.tls_ca,
                             .require_peer_cert = r->cfg.tls_require_peer_cert};
    if (tls_context_new(&r->tls, &cfg, why)) {
        LOG(r->cfg.log, LOG_ERROR, "sip-tls-failed", LOG_S("why", why));
        return ERR_SYSTEM;
    }
    return OK;
}

static int make(struct sip_run *r)
{
    struct sip_env env = {.random = io_random_env};
    size_t n = r->cfg.max_flows;
    r->flows = calloc(n ? 2 * n : 1, sizeof *r->flows);
    int err = r->flows ? OK : ERR_NOMEM;
    err = err ? err : sip_ua_new(&r->ua, &r->cfg.ua, &env);
    err = err ? err : loop_timer_new(&r->timer, r->loop, on_timer, r);
    err = err ? err : loop_timer_new(&r->idle_timer, r->loop, flow_idle_check, r);
    err = err ? err : loop_idle_new(&r->reaper, r->loop, flow_reap, r);
    err = err ? err : make_tls(r);
    for (size_t i = 0; !err && i < r->cfg.n_listen; i++) {
        err = listen_at(r, i);
    }
    if (!err && r->cfg.idle_s > 0) {
        flow_idle_check(r);
    }
    return err;
}

int sip_run_new(struct sip_run **out, struct loop *l, const struct sip_run_config *cfg)
{
    *out = NULL;
    struct sip_run *r = calloc(1, sizeof *r);
    if (!r) {
        return ERR_NOMEM;
    }
    r->loop = l;
    r->cfg = *cfg;
    int err = make(r);
    if (err) {
        sip_run_free(r);
        return err;
    }
    *out = r;
    return OK;
}

void sip_run_free(struct sip_run *r)
{
    if (!r) {
        return;
    }
    flow_free_all(r);
    for (size_t i = 0; i < r->cfg.n_listen; i++) {
        if (r->listeners[i].tcp) {
            tcp_listener_free(r->listeners[i].tcp);
        }
        if (r->listeners[i].udp) {
            udp_close(r->listeners[i].udp);
        }
    }
    loop_timer_free(r->timer);
    loop_timer_free(r->idle_timer);
    if (r->reaper) {
        loop_idle_free(r->reaper);
    }
    sip_ua_free(r->ua);
    tls_context_free(r->tls);
    free(r);
}

struct addr sip_run_addr(const struct sip_run *r, size_t n)
{
    const struct listener *l = &r->listeners[n];
    return l->udp ? udp_addr(l->udp) : tcp_listener_addr(l->tcp);
}

int sip_run_answer(struct sip_run *r, sip_dialog d, const struct sip_answer *a)
{
    int err = sip_ua_answer(r->ua, loop_now_ms(r->loop), d, a);
    run_drain(r);
    return err;
}

int sip_run_invite(struct sip_run *r, const struct addr *to, enum sip_transport transport,
                   struct sip_invite *inv, sip_dialog *out)
{
    struct flow *f;
    struct slice user, host;
    *out = 0;
    int err = sip_uri_split(inv->request_uri, &user, &host);
    /* RFC 5922 7.2: the certificate must be that of the URI's domain. */
    err = err ? err : flow_to(r, to, transport, host, &f);
    if (err) {
        return err;
    }
    inv->flow = f->info;
    err = sip_ua_invite(r->ua, loop_now_ms(r->loop), inv, out);
    run_drain(r);
    return err;
}

int sip_run_reinvite(struct sip_run *r, sip_dialog d, struct slice content_type,
                     struct slice body)
{
    int err = sip_ua_reinvite(r->ua, loop_now_ms(r->loop), d, content_type, body);
    run_drain(r);
    return err;
}

void sip_run_hangup(struct sip_run *r, sip_dialog d, struct slice headers)
{
    sip_ua_hangup(r->ua, loop_now_ms(r->loop), d, headers);
    run_drain(r);
}
