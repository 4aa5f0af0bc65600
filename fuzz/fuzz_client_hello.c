/* Any bytes as the head of a TLS stream: what comes out is inside, no part of it says anything,
 * and how it is cut into records makes no difference. */
#include <stdlib.h>

#include "lib/tls/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static bool is_inside(const struct client_hello *h, struct slice s)
{
    return s.len == 0 || (s.p >= h->bytes && s.p + s.len <= h->bytes + sizeof h->bytes);
}

/* Every two bytes in a record of their own. */
static void must_be_the_same_in_pieces(const struct client_hello *h, size_t len)
{
    static uint8_t wire[CLIENT_HELLO_WIRE_MAX];
    static struct client_hello again;
    struct wr w = wr_over(wire, sizeof wire);
    for (size_t i = 0; i < len && !w.err; i += 2) {
        size_t n = len - i < 2 ? len - i : 2;
        wr_uint(&w, 0x1603010000 | n, 5);
        wr_bytes(&w, slice_of(h->bytes + i, n));
    }
    if (w.err) {
        return;
    }
    must(client_hello_read(wr_done(&w), &again) == PARSE_OK);
    must(slice_eq(h->server_name, again.server_name) && slice_eq(h->alpn, again.alpn));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct client_hello h, cut;
    enum parse got = client_hello_read(slice_of(data, size), &h);
    if (got == PARSE_MORE) {
        must(size <= CLIENT_HELLO_WIRE_MAX);
    }
    if (got != PARSE_OK) {
        must(h.server_name.len == 0 && h.alpn.len == 0);
        return 0;
    }
    must(client_hello_begins(slice_of(data, size)) == PARSE_OK);
    must(is_inside(&h, h.server_name) && is_inside(&h, h.alpn));
    must(client_hello_offers(&h, "h2") ? h.alpn.len >= 3 : true);
    for (size_t n = size < 600 ? size : 600; n > 0; n -= 1 + n / 16) {
        must(client_hello_read(slice_of(data, n - 1), &cut) != PARSE_BAD);
    }
    size_t len = 4 + ((size_t)h.bytes[2] << 8 | h.bytes[3]);
    must_be_the_same_in_pieces(&h, len);
    return 0;
}
