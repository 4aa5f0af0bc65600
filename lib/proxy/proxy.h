/* The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): a few bytes in front of
 * a stream in which a proxy says who its client is. For streams only. */
#pragma once

#include "lib/base/addr.h"

enum {
    PROXY_V1_MAX = 107, /* 2.1: with its line end */
    PROXY_MAX = 4096,   /* of version 2 taken here; its TLVs could say 64 KiB */
    PROXY_V2_LEN = 52   /* written here, at most */
};

struct proxy_header {
    struct addr client; /* family 0: not told (LOCAL, UNKNOWN), the connection's own holds */
    struct addr server; /* where the client had connected to; family 0 as for `client` */
};

/* Do a stream's first bytes begin such a header? */
enum parse proxy_begins(struct slice in);
/* The header at the head of `in`. `used`: its bytes, on PARSE_OK. PARSE_BAD also for one that
 * is too long or has a wrong checksum. */
enum parse proxy_read(struct slice in, struct proxy_header *out, size_t *used);
/* Version 2. Without a family, or when the two differ, it says LOCAL. */
void proxy_write(struct wr *w, const struct proxy_header *h);
