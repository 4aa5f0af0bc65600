/* The media of one share. */
#include "run/share_run.h"

#include <stdlib.h>

#include "run/ice_run.h"
#include "run/turn_client_run.h"

enum {
    UFRAG_LEN = 4, /* four characters on both sides give the sizes seen on the wire */
    PWD_LEN = 24
};

struct share_run {
    struct loop *loop;
    const struct log *log;
    const char *tag;
    struct ice_run *ice;
    struct turn_client_run *relay;
    struct xdata_run *xdata;
    struct loop_timer *timer; /* for the relay; then for what is to be said from the loop */
    struct addr relayed, first_host;
    struct ice_cand local, remote;
    char ufrag[UFRAG_LEN + 1], pwd[PWD_LEN + 1];
    bool may_connect, is_gathered, is_ready, is_connected, is_over;
    const char *end_why;
    void (*event)(const struct share_event *e, void *ctx);
    void *ctx;
};

static void emit(struct share_run *r, const struct share_event *e)
{
    if (!r->is_over) {
        r->is_over = e->type == SHARE_ENDED;
        r->event(e, r->ctx);
    }
}

/* Ends from the loop, so that nobody is freed inside the call that found out. */
static void end_soon(struct share_run *r, const char *why)
{
    if (!r->end_why) {
        r->end_why = why;
        loop_timer_at(r->timer, loop_now_ms(r->loop));
    }
}

/* ice-char (RFC 8445 5.3, RFC 8839 5.4) from random bytes. */
static void random_text(char *out, size_t len)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    io_random(out, len);
    for (size_t i = 0; i < len; i++) {
        out[i] = digits[(unsigned char)out[i] & 63];
    }
    out[len] = '\0';
}

static void gathered(struct share_run *r, const char *missing)
{
    const struct share_event e = {.type = SHARE_GATHERED, .why = missing};
    if (!r->is_gathered) {
        r->is_gathered = true;
        loop_timer_at(r->timer, UINT64_MAX);
        emit(r, &e);
    }
}

static void ready(struct share_run *r)
{
    const struct share_event e = {.type = SHARE_READY};
    if (!r->is_ready) {
        r->is_ready = true;
        emit(r, &e);
    }
}

static void on_timer(void *ctx)
{
    struct share_run *r = ctx;
    const struct share_event e = {.type = SHARE_ENDED, .why = r->end_why};
    if (r->end_why) {
        emit(r, &e);
    } else if (r->is_gathered) {
        ready(r);
    } else if (!r->relay) {
        gathered(r, NULL);
    } else {
        LOG(r->log, LOG_WARN, "relay-lost", LOG_S("for", r->tag),
            LOG_S("why", "the TURN server did not answer in time"));
        turn_client_run_close(r->relay);
        r->relay = NULL;
        gathered(r, "no relay: the TURN server did not answer in time");
    }
}

static void on_relay(const struct relay_event *e, void *ctx)
{
    struct share_run *r = ctx;
    struct addr base = r->first_host.family ? r->first_host : e->mapped;
    switch (e->type) {
    case RELAY_READY:
        if (r->is_gathered) {
            break;
        }
        r->relayed = e->relayed;
        if (ice_run_add_relay(r->ice, r->relay, &e->relayed, &base, r->may_connect)) {
            gathered(r, "no relay: too many candidates");
            break;
        }
        gathered(r, NULL);
        break;
    case RELAY_PERMITTED: ready(r); break;
    case RELAY_PEER:
    case RELAY_NO_CONNECT: ice_run_relay_event(r->ice, e); break;
    case RELAY_LOST:
        if (!r->is_gathered) {
            gathered(r, "no relay: the TURN server refused or cannot be reached");
        } else if (!r->is_connected || r->local.type == ICE_RELAY) {
            end_soon(r, "the relay at the TURN server is gone");
        }
        break;
    }
}

static void on_ice(const struct ice_event *e, void *ctx)
{
    struct share_run *r = ctx;
    struct share_event up = {.type = SHARE_CONNECTED, .local = e->local, .remote = e->remote};
    switch (e->type) {
    case ICE_EVENT_SELECTED:
        r->local = e->local;
        r->remote = e->remote;
        if (!r->is_connected) {
            r->is_connected = true;
            emit(r, &up);
        }
        break;
    case ICE_EVENT_PACKET:
        /* RTCP is not for us, and x-data before its time is the peer's mistake. */
        if (r->xdata && rtp_kind_of(e->packet) == RTP_IS_RTP &&
            xdata_packet(r->xdata, e->packet) == ERR_LIMIT) {
            end_soon(r, "the peer sent more than was asked for");
        }
        break;
    case ICE_EVENT_DRAINED:
        if (r->xdata) {
            xdata_drained(r->xdata);
        }
        break;
    case ICE_EVENT_LOST: end_soon(r, e->why); break;
    }
}

