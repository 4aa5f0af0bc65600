/* Reads SIP messages (RFC 3261 7 and 25). */
#include "lib/sip/msg.h"

#include "lib/base/text.h"

void sip_msg_unfold(uint8_t *msg, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if (msg[i] != '\r' || msg[i + 1] != '\n') {
            continue;
        }
        if (msg[i + 2] == '\r') {
            return; /* the empty line: what follows is the body */
        }
        if (msg[i + 2] == ' ' || msg[i + 2] == '\t') {
            msg[i] = msg[i + 1] = ' ';
        }
    }
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && (c == 0 || !strchr("-.!%*_+`'~", c))) {
            return false;
        }
    }
    return s.len > 0;
}

/* No control characters but the tab: they would let a value end its line when it is echoed. */
static bool is_clean(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum sip_h header_id(struct slice name)
{
#define HEADER_NAMES_(id, name, compact) {name, compact},
    static const struct {
        const char *name, *compact;
    } names[] = {SIP_HEADER_LIST(HEADER_NAMES_)};
#undef HEADER_NAMES_
    for (size_t i = 0; i < SIP_H_OTHER; i++) {
        if (text_is(name, names[i].name) ||
            (names[i].compact && text_is(name, names[i].compact))) {
            return (enum sip_h)i;
        }
    }
    return SIP_H_OTHER;
}

/* The position of the first `c` outside quotes and, unless it is sought itself, <>. */
static bool find_outside(struct slice s, char c, size_t *at)
{
    bool quoted = false, angled = false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t x = s.p[i];
        if (quoted) {
            i += x == '\\';
            quoted = x != '"';
        } else if (x == (uint8_t)c && !angled) {
            *at = i;
            return true;
        } else if (x == '"') {
            quoted = true;
        } else if (x == '<' || x == '>') {
            angled = x == '<';
        }
    }
    return false;
}

bool sip_value_next(struct slice *list, struct slice *value)
{
    while (list->len > 0) {
        size_t at = list->len;
        (void)find_outside(*list, ',', &at);
        *value = text_trim(slice_of(list->p, at));
        *list = slice_from(*list, at + 1);
        if (value->len > 0) {
            return true;
        }
    }
    return false;
}

bool sip_param(struct slice value, const char *name, struct slice *out)
{
    size_t at;
    *out = slice_of(NULL, 0);
    while (find_outside(value, ';', &at)) {
        value = slice_from(value, at + 1);
        size_t end = value.len;
        (void)find_outside(value, ';', &end);
        struct slice v = slice_of(value.p, end);
        struct slice k = text_trim(text_split(&v, '='));
        if (text_is(k, name)) {
            *out = text_trim(v);
            return true;
        }
    }
    return false;
}

struct slice sip_addr_uri(struct slice value)
{
    size_t at;
    if (find_outside(value, '<', &at)) {
        struct slice rest = slice_from(value, at + 1);
        const uint8_t *gt = rest.len > 0 ? memchr(rest.p, '>', rest.len) : NULL;
        return gt ? slice_of(rest.p, (size_t)(gt - rest.p)) : slice_of(NULL, 0);
    }
    return text_trim(text_split(&value, ';'));
}

struct slice sip_addr_name(struct slice value)
{
    size_t at;
    if (!find_outside(value, '<', &at)) {
        return slice_of(NULL, 0);
    }
    struct slice name = text_trim(slice_of(value.p, at));
    if (name.len >= 2 && name.p[0] == '"' && name.p[name.len - 1] == '"') {
        name = slice_of(name.p + 1, name.len - 2);
    }
    return name;
}

/* What is no part of any URI, and would break the line it is written into. */
static bool is_one_word(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= ' ' || strchr("<>\"", s.p[i])) {
            return false;
        }
    }
    return s.len > 0;
}

int sip_uri_split(struct slice uri, struct slice *user, struct slice *host)
{
    size_t skip = text_starts(uri, "sip:") ? 4 : text_starts(uri, "sips:") ? 5 : 0;
    *user = *host = slice_of(NULL, 0);
    if (skip == 0) {
        return ERR_UNSUPPORTED;
    }
    if (!is_one_word(uri)) {
        return ERR_MALFORMED;
    }
    struct slice rest = slice_from(uri, skip);
    if (rest.len > 0 && memchr(rest.p, '@', rest.len)) {
        *user = text_split(&rest, '@');
        struct slice name = *user;
        *user = text_split(&name, ':'); /* a password is never of use to us */
    }
    size_t end = 0;
    bool bracket = rest.len > 0 && rest.p[0] == '[';
    while (end < rest.len && !strchr(bracket ? "]" : ":;?", rest.p[end] ? rest.p[end] : ';')) {
        end++;
    }
    end += bracket && end < rest.len;
    *host = slice_of(rest.p, end);
    return host->len > 0 ? OK : ERR_MALFORMED;
}

