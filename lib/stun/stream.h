/* STUN and ChannelData on a TCP stream: where one message ends and the next begins
 * (RFC 8489 6.2.2, RFC 8656 12.5). */
#pragma once

#include "lib/base/wire.h"

enum {
    CHANNEL_MIN = 0x4000,
    CHANNEL_MAX = 0x7FFF, /* RFC 8656 12 ends at 0x4FFF, but clients of RFC 5766 go on */
    CHANNEL_HEAD_LEN = 4
};

/* The frame at the head of `in`: a STUN message or a ChannelData message, padding left out.
 * `used`: bytes to take off the stream, padding included. On PARSE_MORE `used` is how many are
 * needed in all, as far as can be told by now. */
enum parse stun_stream_next(struct slice in, struct slice *frame, size_t *used);

/* ChannelData (RFC 8656 12.4). ERR_SHORT when the length goes past the end. */
MUST_USE int channel_data_parse(struct slice frame, uint16_t *channel, struct slice *data);
