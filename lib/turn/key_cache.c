/* What was found out about a user, for a while. */
#include "lib/turn/key_cache.h"

#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/map.h"

int key_cache_init(struct key_cache *c, size_t n, const uint8_t secret[16])
{
    *c = (struct key_cache){.n = n};
    memcpy(c->secret, secret, sizeof c->secret);
    c->users = calloc(n, sizeof *c->users);
    c->strangers = calloc(n, sizeof *c->strangers);
    if (!c->users || !c->strangers) {
        key_cache_done(c);
        return ERR_NOMEM;
    }
    return OK;
}

void key_cache_done(struct key_cache *c)
{
    if (c->users && c->strangers) {
        key_cache_drop(c);
    }
    free(c->users);
    free(c->strangers);
    *c = (struct key_cache){.n = 0};
}

void key_cache_drop(struct key_cache *c)
{
    secret_wipe(c->users, c->n * sizeof *c->users);
    memset(c->strangers, 0, c->n * sizeof *c->strangers);
}

static size_t place_of(const struct key_cache *c, struct slice name)
{
    return (size_t)(siphash(c->secret, name) % c->n);
}

static bool holds(const struct key_cache_entry *e, uint64_t now_ms, struct slice name)
{
    return now_ms < e->until_ms && slice_eq(name, slice_of(e->name, e->name_len));
}

enum key_cache_result key_cache_find(const struct key_cache *c, uint64_t now_ms,
                                     struct slice name, struct stun_key *out,
                                     uint64_t *until_ms)
{
    size_t at = place_of(c, name);
    if (holds(&c->users[at], now_ms, name)) {
        *out = c->users[at].key;
        *until_ms = c->users[at].until_ms;
        return KEY_CACHE_USER;
    }
    return holds(&c->strangers[at], now_ms, name) ? KEY_CACHE_STRANGER : KEY_CACHE_NOTHING;
}

void key_cache_put(struct key_cache *c, uint64_t until_ms, struct slice name,
                   const struct stun_key *key)
{
    if (name.len == 0 || name.len > KEY_CACHE_NAME_MAX) {
        return;
    }
    size_t at = place_of(c, name);
    struct key_cache_entry *user = &c->users[at];
    if (!key && slice_eq(name, slice_of(user->name, user->name_len))) {
        secret_wipe(user, sizeof *user);
    }
    struct key_cache_entry *e = key ? user : &c->strangers[at];
    e->until_ms = until_ms;
    e->name_len = (uint8_t)name.len;
    memcpy(e->name, name.p, name.len);
    if (key) {
        e->key = *key;
    }
}
