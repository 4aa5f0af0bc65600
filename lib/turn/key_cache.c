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

static size_t place_of(const struct key_cache *c, const struct key_cache_who *who)
{
    return (size_t)((siphash(c->secret, who->name) + who->realm) % c->n);
}

static bool is_of(const struct key_cache_entry *e, const struct key_cache_who *who)
{
    return e->realm == who->realm && slice_eq(who->name, slice_of(e->name, e->name_len));
}

enum key_cache_result key_cache_find(const struct key_cache *c, uint64_t now_ms,
                                     const struct key_cache_who *who, struct turn_keys *out)
{
    size_t at = place_of(c, who);
    const struct key_cache_entry *user = &c->users[at], *stranger = &c->strangers[at];
    if (now_ms < user->until_ms && is_of(user, who)) {
        memcpy(out->key, user->key, sizeof user->key);
        out->n = user->n_keys;
        out->until_ms = user->until_ms;
        return KEY_CACHE_USER;
    }
    return now_ms < stranger->until_ms && is_of(stranger, who) ? KEY_CACHE_STRANGER
                                                               : KEY_CACHE_NOTHING;
}

void key_cache_put(struct key_cache *c, const struct key_cache_who *who,
                   const struct turn_keys *keys)
{
    if (who->name.len == 0 || who->name.len > KEY_CACHE_NAME_MAX || keys->n > KEY_CACHE_KEYS) {
        return;
    }
    size_t at = place_of(c, who);
    struct key_cache_entry *user = &c->users[at];
    if (keys->n == 0 && is_of(user, who)) {
        secret_wipe(user, sizeof *user);
    }
    struct key_cache_entry *e = keys->n > 0 ? user : &c->strangers[at];
    e->until_ms = keys->until_ms;
    e->realm = who->realm;
    e->name_len = (uint8_t)who->name.len;
    memcpy(e->name, who->name.p, who->name.len);
    e->n_keys = (uint8_t)keys->n;
    memcpy(e->key, keys->key, keys->n * sizeof *e->key);
}
