/* One share: a SIP dialog that offers a screen, from its INVITE to its BYE. */
#include "cmd/meet/share.h"

#include <stdlib.h>

#include "lib/base/text.h"

#include "cmd/meet/share_impl.h"
#include "cmd/meet/words.h"

enum {
    TURN_MS = 4000,         /* patience with the TURN server: the caller's is longer */
    PATIENCE_MS = 120000,   /* with the peer's connection, as Microsoft's clients have */
    SECOND_OFFER_MS = 3000, /* then the RDP starts without it */
    PICTURE_MS = 30000,
    SDP_MAX = 16 * 1024,
    DETAIL_MAX = 320
};

/* Why an INVITE is not taken: what the caller is told, and the log. */
struct refusal {
    uint16_t status;
    const char *why;     /* one sentence */
    const char *headers; /* whole lines */
};

#define WARNING(code, text) "Warning: " #code " causeway-meet \"" text "\"\r\n"

static const struct refusal refuse_type = {
    415, "The body is not application/sdp",
    "Accept: application/sdp\r\n" WARNING(304, "Only application/sdp is understood")};
static const struct refusal refuse_unreadable = {
    488, "The session description cannot be read",
    WARNING(
        399,
        "The session description cannot be read") "ms-diagnostics: 52063;reason=\"Unsupported "
                                                  "session description\";"
                                                  "source=\"causeway-meet\"\r\n"};
static const struct refusal refuse_no_share = {
    488, "The offer has no m=applicationsharing",
    WARNING(304, "Only m=applicationsharing is taken here")};
static const struct refusal refuse_role = {
    488, "The offer does not come from a sharer",
    WARNING(399, "Only a sharer can be answered: x-applicationsharing-role:sharer")};
static const struct refusal refuse_secure = {
    488, "The offer asks for SRTP, which is not there yet",
    WARNING(399, "SRTP is not supported yet") "ms-diagnostics: 52017;reason=\"Encryption "
                                              "levels dont match\";"
                                              "source=\"causeway-meet\"\r\n"};
static const struct refusal refuse_plain = {
    488, "The offer is unencrypted, and allow-unencrypted-media is off",
    WARNING(
        399,
        "Unencrypted media are not allowed here") "ms-diagnostics: 52017;reason=\"Encryption "
                                                  "levels dont match\";"
                                                  "source=\"causeway-meet\"\r\n"};
/* Not 503, after which a proxy may take the whole server for down (RFC 3261 21.5.4). */
static const struct refusal refuse_full = {
    486, "As many screens are shared as max-shares allows",
    WARNING(399, "Too many screens are shared at the moment") "Retry-After: 30\r\n"};
static const struct refusal refuse_trouble = {
    500, "The server could not start what the share needs",
    WARNING(399, "The share could not be started: see the server's log")};

/* How the SIP endpoint says that a dialog ended, and what that is to people. */
static const struct {
    const char *sip, *text;
} endings[] = {
    {"BYE",                     "the sharer stopped sharing"                     },
    {"CANCEL",                  "the sharer gave up before the call was answered"},
    {"the connection is gone",  "the SIP connection to the sharer was lost"      },
    {"no ACK came for the 2xx", "the sharer did not confirm the call"            },
};

static const char *ending(const char *sip)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (strcmp(endings[i].sip, sip) == 0) {
            return endings[i].text;
        }
    }
    return sip;
}

static const struct log *log_of(const struct share *s)
{
    return s->meeting->cfg.log;
}

/* `detail`: as the log has it; the page shows it as a sentence. */
static void show(struct share *s, enum web_state state, const char *detail)
{
    char text[DETAIL_MAX];
    const char *sharer = state == WEB_ENDED ? NULL : s->sharer;
    sentence(text, sizeof text, detail ? detail : "");
    if (s->space->share == s &&
        web_space_set(s->meeting->web, s->space->name, state, sharer, text)) {
        LOG(log_of(s), LOG_WARN, "page-not-updated", LOG_S("space", s->tag));
    }
}

