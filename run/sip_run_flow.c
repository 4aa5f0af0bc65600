/* Flows of sip_run: connections and UDP remotes, from bytes to messages and back. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/text.h"

#include "run/sip_run_impl.h"

const char *const sip_transport_names[] = {"udp", "tcp", "tls"};

static void log_flow(const struct flow *f, enum log_level level, const char *state,
                     const char *why)
{
    char peer[ADDR_TEXT_MAX];
    uint32_t held;
    struct sip_run *r = f->r;
    if (log_limit_pass(&r->limit, loop_now_ms(r->loop) / 1000, FLOW_EVENTS_PER_S, &held)) {
        LOG(r->cfg.log, level, "sip-flow", LOG_S("state", state),
            LOG_S("transport", sip_transport_names[f->info.transport]),
            LOG_S("peer", addr_text(&f->info.remote, peer)), LOG_S("why", why),
            LOG_N("held_back", held));
    }
}

struct flow *flow_get(struct sip_run *r, sip_flow id)
{
    uint32_t place = (uint32_t)id;
    if (place == 0 || place > 2 * r->cfg.max_flows) {
        return NULL;
    }
    struct flow *f = &r->flows[place - 1];
    return f->used && f->info.id == id && !f->doom ? f : NULL;
}

static struct flow *begin(struct sip_run *r, size_t place, enum sip_transport transport)
{
    struct flow *f = &r->flows[place];
    *f = (struct flow){.r = r, .gen = f->gen + 1, .used = true};
    f->info.id = (sip_flow)f->gen << 32 | (uint32_t)(place + 1);
    f->info.transport = transport;
    f->last_ms = loop_now_ms(r->loop);
    return f;
}

static struct flow *new_connection(struct sip_run *r, enum sip_transport transport)
{
    for (size_t i = 0; i < r->cfg.max_flows; i++) {
        if (!r->flows[i].used) {
            return begin(r, i, transport);
        }
    }
    return NULL;
}

/* Frees what it holds; the UDP socket is the listener's. */
static void end(struct flow *f)
{
    if (f->tls) {
        tls_shutdown(f->tls);
        if (f->tcp && tls_out(f->tls).len > 0) {
            (void)!tcp_write(f->tcp, tls_out(f->tls), slice_of(NULL, 0));
        }
    }
    if (f->tcp && tcp_is_full(f->tcp)) {
        tcp_close(f->tcp); /* it does not read: waiting for it is no use */
    } else if (f->tcp) {
        tcp_close_when_sent(f->tcp);
    }
    tls_free(f->tls);
    free(f->plain);
    *f = (struct flow){.r = f->r, .gen = f->gen};
}

void flow_doom(struct flow *f, const char *why)
{
    if (!f->doom) {
        f->doom = why;
        loop_idle_arm(f->r->reaper);
    }
}

void flow_reap(void *run)
{
    struct sip_run *r = run;
    for (size_t i = 0; i < 2 * r->cfg.max_flows; i++) {
        struct flow *f = &r->flows[i];
        if (f->used && f->doom) {
            sip_flow id = f->info.id;
            log_flow(f, LOG_INFO, "closed", f->doom);
            end(f);
            sip_ua_flow_gone(r->ua, loop_now_ms(r->loop), id);
            run_drain(r);
        }
    }
}

static void write_out(struct flow *f, struct slice bytes)
{
    if (bytes.len == 0 || !f->tcp) {
        return;
    }
    if (tcp_is_full(f->tcp) || tcp_write(f->tcp, bytes, slice_of(NULL, 0))) {
        flow_doom(f, "the peer does not read");
    }
}

static void flush_tls(struct flow *f)
{
    struct slice out = tls_out(f->tls);
    size_t n = out.len;
    write_out(f, out);
    tls_out_done(f->tls, n);
}

void flow_send(struct flow *f, struct slice bytes)
{
    if (f->udp) {
        udp_send(f->udp, &f->info.remote, &f->info.local, bytes, dgram_of(slice_of(NULL, 0)));
    } else if (!f->tls) {
        write_out(f, bytes);
    } else if (tls_write(f->tls, bytes)) {
        flow_doom(f, "TLS took no more");
    } else {
        flush_tls(f);
    }
}

static void heard(struct flow *f)
{
    f->last_ms = loop_now_ms(f->r->loop);
    f->has_spoken = true;
}

