/* What was found out about a user, for a while: a table of fixed size, one place a name. */
#pragma once

#include "lib/turn/server.h"

enum {
    KEY_CACHE_NAME_MAX = 128, /* bytes; longer names are not kept */
    KEY_CACHE_KEYS = 2        /* of a user; one for each password algorithm */
};

struct key_cache_who {
    uint8_t realm; /* index */
    struct slice name;
};

struct key_cache_entry {
    uint64_t until_ms; /* 0: empty */
    struct stun_key key[KEY_CACHE_KEYS];
    uint8_t n_keys;
    uint8_t realm, name_len;
    uint8_t name[KEY_CACHE_NAME_MAX];
};

/* Users and strangers are kept apart, so that made-up names cannot push users out. */
struct key_cache {
    struct key_cache_entry *users, *strangers;
    size_t n; /* of each */
    uint8_t secret[16];
};

enum key_cache_result {
    KEY_CACHE_NOTHING,
    KEY_CACHE_USER,
    KEY_CACHE_STRANGER
};

MUST_USE int key_cache_init(struct key_cache *c, size_t n, const uint8_t secret[16]);
void key_cache_done(struct key_cache *c);
/* Forgets everything. */
void key_cache_drop(struct key_cache *c);
/* `out` is set for a user only. */
enum key_cache_result key_cache_find(const struct key_cache *c, uint64_t now_ms,
                                     const struct key_cache_who *who, struct turn_keys *out);
/* Until keys->until_ms; no keys: there is no such user. Takes the place of whoever had it. */
void key_cache_put(struct key_cache *c, const struct key_cache_who *who,
                   const struct turn_keys *keys);