static void share_free(struct share *s)
{
    struct share **at = &s->meeting->shares;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    if (s->space->share == s) {
        s->space->share = NULL;
    }
    share_run_free(s->media);
    rdp_viewer_free(s->viewer);
    loop_timer_free(s->timer);
    free(s->offer);
    free(s);
}

void share_kill(struct share *s)
{
    if (s->phase != SHARE_OVER) {
        share_end(s, "the meeting server is closing", "");
    }
    share_free(s);
}

void share_end(struct share *s, const char *why, const char *headers)
{
    if (s->phase == SHARE_OVER) {
        return;
    }
    struct xdata_count n =
        s->media ? share_run_count(s->media) : (struct xdata_count){.in_bytes = 0};
    LOG(log_of(s), LOG_INFO, "share-ended", LOG_S("space", s->tag), LOG_S("why", why),
        LOG_N("in_bytes", n.in_bytes), LOG_N("out_bytes", n.out_bytes));
    bool is_unanswered = s->phase == SHARE_GATHERING;
    s->phase = SHARE_OVER;
    show(s, WEB_ENDED, why);
    if (s->space->share == s) {
        web_space_picture(s->meeting->web, s->space->name, NULL);
    }
    if (s->dialog && is_unanswered) {
        const struct sip_answer no = {.status = 480, .headers = slice_str(headers)};
        meeting_answer(s->meeting, s->dialog, &no);
    } else if (s->dialog) {
        sip_run_hangup(s->meeting->sip, s->dialog, slice_str(headers));
    }
    s->dialog = 0;
    loop_timer_at(s->timer, loop_now_ms(s->meeting->loop));
}

static void end_failed(struct share *s, const char *why)
{
    uint8_t buf[256];
    struct wr w = wr_over(buf, sizeof buf - 1);
    wr_text(&w, "Warning: 399 causeway-meet \"%s\"\r\n", why);
    buf[w.len] = '\0';
    share_end(s, why, w.err ? "" : (const char *)buf);
}

static void phase_set(struct share *s, enum share_phase phase, uint32_t patience_ms)
{
    s->phase = phase;
    loop_timer_at(s->timer,
                  patience_ms ? loop_now_ms(s->meeting->loop) + patience_ms : UINT64_MAX);
}

