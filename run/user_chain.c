/* Who is this user? One question goes from store to store until something is found. */
#include "run/user_chain.h"

#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/turn/credentials.h"
#include "lib/turn/key_cache.h"

enum {
    CACHE_PLACES = 4096, /* of users, and as many of strangers */
    LINES_PER_S = 5
};

struct secrets { /* what a store said of a realm */
    uint8_t value[USER_VALUES_MAX][CREDENTIAL_SECRET_MAX];
    size_t len[USER_VALUES_MAX];
    size_t n;
    uint64_t until_ms; /* 0: ask */
};

struct lookup {
    uint64_t id; /* 0: free. Ids count up and never come again */
    turn_id ticket;
    uint64_t deadline_ms;
    size_t store; /* the one that is asked */
    enum user_ask what;
    bool is_timed, is_expired;
    bool has_secret; /* some secret exists, so that timed names are theirs alone */
    bool in_trouble; /* a store could not tell */
    uint64_t timed_until_ms;
    uint8_t realm;     /* index */
    uint8_t algorithm; /* enum stun_algorithm, of the keys that are of use */
    bool by_hash;      /* `name` is a userhash */
    uint8_t name[USER_NAME_MAX];
    size_t name_len;
    uint8_t token[OAUTH_TOKEN_MAX]; /* then `name` is the id of its key */
    size_t token_len;
    struct turn_keys keys;
};

struct user_chain {
    struct user_chain_config cfg;
    uint8_t realms[TURN_REALMS_MAX][USER_REALM_MAX], third_party[OAUTH_NAME_MAX];
    struct user_store *stores[USER_STORES_MAX];
    struct secrets secrets[USER_STORES_MAX][TURN_REALMS_MAX];
    size_t n_stores;
    struct lookup lookups[USER_WAITING_MAX];
    uint64_t last_id;
    struct key_cache cache;
    struct loop_timer *timer;
    struct log_limit late, full, expired;
};

static void step(struct user_chain *c, struct lookup *l);

static struct slice name_of(const struct lookup *l)
{
    return slice_of(l->name, l->name_len);
}

static struct key_cache_who who_of(const struct lookup *l)
{
    return (struct key_cache_who){.realm = l->realm, .name = name_of(l)};
}

static uint64_t now(const struct user_chain *c)
{
    return loop_now_ms(c->cfg.loop);
}

static void set_timer(struct user_chain *c)
{
    uint64_t first_ms = UINT64_MAX;
    for (size_t i = 0; i < USER_WAITING_MAX; i++) {
        const struct lookup *l = &c->lookups[i];
        if (l->id && l->deadline_ms < first_ms) {
            first_ms = l->deadline_ms;
        }
    }
    loop_timer_at(c->timer, first_ms);
}

static void finish(struct user_chain *c, struct lookup *l)
{
    struct turn_keys keys = l->keys;
    turn_id ticket = l->ticket;
    bool is_known = keys.n > 0 || !l->in_trouble;
    secret_wipe(l, sizeof *l);
    set_timer(c);
    c->cfg.answer(ticket, is_known ? &keys : NULL, c->cfg.answer_ctx);
    secret_wipe(&keys, sizeof keys);
}

static void add_secret(struct user_chain *c, struct lookup *l, struct slice secret)
{
    const struct {
        bool on;
        enum stun_hash hash;
    } hashes[] = {
        {c->cfg.sha1,   STUN_SHA1  },
        {c->cfg.sha256, STUN_SHA256}
    };
    if (secret.len == 0 || secret.len > CREDENTIAL_SECRET_MAX) {
        return;
    }
    l->has_secret = true;
    l->keys.until_ms = l->timed_until_ms;
    for (size_t i = 0; i < 2 && !l->is_expired; i++) {
        struct stun_key *key = &l->keys.key[l->keys.n];
        const struct credential_maker maker = {.hash = hashes[i].hash,
                                               .algorithm = (enum stun_algorithm)l->algorithm,
                                               .secret = secret};
        if (hashes[i].on && l->keys.n < TURN_KEYS_MAX &&
            credential_key(key, &maker, name_of(l), c->cfg.realms[l->realm]) == OK) {
            l->keys.n++;
        }
    }
}

static void keep_secrets(struct user_chain *c, struct secrets *s, const struct user_answer *a)
{
    s->n = 0;
    for (size_t i = 0; i < a->n; i++) {
        struct slice v = a->value[i];
        if (v.len > 0 && v.len <= CREDENTIAL_SECRET_MAX) {
            memcpy(s->value[s->n], v.p, v.len);
            s->len[s->n++] = v.len;
        }
    }
    s->until_ms = now(c) + 1000ull * c->cfg.cache_s;
}

