/* Hash table from a fixed-size key to a pointer. The hash is keyed (SipHash-2-4), since keys
 * come from the network. Entries sit in the caller's structs: nothing is allocated but the
 * bucket array. */
#pragma once

#include "lib/base/wire.h"

struct map_link { /* embed one in each struct that is in a map */
    struct map_link *next;
    uint64_t hash;
};

struct map {
    struct map_link **bucket;
    size_t n_buckets, n;
    size_t key_at, key_len; /* of the key, from the link */
    uint8_t secret[16];
};

/* `n_expected` sizes the table for good; it never grows. `key_offset` is the distance in bytes
 * from a struct's map_link to its key (MAP_KEY). Keys are compared as bytes: no padding. */
MUST_USE int map_init(struct map *m, size_t n_expected, size_t key_offset, size_t key_len,
                      const uint8_t secret[16]);
void map_done(struct map *m); /* entries are the caller's */

#define MAP_KEY(type, link, key) (offsetof(type, key) - offsetof(type, link))

/* NULL if there is none. */
struct map_link *map_find(const struct map *m, const void *key);
/* The key must not be in the map already. */
void map_add(struct map *m, struct map_link *l);
/* No harm done when `l` is not in the map. */
void map_remove(struct map *m, struct map_link *l);

#define MAP_ENTRY(link, type, member) \
    ((link) ? (type *)(void *)((char *)(link)-offsetof(type, member)) : NULL)

uint64_t siphash(const uint8_t secret[16], struct slice in);