static int hex_digit(uint8_t c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

int sip_unescape(struct slice part, struct wr *w)
{
    for (size_t i = 0; i < part.len; i++) {
        uint8_t c = part.p[i];
        if (c == '%') {
            int high = part.len - i > 2 ? hex_digit(part.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(part.p[i + 2]) : -1;
            if (low < 0) {
                return ERR_MALFORMED;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        wr_u8(w, c);
    }
    return w->err;
}

struct slice sip_msg_find(const struct sip_msg *m, enum sip_h id)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->h[i].id == id) {
            return m->h[i].value;
        }
    }
    return slice_of(NULL, 0);
}

static int fault(struct sip_msg *m, const char *what)
{
    m->fault = m->fault ? m->fault : what;
    return ERR_MALFORMED;
}

static int read_start(struct sip_msg *m)
{
    struct slice rest = m->start;
    if (!is_clean(rest)) {
        return fault(m, "control characters in the start line");
    }
    if (text_starts(rest, "SIP/2.0 ")) {
        uint64_t status;
        (void)text_split(&rest, ' ');
        struct slice code = text_split(&rest, ' ');
        m->phrase = rest;
        if (code.len != 3 || text_u64(code, 699, &status) || status < 100) {
            return fault(m, "bad status code");
        }
        m->status = (uint16_t)status;
        return OK;
    }
    /* Exactly one space between the parts (RFC 3261 7.1): an empty part shows the others. */
    const uint8_t *space = rest.len > 0 ? memchr(rest.p, ' ', rest.len) : NULL;
    m->method = slice_of(rest.p, space ? (size_t)(space - rest.p) : 0);
    rest = slice_from(rest, m->method.len + 1);
    space = rest.len > 0 ? memchr(rest.p, ' ', rest.len) : NULL;
    m->uri = slice_of(rest.p, space ? (size_t)(space - rest.p) : 0);
    rest = slice_from(rest, m->uri.len + 1);
    if (!is_token(m->method) || m->uri.len == 0 || !text_starts(rest, "SIP/") ||
        memchr(rest.p, ' ', rest.len) || m->uri.p[0] == '<') {
        return fault(m, "bad request line");
    }
    return OK;
}

static int read_headers(struct sip_msg *m, struct slice head)
{
    int err = OK;
    while (head.len > 0) {
        struct slice line = text_split(&head, '\n');
        line.len -= line.len > 0 && line.p[line.len - 1] == '\r';
        const uint8_t *colon = line.len > 0 ? memchr(line.p, ':', line.len) : NULL;
        struct slice value = line;
        struct slice name = text_trim(text_split(&value, ':'));
        if (!colon || !is_token(name) || !is_clean(line)) {
            err = fault(m, "bad header line");
            continue;
        }
        if (m->n == SIP_HEADERS_MAX) {
            return fault(m, "too many headers");
        }
        m->h[m->n++] = (struct sip_header){header_id(name), name, text_trim(value)};
    }
    return err;
}

/* Those that may come once only; twice, two readers would see two messages. */
static int refuse_doubles(struct sip_msg *m)
{
    static const enum sip_h single[] = {SIP_H_FROM,           SIP_H_TO,
                                        SIP_H_CALL_ID,        SIP_H_CSEQ,
                                        SIP_H_CONTENT_LENGTH, SIP_H_CONTENT_TYPE};
    for (size_t k = 0; k < sizeof single / sizeof *single; k++) {
        size_t n = 0;
        for (size_t i = 0; i < m->n; i++) {
            n += m->h[i].id == single[k];
        }
        if (n > 1) {
            return fault(m, "a header that may come once comes again");
        }
    }
    return OK;
}

/* What each message must have (RFC 3261 8.1.1). */
static int read_essentials(struct sip_msg *m)
{
    m->from = sip_msg_find(m, SIP_H_FROM);
    m->to = sip_msg_find(m, SIP_H_TO);
    m->call_id = sip_msg_find(m, SIP_H_CALL_ID);
    m->content_type = sip_msg_find(m, SIP_H_CONTENT_TYPE);
    struct slice via = sip_msg_find(m, SIP_H_VIA), top;
    struct slice cseq = sip_msg_find(m, SIP_H_CSEQ);
    if (m->from.len == 0 || m->to.len == 0 || m->call_id.len == 0 || cseq.len == 0 ||
        !sip_value_next(&via, &top)) {
        return fault(m, "lacks Via, From, To, Call-ID or CSeq");
    }
    m->has_essentials = true;
    (void)sip_param(top, "branch", &m->branch);
    (void)sip_param(m->from, "tag", &m->from_tag);
    (void)sip_param(m->to, "tag", &m->to_tag);
    uint64_t n;
    struct slice number = text_split(&cseq, ' ');
    m->cseq_method = text_trim(cseq);
    if (text_u64(number, 0x7fffffff, &n)) { /* RFC 3261 8.1.1.5: less than 2^31 */
        return fault(m, "bad CSeq number");
    }
    m->cseq = (uint32_t)n;
    if (!is_token(m->cseq_method) || (m->status == 0 && !slice_eq(m->cseq_method, m->method))) {
        return fault(m, "CSeq method does not match");
    }
    if (!is_one_word(sip_addr_uri(m->from)) || !is_one_word(sip_addr_uri(m->to))) {
        return fault(m, "bad From or To");
    }
    return refuse_doubles(m);
}

int sip_msg_parse(struct slice in, struct sip_msg *out)
{
    memset(out, 0, sizeof *out);
    size_t head = 0;
    while (head + 4 <= in.len && memcmp(in.p + head, "\r\n\r\n", 4) != 0) {
        head++;
    }
    if (head + 4 > in.len) {
        return fault(out, "has no end of headers");
    }
    struct slice lines = slice_of(in.p, head + 2);
    out->start = text_split(&lines, '\n');
    out->start.len -= out->start.len > 0 && out->start.p[out->start.len - 1] == '\r';
    out->body = slice_from(in, head + 4);
    int err = read_start(out);
    int err2 = read_headers(out, lines);
    int err3 = read_essentials(out);
    struct slice length = sip_msg_find(out, SIP_H_CONTENT_LENGTH);
    uint64_t n = out->body.len;
    if (length.len > 0 && text_u64(length, SIZE_MAX / 2, &n)) {
        return fault(out, "bad Content-Length");
    }
    if (n > out->body.len) {
        return fault(out, "shorter than its Content-Length");
    }
    out->body.len = (size_t)n; /* RFC 3261 18.3: what is more in a datagram is dropped */
    return err ? err : err2 ? err2 : err3;
}
