/* Long-term credentials (RFC 8489 9.2). */
#include "lib/base/crypto.h"

#include "lib/stun/security.h"
#include "lib/turn/core.h"

static struct slice realm_of(const struct turn_server *s, const struct call *c)
{
    return s->cfg.realms[c->conn->realm];
}

static void challenge(struct turn_server *s, struct call *c, uint16_t code, const char *why)
{
    if (nonce_make(s, c)) {
        reply_error(s, c, 500, "no nonce can be made");
        return;
    }
    reply_challenge(s, c, code, why);
}

static struct slice offered(const struct turn_server *s)
{
    return slice_of(s->cfg.algorithms, s->cfg.n_algorithms);
}

static bool is_offered(const struct turn_server *s, uint8_t algorithm)
{
    return s->cfg.n_algorithms > 0 && memchr(s->cfg.algorithms, algorithm, s->cfg.n_algorithms);
}

/* RFC 8489 9.2.4: what the request's key is made with. False: somebody has changed what was
 * offered, or chosen what was not. */
static bool take_algorithm(const struct turn_server *s, struct call *c)
{
    const struct turn_req *r = &c->req;
    bool goes_on = !r->has_algorithm && !r->has_algorithms && c->alloc &&
                   c->alloc->key.algorithm == STUN_ALGORITHM_NONE && user_is(c->alloc->user, c);
    if (s->cfg.third_party.len > 0 && (r->token.len > 0 || goes_on)) {
        c->algorithm = STUN_ALGORITHM_NONE; /* a token's key, made of no password */
        return true;
    }
    bool was_offered = stun_nonce_features(r->nonce) & STUN_FEATURE_ALGORITHMS;
    c->algorithm = r->has_algorithm ? r->algorithm : STUN_ALGORITHM_MD5;
    if (!was_offered || (!r->has_algorithm && !r->has_algorithms)) {
        return true;
    }
    return r->has_algorithm && r->has_algorithms && is_offered(s, c->algorithm) &&
           stun_algorithms_are(r->algorithms, offered(s));
}

/* The key that the request is signed with. ERR_AUTH: none of them. Another error: one could not
 * be tried, which is not the client's fault. */
static int find_key(const struct call *c, const struct turn_keys *keys,
                    const struct stun_key **out)
{
    int err = ERR_AUTH;
    for (size_t i = 0; i < keys->n; i++) {
        if (keys->key[i].algorithm != c->algorithm) {
            continue;
        }
        int one = stun_check_integrity(&c->req.msg, &keys->key[i]);
        if (!one) {
            *out = &keys->key[i];
            return OK;
        }
        err = one == ERR_AUTH ? err : one;
    }
    return err;
}

bool auth_is_same_token(const struct alloc *a, const struct call *c)
{
    bool has_none =
        a->key.algorithm != STUN_ALGORITHM_NONE && c->key->algorithm != STUN_ALGORITHM_NONE;
    return has_none ||
           secret_eq(slice_of(a->key.b, a->key.len), slice_of(c->key->b, c->key->len));
}

/* Authentic: what it asks for is done, unless it is not his to ask or cannot be read. */
static void auth_passed(struct turn_server *s, struct call *c, const struct turn_keys *keys)
{
    if (!nonce_ok(s, c)) {
        challenge(s, c, 438, "stale nonce");
        return;
    }
    /* RFC 8656 5: who made the allocation, and nobody else, may use it. To an Allocate its
     * 5-tuple is just taken (7.2, step 2). */
    if (c->alloc && !user_is(c->alloc->user, c)) {
        reply_error(s, c, c->req.op == TURN_OP_ALLOCATE ? 437 : 441,
                    "another user's allocation");
        return;
    }
    if (c->alloc) {
        c->alloc->key = *c->key;
        c->alloc->key_until_ms = keys->until_ms;
        c->alloc->ends_ms = keys->ends_ms;
    }
    if (c->code) {
        reply_error(s, c, c->code, c->code == 400 ? "misfit attribute" : "unknown attribute");
        return;
    }
    call_run(s, c);
}

