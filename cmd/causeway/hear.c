/* Tells protocols apart by the head of each message. */
#include "cmd/causeway/hear.h"

#include <stdlib.h>

#include "lib/base/text.h"

#include "lib/rtp/rtp.h"
#include "lib/sip/stream.h"

enum {
    /* The longest message there is, an RFC 4571 frame, and as much again behind it. */
    EAR_MAX = 2 * (RTP_FRAME_MAX + 2),
    HEAD_MIN = 10 /* enough to tell: frame length and the head of STUN */
};

void ear_done(struct ear *e)
{
    free(e->buf);
    *e = (struct ear){0};
}

int ear_take(struct ear *e, struct slice *in)
{
    if (e->deaf) {
        *in = slice_of(NULL, 0);
        return 0;
    }
    if (!e->buf) {
        e->buf = malloc(EAR_MAX);
        if (!e->buf) {
            *in = slice_of(NULL, 0);
            return ERR_NOMEM;
        }
    }
    size_t n = in->len < EAR_MAX - e->len ? in->len : EAR_MAX - e->len;
    if (n > 0) {
        memcpy(e->buf + e->len, in->p, n);
    }
    e->len += n;
    *in = slice_from(*in, n);
    return 0;
}

void ear_lost(struct ear *e)
{
    e->deaf = true;
    e->len = 0;
}

static void drop(struct ear *e, size_t n)
{
    e->len -= n;
    memmove(e->buf, e->buf + n, e->len);
}

/* Ends the text, with whatever did not fit left out. */
static void end_text(struct wr *w, struct heard *out)
{
    size_t n = w->len < HEARD_TEXT_MAX - 1 ? w->len : HEARD_TEXT_MAX - 1;
    out->text[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (out->text[i] < ' ' || out->text[i] > '~') {
            out->text[i] = '?';
        }
    }
}

static struct wr begin_text(struct heard *out)
{
    return wr_over((uint8_t *)out->text, HEARD_TEXT_MAX - 1);
}

static void put_addr_of(struct wr *w, const struct stun_msg *m, enum stun_attr type)
{
    struct addr a;
    char text[ADDR_TEXT_MAX];
    if (stun_get_addr(m, type, &a) == 0) {
        wr_text(w, " %s", addr_text(&a, text));
    }
}

static void tell_stun(struct wr *w, const struct stun_msg *m)
{
    static const char *const cls[] = {"request", "indication", "success", "error"};
    const char *method = stun_method_name(m->method);
    uint32_t transport;
    uint16_t code;
    struct slice s;
    wr_text(w, "%s %s", method ? method : "STUN", cls[m->cls]);
    if (stun_get_u32(m, STUN_REQUESTED_TRANSPORT, &transport) == 0) {
        wr_text(w, " %s", transport == 6 ? "TCP" : "UDP");
    }
    if (stun_get_error(m, &code, &s) == 0) {
        wr_text(w, " %u", code);
    }
    put_addr_of(w, m, STUN_XOR_RELAYED_ADDRESS);
    put_addr_of(w, m, STUN_XOR_PEER_ADDRESS);
    if (stun_has(m, STUN_XOR_PEER_ADDRESS)) {
        return; /* there is no room for more */
    }
    if (stun_get_bytes(m, STUN_USERNAME, &s) == 0) {
        wr_text(w, " user %.*s", (int)s.len, (const char *)s.p);
    } else if (stun_get_bytes(m, STUN_REALM, &s) == 0) {
        wr_text(w, " realm %.*s", (int)s.len, (const char *)s.p);
    }
}

static void tell_check(struct wr *w, const struct stun_msg *m)
{
    wr_text(w, m->cls == STUN_REQUEST   ? "ICE check"
               : m->cls == STUN_SUCCESS ? "ICE answer"
               : m->cls == STUN_ERROR   ? "ICE error"
                                        : "ICE keep-alive");
    if (stun_has(m, STUN_USE_CANDIDATE)) {
        wr_text(w, ", nominates");
    }
}

static bool hear_stun(struct slice bytes, bool framed, struct heard *out)
{
    struct stun_msg m;
    if (stun_parse(&m, bytes, framed ? &stun_wire_ms_ice2 : &stun_wire_rfc8489) != 0) {
        return false;
    }
    out->what = framed ? HEARD_FRAMED_STUN : HEARD_STUN;
    out->method = m.method;
    out->cls = m.cls;
    struct wr w = begin_text(out);
    (framed ? tell_check : tell_stun)(&w, &m);
    end_text(&w, out);
    return true;
}

/* The method that CSeq names: "1 INVITE". */
static struct slice cseq_method(struct slice head)
{
    while (head.len > 0) {
        struct slice line = text_trim(text_split(&head, '\n'));
        if (text_starts(line, "CSeq:")) {
            line = text_trim(slice_from(line, 5));
            (void)text_split(&line, ' ');
            return text_trim(line);
        }
        if (line.len == 0) {
            break;
        }
    }
    return slice_of(NULL, 0);
}

