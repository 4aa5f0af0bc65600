/* SDP: the line walk (RFC 8866 5). */
#include "lib/sdp/sdp.h"

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '\0' || s.p[i] == '\r') {
            return true;
        }
    }
    return false;
}

bool sdp_next(struct rd *r, struct sdp_line *out)
{
    struct slice rest = slice_of(NULL, 0);
    *out = (struct sdp_line){0};
    if (rd_left(r) == 0) {
        return false;
    }
    rest = slice_from(r->in, r->at);
    const uint8_t *end = memchr(rest.p, '\n', rest.len);
    out->raw = rd_take(r, end ? (size_t)(end - rest.p) + 1 : rest.len);
    struct slice line = out->raw;
    line.len -= end ? 1 : 0;
    if (line.len > 0 && line.p[line.len - 1] == '\r') {
        line.len--;
    }
    /* A lone CR ends a line for some readers: passing it on would let a value grow into one. */
    if (line.len < 2 || line.p[0] < 'a' || line.p[0] > 'z' || line.p[1] != '=' ||
        has_control(line)) {
        return true;
    }
    out->type = (char)line.p[0];
    out->value = slice_from(line, 2);
    if (out->type == 'a') {
        const uint8_t *p = out->value.p;
        const uint8_t *colon = out->value.len > 0 ? memchr(p, ':', out->value.len) : NULL;
        out->key = colon ? slice_of(p, (size_t)(colon - p)) : out->value;
        out->value = slice_from(out->value, out->key.len + 1);
    }
    return true;
}