static int answer_ok(struct share *s, const struct sdp_share *mine,
                     const struct sdp_offer *offer)
{
    uint8_t buf[SDP_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    sdp_put(&w, s->session, s->sdp_version++, mine, offer);
    const struct sip_answer ok = {
        .status = 200, .content_type = slice_str("application/sdp"), .body = wr_done(&w)};
    s->must_answer = false;
    return w.err ? w.err : sip_run_answer(s->meeting->sip, s->dialog, &ok);
}

static int answer(struct share *s)
{
    struct sdp_offer offer;
    struct ice_cand local, remote;
    const char *why;
    if (sdp_read(slice_of(s->offer, s->offer_len), &offer, &why)) {
        return ERR_MALFORMED;
    }
    struct sdp_share mine = {
        .session_id = offer.share.session_id,
        .mid = offer.share.mid,
        .contentflow = text_is(offer.share.contentflow, "sendonly") ? slice_str("recvonly")
                                                                    : slice_of(NULL, 0),
        .rtpmap = slice_str("x-data/90000"),
        .role = SDP_VIEWER,
        .payload_type = offer.share.payload_type,
        .connection_existing = offer.share.connection_existing,
    };
    share_run_local(s->media, &mine);
    if (share_run_selected(s->media, &local, &remote) == OK) {
        mine.cand[0] = local;
        mine.n_cand = 1;
        mine.at = local.addr;
        mine.remote_cand = remote.addr;
    }
    return answer_ok(s, &mine, &offer);
}

/* Our candidates are there: now let the peer in, then answer. */
static void gathered(struct share *s, const char *missing)
{
    if (missing) {
        LOG(log_of(s), LOG_WARN, "share-without-relay", LOG_S("space", s->tag),
            LOG_S("why", missing));
    }
    struct sdp_offer offer;
    const char *why;
    if (sdp_read(slice_of(s->offer, s->offer_len), &offer, &why) ||
        share_run_remote(s->media, &offer.share)) {
        end_failed(s, "the offer's candidates cannot be used");
    }
    s->has_relay = !missing;
}

static void ready(struct share *s)
{
    if (answer(s)) {
        end_failed(s, "the offer could not be answered");
        return;
    }
    LOG(log_of(s), LOG_INFO, "share-answered", LOG_S("space", s->tag),
        LOG_N("ms", loop_now_ms(s->meeting->loop) - s->invited_ms));
    phase_set(s, SHARE_ANSWERED, 0);
    show(s, WEB_CONNECTING,
         s->has_relay ? "Answered; waiting for the sharer to connect."
                      : "Answered without a relay; waiting for the sharer to connect.");
}

static void start_rdp(struct share *s)
{
    uint8_t payload_type = 127;
    struct sdp_offer offer;
    const char *why;
    if (sdp_read(slice_of(s->offer, s->offer_len), &offer, &why) == OK) {
        payload_type = offer.share.payload_type;
    }
    if (share_run_carry(s->media, rdp_viewer_fd(s->viewer), payload_type)) {
        end_failed(s, "the RDP stream could not be started");
        return;
    }
    LOG(log_of(s), LOG_INFO, "share-rdp", LOG_S("space", s->tag),
        LOG_N("ms", loop_now_ms(s->meeting->loop) - s->invited_ms));
    phase_set(s, SHARE_RDP, PICTURE_MS);
    show(s, WEB_CONNECTING, "Connected; waiting for the first picture.");
}

static void connected(struct share *s)
{
    LOG(log_of(s), LOG_INFO, "share-connected", LOG_S("space", s->tag),
        LOG_N("ms", loop_now_ms(s->meeting->loop) - s->invited_ms));
    phase_set(s, SHARE_PATH, SECOND_OFFER_MS);
    if (s->must_answer && answer(s)) {
        end_failed(s, "the second offer could not be answered");
    }
}

static void on_media(const struct share_event *e, void *ctx)
{
    struct share *s = ctx;
    if (s->phase == SHARE_OVER) {
        return;
    }
    switch (e->type) {
    case SHARE_GATHERED: gathered(s, e->why); break;
    case SHARE_READY: ready(s); break;
    case SHARE_CONNECTED: connected(s); break;
    case SHARE_ENDED: end_failed(s, e->why); break;
    }
}

static void first_picture(struct share *s)
{
    struct picture *p = rdp_viewer_picture(s->viewer);
    LOG(log_of(s), LOG_INFO, "share-live", LOG_S("space", s->tag), LOG_S("sharer", s->sharer),
        LOG_N("width", p->width), LOG_N("height", p->height),
        LOG_N("first_picture_ms", loop_now_ms(s->meeting->loop) - s->invited_ms));
    phase_set(s, SHARE_LIVE, 0);
    web_space_picture(s->meeting->web, s->space->name, p);
    show(s, WEB_LIVE, NULL);
}

static void on_viewer(const struct rdp_event *e, void *ctx)
{
    struct share *s = ctx;
    if (s->phase == SHARE_OVER || s->space->share != s) {
        return;
    }
    switch (e->type) {
    case RDP_STATE:
        if (s->phase == SHARE_LIVE) {
            show(s, e->state == LINK_PAUSED ? WEB_PAUSED : WEB_LIVE, NULL);
        }
        break;
    case RDP_PICTURE:
        if (e->is_first) {
            first_picture(s);
        }
        web_space_changed(s->meeting->web, s->space->name);
        break;
    case RDP_POINTER: web_space_cursor(s->meeting->web, s->space->name, e->link); break;
    case RDP_ENDED: {
        /* The reason is the process's own text: the page gets it, SIP only that it ended. */
        LOG(log_of(s), LOG_WARN, "rdp-ended", LOG_S("space", s->tag), LOG_S("why", e->why));
        share_end(s, "the RDP session with the sharer ended", "");
        show(s, WEB_ENDED, e->why);
        break;
    }
    }
}

static void on_timer(void *ctx)
{
    struct share *s = ctx;
    switch (s->phase) {
    case SHARE_OVER: share_free(s); break;
    case SHARE_PATH: start_rdp(s); break;
    case SHARE_RDP: end_failed(s, "connected, but no picture came"); break;
    case SHARE_GATHERING:
    case SHARE_ANSWERED:
    case SHARE_LIVE: break;
    }
}

/* Those that have ended count until their processes are told to: else one who calls again and
 * again in one breath could start any number. The share that `space` has makes room. */
static bool is_full(const struct space *space)
{
    const struct meeting *m = space->meeting;
    size_t n = 0;
    for (const struct share *s = m->shares; s; s = s->next) {
        n += s != space->share || s->phase == SHARE_OVER;
    }
    return n >= m->cfg.max_shares;
}

static const struct refusal *judge(const struct meeting *m, const struct sip_action *a,
                                   const char **detail)
{
    struct sdp_offer offer;
    *detail = NULL;
    if (a->body.len > 0 && !text_starts(a->content_type, "application/sdp")) {
        return &refuse_type;
    }
    if (a->body.len > SDP_MAX || sdp_read(a->body, &offer, detail)) {
        return &refuse_unreadable;
    }
    if (offer.share_at == offer.n_media) {
        return &refuse_no_share;
    }
    if (offer.share.role != SDP_SHARER) {
        return &refuse_role;
    }
    if (offer.share.is_secure) {
        return &refuse_secure;
    }
    return m->cfg.allow_unencrypted ? NULL : &refuse_plain;
}

static int keep_offer(struct share *s, struct slice body)
{
    uint8_t *copy = malloc(body.len ? body.len : 1);
    if (!copy) {
        return ERR_NOMEM;
    }
    memcpy(copy, body.p, body.len);
    free(s->offer);
    s->offer = copy;
    s->offer_len = body.len;
    s->must_answer = true;
    return OK;
}

static int start(struct share *s, const struct sip_action *a)
{
    const struct meeting_config *cfg = &s->meeting->cfg;
    const struct rdp_viewer_config viewer = {.program = cfg->rdp_program,
                                             .log = cfg->log,
                                             .tag = s->tag,
                                             .event = on_viewer,
                                             .ctx = s};
    struct share_run_config media = {.log = cfg->log,
                                     .tag = s->tag,
                                     .turn_uri = cfg->turn_uri.host[0] ? &cfg->turn_uri : NULL,
                                     .resolver = s->meeting->resolver,
                                     .turn_username = cfg->turn_username,
                                     .turn_password = cfg->turn_password,
                                     .turn_ms = TURN_MS,
                                     .patience_ms = PATIENCE_MS,
                                     .event = on_media,
                                     .ctx = s,
                                     .n_hosts = cfg->n_media_hosts};
    memcpy(media.host, cfg->media_host, sizeof media.host);
    int err = keep_offer(s, a->body);
    err = err ? err : loop_timer_new(&s->timer, s->meeting->loop, on_timer, s);
    err = err ? err : share_run_new(&s->media, s->meeting->loop, &media);
    /* Started now, its libraries load while the rest is being arranged. */
    return err ? err : rdp_viewer_new(&s->viewer, s->meeting->loop, &viewer);
}

static void refuse(struct meeting *m, const struct sip_action *a, const struct refusal *r,
                   const char *detail)
{
    const struct sip_answer no = {.status = r->status, .headers = slice_str(r->headers)};
    LOG(m->cfg.log, LOG_INFO, "share-refused", LOG_N("status", r->status),
        LOG_B("space", a->target_user), LOG_B("from", a->from_uri), LOG_S("why", r->why),
        LOG_S("detail", detail));
    meeting_answer(m, a->dialog, &no);
}

int share_new(struct share **out, struct space *space, const struct sip_action *a)
{
    struct meeting *m = space->meeting;
    const char *detail;
    const struct refusal *no = judge(m, a, &detail);
    no = no ? no : is_full(space) ? &refuse_full : NULL;
    struct share *s = no ? NULL : calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        refuse(m, a, no ? no : &refuse_trouble, detail);
        return ERR_UNSUPPORTED;
    }
    *s = (struct share){.next = m->shares,
                        .meeting = m,
                        .space = space,
                        .dialog = a->dialog,
                        .invited_ms = loop_now_ms(m->loop)};
    m->shares = s;
    io_random(&s->session, sizeof s->session);
    s->session >>= 2; /* o= takes 63 bits in every reader */
    memcpy(s->tag, space->name, sizeof s->tag);
    sharer_text(s->sharer, sizeof s->sharer, a->from_name, a->from_uri);
    if (start(s, a)) {
        refuse(m, a, &refuse_trouble, NULL);
        share_free(s);
        return ERR_SYSTEM;
    }
    LOG(m->cfg.log, LOG_INFO, "share-invited", LOG_S("space", s->tag),
        LOG_S("from", s->sharer));
    /* A former sharer's picture goes with his viewer, which this share takes the place of. */
    web_space_picture(m->web, space->name, NULL);
    if (web_space_set(m->web, space->name, WEB_CONNECTING, s->sharer,
                      "Invited; asking the TURN server for a relay.")) {
        LOG(m->cfg.log, LOG_WARN, "page-not-updated", LOG_S("space", s->tag));
    }
    *out = s;
    return OK;
}