static void add_kept_secrets(struct user_chain *c, struct lookup *l, const struct secrets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        add_secret(c, l, slice_of(s->value[i], s->len[i]));
    }
}

/* The name as a user's own: what is remembered of it, or the first store. */
static void begin_key(struct user_chain *c, struct lookup *l)
{
    const struct key_cache_who who = who_of(l);
    l->what = USER_ASK_KEY;
    l->store = 0;
    if (l->by_hash) {
        l->what = USER_ASK_BY_HASH;
        step(c, l);
        return;
    }
    switch (key_cache_find(&c->cache, now(c), &who, &l->keys)) {
    case KEY_CACHE_USER:
        l->in_trouble = false;
        finish(c, l);
        return;
    case KEY_CACHE_STRANGER: finish(c, l); return;
    case KEY_CACHE_NOTHING: step(c, l); return;
    }
}

static void all_asked(struct user_chain *c, struct lookup *l)
{
    uint32_t held;
    uint64_t now_ms = now(c);
    if (l->what == USER_ASK_SECRETS && !l->has_secret) {
        begin_key(c, l);
        return;
    }
    if (l->what == USER_ASK_SECRETS && l->is_expired) {
        l->in_trouble = false;
        if (log_limit_pass(&c->expired, now_ms / 1000, LINES_PER_S, &held)) {
            LOG(c->cfg.log, LOG_INFO, "credential-expired", LOG_B("user", name_of(l)));
        }
    }
    if (l->what == USER_ASK_KEY && !l->in_trouble && c->n_stores > 0) {
        const struct key_cache_who who = who_of(l);
        l->keys.until_ms = now_ms + 1000ull * c->cfg.stranger_s;
        key_cache_put(&c->cache, &who, &l->keys);
    }
    finish(c, l);
}

/* Asks the next store; a store that answers at once comes back here through on_answer(), so
 * the depth is twice the number of stores at most. */
static void step(struct user_chain *c, struct lookup *l)
{
    while (l->what == USER_ASK_SECRETS && l->store < c->n_stores &&
           now(c) < c->secrets[l->store][l->realm].until_ms) {
        add_kept_secrets(c, l, &c->secrets[l->store++][l->realm]);
    }
    if (l->store == c->n_stores) {
        all_asked(c, l);
        return;
    }
    struct user_store *s = c->stores[l->store];
    struct user_question q = {.id = l->id, .what = l->what, .realm = c->cfg.realms[l->realm]};
    if (l->what == USER_ASK_KEY || l->what == USER_ASK_TOKEN_KEY) {
        q.name = name_of(l);
    } else if (l->what == USER_ASK_BY_HASH) {
        q.userhash = name_of(l);
    }
    s->ask(s, &q);
}

static void take_key(struct user_chain *c, struct lookup *l, struct slice hex)
{
    struct stun_key *key = &l->keys.key[l->keys.n];
    if (l->keys.n == KEY_CACHE_KEYS) {
        return;
    }
    if (credential_key_from_hex(key, text_trim(hex))) {
        LOG(c->cfg.log, LOG_ERROR, "user-key-unreadable",
            LOG_S("store", c->stores[l->store]->name), LOG_B("user", name_of(l)),
            LOG_S("want", "32 or 64 hexadecimal digits"));
        l->in_trouble = true;
        return;
    }
    l->keys.n++;
}

static void take_keys(struct user_chain *c, struct lookup *l, const struct user_answer *a)
{
    const struct key_cache_who who = who_of(l);
    if (l->by_hash && (a->name.len == 0 || a->name.len > sizeof l->keys.name)) {
        return; /* of a name that is too long, which has no user without the hash either */
    }
    for (size_t i = 0; i < a->n; i++) {
        take_key(c, l, a->value[i]);
    }
    if (l->by_hash) {
        memcpy(l->keys.name, a->name.p, a->name.len);
        l->keys.name_len = a->name.len;
    }
    if (l->keys.n > 0) {
        l->keys.until_ms = now(c) + 1000ull * c->cfg.cache_s;
    }
    if (l->keys.n > 0 && !l->by_hash) {
        key_cache_put(&c->cache, &who, &l->keys);
    }
}