/* Takes the whole messages off the head of `in`; returns how many bytes that were. */
static size_t take_messages(struct flow *f, struct slice in)
{
    size_t at = 0;
    while (!f->doom && at < in.len) {
        struct slice message;
        size_t used;
        enum parse p = sip_stream_next(slice_from(in, at), &message, &used);
        if (p == PARSE_MORE) {
            return at;
        }
        if (p == PARSE_BAD) {
            flow_doom(f, "no SIP");
        } else if (message.len > 0) {
            heard(f);
            if (run_feed(f->r, f, message)) {
                flow_doom(f, "malformed SIP");
            }
        } else if (used == 4) {
            flow_send(f, slice_str("\r\n")); /* RFC 5626 4.4.1: the pong */
            heard(f);
        }
        at += used;
    }
    return f->doom ? in.len : at;
}

static void tls_failed(struct flow *f)
{
    char peer[ADDR_TEXT_MAX];
    uint32_t held;
    struct sip_run *r = f->r;
    if (log_limit_pass(&r->limit, loop_now_ms(r->loop) / 1000, FLOW_EVENTS_PER_S, &held)) {
        LOG(r->cfg.log, LOG_WARN, "sip-tls", LOG_S("peer", addr_text(&f->info.remote, peer)),
            LOG_S("why", tls_why(f->tls)), LOG_N("held_back", held));
    }
    flow_doom(f, "TLS failed");
}

static void take_encrypted(struct flow *f, struct slice in)
{
    int err = tls_in(f->tls, in);
    flush_tls(f);
    size_t n;
    while (!f->doom &&
           (n = tls_read(f->tls, f->plain + f->n_plain, FLOW_PLAIN_MAX - f->n_plain)) > 0) {
        f->n_plain += n;
        size_t used = take_messages(f, slice_of(f->plain, f->n_plain));
        f->n_plain -= used;
        memmove(f->plain, f->plain + used, f->n_plain);
        if (f->n_plain == FLOW_PLAIN_MAX) {
            flow_doom(f, "no SIP");
        }
    }
    if (err) {
        tls_failed(f);
    } else if (tls_peer_closed(f->tls)) {
        flow_doom(f, "closed by the peer");
    }
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct flow *f = ctx;
    (void)t;
    if (f->doom) {
        return bytes.len;
    }
    if (!f->tls) {
        return take_messages(f, bytes);
    }
    take_encrypted(f, bytes);
    return bytes.len;
}

static void on_connected(struct tcp *t, void *ctx)
{
    (void)t;
    log_flow(ctx, LOG_DEBUG, "connected", "");
}

static void on_ended(struct tcp *t, void *ctx)
{
    (void)t;
    flow_doom(ctx, "closed by the peer");
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct flow *f = ctx;
    (void)t;
    f->tcp = NULL;
    flow_doom(f, sys_errno ? strerror(sys_errno) : "closed by the peer");
}

static const struct tcp_events events = {
    .connected = on_connected, .data = on_data, .ended = on_ended, .closed = on_closed};

static int begin_tls(struct flow *f, bool is_server, const char *name)
{
    f->plain = malloc(FLOW_PLAIN_MAX);
    if (!f->plain) {
        return ERR_NOMEM;
    }
    return tls_new(&f->tls, f->r->tls, is_server, name);
}

void flow_accepted(struct tcp *t, const struct addr *peer, void *listener)
{
    struct listener *l = listener;
    struct sip_run *r = l->r;
    struct flow *f = new_connection(r, l->transport);
    uint32_t held;
    if (!f) {
        if (log_limit_pass(&r->limit, loop_now_ms(r->loop) / 1000, FLOW_EVENTS_PER_S, &held)) {
            LOG(r->cfg.log, LOG_WARN, "sip-flow", LOG_S("state", "refused"),
                LOG_S("why", "max-flows is reached"), LOG_N("held_back", held));
        }
        tcp_close(t);
        return;
    }
    f->tcp = t;
    f->info.local = tcp_local(t);
    f->info.remote = *peer;
    if (l->transport == SIP_TLS && begin_tls(f, true, NULL)) {
        end(f);
        return;
    }
    log_flow(f, LOG_INFO, "accepted", "");
    tcp_start(t, &events, f);
}

static int connect_to(struct flow *f, const struct addr *to, const char *name)
{
    struct tcp_options opt = {.timeout_ms = FLOW_CONNECT_MS};
    int err = tcp_connect(&f->tcp, f->r->loop, to, &opt, &events, f);
    if (err) {
        return err;
    }
    f->info.local = tcp_local(f->tcp);
    if (f->info.transport == SIP_TLS) {
        err = begin_tls(f, false, name);
        if (!err) {
            flush_tls(f);
        }
    }
    return err;
}

static struct flow *find(struct sip_run *r, bool is_udp, enum sip_transport transport,
                         const struct addr *remote)
{
    size_t first = is_udp ? r->cfg.max_flows : 0;
    for (size_t i = first; i < first + r->cfg.max_flows; i++) {
        struct flow *f = &r->flows[i];
        if (f->used && !f->doom && f->info.transport == transport &&
            addr_eq(&f->info.remote, remote)) {
            return f;
        }
    }
    return NULL;
}

