/* How often something may happen in a second for one key: an address prefix, a user. A table of
 * fixed size; nothing is allocated, and nobody can choose whom he shares a place with. */
#pragma once

#include "lib/base/addr.h"

enum {
    RATE_SETS = 1024,
    RATE_WAYS = 4, /* keys of one set */
    RATE_IP4_BITS = 24,
    RATE_IP6_BITS = 56
};

struct rate_set {
    uint64_t window_s;
    uint64_t tag[RATE_WAYS]; /* keyed hash of whom `n` counts for */
    uint32_t n[RATE_WAYS];
};

struct rates {
    uint8_t secret[16]; /* random */
    struct rate_set set[RATE_SETS];
};

struct rate_prefix { /* bits of a source address that count; 0: RATE_IP4_BITS, RATE_IP6_BITS */
    uint8_t ip4_bits, ip6_bits;
};

struct rate_key {
    uint8_t b[17];
};
struct rate_key rate_key_of(const struct addr *a, struct rate_prefix bits);

/* Counts one more in this second; false, and nothing is counted, when there have been `limit`
 * (0: any number). A key never gets more than its limit. It may get less when more than
 * RATE_WAYS keys of a set are busy: a newcomer takes the place of the least busy one, and its
 * count with it, so it takes RATE_SETS * RATE_WAYS * limit a second to silence everybody. */
bool rates_pass(struct rates *r, struct slice key, uint64_t now_ms, uint32_t limit);
/* Would it pass? Counts nothing. */
bool rates_left(const struct rates *r, struct slice key, uint64_t now_ms, uint32_t limit);