static void auth_finish(struct turn_server *s, struct call *c, const struct turn_keys *keys)
{
    const struct stun_key *fits = NULL;
    int err = find_key(c, keys, &fits);
    if (err && err != ERR_AUTH) {
        reply_error(s, c, 500, "no signature can be checked");
        return;
    }
    if (err) {
        quota_count_failure(s, &c->conn->client);
        challenge(s, c, 401, keys->n > 0 ? "wrong password" : "no such user");
        return;
    }
    if (keys->ends_ms && keys->ends_ms < s->now_ms + 1000) {
        challenge(s, c, 401, "token has ended");
        return;
    }
    struct stun_key key = *fits;
    /* RFC 8489 9.2.4: who names an algorithm gets SHA-256, everybody else SHA-1, whatever the
     * request is signed with. */
    bool names_one = c->req.has_algorithm || c->req.has_algorithms;
    bool is_strong =
        key.algorithm == STUN_ALGORITHM_NONE ? c->req.msg.integrity_sha256 > 0 : names_one;
    key.hash = is_strong ? STUN_SHA256 : STUN_SHA1;
    c->key = &key;
    c->key_until_ms = keys->until_ms;
    c->ends_ms = keys->ends_ms;
    if (c->req.userhash.len > 0) {
        c->req.username = slice_of(keys->name, keys->name_len);
    }
    auth_passed(s, c, keys);
    c->key = NULL;
    secret_wipe(&key, sizeof key);
}

/* The key that the allocation was made with, or last checked against. */
static void auth_by_alloc(struct turn_server *s, struct call *c)
{
    const struct user *u = c->alloc->user;
    struct turn_keys keys = {.key = {c->alloc->key},
                             .n = 1,
                             .name_len = u->name_len,
                             .ends_ms = c->alloc->ends_ms,
                             .until_ms = c->alloc->key_until_ms};
    memcpy(keys.name, u->name, u->name_len);
    auth_finish(s, c, &keys);
}

static void park(struct turn_server *s, const struct call *c)
{
    struct slice raw = c->req.msg.raw;
    struct parked *p = raw.len <= FRAME_KEPT ? pool_take(&s->parked) : NULL;
    if (!p) {
        reply_error(s, c, raw.len > FRAME_KEPT ? 400 : 508, "cannot wait for a key");
        return;
    }
    p->conn = *c->conn;
    memcpy(p->frame, raw.p, raw.len);
    p->len = raw.len;
    struct turn_action *a = action_put(s, TURN_DO_FIND_KEY);
    a->key.ticket = pool_id(&s->parked, p);
    a->key.realm = realm_of(s, c);
    struct slice name = c->req.username, hash = c->req.userhash;
    a->key.username = name.len > 0 ? slice_of(p->frame + (name.p - raw.p), name.len) : name;
    struct slice token = c->req.token;
    a->key.algorithm = c->algorithm;
    a->key.token = c->algorithm == STUN_ALGORITHM_NONE && token.len > 0
                       ? slice_of(p->frame + (token.p - raw.p), token.len)
                       : slice_of(NULL, 0);
    a->key.userhash = hash.len > 0 ? slice_of(p->frame + (hash.p - raw.p), hash.len) : hash;
}

/* Somebody near this client tries passwords. No 401: the client may be another, and right. Over
 * UDP it asks again by itself, in half a second; over TCP it is told to (RFC 8489 14.8). */
static void drop_guess(struct turn_server *s, struct call *c)
{
    static const char why[] = "too many wrong passwords from one network";
    if (c->conn->transport != TURN_UDP) {
        reply_error(s, c, 500, why);
        return;
    }
    struct turn_report *out = report_put(s, "deny", why, NULL);
    out->client = c->conn->client;
    out->is_noise = true;
    s->stats.denied_total++;
}