/* A free place for a UDP remote, or that of the one not heard for longest: a remote is only a
 * number to us, and datagrams with invented senders must not use them up. */
static struct flow *new_remote(struct sip_run *r)
{
    struct flow *oldest = NULL;
    for (size_t i = r->cfg.max_flows; i < 2 * r->cfg.max_flows; i++) {
        struct flow *f = &r->flows[i];
        if (!f->used) {
            return begin(r, i, SIP_UDP);
        }
        if ((!oldest || f->last_ms < oldest->last_ms) &&
            !sip_ua_flow_in_use(r->ua, f->info.id)) {
            oldest = f;
        }
    }
    if (!oldest) {
        return NULL;
    }
    end(oldest);
    return begin(r, (size_t)(oldest - r->flows), SIP_UDP);
}

static bool looks_like_sip(struct slice s)
{
    struct slice line = text_split(&s, '\n');
    for (size_t i = 0; i + 7 <= line.len; i++) {
        if (memcmp(line.p + i, "SIP/2.0", 7) == 0) {
            return true;
        }
    }
    return false;
}

void flow_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                   struct dgram datagram, void *listener)
{
    struct sip_run *r = ((struct listener *)listener)->r;
    if (!looks_like_sip(datagram.data)) {
        return; /* keep-alives, STUN, noise */
    }
    struct flow *f = find(r, true, SIP_UDP, from);
    if (!f && !(f = new_remote(r))) {
        return;
    }
    f->udp = u;
    f->info.remote = *from;
    f->info.local = *local;
    f->info.local.port = udp_addr(u).port;
    f->last_ms = loop_now_ms(r->loop);
    (void)!run_feed(r, f, datagram.data); /* what was wrong has been reported */
}

static int remote_of(struct sip_run *r, const struct addr *to, struct flow **out)
{
    *out = find(r, true, SIP_UDP, to);
    for (size_t i = 0; !*out && i < r->cfg.n_listen; i++) {
        struct udp *u = r->listeners[i].udp;
        struct addr at = u ? udp_addr(u) : (struct addr){0};
        if (!u || at.family != to->family || addr_is_any(&at)) {
            continue;
        }
        struct flow *f = new_remote(r);
        if (!f) {
            return ERR_LIMIT;
        }
        f->udp = u;
        f->info.local = at;
        f->info.remote = *to;
        *out = f;
    }
    if (!*out) {
        LOG(r->cfg.log, LOG_WARN, "sip-flow", LOG_S("state", "failed"),
            LOG_S("why", "calls over UDP need a listener on one address of the right family"));
    }
    return *out ? OK : ERR_NOTFOUND;
}

int flow_to(struct sip_run *r, const struct addr *to, enum sip_transport transport,
            struct slice name, struct flow **out)
{
    if (transport == SIP_UDP) {
        return remote_of(r, to, out);
    }
    *out = find(r, false, transport, to);
    if (*out) {
        return OK;
    }
    struct flow *f = new_connection(r, transport);
    char text[256] = "";
    if (!f) {
        return ERR_LIMIT;
    }
    if (name.len > 2 && name.p[0] == '[') { /* an IPv6 address as URIs have it */
        name = slice_of(name.p + 1, name.len - 2);
    }
    if (name.len >= sizeof text) {
        end(f);
        return ERR_MALFORMED;
    }
    memcpy(text, name.p, name.len);
    f->info.remote = *to;
    int err = connect_to(f, to, text);
    if (err) {
        end(f);
        return err;
    }
    *out = f;
    return OK;
}

void flow_idle_check(void *run)
{
    struct sip_run *r = run;
    uint64_t now = loop_now_ms(r->loop), idle_ms = (uint64_t)r->cfg.idle_s * 1000;
    uint64_t silent_ms = r->cfg.silent_s ? (uint64_t)r->cfg.silent_s * 1000 : idle_ms;
    for (size_t i = 0; i < r->cfg.max_flows; i++) {
        struct flow *f = &r->flows[i];
        uint64_t patience_ms = f->has_spoken ? idle_ms : silent_ms;
        if (f->used && now - f->last_ms >= patience_ms &&
            !sip_ua_flow_in_use(r->ua, f->info.id)) {
            flow_doom(f, f->has_spoken ? "idle" : "never said anything");
        }
    }
    loop_timer_at(r->idle_timer, now + (idle_ms < 4000 ? idle_ms / 4 + 1 : 1000));
}

void flow_free_all(struct sip_run *r)
{
    for (size_t i = 0; r->flows && i < 2 * r->cfg.max_flows; i++) {
        if (r->flows[i].used) {
            end(&r->flows[i]);
        }
    }
    free(r->flows);
    r->flows = NULL;
}