/* The token as keys, once the key that it is sealed with is known. */
static void open_token(struct user_chain *c, struct lookup *l, const struct oauth_key *key)
{
    const struct oauth_now at = {
        .unix_s = loop_unix_s(), .ms = now(c), .name = c->cfg.third_party};
    oauth_token_keys(&l->keys, key, &at, slice_of(l->token, l->token_len));
    l->in_trouble = false;
    finish(c, l);
}

/* False: it was no key, and the next store is asked. */
static bool take_token_key(struct user_chain *c, struct lookup *l, struct slice row)
{
    struct oauth_key key;
    if (oauth_key_from_row(&key, row)) {
        LOG(c->cfg.log, LOG_ERROR, "user-key-unreadable",
            LOG_S("store", c->stores[l->store]->name), LOG_B("user", name_of(l)),
            LOG_S("want", "base64 of 32 bytes for A256GCM, of 16 for A128GCM"));
        l->in_trouble = true;
        return false;
    }
    open_token(c, l, &key);
    secret_wipe(&key, sizeof key);
    return true;
}

static void find_token(struct user_chain *c, struct lookup *l, struct slice token)
{
    struct oauth_key key;
    if (token.len > sizeof l->token) {
        finish(c, l);
        return;
    }
    memcpy(l->token, token.p, token.len);
    l->token_len = token.len;
    if (c->cfg.find_token_key && c->cfg.find_token_key(name_of(l), &key, c->cfg.fixed_ctx)) {
        open_token(c, l, &key);
        secret_wipe(&key, sizeof key);
        return;
    }
    l->what = USER_ASK_TOKEN_KEY;
    set_timer(c);
    step(c, l);
}

static void on_answer(uint64_t id, const struct user_answer *a, void *ctx)
{
    struct user_chain *c = ctx;
    struct lookup *l = NULL;
    for (size_t i = 0; i < USER_WAITING_MAX && id; i++) {
        l = c->lookups[i].id == id ? &c->lookups[i] : l;
    }
    if (!l) {
        return;
    }
    if (a->what == USER_TROUBLE) {
        l->in_trouble = true;
    } else if (l->what == USER_ASK_SECRETS) {
        keep_secrets(c, &c->secrets[l->store][l->realm], a);
        add_kept_secrets(c, l, &c->secrets[l->store][l->realm]);
    } else if (l->what == USER_ASK_TOKEN_KEY && a->n > 0) {
        if (take_token_key(c, l, a->value[0])) {
            return;
        }
    } else if (a->n > 0) {
        take_keys(c, l, a);
        if (l->keys.n > 0) {
            finish(c, l);
            return;
        }
    }
    l->store++;
    step(c, l);
}

static void on_timer(void *ctx)
{
    struct user_chain *c = ctx;
    uint64_t now_ms = now(c);
    uint32_t held;
    for (size_t i = 0; i < USER_WAITING_MAX; i++) {
        struct lookup *l = &c->lookups[i];
        if (!l->id || l->deadline_ms > now_ms) {
            continue;
        }
        if (log_limit_pass(&c->late, now_ms / 1000, 1, &held)) {
            LOG(c->cfg.log, LOG_WARN, "users-late", LOG_S("store", c->stores[l->store]->name),
                LOG_N("waited_ms", c->cfg.timeout_ms), LOG_N("held_back", held));
        }
        l->in_trouble = true;
        finish(c, l);
    }
    set_timer(c);
}

/* When a timed name has to be looked at again, on the loop's clock: in its last second, since
 * the wall clock is in whole ones. */
static uint64_t timed_until_ms(const struct user_chain *c, uint64_t expires_s, uint64_t unix_s)
{
    uint64_t left_s = expires_s - unix_s - 1;
    if (!c->cfg.strict_expiry || left_s > UINT32_MAX) {
        return UINT64_MAX;
    }
    return now(c) + 1000 * left_s;
}

/* By name or, where there is none, by hash. NULL: no room, or no name that anybody can have. */
static struct lookup *lookup_new(struct user_chain *c, const struct turn_ask *ask)
{
    uint64_t expires_s, unix_s = loop_unix_s();
    struct lookup *l = NULL;
    bool by_hash = ask->userhash.len > 0;
    struct slice name = by_hash ? ask->userhash : ask->username;
    for (size_t i = 0; i < USER_WAITING_MAX && name.len > 0 && name.len <= USER_NAME_MAX; i++) {
        l = c->lookups[i].id ? l : &c->lookups[i];
    }
    if (!l) {
        return NULL;
    }
    *l = (struct lookup){.id = ++c->last_id,
                         .ticket = ask->ticket,
                         .deadline_ms = now(c) + c->cfg.timeout_ms,
                         .algorithm = ask->algorithm,
                         .by_hash = by_hash,
                         .name_len = name.len};
    memcpy(l->name, name.p, name.len);
    l->is_timed = !by_hash && ask->token.len == 0 && credential_is_timed(name, &expires_s);
    l->is_expired = l->is_timed && expires_s <= unix_s;
    if (l->is_timed && !l->is_expired) {
        l->timed_until_ms = timed_until_ms(c, expires_s, unix_s);
    }
    return l;
}

