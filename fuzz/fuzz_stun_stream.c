/* Any bytes as a TCP stream of STUN and ChannelData: frames stay inside, and a prefix never
 * says anything the whole does not. */
#include <stdlib.h>

#include "lib/stun/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    for (;;) {
        struct slice frame, body;
        size_t used, used_cut;
        uint16_t channel;
        enum parse got = stun_stream_next(in, &frame, &used);
        if (got != PARSE_OK) {
            return 0;
        }
        if (used == 0 || used > in.len || frame.p != in.p || frame.len > used) {
            abort();
        }
        if (stun_stream_next(slice_of(in.p, used - 1), &body, &used_cut) != PARSE_MORE) {
            abort();
        }
        if (channel_data_parse(frame, &channel, &body) == OK && body.len > frame.len) {
            abort();
        }
        in = slice_from(in, used);
    }
}
