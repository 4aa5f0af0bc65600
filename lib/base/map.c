/* Hash table from a fixed-size key to a pointer, with a keyed hash. */
#include "lib/base/map.h"

#include <stdlib.h>

static uint64_t le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) {
        v = v << 8 | p[i];
    }
    return v;
}

static uint64_t rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t m)
{
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

uint64_t siphash(const uint8_t secret[16], struct slice in)
{
    uint64_t k0 = le64(secret), k1 = le64(secret + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    size_t i = 0;
    for (; i + 8 <= in.len; i += 8) {
        sip_word(v, le64(in.p + i));
    }
    uint8_t last[8] = {[7] = (uint8_t)in.len};
    if (in.len > i) {
        memcpy(last, in.p + i, in.len - i);
    }
    sip_word(v, le64(last));
    v[2] ^= 0xff;
    for (i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int map_init(struct map *m, size_t n_expected, size_t key_offset, size_t key_len,
             const uint8_t secret[16])
{
    size_t n = 16;
    while (n < n_expected && n < (SIZE_MAX / sizeof *m->bucket) / 4) {
        n *= 2;
    }
    *m = (struct map){.n_buckets = n, .key_at = key_offset, .key_len = key_len};
    memcpy(m->secret, secret, sizeof m->secret);
    m->bucket = calloc(n, sizeof *m->bucket);
    return m->bucket ? OK : ERR_NOMEM;
}

void map_done(struct map *m)
{
    free(m->bucket);
    *m = (struct map){0};
}

struct map_link *map_find(const struct map *m, const void *key)
{
    if (m->n == 0) {
        return NULL;
    }
    uint64_t hash = siphash(m->secret, slice_of(key, m->key_len));
    struct map_link *l = m->bucket[hash & (m->n_buckets - 1)];
    while (l &&
           (l->hash != hash || memcmp((const uint8_t *)l + m->key_at, key, m->key_len) != 0)) {
        l = l->next;
    }
    return l;
}

void map_add(struct map *m, struct map_link *l)
{
    l->hash = siphash(m->secret, slice_of((const uint8_t *)l + m->key_at, m->key_len));
    struct map_link **b = &m->bucket[l->hash & (m->n_buckets - 1)];
    l->next = *b;
    *b = l;
    m->n++;
}

void map_remove(struct map *m, struct map_link *l)
{
    struct map_link **at = &m->bucket[l->hash & (m->n_buckets - 1)];
    while (*at && *at != l) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = l->next;
        m->n--;
    }
}
