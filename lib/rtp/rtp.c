/* RTP headers and RFC 4571 frames: reading and writing. */
#include "lib/rtp/rtp.h"

enum {
    RTP_VERSION = 2,
    FRAME_HEAD_LEN = 2
};

/* RFC 3550 5.1: with P set the last byte counts the padding, itself included. */
static int drop_padding(struct slice *payload)
{
    if (payload->len == 0) {
        return ERR_MALFORMED;
    }
    size_t n = payload->p[payload->len - 1];
    if (n == 0 || n > payload->len) {
        return ERR_MALFORMED;
    }
    payload->len -= n;
    return OK;
}

int rtp_parse(struct rtp_view *out, struct slice packet)
{
    struct rd r = rd_over(packet);
    *out = (struct rtp_view){0};
    uint8_t first = rd_u8(&r), second = rd_u8(&r);
    uint16_t seq = rd_u16(&r);
    uint32_t timestamp = rd_u32(&r), ssrc = rd_u32(&r);
    (void)rd_take(&r, 4u * (first & 0x0f));
    if (first & 0x10) { /* RFC 3550 5.3.1: two bytes of profile, then a count of words */
        (void)rd_u16(&r);
        (void)rd_take(&r, 4u * rd_u16(&r));
    }
    if (r.err) {
        return r.err;
    }
    struct slice payload = slice_from(packet, r.at);
    int err = first >> 6 == RTP_VERSION ? OK : ERR_MALFORMED;
    if (!err && (first & 0x20)) {
        err = drop_padding(&payload);
    }
    if (err) {
        return err;
    }
    *out = (struct rtp_view){.payload = payload,
                             .ssrc = ssrc,
                             .timestamp = timestamp,
                             .seq = seq,
                             .payload_type = second & 0x7f,
                             .marker = second >> 7};
    return OK;
}

void rtp_put(struct wr *w, const struct rtp_view *v)
{
    wr_u8(w, RTP_VERSION << 6);
    wr_u8(w, (uint8_t)((v->payload_type & 0x7f) | (v->marker ? 0x80 : 0)));
    wr_u16(w, v->seq);
    wr_u32(w, v->timestamp);
    wr_u32(w, v->ssrc);
    wr_bytes(w, v->payload);
}

enum parse rtp_frame_next(struct slice in, struct slice *frame, size_t *used)
{
    struct rd r = rd_over(in);
    size_t len = rd_u16(&r);
    *frame = rd_take(&r, len);
    *used = FRAME_HEAD_LEN + len;
    return r.err ? PARSE_MORE : PARSE_OK;
}

void rtp_put_frame(struct wr *w, struct slice packet)
{
    if (packet.len > RTP_FRAME_MAX) {
        w->err = w->err ? w->err : ERR_NOSPACE;
    }
    wr_u16(w, (uint16_t)packet.len);
    wr_bytes(w, packet);
}

enum rtp_kind rtp_kind_of(struct slice frame)
{
    if (frame.len < 2) {
        return RTP_IS_OTHER;
    }
    if (frame.p[0] < 4) { /* RFC 7983 7 */
        return RTP_IS_STUN;
    }
    if (frame.p[0] >> 6 != RTP_VERSION) {
        return RTP_IS_OTHER;
    }
    /* RFC 5761 4: RTCP's packet types fall on payload types 64 to 95 with the marker set. */
    return frame.p[1] >= 192 && frame.p[1] <= 223 ? RTP_IS_RTCP : RTP_IS_RTP;
}
