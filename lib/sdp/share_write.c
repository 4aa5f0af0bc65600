/* A description with our m=applicationsharing ([MS-SDPEXT] 3.1.5). */
#include "lib/base/text.h"

#include "lib/sdp/sdp.h"

static void put_slice(struct wr *w, const char *before, struct slice s)
{
    if (s.len > 0) {
        wr_bytes(w, slice_str(before));
        wr_bytes(w, s);
        wr_bytes(w, slice_str("\r\n"));
    }
}

static void put_ip(struct wr *w, const struct addr *a)
{
    char ip[ADDR_TEXT_MAX];
    wr_text(w, "IN %s %s\r\n", a->family == ADDR_IP6 ? "IP6" : "IP4", addr_ip_text(a, ip));
}

/* The clients refuse a description with the same line twice. */
static bool is_repeated(const struct sdp_share *s, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (s->cand[k].tcp == s->cand[i].tcp && addr_eq(&s->cand[k].addr, &s->cand[i].addr)) {
            return true;
        }
    }
    return false;
}

static void put_ice(struct wr *w, const struct sdp_share *s)
{
    put_slice(w, "a=ice-ufrag:", s->ufrag);
    put_slice(w, "a=ice-pwd:", s->pwd);
    for (size_t i = 0; i < s->n_cand && i < SDP_SHARE_CANDS; i++) {
        if (s->cand[i].tcp == ICE_SO || is_repeated(s, i)) {
            continue;
        }
        /* RTP and RTCP share the connection, and the clients want to see both lines. */
        sdp_put_candidate(w, &s->cand[i], 1);
        sdp_put_candidate(w, &s->cand[i], 2);
    }
    if (s->remote_cand.family != ADDR_NONE) {
        char ip[ADDR_TEXT_MAX];
        addr_ip_text(&s->remote_cand, ip);
        unsigned port = s->remote_cand.port;
        wr_text(w, "a=remote-candidates:1 %s %u 2 %s %u\r\n", ip, port, ip, port);
    }
}

static void put_share(struct wr *w, const struct sdp_share *s)
{
    static const char *const role[] = {"", "sharer", "viewer"};
    wr_text(w, "m=applicationsharing %u TCP/RTP/%s %u\r\n", (unsigned)s->at.port,
            s->is_secure ? "SAVP" : "AVP", (unsigned)s->payload_type);
    put_ice(w, s);
    wr_text(w, "a=rtcp:%u\r\n", (unsigned)s->at.port);
    wr_text(w, "a=rtpmap:%u ", (unsigned)s->payload_type);
    wr_bytes(w, s->rtpmap.len > 0 ? s->rtpmap : slice_str("x-data/90000"));
    wr_text(w, "\r\n");
    put_slice(w, "a=mid:", s->mid);
    wr_text(w, "a=setup:%s\r\n", s->setup_active ? "active" : "passive");
    wr_text(w, "a=connection:%s\r\n", s->connection_existing ? "existing" : "new");
    put_slice(w, "a=x-applicationsharing-session-id:", s->session_id);
    put_slice(w, "a=x-applicationsharing-role:", slice_str(role[s->role]));
    wr_text(w, "a=x-applicationsharing-media-type:rdp\r\n");
    put_slice(w, "a=x-applicationsharing-contentflow:", s->contentflow);
}

/* RFC 3264 6: a line that is not taken keeps its place and its formats, with port 0. */
static void put_refused(struct wr *w, const struct sdp_media *m)
{
    wr_text(w, "m=");
    wr_bytes(w, m->name);
    wr_text(w, " 0 ");
    wr_bytes(w, m->proto);
    wr_text(w, " ");
    wr_bytes(w, m->formats);
    wr_text(w, "\r\n");
}

void sdp_put(struct wr *w, uint64_t session, uint32_t version, const struct sdp_share *share,
             const struct sdp_offer *offer)
{
    wr_text(w, "v=0\r\no=- %llu %u ", (unsigned long long)session, (unsigned)version);
    put_ip(w, &share->at);
    wr_text(w, "s=session\r\nc=");
    put_ip(w, &share->at);
    wr_text(w, "b=CT:99980\r\nt=0 0\r\n");
    if (!offer) {
        put_share(w, share);
        return;
    }
    for (size_t i = 0; i < offer->n_media; i++) {
        if (i == offer->share_at) {
            put_share(w, share);
        } else {
            put_refused(w, &offer->media[i]);
        }
    }
}