/* n_realms: not one of ours. */
static uint8_t realm_index(const struct user_chain *c, struct slice realm)
{
    uint8_t i = 0;
    while (i < c->cfg.n_realms && !slice_eq(c->cfg.realms[i], realm)) {
        i++;
    }
    return i;
}

void user_chain_find(struct user_chain *c, const struct turn_ask *ask)
{
    uint8_t realm_at = realm_index(c, ask->realm);
    if (realm_at == c->cfg.n_realms) {
        c->cfg.answer(ask->ticket, &(struct turn_keys){.n = 0}, c->cfg.answer_ctx);
        return;
    }
    struct lookup *l = lookup_new(c, ask);
    uint32_t held;
    if (!l) {
        if (log_limit_pass(&c->full, now(c) / 1000, 1, &held)) {
            LOG(c->cfg.log, LOG_WARN, "users-busy", LOG_N("waiting", USER_WAITING_MAX),
                LOG_N("held_back", held));
        }
        c->cfg.answer(ask->ticket, NULL, c->cfg.answer_ctx);
        return;
    }
    l->realm = realm_at;
    if (ask->token.len > 0) {
        find_token(c, l, ask->token);
        return;
    }
    if (c->cfg.find_fixed(realm_at, ask, &l->keys, c->cfg.fixed_ctx)) {
        l->keys.until_ms = now(c) + 1000ull * c->cfg.cache_s;
        finish(c, l);
        return;
    }
    set_timer(c);
    if (!l->is_timed) {
        begin_key(c, l);
        return;
    }
    size_t n;
    const struct slice *secrets = c->cfg.secrets(l->realm, &n, c->cfg.fixed_ctx);
    l->what = USER_ASK_SECRETS;
    for (size_t i = 0; i < n; i++) {
        add_secret(c, l, secrets[i]);
    }
    step(c, l);
}

int user_chain_new(struct user_chain **out, const struct user_chain_config *cfg)
{
    uint8_t secret[16];
    struct user_chain *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) {
        return ERR_NOMEM;
    }
    c->cfg = *cfg;
    if (cfg->n_realms > TURN_REALMS_MAX || cfg->third_party.len > sizeof c->third_party) {
        free(c);
        return ERR_LIMIT;
    }
    if (cfg->third_party.len > 0) {
        memcpy(c->third_party, cfg->third_party.p, cfg->third_party.len);
        c->cfg.third_party.p = c->third_party;
    }
    for (size_t i = 0; i < cfg->n_realms; i++) {
        if (cfg->realms[i].len > USER_REALM_MAX) {
            free(c);
            return ERR_LIMIT;
        }
        memcpy(c->realms[i], cfg->realms[i].p, cfg->realms[i].len);
        c->cfg.realms[i].p = c->realms[i];
    }
    io_random(secret, sizeof secret);
    int err = key_cache_init(&c->cache, CACHE_PLACES, secret);
    err = err ? err : loop_timer_new(&c->timer, cfg->loop, on_timer, c);
    if (err) {
        user_chain_free(c);
        return err;
    }
    *out = c;
    return OK;
}

void user_chain_free(struct user_chain *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->n_stores; i++) {
        c->stores[i]->free(c->stores[i]);
    }
    loop_timer_free(c->timer);
    key_cache_done(&c->cache);
    secret_wipe(c->secrets, sizeof c->secrets);
    secret_wipe(c->lookups, sizeof c->lookups);
    free(c);
}

int user_chain_add(struct user_chain *c, struct user_store *s)
{
    if (c->n_stores == USER_STORES_MAX) {
        s->free(s);
        return ERR_LIMIT;
    }
    s->answer = on_answer;
    s->ctx = c;
    c->stores[c->n_stores++] = s;
    return OK;
}

void user_chain_forget(struct user_chain *c)
{
    key_cache_drop(&c->cache);
    secret_wipe(c->secrets, sizeof c->secrets);
}
