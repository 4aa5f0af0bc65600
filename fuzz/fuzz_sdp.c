/* Any bytes as a description; what was read must be writable as an answer, and readable again.
 */
#include <stdlib.h>

#include "lib/sdp/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[1 << 20];
    struct sdp_offer offer, again;
    const char *why;
    if (sdp_read(slice_of(data, size), &offer, &why)) {
        return why ? 0 : (abort(), 0);
    }
    struct sdp_share share = offer.share;
    if (share.at.family == ADDR_NONE) {
        share.at = (struct addr){
            ADDR_IP4, {192, 0, 2, 1},
             share.at.port
        };
    }
    struct wr w = wr_over(out, sizeof out);
    sdp_put(&w, 1, 1, &share, &offer);
    if (!w.err && (sdp_read(wr_done(&w), &again, &why) || again.n_media != offer.n_media ||
                   again.share_at != offer.share_at)) {
        abort();
    }
    return 0;
}
