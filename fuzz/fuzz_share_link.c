/* Any bytes as a message of the viewer process: what is accepted can be written, and then is
 * the same bytes again. */
#include <stdlib.h>

#include "lib/share/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t buf[LINK_MESSAGE_MAX];
    struct link_msg m;
    struct slice in = slice_of(data, size);
    struct wr w = wr_over(buf, sizeof buf);
    if (link_parse(&m, in)) {
        return 0;
    }
    link_put(&w, &m);
    if (w.err || !slice_eq(wr_done(&w), in)) {
        abort();
    }
    return 0;
}
