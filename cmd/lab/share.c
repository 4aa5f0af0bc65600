/* The stand-in Skype client. */
#include "cmd/lab/share.h"

#include <stdlib.h>
#include <unistd.h>

#include "run/share_run.h"
#include "run/sip_run.h"

#include "cmd/lab/screen.h"

enum {
    SDP_MAX = 16 * 1024,
    X_DATA = 127 /* the payload type every Microsoft client uses */
};

struct lab_share {
    struct loop *loop;
    struct screen *screen;
    struct share_run *media;
    struct sip_run *sip;
    struct loop_timer *timer; /* says `ended` from the loop */
    sip_dialog dialog;
    int rdp_fd;
    uint64_t invited_ms;
    uint64_t session;
    uint32_t sdp_version;
    bool is_answered, is_connected, is_carrying, is_over, ok;
    struct lab_share_config cfg;
};

/* The X server and the sharing server go first, with their files. */
static void on_over(void *ctx)
{
    struct lab_share *s = ctx;
    struct screen *screen = s->screen;
    s->screen = NULL;
    if (screen) {
        screen_stop(screen);
    } else {
        s->cfg.ended(s->ok, s->cfg.ctx);
    }
}

static void over(struct lab_share *s, bool ok, const char *why)
{
    if (s->is_over) {
        return;
    }
    s->is_over = true;
    s->ok = ok;
    LOG(s->cfg.log, ok ? LOG_INFO : LOG_ERROR, "share-ended", LOG_S("why", why));
    if (s->dialog) {
        sip_run_hangup(s->sip, s->dialog, slice_of(NULL, 0));
    }
    loop_timer_at(s->timer, loop_now_ms(s->loop));
}

static void put_offer(struct lab_share *s, struct wr *w)
{
    struct sdp_share mine = {.session_id = slice_str("1"),
                             .mid = slice_str("1"),
                             .contentflow = slice_str("sendonly"),
                             .rtpmap = slice_str("x-data/90000"),
                             .role = SDP_SHARER,
                             .payload_type = X_DATA,
                             .setup_active = true};
    struct ice_cand local, remote;
    share_run_local(s->media, &mine);
    if (share_run_selected(s->media, &local, &remote) == OK) {
        mine.cand[0] = local;
        mine.n_cand = 1;
        mine.at = local.addr;
        mine.remote_cand = remote.addr;
        mine.connection_existing = true;
    }
    sdp_put(w, s->session, s->sdp_version++, &mine, NULL);
}

