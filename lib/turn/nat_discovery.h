/* NAT behaviour discovery (RFC 5780): a server with two addresses and two ports, which answers
 * from another of the four sockets than it was asked at. */
#pragma once

#include "lib/base/addr.h"

struct turn_dialect;

struct turn_nat { /* of one family; ip[0].family 0: none */
    struct addr ip[2];
    uint16_t port[2];
};

/* The one of `n` that has a socket at `local`; NULL: none. */
const struct turn_nat *turn_nat_at(const struct turn_nat *nat, size_t n,
                                   const struct addr *local);
/* Other than `local` in both. */
struct addr turn_nat_other(const struct turn_nat *nat, const struct addr *local, bool ip,
                           bool port);
