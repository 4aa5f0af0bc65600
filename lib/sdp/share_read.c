/* m=applicationsharing out of a description ([MS-SDPEXT] 3.1.5). */
#include "lib/base/text.h"

#include "lib/sdp/sdp.h"

struct walk {
    struct sdp_offer *out;
    struct addr session_at;          /* c= before the first m= line */
    struct slice ufrag, pwd;         /* likewise */
    bool has_c, has_session_c, v_ok; /* has_c: in our own section */
    bool in_share;
    const char *why;
};

/* c=IN IP4 192.0.2.1. A name is no fault: with ICE nobody connects to this address. */
static bool read_connection(struct slice value, struct addr *out)
{
    struct slice net = text_split(&value, ' '), kind = text_split(&value, ' ');
    struct slice ip = text_split(&value, '/');
    struct addr a;
    *out = (struct addr){0};
    if (!text_is(net, "IN") || (!text_is(kind, "IP4") && !text_is(kind, "IP6")) ||
        ip.len == 0) {
        return false;
    }
    if (!addr_parse(ip, &a) && a.port == 0) {
        *out = a;
    }
    return true;
}

/* m=<media> <port>[/<count>] <proto> <formats> */
static bool read_media(struct slice value, struct sdp_media *out)
{
    uint64_t port;
    out->name = text_split(&value, ' ');
    struct slice ports = text_split(&value, ' ');
    out->proto = text_split(&value, ' ');
    out->formats = text_trim(value);
    if (text_u64(text_split(&ports, '/'), UINT16_MAX, &port)) {
        return false;
    }
    out->port = (uint16_t)port;
    return out->name.len > 0 && out->proto.len > 0 && out->formats.len > 0;
}

static void read_share_media(struct walk *w, const struct sdp_media *m)
{
    struct sdp_share *s = &w->out->share;
    struct slice formats = m->formats, proto = m->proto, part = {0};
    uint64_t type;
    if (text_u64(text_split(&formats, ' '), 127, &type)) {
        w->why = "the m=applicationsharing line has no RTP payload type";
        return;
    }
    while (proto.len > 0) {
        part = text_split(&proto, '/');
    }
    s->payload_type = (uint8_t)type;
    s->is_secure = text_is(part, "SAVP");
    s->at = w->session_at;
    s->at.port = m->port;
    s->ufrag = w->ufrag;
    s->pwd = w->pwd;
    w->has_c = w->has_session_c;
}

static void on_media(struct walk *w, struct slice value)
{
    struct sdp_offer *o = w->out;
    struct sdp_media m = {0};
    w->in_share = false;
    if (o->n_media == SDP_MEDIA_MAX) {
        w->why = "more than 16 m= lines";
        return;
    }
    if (!read_media(value, &m)) {
        w->why = "an m= line is broken";
        return;
    }
    /* share_at stands past all media until a share is found. */
    bool first = o->share_at == SDP_MEDIA_MAX;
    if (first && m.port != 0 && text_is(m.name, "applicationsharing")) {
        o->share_at = o->n_media;
        w->in_share = true;
        read_share_media(w, &m);
    }
    o->media[o->n_media++] = m;
}

static bool same_cand(const struct ice_cand *a, const struct ice_cand *b)
{
    return a->tcp == b->tcp && a->type == b->type && addr_eq(&a->addr, &b->addr);
}

static void on_candidate(struct sdp_share *s, const struct sdp_line *l)
{
    struct ice_cand c;
    if (sdp_read_candidate(l, &c)) {
        s->n_skipped++;
        return;
    }
    if (c.component != 1) {
        return; /* over TCP a copy of component 1's */
    }
    for (size_t i = 0; i < s->n_cand; i++) {
        if (same_cand(&s->cand[i], &c)) {
            return;
        }
    }
    if (s->n_cand == SDP_SHARE_CANDS) {
        s->n_skipped++;
        return;
    }
    s->cand[s->n_cand++] = c;
}

/* "1 192.0.2.1 24000 2 192.0.2.1 24000": component 1's. */
static void on_remote_candidates(struct sdp_share *s, struct slice value)
{
    while (value.len > 0) {
        struct slice component = text_split(&value, ' '), ip = text_split(&value, ' ');
        uint64_t port;
        struct addr a;
        if (text_u64(text_split(&value, ' '), UINT16_MAX, &port) || addr_parse(ip, &a)) {
            return;
        }
        if (text_is(component, "1")) {
            s->remote_cand = a;
            s->remote_cand.port = (uint16_t)port;
        }
    }
}

/* The payload type is the one that is x-data, wherever it stands in the m= line. */
static void on_rtpmap(struct sdp_share *s, struct slice value)
{
    uint64_t type;
    struct slice number = text_split(&value, ' ');
    if (text_u64(number, 127, &type) || !text_starts(value, "x-data/")) {
        return;
    }
    s->payload_type = (uint8_t)type;
    s->rtpmap = text_trim(value);
}

