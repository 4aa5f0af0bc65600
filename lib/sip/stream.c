/* Where one SIP message ends on a stream. */
#include "lib/sip/stream.h"

#include "lib/base/text.h"

/* Length of the head with its empty line; 0 while the end is not in sight. */
static size_t head_end(struct slice in)
{
    size_t max = in.len < SIP_HEAD_MAX ? in.len : SIP_HEAD_MAX;
    for (size_t at = 0; at + 4 <= max;) {
        const uint8_t *cr = memchr(in.p + at, '\r', max - at - 3);
        if (!cr) {
            return 0;
        }
        if (memcmp(cr, "\r\n\r\n", 4) == 0) {
            return (size_t)(cr - in.p) + 4;
        }
        at = (size_t)(cr - in.p) + 1;
    }
    return 0;
}

/* "SIP/2.0 200 OK" or "INVITE sip:x SIP/2.0": enough to tell SIP from anything else. */
static bool is_start_line(struct slice line)
{
    static const char version[] = "SIP/";
    if (text_starts(line, version)) {
        return true;
    }
    (void)text_split(&line, ' ');
    (void)text_split(&line, ' ');
    return text_starts(line, version);
}

/* ERR_NOTFOUND without the header; ERR_MALFORMED when it is no number, too large, or said
 * twice and differently. */
static int content_length(struct slice head, size_t *out)
{
    int err = ERR_NOTFOUND;
    while (head.len > 0) {
        struct slice value = text_split(&head, '\n');
        bool folded = value.len > 0 && (value.p[0] == ' ' || value.p[0] == '\t');
        struct slice name = text_trim(text_split(&value, ':'));
        uint64_t n;
        if (folded || !(text_is(name, "Content-Length") || text_is(name, "l"))) {
            continue;
        }
        if (text_u64(text_trim(value), SIP_BODY_MAX, &n) || (!err && n != *out)) {
            return ERR_MALFORMED;
        }
        *out = (size_t)n;
        err = OK;
    }
    return err;
}

enum parse sip_stream_next(struct slice in, struct slice *message, size_t *used)
{
    *message = slice_of(NULL, 0);
    *used = 0;
    if (in.len == 0) {
        return PARSE_MORE;
    }
    if (in.p[0] == '\r') {
        /* RFC 5626 3.5.1: CRLFCRLF asks, one CRLF answers. */
        size_t n = in.len < 4 ? in.len : 4;
        size_t same = 0;
        while (same < n && in.p[same] == (uint8_t) "\r\n\r\n"[same]) {
            same++;
        }
        if (same < 2) {
            return in.len < 2 ? PARSE_MORE : PARSE_BAD;
        }
        if (same == in.len && same < 4) {
            return PARSE_MORE;
        }
        *used = same == 4 ? 4 : 2;
        return PARSE_OK;
    }
    const uint8_t *lf = memchr(in.p, '\n', in.len);
    if (lf && !is_start_line(slice_of(in.p, (size_t)(lf - in.p)))) {
        return PARSE_BAD;
    }
    size_t head = head_end(in), body = 0;
    if (head == 0) {
        return in.len >= SIP_HEAD_MAX || in.p[0] < 0x20 || in.p[0] > 0x7e ? PARSE_BAD
                                                                          : PARSE_MORE;
    }
    if (content_length(slice_of(in.p, head), &body)) {
        return PARSE_BAD;
    }
    if (in.len - head < body) {
        return PARSE_MORE;
    }
    *used = head + body;
    *message = slice_of(in.p, *used);
    return PARSE_OK;
}
