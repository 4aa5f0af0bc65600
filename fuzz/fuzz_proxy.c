/* Any bytes as a PROXY header: what is read is inside, a part of it never says anything, and
 * what it says comes back when it is written. */
#include <stdlib.h>

#include "lib/proxy/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct proxy_header h, again;
    size_t used;
    enum parse got = proxy_read(in, &h, &used);
    if (got == PARSE_BAD) {
        return 0;
    }
    must(proxy_begins(in) != PARSE_BAD);
    if (got == PARSE_MORE) {
        must(used == 0 && size < PROXY_MAX);
        return 0;
    }
    must(used > 0 && used <= size && used <= PROXY_MAX);
    must(proxy_read(slice_of(data, used - 1), &again, &used) == PARSE_MORE);
    uint8_t out[PROXY_V2_LEN];
    struct wr w = wr_over(out, sizeof out);
    proxy_write(&w, &h);
    must(w.err == OK && proxy_read(wr_done(&w), &again, &used) == PARSE_OK && used == w.len);
    if (h.client.family == h.server.family) {
        must(addr_eq(&h.client, &again.client) && addr_eq(&h.server, &again.server));
    }
    return 0;
}
