/* How often in a second: one table for whatever has a limit. */
#include "lib/turn/rate.h"

#include "lib/base/map.h"

struct rate_key rate_key_of(const struct addr *a, struct rate_prefix bits)
{
    struct rate_key k = {{a->family}};
    bool is_ip6 = a->family == ADDR_IP6;
    uint8_t asked = is_ip6 ? bits.ip6_bits : bits.ip4_bits;
    size_t n = asked ? asked : is_ip6 ? RATE_IP6_BITS : RATE_IP4_BITS;
    size_t whole = n / 8;
    memcpy(k.b + 1, a->ip, whole);
    if (n % 8) {
        k.b[1 + whole] = (uint8_t)(a->ip[whole] & 0xff00u >> n % 8);
    }
    return k;
}

/* Where the key is, or whose place it would take. */
static size_t way_of(const struct rate_set *s, uint64_t tag)
{
    size_t least = 0;
    for (size_t i = 0; i < RATE_WAYS; i++) {
        if (s->tag[i] == tag) {
            return i;
        }
        least = s->n[i] < s->n[least] ? i : least;
    }
    return least;
}

bool rates_left(const struct rates *r, struct slice key, uint64_t now_ms, uint32_t limit)
{
    uint64_t tag = siphash(r->secret, key);
    const struct rate_set *s = &r->set[tag % RATE_SETS];
    return limit == 0 || s->window_s != now_ms / 1000 || s->n[way_of(s, tag)] < limit;
}

bool rates_pass(struct rates *r, struct slice key, uint64_t now_ms, uint32_t limit)
{
    uint64_t tag = siphash(r->secret, key);
    struct rate_set *s = &r->set[tag % RATE_SETS];
    if (!rates_left(r, key, now_ms, limit)) {
        return false;
    }
    if (s->window_s != now_ms / 1000) {
        *s = (struct rate_set){.window_s = now_ms / 1000};
    }
    size_t at = way_of(s, tag);
    s->tag[at] = tag;
    s->n[at]++;
    return true;
}