static void invite(struct lab_share *s)
{
    uint8_t buf[SDP_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    put_offer(s, &w);
    struct sip_invite inv = {.request_uri = slice_str(s->cfg.to),
                             .from = slice_str(s->cfg.from),
                             .to = slice_str(s->cfg.to),
                             .content_type = slice_str("application/sdp"),
                             .body = wr_done(&w)};
    s->invited_ms = loop_now_ms(s->loop);
    LOG(s->cfg.log, LOG_INFO, "invite", LOG_S("to", s->cfg.to), LOG_S("from", s->cfg.from));
    if (w.err || sip_run_invite(s->sip, &s->cfg.proxy, SIP_TCP, &inv, &s->dialog)) {
        over(s, false, "the INVITE could not be sent: is the SIP proxy there?");
    }
}

static void second_offer(struct lab_share *s)
{
    uint8_t buf[SDP_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    put_offer(s, &w);
    LOG(s->cfg.log, LOG_INFO, "second-offer",
        LOG_N("ms", loop_now_ms(s->loop) - s->invited_ms));
    if (w.err ||
        sip_run_reinvite(s->sip, s->dialog, slice_str("application/sdp"), wr_done(&w))) {
        over(s, false, "the second offer could not be sent");
    }
}

static void on_media(const struct share_event *e, void *ctx)
{
    struct lab_share *s = ctx;
    char local[ADDR_TEXT_MAX], remote[ADDR_TEXT_MAX];
    switch (e->type) {
    case SHARE_GATHERED:
        if (e->why) {
            LOG(s->cfg.log, LOG_WARN, "gathered", LOG_S("missing", e->why));
        }
        invite(s);
        break;
    case SHARE_READY: break;
    case SHARE_CONNECTED:
        LOG(s->cfg.log, LOG_INFO, "connected", LOG_S("local", addr_text(&e->local.addr, local)),
            LOG_S("remote", addr_text(&e->remote.addr, remote)));
        s->is_connected = true;
        if (s->is_answered) {
            second_offer(s);
        }
        break;
    case SHARE_ENDED: over(s, false, e->why); break;
    }
}

static void carry(struct lab_share *s)
{
    int err = screen_connect(s->screen, &s->rdp_fd);
    err = err ? err : share_run_carry(s->media, s->rdp_fd, X_DATA);
    if (err) {
        over(s, false, "the RDP stream could not be started");
        return;
    }
    s->is_carrying = true;
    LOG(s->cfg.log, LOG_INFO, "sharing", LOG_N("ms", loop_now_ms(s->loop) - s->invited_ms));
}

static void answered(struct lab_share *s, const struct sip_action *a)
{
    struct sdp_offer answer;
    const char *why = "it has no m=applicationsharing";
    if (sdp_read(a->body, &answer, &why) || answer.share_at == answer.n_media) {
        over(s, false, why);
        return;
    }
    if (!s->is_answered) {
        s->is_answered = true;
        if (share_run_remote(s->media, &answer.share)) {
            over(s, false, "the answer's candidates cannot be used");
        } else if (s->is_connected) {
            second_offer(s);
        }
    } else if (!s->is_carrying) {
        carry(s);
    }
}

static void on_sip(const struct sip_action *a, void *ctx)
{
    struct lab_share *s = ctx;
    if (a->what == SIP_DO_INVITED) {
        const struct sip_answer no = {.status = 488};
        if (sip_run_answer(s->sip, a->dialog, &no)) {
            LOG(s->cfg.log, LOG_WARN, "sip-answer-failed", LOG_N("status", no.status));
        }
        return;
    }
    if (a->dialog != s->dialog || s->is_over) {
        return;
    }
    switch (a->what) {
    case SIP_DO_ANSWERED: answered(s, a); break;
    case SIP_DO_REFUSED:
        LOG(s->cfg.log, LOG_ERROR, "refused", LOG_N("status", a->status),
            LOG_B("reason", a->reason));
        s->dialog = s->is_answered ? s->dialog : 0;
        over(s, false, "the meeting refused the share");
        break;
    case SIP_DO_ENDED:
        LOG(s->cfg.log, LOG_INFO, "ended-by-meeting", LOG_S("why", a->why),
            LOG_B("reason", a->reason));
        s->dialog = 0;
        over(s, false, "the meeting ended the share");
        break;
    case SIP_DO_REINVITED: {
        const struct sip_answer no = {.status = 488};
        if (sip_run_answer(s->sip, a->dialog, &no)) {
            LOG(s->cfg.log, LOG_WARN, "sip-answer-failed", LOG_N("status", no.status));
        }
        break;
    }
    case SIP_DO_SEND:
    case SIP_DO_INVITED:
    case SIP_DO_CONFIRMED:
    case SIP_DO_PROGRESS:
    case SIP_DO_REPORT: break;
    }
}

static void on_screen_ready(void *ctx)
{
    struct lab_share *s = ctx;
    struct share_run_config media = {.log = s->cfg.log,
                                     .tag = "client",
                                     .controlling = true,
                                     .may_connect = true,
                                     .n_hosts = s->cfg.n_hosts,
                                     .turn_server = s->cfg.relay,
                                     .turn_username = s->cfg.relay_username,
                                     .turn_password = s->cfg.relay_password,
                                     .turn_ms = 5000,
                                     .patience_ms = 60000,
                                     .event = on_media,
                                     .ctx = s};
    memcpy(media.host, s->cfg.host, sizeof media.host);
    LOG(s->cfg.log, LOG_INFO, "screen-ready", LOG_N("width", s->cfg.width),
        LOG_N("height", s->cfg.height));
    if (s->media || share_run_new(&s->media, s->loop, &media)) {
        over(s, false, "the media could not be set up");
    }
}

static void on_screen_failed(void *ctx, const char *why)
{
    over(ctx, false, why);
}

static void on_screen_stopped(void *ctx)
{
    struct lab_share *s = ctx;
    s->cfg.ended(s->ok, s->cfg.ctx);
}

int lab_share_new(struct lab_share **out, struct loop *l, const struct lab_share_config *cfg)
{
    struct lab_share *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return ERR_NOMEM;
    }
    *s = (struct lab_share){.loop = l, .cfg = *cfg, .rdp_fd = -1};
    io_random(&s->session, sizeof s->session);
    s->session >>= 2;
    const struct sip_run_config sip = {
        .ua = {.user_agent = slice_str("Causeway-Lab"),
               .max_dialogs = 8,
               .max_transactions = 32},
        .log = cfg->log,
        .max_flows = 8,
        .idle_s = 3600,
        .log_messages = true,
        .action = on_sip,
        .ctx = s,
    };
    const struct screen_spec screen = {.width = cfg->width,
                                       .height = cfg->height,
                                       .ready = on_screen_ready,
                                       .failed = on_screen_failed,
                                       .stopped = on_screen_stopped,
                                       .ctx = s};
    int err = loop_timer_new(&s->timer, l, on_over, s);
    err = err ? err : sip_run_new(&s->sip, l, &sip);
    err = err ? err : screen_start(&s->screen, l, &screen);
    if (err) {
        lab_share_free(s);
        return err;
    }
    *out = s;
    return OK;
}

void lab_share_freeze(struct lab_share *s, bool frozen)
{
    if (s->is_over) {
        return;
    }
    screen_freeze(s->screen, frozen);
    LOG(s->cfg.log, LOG_INFO, frozen ? "screen-frozen" : "screen-moves",
        LOG_S("display", "the shared screen"));
    if (frozen && s->cfg.snapshot) {
        int err = screen_snapshot(s->screen, s->cfg.snapshot);
        LOG(s->cfg.log, err ? LOG_ERROR : LOG_INFO, err ? "screen-not-saved" : "screen-saved",
            LOG_S("path", s->cfg.snapshot));
    }
}

void lab_share_hangup(struct lab_share *s)
{
    over(s, true, "asked to");
}

void lab_share_free(struct lab_share *s)
{
    if (!s) {
        return;
    }
    share_run_free(s->media);
    if (s->sip) {
        sip_run_free(s->sip);
    }
    if (s->screen) {
        screen_stop(s->screen);
    }
    if (s->rdp_fd >= 0) {
        (void)close(s->rdp_fd);
    }
    loop_timer_free(s->timer);
    free(s);
}
