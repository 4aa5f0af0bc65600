/* Ranges of addresses, as big-endian numbers of 4 or 16 bytes. */
#include "cmd/edge/ip_range.h"

#include <string.h>

#include "lib/base/text.h"

static int compare(const struct addr *a, const struct addr *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip);
}

static void last_of(struct addr *a, unsigned bits)
{
    for (unsigned i = bits; i < 8 * addr_ip_len(a->family); i++) {
        a->ip[i / 8] |= (uint8_t)(0x80u >> (i % 8));
    }
}

/* False: it was the last address of its family, and is the first now. */
static bool increment(struct addr *a)
{
    for (size_t i = addr_ip_len(a->family); i-- > 0;) {
        if (++a->ip[i] != 0) {
            return true;
        }
    }
    return false;
}

static void decrement(struct addr *a)
{
    for (size_t i = addr_ip_len(a->family); i-- > 0;) {
        if (a->ip[i]-- != 0) {
            return;
        }
    }
}

bool ip_range_parse(struct slice s, struct ip_range *out)
{
    struct slice last = s, first = text_trim(text_split(&last, '-'));
    struct addr_net net;
    last = text_trim(last);
    if (last.len == 0) {
        if (addr_net_parse(first, &net)) {
            return false;
        }
        *out = (struct ip_range){net.base, net.base};
        last_of(&out->last, net.bits);
    } else if (addr_parse(first, &out->first) || addr_parse(last, &out->last)) {
        return false;
    }
    out->first.port = out->last.port = 0;
    return out->first.family == out->last.family && compare(&out->first, &out->last) <= 0;
}

int ip_set_add(struct ip_set *s, const struct ip_range *r)
{
    if (s->n == IP_RANGES_MAX) {
        return ERR_LIMIT;
    }
    s->r[s->n++] = *r;
    return OK;
}

int ip_set_remove(struct ip_set *s, const struct ip_range *r)
{
    int err = OK;
    for (size_t i = s->n; i-- > 0 && !err;) {
        struct ip_range have = s->r[i];
        if (have.first.family != r->first.family || compare(&have.last, &r->first) < 0 ||
            compare(&have.first, &r->last) > 0) {
            continue;
        }
        /* What is added comes behind all that is still to be looked at. */
        s->r[i] = s->r[--s->n];
        if (compare(&have.first, &r->first) < 0) {
            struct ip_range low = {have.first, r->first};
            decrement(&low.last);
            err = ip_set_add(s, &low);
        }
        if (!err && compare(&have.last, &r->last) > 0) {
            struct ip_range high = {r->last, have.last};
            (void)increment(&high.first);
            err = ip_set_add(s, &high);
        }
    }
    return err;
}

bool ip_range_next_net(struct ip_range *r, struct addr_net *out)
{
    size_t bits = 8 * addr_ip_len(r->first.family);
    if (compare(&r->first, &r->last) > 0) {
        return false;
    }
    *out = (struct addr_net){.base = r->first, .bits = (uint8_t)bits};
    struct addr end = r->first;
    while (bits > 0) {
        struct addr wider = r->first;
        bits--;
        /* A network of fewer bits: its base must not have this one, its end be in the range. */
        if (wider.ip[bits / 8] & (0x80u >> (bits % 8))) {
            break;
        }
        last_of(&wider, (unsigned)bits);
        if (compare(&wider, &r->last) > 0) {
            break;
        }
        out->bits = (uint8_t)bits;
        end = wider;
    }
    r->first = end;
    if (!increment(&r->first)) {
        /* Behind the last address of all there is nothing: an empty range. */
        r->first = r->last;
        decrement(&r->last);
    }
    return true;
}
