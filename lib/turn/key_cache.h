/* What was found out about a user, for a while: a table of fixed size, one place a name. */
#pragma once

#include "lib/stun/msg.h"

enum {
    KEY_CACHE_NAME_MAX = 128 /* bytes; longer names are not kept */
};

struct key_cache_entry {
    uint64_t until_ms; /* 0: empty */
    struct stun_key key;
    uint8_t name_len;
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
enum key_cache_result key_cache_find(const struct key_cache *c, uint64_t now_ms,
                                     struct slice name, struct stun_key *out,
                                     uint64_t *until_ms);
/* `key` NULL: there is no such user. Takes the place of whoever had it. */
void key_cache_put(struct key_cache *c, uint64_t until_ms, struct slice name,
                   const struct stun_key *key);
