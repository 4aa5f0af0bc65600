/* RTP headers (RFC 3550 5.1) and RFC 4571 framing: two bytes of length, then the packet. */
#pragma once

#include "lib/base/wire.h"

enum {
    RTP_HEAD_LEN = 12,
    RTP_FRAME_MAX = 65535
};

struct rtp_view {
    struct slice payload;
    uint32_t ssrc, timestamp;
    uint16_t seq;
    uint8_t payload_type;
    bool marker;
};
/* CSRCs, a header extension and padding are skipped. */
MUST_USE int rtp_parse(struct rtp_view *out, struct slice packet);
void rtp_put(struct wr *w, const struct rtp_view *v);

/* The packet at the head of a stream; `used`: bytes to take off. A length of 0 is a keep-alive
 * (PARSE_OK, empty frame). */
enum parse rtp_frame_next(struct slice in, struct slice *frame, size_t *used);
void rtp_put_frame(struct wr *w, struct slice packet);

/* What an RFC 4571 frame holds (RFC 7983's ranges; RTCP by RFC 5761 4). */
enum rtp_kind {
    RTP_IS_STUN,
    RTP_IS_RTP,
    RTP_IS_RTCP,
    RTP_IS_OTHER
};
enum rtp_kind rtp_kind_of(struct slice frame);