/* The offer's m=applicationsharing is gone or has port 0 (RFC 3264 8.2). */
static void withdrawn(struct share *s, const struct sdp_offer *offer)
{
    struct sdp_share none = {.role = SDP_VIEWER};
    share_run_local(s->media, &none);
    if (answer_ok(s, &none, offer)) {
        LOG(log_of(s), LOG_WARN, "second-offer-unanswered", LOG_S("space", s->tag));
    }
    share_end(s, "the sharer stopped sharing", "");
}

static void reinvited(struct share *s, const struct sip_action *a)
{
    struct sdp_offer offer;
    const char *why = NULL;
    const struct refusal *r = NULL;
    if (a->body.len > SDP_MAX || sdp_read(a->body, &offer, &why)) {
        r = &refuse_unreadable;
    } else if (offer.share_at == offer.n_media) {
        withdrawn(s, &offer);
        return;
    } else if (offer.share.is_secure) {
        r = &refuse_secure;
    } else if (keep_offer(s, a->body)) {
        r = &refuse_trouble;
    }
    if (r) {
        const struct sip_answer no = {.status = r->status, .headers = slice_str(r->headers)};
        LOG(log_of(s), LOG_WARN, "second-offer-refused", LOG_S("space", s->tag),
            LOG_S("why", r->why), LOG_S("detail", why));
        meeting_answer(s->meeting, s->dialog, &no);
        return;
    }
    LOG(log_of(s), LOG_INFO, "second-offer", LOG_S("space", s->tag));
    /* The peer may be done with ICE a moment before we are: the answer waits for us. */
    if (s->phase >= SHARE_PATH && answer(s)) {
        end_failed(s, "the second offer could not be answered");
    }
}

void share_sip(struct share *s, const struct sip_action *a)
{
    switch (a->what) {
    case SIP_DO_REINVITED: reinvited(s, a); break;
    case SIP_DO_CONFIRMED:
        if (s->phase == SHARE_PATH && s->sdp_version > 1) {
            start_rdp(s);
        }
        break;
    case SIP_DO_ENDED:
        if (s->phase != SHARE_OVER) {
            LOG(log_of(s), LOG_INFO, "sharer-left", LOG_S("space", s->tag),
                LOG_S("why", a->why), LOG_B("reason", a->reason));
            s->dialog = 0;
            share_end(s, ending(a->why), "");
        }
        break;
    case SIP_DO_SEND:
    case SIP_DO_INVITED:
    case SIP_DO_PROGRESS:
    case SIP_DO_ANSWERED:
    case SIP_DO_REFUSED:
    case SIP_DO_REPORT: break;
    }
}
