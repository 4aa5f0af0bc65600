/* Long-term credentials (RFC 8489 9.2) with nonces that need no memory: the time they were made
 * and an HMAC over it. One nonce serves every request of a client, on any connection. */
#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/turn/core.h"

enum {
    STAMP_LEN = 8, /* hexadecimal digits of the time in seconds */
    MAC_LEN = (NONCE_LEN - STAMP_LEN) / 2
};

static struct slice realm_of(const struct turn_server *s, const struct call *c)
{
    return s->cfg.realms[c->conn->realm];
}

static int nonce_at(const struct turn_server *s, struct slice realm, uint32_t unix_s,
                    uint8_t out[NONCE_LEN])
{
    uint8_t mac[SHA256_LEN], text[NONCE_LEN + 1]; /* wr_text wants room for an end mark */
    struct wr w = wr_over(text, sizeof text);
    wr_text(&w, "%08x", (unsigned)unix_s);
    struct hmac_piece piece = {
        .part = {wr_done(&w), realm}
    };
    int err =
        hmac_sha256(slice_of(s->cfg.nonce_secret, sizeof s->cfg.nonce_secret), &piece, mac);
    for (size_t i = 0; i < MAC_LEN && !err; i++) {
        wr_text(&w, "%02x", mac[i]);
    }
    memcpy(out, text, NONCE_LEN);
    return err ? err : w.err;
}

static bool hex_u32(struct slice s, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) {
            return false;
        }
        *out = *out << 4 | (is_digit ? c - (uint32_t)'0' : c - (uint32_t)'a' + 10);
    }
    return true;
}

static bool nonce_ok(const struct turn_server *s, const struct call *c)
{
    struct slice nonce = c->req.nonce;
    uint8_t right[NONCE_LEN];
    uint32_t made_s, now_s = (uint32_t)s->env.unix_s(s->env.ctx);
    if (nonce.len != NONCE_LEN || !hex_u32(slice_of(nonce.p, STAMP_LEN), &made_s) ||
        nonce_at(s, realm_of(s, c), made_s, right) ||
        !secret_eq(nonce, slice_of(right, sizeof right))) {
        return false;
    }
    /* Another worker's clock, read later, may be ahead. */
    return made_s > now_s ? made_s - now_s <= 1 : now_s - made_s <= s->cfg.nonce_life_s;
}

static void challenge(struct turn_server *s, struct call *c, uint16_t code, const char *why)
{
    if (nonce_at(s, realm_of(s, c), (uint32_t)s->env.unix_s(s->env.ctx), s->nonce) == OK) {
        reply_challenge(s, c, code, why);
    }
}

/* The key that the request is signed with; NULL: none of them. */
static const struct stun_key *key_that_fits(const struct call *c, const struct turn_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        if (stun_check_integrity(&c->req.msg, &keys->key[i]) == OK) {
            return &keys->key[i];
        }
    }
    return NULL;
}

static void auth_finish(struct turn_server *s, struct call *c, const struct turn_keys *keys)
{
    const struct stun_key *key = key_that_fits(c, keys);
    if (!key) {
        quota_count_failure(s, &c->conn->client);
        challenge(s, c, 401, keys->n > 0 ? "wrong password" : "no such user");
        return;
    }
    c->key = key;
    c->key_until_ms = keys->until_ms;
    if (!nonce_ok(s, c)) {
        challenge(s, c, 438, "stale nonce");
        return;
    }
    /* RFC 8656 5: who made the allocation, and nobody else, may use it. */
    if (c->alloc && !user_is(c->alloc->user, c)) {
        reply_error(s, c, 441, "another user's allocation");
        return;
    }
    if (c->alloc) {
        c->alloc->key = *key;
        c->alloc->key_until_ms = keys->until_ms;
    }
    if (c->code) {
        reply_error(s, c, c->code, "unknown attribute");
        return;
    }
    call_run(s, c);
}

/* The key that the allocation was made with, or last checked against. */
static void auth_by_alloc(struct turn_server *s, struct call *c)
{
    const struct turn_keys keys = {
        .key = {c->alloc->key}, .n = 1, .until_ms = c->alloc->key_until_ms};
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
    a->key.username = slice_of(p->frame + (c->req.username.p - raw.p), c->req.username.len);
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
    if (r->username.len == 0 || r->realm.len == 0 || r->nonce.len == 0) {
        reply_error(s, c, 400, "credentials are incomplete");
        return;
    }
    if (r->username.len > USERNAME_KEPT || !slice_eq(r->realm, realm_of(s, c))) {
        quota_count_failure(s, &c->conn->client);
        challenge(s, c, 401, "no such user");
        return;
    }
    if (c->alloc && user_is(c->alloc->user, c) && s->now_ms < c->alloc->key_until_ms) {
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
    pool_give(&s->parked, p); /* it stays readable until the next request waits */
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
