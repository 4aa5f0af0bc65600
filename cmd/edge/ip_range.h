/* Sets of addresses as ranges, "192.0.2.7-192.0.2.90": taken from each other, and as CIDRs. */
#pragma once

#include "lib/base/addr.h"

struct ip_range {
    struct addr first, last; /* of one family, first <= last; ports 0 */
};

enum {
    IP_RANGES_MAX = 512
};

struct ip_set {
    struct ip_range r[IP_RANGES_MAX];
    size_t n;
};

/* "A-B", "A" or a CIDR. False: it is none. */
bool ip_range_parse(struct slice s, struct ip_range *out);
/* ERR_LIMIT */
MUST_USE int ip_set_add(struct ip_set *s, const struct ip_range *r);
/* Takes every address of `r` out of `s`. ERR_LIMIT when too many pieces are left; `s` is then
 * no longer of use. */
MUST_USE int ip_set_remove(struct ip_set *s, const struct ip_range *r);
/* The largest network that begins where `r` does and lies in it; `r` becomes what is behind it.
 * False: that was all of it. */
bool ip_range_next_net(struct ip_range *r, struct addr_net *out);