static int start_ice(struct share_run *r, const struct share_run_config *cfg)
{
    const struct ice_run_config ice = {
        .ice = {.profile = &ice_profile_ms_ice2,
                .local_ufrag = slice_str(r->ufrag),
                .local_pwd = slice_str(r->pwd),
                .controlling = cfg->controlling,
                .pace_ms = 20,
                .check_ms = 5000,
                .connect_ms = 10000,
                .patience_ms = cfg->patience_ms,
                .keepalive_ms = 25000},
        .log = cfg->log,
        .tag = cfg->tag,
        .event = on_ice,
        .ctx = r,
    };
    int err = ice_run_new(&r->ice, r->loop, &ice);
    size_t n = 0;
    for (size_t i = 0; !err && i < cfg->n_hosts; i++) {
        char text[ADDR_TEXT_MAX];
        if (ice_run_add_host(r->ice, &cfg->host[i], cfg->may_connect)) {
            LOG(cfg->log, LOG_WARN, "host-candidate-failed", LOG_S("for", cfg->tag),
                LOG_S("address", addr_text(&cfg->host[i], text)));
            continue;
        }
        r->first_host = n++ == 0 ? cfg->host[i] : r->first_host;
    }
    return err;
}

/* Without a relay all is gathered already; it is told from the loop all the same. */
static int start_relay(struct share_run *r, const struct share_run_config *cfg)
{
    const struct turn_client_run_config relay = {
        .server = cfg->turn_server,
        .uri = cfg->turn_uri,
        .resolver = cfg->resolver,
        .username = cfg->turn_username,
        .password = cfg->turn_password,
        .log = cfg->log,
        .tag = cfg->tag,
        .connect_ms = cfg->turn_ms,
        .event = on_relay,
        .ctx = r,
    };
    bool has_server = cfg->turn_uri || cfg->turn_server.family != ADDR_NONE;
    loop_timer_at(r->timer, loop_now_ms(r->loop) + (has_server ? cfg->turn_ms : 0));
    return has_server ? turn_client_run_new(&r->relay, r->loop, &relay) : OK;
}

int share_run_new(struct share_run **out, struct loop *l, const struct share_run_config *cfg)
{
    struct share_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        return ERR_NOMEM;
    }
    *r = (struct share_run){.loop = l,
                            .log = cfg->log,
                            .tag = cfg->tag,
                            .may_connect = cfg->may_connect,
                            .event = cfg->event,
                            .ctx = cfg->ctx};
    random_text(r->ufrag, UFRAG_LEN);
    random_text(r->pwd, PWD_LEN);
    int err = loop_timer_new(&r->timer, l, on_timer, r);
    err = err ? err : start_ice(r, cfg);
    err = err ? err : start_relay(r, cfg);
    if (err) {
        share_run_free(r);
        return err;
    }
    *out = r;
    return OK;
}

void share_run_free(struct share_run *r)
{
    if (!r) {
        return;
    }
    r->is_over = true;
    xdata_run_free(r->xdata);
    if (r->ice) {
        ice_run_free(r->ice);
    }
    turn_client_run_close(r->relay);
    loop_timer_free(r->timer);
    free(r);
}

void share_run_local(const struct share_run *r, struct sdp_share *out)
{
    struct ice_cand cand[SDP_SHARE_CANDS];
    size_t n = ice_run_local(r->ice, cand, SDP_SHARE_CANDS);
    out->ufrag = slice_str(r->ufrag);
    out->pwd = slice_str(r->pwd);
    memcpy(out->cand, cand, sizeof cand);
    out->n_cand = n;
    out->at = n ? cand[0].addr : (struct addr){0};
    for (size_t i = 0; i < n; i++) {
        if (cand[i].type == ICE_RELAY) {
            out->at = cand[i].addr;
        }
    }
}

int share_run_remote(struct share_run *r, const struct sdp_share *remote)
{
    struct addr peer[SDP_SHARE_CANDS];
    for (size_t i = 0; i < remote->n_cand; i++) {
        peer[i] = remote->cand[i].addr;
    }
    if (!r->relay || turn_client_run_permit(r->relay, peer, remote->n_cand)) {
        loop_timer_at(r->timer, loop_now_ms(r->loop));
    }
    return ice_run_set_remote(r->ice, remote->ufrag, remote->pwd, remote->cand, remote->n_cand);
}

int share_run_selected(const struct share_run *r, struct ice_cand *local,
                       struct ice_cand *remote)
{
    *local = r->local;
    *remote = r->remote;
    return r->is_connected ? OK : ERR_BADSTATE;
}

static int xdata_send(struct slice packet, void *ctx)
{
    struct share_run *r = ctx;
    return ice_run_send(r->ice, packet);
}

static bool xdata_is_full(void *ctx)
{
    struct share_run *r = ctx;
    return ice_run_is_full(r->ice);
}

static void xdata_hold(bool hold, void *ctx)
{
    struct share_run *r = ctx;
    ice_run_hold(r->ice, hold);
}

static void xdata_ended(const char *why, void *ctx)
{
    end_soon(ctx, why);
}

int share_run_carry(struct share_run *r, int fd, uint8_t payload_type)
{
    const struct xdata_config cfg = {.fd = fd,
                                     .payload_type = payload_type,
                                     .send = xdata_send,
                                     .is_full = xdata_is_full,
                                     .hold = xdata_hold,
                                     .ended = xdata_ended,
                                     .ctx = r};
    if (!r->is_connected || r->xdata) {
        return ERR_BADSTATE;
    }
    return xdata_run_new(&r->xdata, r->loop, &cfg);
}

struct xdata_count share_run_count(const struct share_run *r)
{
    return r->xdata ? xdata_run_count(r->xdata) : (struct xdata_count){0};
}