static const struct {
    const char *name;
    size_t at; /* of a slice in struct sdp_share */
} text_attr[] = {
    {"ice-ufrag",                        offsetof(struct sdp_share, ufrag)      },
    {"ice-pwd",                          offsetof(struct sdp_share, pwd)        },
    {"mid",                              offsetof(struct sdp_share, mid)        },
    {"x-applicationsharing-session-id",  offsetof(struct sdp_share, session_id) },
    {"x-applicationsharing-contentflow", offsetof(struct sdp_share, contentflow)},
 /* [MS-SDPEXT] 3.1.5.18.5 spells it both ways. */
    {"x-application-contentflow",        offsetof(struct sdp_share, contentflow)},
};

static bool on_text(struct sdp_share *s, const struct sdp_line *l)
{
    for (size_t i = 0; i < sizeof text_attr / sizeof text_attr[0]; i++) {
        if (text_is(l->key, text_attr[i].name)) {
            struct slice v = text_trim(l->value);
            memcpy((char *)s + text_attr[i].at, &v, sizeof v);
            return true;
        }
    }
    return false;
}

static void on_share_attr(struct walk *w, const struct sdp_line *l)
{
    struct sdp_share *s = &w->out->share;
    struct slice v = text_trim(l->value);
    if (on_text(s, l)) {
        return;
    }
    if (text_is(l->key, "candidate")) {
        on_candidate(s, l);
    } else if (text_is(l->key, "remote-candidates")) {
        on_remote_candidates(s, v);
    } else if (text_is(l->key, "rtpmap")) {
        on_rtpmap(s, v);
    } else if (text_is(l->key, "crypto")) {
        s->has_crypto = true;
    } else if (text_is(l->key, "setup")) {
        s->setup_active = text_is(v, "active");
    } else if (text_is(l->key, "connection")) {
        s->connection_existing = text_is(v, "existing");
    } else if (text_is(l->key, "x-applicationsharing-role")) {
        s->role = text_is(v, "sharer") ? SDP_SHARER : text_is(v, "viewer") ? SDP_VIEWER : 0;
    } else if (text_is(l->key, "x-applicationsharing-media-type") && !text_is(v, "rdp")) {
        w->why = "a=x-applicationsharing-media-type is not rdp";
    }
}

static void on_line(struct walk *w, const struct sdp_line *l)
{
    bool before_media = w->out->n_media == 0;
    if (l->type == 'm') {
        on_media(w, l->value);
    } else if (l->type == 'c' && before_media) {
        w->has_session_c = read_connection(l->value, &w->session_at);
    } else if (l->type == 'c' && w->in_share) {
        uint16_t port = w->out->share.at.port;
        w->has_c = read_connection(l->value, &w->out->share.at);
        w->out->share.at.port = port;
    } else if (l->type == 'a' && before_media && text_is(l->key, "ice-ufrag")) {
        w->ufrag = text_trim(l->value);
    } else if (l->type == 'a' && before_media && text_is(l->key, "ice-pwd")) {
        w->pwd = text_trim(l->value);
    } else if (l->type == 'a' && w->in_share) {
        on_share_attr(w, l);
    }
}

static const char *missing(const struct walk *w)
{
    const struct sdp_share *s = &w->out->share;
    if (w->out->n_media == 0) {
        return "no m= line";
    }
    if (w->out->share_at == w->out->n_media) {
        return NULL;
    }
    if (!w->has_c) {
        return "no usable c= line for m=applicationsharing";
    }
    if (s->ufrag.len < 4 || s->ufrag.len > 256) { /* RFC 8839 5.4 */
        return "a=ice-ufrag is missing or not of 4 to 256 characters";
    }
    if (s->pwd.len < 22 || s->pwd.len > 256) {
        return "a=ice-pwd is missing or not of 22 to 256 characters";
    }
    return NULL;
}

int sdp_read(struct slice body, struct sdp_offer *out, const char **why)
{
    struct rd r = rd_over(body);
    struct walk w = {.out = out};
    struct sdp_line l;
    *out = (struct sdp_offer){.share_at = SDP_MEDIA_MAX};
    if (!sdp_next(&r, &l) || l.type != 'v' || !text_is(text_trim(l.value), "0")) {
        w.why = "the description does not begin with v=0";
    }
    while (!w.why && sdp_next(&r, &l)) {
        on_line(&w, &l);
    }
    if (out->share_at == SDP_MEDIA_MAX) {
        out->share_at = out->n_media;
    }
    *why = w.why ? w.why : missing(&w);
    return *why ? ERR_MALFORMED : OK;
}
