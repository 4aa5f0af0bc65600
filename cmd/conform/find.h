/* From what stands on the command line to the server's address. */
#pragma once

#include "lib/base/addr.h"

struct found {
    struct addr server, local; /* local: where packets to it leave from; port 0 */
};

/* `text` is HOST, HOST:PORT or a turn: or stun: URI; `dns` may be NULL. On failure `why` says
 * what is wrong, for a person. */
MUST_USE int find_server(struct found *out, const char *text, const struct addr *dns,
                         const char **why);
