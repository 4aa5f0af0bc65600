/* Who may allocate: from the options and the user file, kept as keys, and from databases. */
#include "cmd/edge/users.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/turn/credentials.h"

#include "run/user_postgres.h"
#include "run/user_redis.h"
#include "run/user_sqlite.h"

#include "cmd/edge/tokens.h"

enum {
    USERS_MAX = 100000,
    NAME_MAX_BYTES = 128, /* the server knows no longer ones */
    LINE_MAX_BYTES = 1024,
    SECRET_MIN = 8, /* bytes: a shorter one is found by trying */
    STRANGER_S = 10,
    ANSWER_MS = 3000 /* what a client waits before it has asked three times (RFC 8489 6.2.1) */
};

static int by_name(const void *a, const void *b)
{
    const struct edge_user *x = a, *y = b;
    if (x->realm != y->realm) {
        return x->realm - y->realm;
    }
    size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
    int d = memcmp(x->name, y->name, len);
    return d ? d : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static int by_hash(const void *a, const void *b)
{
    const struct edge_user *const *x = a, *const *y = b;
    return memcmp((*x)->hash, (*y)->hash, sizeof(*x)->hash);
}

static const struct edge_user *find_by_hash(const struct edge_conf *e, struct slice hash)
{
    struct edge_user want;
    const struct edge_user *key = &want, **at;
    if (hash.len != sizeof want.hash) {
        return NULL;
    }
    memcpy(want.hash, hash.p, sizeof want.hash);
    at = bsearch(&key, e->by_hash, e->n_users, sizeof *e->by_hash, by_hash);
    return at ? *at : NULL;
}

static const struct edge_user *find_by_name(const struct edge_conf *e, uint8_t realm,
                                            struct slice username)
{
    uint8_t name[NAME_MAX_BYTES];
    if (username.len == 0 || username.len > sizeof name) {
        return NULL;
    }
    memcpy(name, username.p, username.len);
    struct edge_user want = {.realm = realm, .name = name, .name_len = username.len};
    return bsearch(&want, e->users, e->n_users, sizeof want, by_name);
}

static bool find_fixed(uint8_t realm, const struct turn_ask *ask, struct turn_keys *out,
                       void *ctx)
{
    const struct users *all = ctx;
    const struct edge_conf *e = all->conf;
    if (e->n_users == 0) {
        return false;
    }
    const struct edge_user *u = ask->userhash.len > 0 ? find_by_hash(e, ask->userhash)
                                                      : find_by_name(e, realm, ask->username);
    if (!u || u->realm != realm) {
        return false;
    }
    memcpy(out->key, u->key, sizeof u->key);
    out->n = u->n_keys;
    memcpy(out->name, u->name, u->name_len);
    out->name_len = u->name_len;
    return true;
}

/* A realm without any of its own has those of the default one. */
static const struct slice *secrets_of(uint8_t realm, size_t *n, void *ctx)
{
    const struct users *all = ctx;
    const struct edge_secrets *own = &all->conf->secrets[realm];
    const struct edge_secrets *s = own->n > 0 ? own : &all->conf->secrets[0];
    *n = s->n;
    return s->value;
}

/* Of a password, or of 0x and a key in hexadecimal as coturn writes it. */
static int make_keys(struct edge_user *u, struct slice realm, struct slice password)
{
    struct slice name = slice_of(u->name, u->name_len);
    int err = stun_userhash(u->hash, name, realm);
    u->n_keys = 1;
    if (err || (text_starts(password, "0x") &&
                credential_key_from_hex(&u->key[0], slice_from(password, 2)) == OK)) {
        return err;
    }
    u->n_keys = 2;
    err = stun_key_long_term(&u->key[0], name, realm, password);
    return err ? err : stun_key_made(&u->key[1], STUN_ALGORITHM_SHA256, name, realm, password);
}

/* For one more; the table doubles whenever it is full. No realloc: it would leave keys behind.
 */
static bool make_room(struct edge_conf *e)
{
    size_t n = e->n_users;
    if (n & (n - 1)) {
        return true;
    }
    struct edge_user *more = calloc(n > 0 ? 2 * n : 1, sizeof *more);
    if (more && n > 0) {
        memcpy(more, e->users, n * sizeof *more);
        secret_wipe(e->users, n * sizeof *e->users);
    }
    if (more) {
        free(e->users);
        e->users = more;
    }
    return more != NULL;
}

/* NULL, or what is wrong with this user. */
static const char *add(struct edge_conf *e, uint8_t realm, struct slice name,
                       struct slice password)
{
    if (name.len == 0 || password.len == 0) {
        return "needs a name and a password, NAME:PASSWORD";
    }
    if (name.len > NAME_MAX_BYTES) {
        return "name is longer than 128 bytes";
    }
    if (e->n_users == USERS_MAX) {
        return "too many users";
    }
    if (!make_room(e)) {
        return "out of memory";
    }
    struct edge_user *u = &e->users[e->n_users];
    *u = (struct edge_user){.realm = realm, .name = malloc(name.len), .name_len = name.len};
    if (!u->name) {
        return "out of memory";
    }
    memcpy(u->name, name.p, name.len);
    e->n_users++;
    return make_keys(u, e->run.server.realms[u->realm], password)
               ? "libcrypto refuses MD5, which TURN's passwords need"
               : NULL;
}

static const char *add_line(struct edge_conf *e, uint8_t realm, const char *text)
{
    struct slice password = text_trim(slice_str(text));
    if (password.len == 0 || password.p[0] == '#') {
        return NULL;
    }
    struct slice name = text_split(&password, ':');
    return add(e, realm, name, password);
}

static bool read_file(struct edge_conf *e, uint8_t realm, struct conf *c, const char *path)
{
    char line[LINE_MAX_BYTES];
    FILE *f = fopen(path, "r");
    const char *wrong = NULL;
    if (!f) {
        conf_fail(c, "user-file", 0, "%s: %s", path, strerror(errno));
        return false;
    }
    for (size_t n = 1; !wrong && fgets(line, sizeof line, f); n++) {
        bool is_cut = strlen(line) == sizeof line - 1 && line[sizeof line - 2] != '\n';
        wrong = is_cut ? "line is too long" : add_line(e, realm, line);
        if (wrong) {
            conf_fail(c, "user-file", 0, "%s:%zu: %s", path, n, wrong);
        }
    }
    if (!wrong && ferror(f)) {
        wrong = "cannot be read";
        conf_fail(c, "user-file", 0, "%s: %s", path, wrong);
    }
    secret_wipe(line, sizeof line);
    (void)fclose(f);
    return !wrong;
}

/* Copies: the options are wiped after the start. */
static bool read_secrets(struct edge_secrets *to, struct conf *c)
{
    size_t n = conf_count(c, "secret");
    if (n > USER_VALUES_MAX) {
        conf_fail(c, "secret", USER_VALUES_MAX, "at most %d secrets", USER_VALUES_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct slice s = slice_str(conf_text(c, "secret", i));
        if (s.len < SECRET_MIN || s.len > CREDENTIAL_SECRET_MAX) {
            conf_fail(c, "secret", i, "must have %d to %d bytes", SECRET_MIN,
                      CREDENTIAL_SECRET_MAX);
            return false;
        }
        uint8_t *copy = malloc(s.len);
        if (!copy) {
            conf_fail(c, "secret", i, "out of memory");
            return false;
        }
        memcpy(copy, s.p, s.len);
        to->bytes[i] = copy;
        to->value[i] = slice_of(copy, s.len);
        to->n = i + 1;
    }
    return true;
}

static bool copy_text(struct conf *c, const char *name, char **out)
{
    const char *text = conf_text(c, name, 0);
    *out = text ? strdup(text) : NULL;
    if (text && !*out) {
        conf_fail(c, name, 0, "out of memory");
    }
    return !text || *out;
}

static bool has_database(const struct edge_conf *e)
{
    return e->userdb || e->postgres || e->redis;
}

/* A relay must not be a way to the databases that only this server should reach. */
static bool deny_hosts(struct edge_conf *e, struct conf *c)
{
    struct addr a;
    if (e->postgres && user_postgres_host(e->postgres, &a) && !edge_conf_add_own(e, &a)) {
        conf_fail(c, "postgres", 0, "too many addresses of our own");
        return false;
    }
    if (e->redis && user_redis_host(e->redis, &a) && !edge_conf_add_own(e, &a)) {
        conf_fail(c, "redis", 0, "too many addresses of our own");
        return false;
    }
    return true;
}

static bool read_databases(struct edge_conf *e, struct conf *c)
{
    if (!copy_text(c, "userdb", &e->userdb) || !copy_text(c, "postgres", &e->postgres) ||
        !copy_text(c, "redis", &e->redis)) {
        return false;
    }
    const char *wrong = e->postgres ? user_postgres_wrong(e->postgres) : NULL;
    if (wrong) {
        conf_fail(c, "postgres", 0, "%s", wrong);
        return false;
    }
    wrong = e->redis ? user_redis_wrong(e->redis) : NULL;
    if (wrong) {
        conf_fail(c, "redis", 0, "%s", wrong);
        return false;
    }
    return deny_hosts(e, c);
}

/* Sorts them for who looks for a name or for a hash. */
static bool index_users(struct edge_conf *e, struct conf *c)
{
    qsort(e->users, e->n_users, sizeof *e->users, by_name);
    for (size_t i = 1; i < e->n_users; i++) {
        if (by_name(&e->users[i - 1], &e->users[i]) == 0) {
            conf_fail(c, "user", 0, "%.*s is there twice", (int)e->users[i].name_len,
                      (const char *)e->users[i].name);
            return false;
        }
    }
    e->by_hash = calloc(e->n_users, sizeof *e->by_hash);
    if (!e->by_hash) {
        conf_fail(c, "user", 0, "out of memory");
        return false;
    }
    for (size_t i = 0; i < e->n_users; i++) {
        e->by_hash[i] = &e->users[i];
    }
    qsort(e->by_hash, e->n_users, sizeof *e->by_hash, by_hash);
    return true;
}

static bool has_secret(const struct edge_conf *e)
{
    for (size_t i = 0; i < TURN_REALMS_MAX; i++) {
        if (e->secrets[i].n > 0) {
            return true;
        }
    }
    return false;
}

/* Can each user sign with a key that SHA-256 made? A database may know keys of MD5 only. */
static bool all_know_sha256(const struct edge_conf *e)
{
    for (size_t i = 0; i < e->n_users; i++) {
        if (e->users[i].n_keys < 2) {
            return false;
        }
    }
    return !has_database(e);
}

static bool read_algorithms(struct edge_conf *e, struct conf *c)
{
    enum {
        AUTO,
        MD5_ONLY,
        BOTH,
        SHA256_ONLY
    };
    struct turn_config *s = &e->run.server;
    size_t choice = conf_choice(c, "password-algorithms");
    if (choice == AUTO) {
        choice = all_know_sha256(e) ? BOTH : MD5_ONLY;
    }
    s->n_algorithms = 0;
    if (choice == BOTH || choice == SHA256_ONLY) {
        s->algorithms[s->n_algorithms++] = STUN_ALGORITHM_SHA256;
    }
    if (choice == BOTH) {
        s->algorithms[s->n_algorithms++] = STUN_ALGORITHM_MD5;
    }
    s->anonymity = conf_bool(c, "userhash");
    if (s->anonymity && (e->postgres || e->redis || has_secret(e))) {
        conf_fail(
            c, "userhash", 0,
            "cannot be on with secret, postgres or redis: nobody is found by a hash there");
        return false;
    }
    return true;
}

/* The users and secrets of one realm: of the options, or of its section. */
static bool read_realm(struct edge_conf *e, uint8_t realm, struct conf *c)
{
    size_t before = e->n_users;
    if (!read_secrets(&e->secrets[realm], c)) {
        return false;
    }
    for (size_t i = 0; i < conf_count(c, "user"); i++) {
        struct slice name, password;
        conf_pair(c, "user", i, &name, &password);
        const char *wrong = add(e, realm, name, password);
        if (wrong) {
            conf_fail(c, "user", i, "%s", wrong);
            return false;
        }
    }
    const char *path = conf_text(c, "user-file", 0);
    if (path && !read_file(e, realm, c, path)) {
        return false;
    }
    if (e->n_users == before && e->secrets[realm].n == 0 && e->secrets[0].n == 0 &&
        !has_database(e) && e->n_token_keys == 0) {
        conf_fail(c, "user", 0,
                  "nobody could allocate: give a user, a user-file, "
                  "a secret or a database");
        return false;
    }
    return true;
}

bool users_read(struct edge_conf *e, struct conf *c)
{
    size_t hash = conf_choice(c, "secret-hash");
    e->chain.sha1 = hash != 1;
    e->chain.sha256 = hash != 0;
    e->chain.strict_expiry = conf_bool(c, "strict-expiry");
    e->chain.cache_s = (uint32_t)conf_number(c, "user-cache");
    if (!read_databases(e, c) || !read_realm(e, 0, c)) {
        return false;
    }
    for (uint8_t i = 1; i < e->run.server.n_realms; i++) {
        if (!read_realm(e, i, conf_section(c, "realm", i - 1u))) {
            return false;
        }
    }
    if (!read_algorithms(e, c)) {
        return false;
    }
    return e->n_users == 0 || index_users(e, c);
}

void users_done(struct edge_conf *e)
{
    for (size_t i = 0; i < e->n_users; i++) {
        secret_wipe(e->users[i].key, sizeof e->users[i].key);
        free(e->users[i].name);
    }
    free(e->users);
    free(e->by_hash);
    e->users = NULL;
    e->by_hash = NULL;
    e->n_users = 0;
    for (size_t i = 0; i < TURN_REALMS_MAX; i++) {
        struct edge_secrets *s = &e->secrets[i];
        for (size_t j = 0; j < s->n; j++) {
            secret_wipe(s->bytes[j], s->value[j].len);
            free(s->bytes[j]);
        }
        s->n = 0;
    }
    char **texts[] = {&e->userdb, &e->postgres, &e->redis};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (*texts[i]) {
            secret_wipe(*texts[i], strlen(*texts[i]));
        }
        free(*texts[i]);
        *texts[i] = NULL;
    }
}

void users_take(struct edge_conf *e, struct edge_conf *fresh)
{
    struct edge_conf old = *e;
    e->users = fresh->users;
    e->n_users = fresh->n_users;
    e->by_hash = fresh->by_hash;
    fresh->by_hash = old.by_hash;
    fresh->users = old.users;
    fresh->n_users = old.n_users;
    memcpy(e->secrets, fresh->secrets, sizeof e->secrets);
    memcpy(fresh->secrets, old.secrets, sizeof old.secrets);
}

static bool find_token_key(struct slice id, struct oauth_key *out, void *ctx)
{
    const struct users *u = ctx;
    return tokens_find_key(u->conf, id, out);
}

static void find_keys(const struct turn_ask *ask, void *ctx)
{
    struct users *u = ctx;
    user_chain_find(u->chain, ask);
}

static void on_keys(turn_id ticket, const struct turn_keys *keys, void *ctx)
{
    const struct users *u = ctx;
    turn_run_keys(u->server, ticket, keys);
}

static int add_stores(struct users *u, const struct edge_conf *e, struct loop *l)
{
    struct user_store *s;
    int err = OK;
    if (e->userdb) {
        err = user_sqlite_new(&s, l, &e->log, e->userdb);
        err = err ? err : user_chain_add(u->chain, s);
    }
    if (e->postgres && !err) {
        err = user_postgres_new(&s, l, &e->log, e->postgres);
        err = err ? err : user_chain_add(u->chain, s);
    }
    if (e->redis && !err) {
        err = user_redis_new(&s, l, &e->log, e->redis);
        err = err ? err : user_chain_add(u->chain, s);
    }
    return err;
}

int users_start(struct users *u, struct edge_conf *e, struct loop *l)
{
    struct user_chain_config cfg = e->chain;
    *u = (struct users){.conf = e};
    cfg.loop = l;
    cfg.log = &e->log;
    memcpy(cfg.realms, e->run.server.realms, sizeof cfg.realms);
    cfg.n_realms = e->run.server.n_realms;
    cfg.find_fixed = find_fixed;
    cfg.secrets = secrets_of;
    cfg.find_token_key = find_token_key;
    cfg.third_party = e->run.server.third_party;
    cfg.fixed_ctx = u;
    cfg.stranger_s = cfg.cache_s < STRANGER_S ? cfg.cache_s : STRANGER_S;
    cfg.timeout_ms = ANSWER_MS;
    cfg.answer = on_keys;
    cfg.answer_ctx = u;
    e->run.find_keys = find_keys;
    e->run.ctx = u;
    int err = user_chain_new(&u->chain, &cfg);
    return err ? err : add_stores(u, e, l);
}

void users_stop(struct users *u)
{
    user_chain_free(u->chain);
    u->chain = NULL;
}