void auth_begin(struct turn_server *s, struct call *c)
{
    const struct turn_req *r = &c->req;
    if (!r->has_integrity) {
        challenge(s, c, 401, "no credentials");
        return;
    }
    bool has_name = (r->username.len > 0) != (r->userhash.len > 0);
    if (!has_name || r->realm.len == 0 || r->nonce.len == 0) {
        reply_error(s, c, 400, "credentials are incomplete");
        return;
    }
    if (!take_algorithm(s, c)) {
        reply_error(s, c, 400, "password algorithms are not those offered");
        return;
    }
    if (r->username.len > USERNAME_KEPT || !slice_eq(r->realm, realm_of(s, c))) {
        quota_count_failure(s, &c->conn->client);
        challenge(s, c, 401, "no such user");
        return;
    }
    if (s->cfg.n_algorithms > 0 && c->algorithm != STUN_ALGORITHM_NONE &&
        !is_offered(s, c->algorithm)) {
        quota_count_failure(s, &c->conn->client);
        challenge(s, c, 401, "password algorithm is not taken");
        return;
    }
    bool has_key = c->alloc && user_is(c->alloc->user, c) &&
                   c->alloc->key.algorithm == c->algorithm &&
                   s->now_ms < c->alloc->key_until_ms;
    if (has_key && r->token.len == 0) {
        auth_by_alloc(s, c);
        return;
    }
    if (!quota_may_try(s, &c->conn->client)) {
        drop_guess(s, c);
        return;
    }
    park(s, c);
}

void turn_server_keys(struct turn_server *s, uint64_t now_ms, turn_id ticket,
                      const struct turn_keys *keys)
{
    struct parked *p = pool_find(&s->parked, ticket);
    if (!p) {
        return;
    }
    s->now_ms = now_ms;
    struct call c = {.conn = &p->conn};
    c.code = p->conn.dialect->read(&c.req, slice_of(p->frame, p->len));
    c.alloc = alloc_of_conn(s, &p->conn);
    (void)take_algorithm(s, &c); /* it was in order when it was parked */
    pool_give(&s->parked, p);    /* it stays readable until the next request waits */
    if (keys) {
        auth_finish(s, &c, keys);
    } else if (c.alloc && user_is(c.alloc->user, &c)) {
        /* What runs goes on running while a database is away. */
        auth_by_alloc(s, &c);
    } else {
        reply_error(s, &c, 500, "user database does not answer");
    }
}

void turn_server_key(struct turn_server *s, uint64_t now_ms, turn_id ticket,
                     const struct stun_key *key)
{
    struct turn_keys keys = {.n = key ? 1 : 0, .until_ms = UINT64_MAX};
    if (key) {
        keys.key[0] = *key;
    }
    turn_server_keys(s, now_ms, ticket, &keys);
    secret_wipe(&keys, sizeof keys);
}

/* A request of a connection that waits; NULL: none does. */
static struct parked *parked_of(const struct turn_server *s, turn_id conn)
{
    for (uint32_t i = 0; conn && s->parked.n_live > 0 && i < s->parked.n_touched; i++) {
        struct parked *p = (struct parked *)(void *)(s->parked.items + i * s->parked.size);
        if (p->slot.is_live && p->conn.id == conn) {
            return p;
        }
    }
    return NULL;
}

void auth_drop_conn(struct turn_server *s, turn_id conn)
{
    for (struct parked *p = parked_of(s, conn); p; p = parked_of(s, conn)) {
        pool_give(&s->parked, p);
    }
}

bool turn_server_conn_waits(const struct turn_server *s, turn_id conn)
{
    return parked_of(s, conn) != NULL;
}

turn_id turn_server_ticket_conn(const struct turn_server *s, turn_id ticket)
{
    const struct parked *p = pool_find(&s->parked, ticket);
    return p ? p->conn.id : 0;
}