static bool contains(struct slice in, const char *what)
{
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= in.len; i++) {
        if (memcmp(in.p + i, what, n) == 0) {
            return true;
        }
    }
    return false;
}

static void hear_sip(struct slice message, struct heard *out)
{
    struct slice rest = message;
    struct slice line = text_trim(text_split(&rest, '\n'));
    struct slice method = cseq_method(rest);
    struct slice first = text_split(&line, ' ');
    struct slice second = text_split(&line, ' ');
    uint64_t status = 0;
    out->what = HEARD_SIP;
    if (text_starts(first, "SIP/") && text_u64(second, 699, &status) == 0) {
        out->status = (uint16_t)status;
    }
    out->is_invite = text_is(method, "INVITE");
    out->has_share = contains(rest, "\nm=applicationsharing ");
    out->has_relay = contains(rest, " typ relay");
    struct wr w = begin_text(out);
    if (out->status) {
        wr_text(&w, "%u %.*s", out->status, (int)line.len, (const char *)line.p);
        wr_text(&w, " (%.*s)", (int)method.len, (const char *)method.p);
    } else {
        struct slice uri = text_split(&second, ';'); /* its parameters say little */
        wr_text(&w, "%.*s %.*s", (int)first.len, (const char *)first.p, (int)uri.len,
                (const char *)uri.p);
    }
    wr_text(&w, "%s%s", out->has_share ? ", share" : "", out->has_relay ? ", relay" : "");
    end_text(&w, out);
}

static bool say_once(struct heard *out, enum heard_what what, const char *text)
{
    out->what = what;
    struct wr w = begin_text(out);
    wr_text(&w, "%s", text);
    end_text(&w, out);
    return true;
}

/* A frame that is whole. True: it is worth a line. */
static bool hear_frame(struct ear *e, struct slice frame, struct heard *out)
{
    e->framed = true;
    switch (rtp_kind_of(frame)) {
    case RTP_IS_STUN: return hear_stun(frame, true, out);
    case RTP_IS_RTP:
        if (!e->media_told) {
            e->media_told = true;
            return say_once(out, HEARD_MEDIA, "RDP, in RTP");
        }
        return false;
    case RTP_IS_RTCP:
    case RTP_IS_OTHER: return false;
    }
    return false;
}

enum form {
    FORM_BARE_STUN,
    FORM_FRAME,
    FORM_SIP,
    FORM_OTHER
};

/* A method, "SIP/2.0", or the line ends of a keep-alive. */
static bool starts_like_sip(struct slice in)
{
    if (in.p[0] == '\r' || in.p[0] == '\n') {
        return true;
    }
    for (size_t i = 0; i < 3; i++) {
        if (in.p[i] < 'A' || in.p[i] > 'Z') {
            return false;
        }
    }
    return true;
}

static enum form form_of(const struct ear *e)
{
    struct slice in = slice_of(e->buf, e->len);
    if (e->framed) {
        return FORM_FRAME; /* and it never goes back */
    }
    if (stun_looks_like(in)) {
        return FORM_BARE_STUN;
    }
    if (stun_looks_like(slice_from(in, 2))) {
        return FORM_FRAME;
    }
    return starts_like_sip(in) ? FORM_SIP : FORM_OTHER;
}

/* The message at the head of the buffer; true when `out` tells of it. */
static bool hear_one(struct ear *e, enum parse *state, struct heard *out)
{
    struct slice in = slice_of(e->buf, e->len), part;
    size_t used = 0;
    bool told = false;
    switch (form_of(e)) {
    case FORM_BARE_STUN:
        used = STUN_HEADER_LEN + ((size_t)in.p[2] << 8 | in.p[3]);
        *state = used <= in.len ? PARSE_OK : PARSE_MORE;
        told = *state == PARSE_OK && hear_stun(slice_of(in.p, used), false, out);
        break;
    case FORM_FRAME:
        *state = rtp_frame_next(in, &part, &used);
        told = *state == PARSE_OK && hear_frame(e, part, out);
        break;
    case FORM_SIP:
        *state = sip_stream_next(in, &part, &used);
        if (*state == PARSE_OK && part.len > 0) {
            hear_sip(part, out);
            told = true;
        }
        break;
    case FORM_OTHER: *state = PARSE_BAD; break;
    }
    if (*state == PARSE_OK) {
        drop(e, used);
    }
    return told;
}

bool ear_next(struct ear *e, struct heard *out)
{
    *out = (struct heard){0};
    while (!e->deaf && e->len >= HEAD_MIN) {
        enum parse state = PARSE_BAD;
        if (hear_one(e, &state, out)) {
            return true;
        }
        if (state == PARSE_MORE) {
            return false;
        }
        if (state == PARSE_BAD) {
            ear_lost(e);
            return say_once(out, HEARD_OTHER, "(bytes this program does not read)");
        }
    }
    return false;
}
