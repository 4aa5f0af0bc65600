/* STUN and ChannelData on a TCP stream. */
#include "lib/stun/stream.h"

#include "lib/stun/msg.h"

enum parse stun_stream_next(struct slice in, struct slice *frame, size_t *used)
{
    struct rd r = rd_over(in);
    uint16_t type = rd_u16(&r);
    size_t len = rd_u16(&r);
    *frame = slice_of(NULL, 0);
    *used = CHANNEL_HEAD_LEN;
    if (r.err) {
        return in.len > 0 && in.p[0] >> 6 > 1 ? PARSE_BAD : PARSE_MORE;
    }
    if (type >= CHANNEL_MIN && type <= CHANNEL_MAX) {
        /* RFC 8656 12.5: over TCP it is padded to four bytes, which the length leaves out. */
        len += CHANNEL_HEAD_LEN;
        *used = (len + 3) & ~(size_t)3;
    } else if (stun_looks_like(in)) {
        len += STUN_HEADER_LEN;
        *used = len;
    } else {
        return PARSE_BAD;
    }
    if (in.len < *used) {
        return PARSE_MORE;
    }
    *frame = slice_of(in.p, len);
    return PARSE_OK;
}

int channel_data_parse(struct slice frame, uint16_t *channel, struct slice *data)
{
    struct rd r = rd_over(frame);
    *channel = rd_u16(&r);
    *data = rd_take(&r, rd_u16(&r));
    return r.err;
}
