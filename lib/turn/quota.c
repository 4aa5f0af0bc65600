/* How many there may be, and how often: allocations, peers' TCP connections, answers. */
#include "lib/base/crypto.h"

#include "lib/stun/security.h"
#include "lib/turn/core.h"

struct user *user_take(struct turn_server *s, uint8_t realm, struct slice name, uint16_t *code)
{
    uint8_t digest[SHA256_LEN], text[1 + USERNAME_KEPT];
    struct wr w = wr_over(text, sizeof text);
    wr_u8(&w, realm);
    wr_bytes(&w, name);
    *code = 500;
    if (w.err || sha256(wr_done(&w), digest)) {
        return NULL;
    }
    *code = 508;
    struct user *u = MAP_ENTRY(map_find(&s->user_by_name, digest), struct user, by_name);
    if (!u) {
        u = pool_take(&s->users);
        if (!u) {
            return NULL;
        }
        memcpy(u->digest, digest, sizeof digest);
        u->realm = realm;
        if (stun_userhash(u->userhash, name, s->cfg.realms[realm])) {
            pool_give(&s->users, u);
            *code = 500;
            return NULL;
        }
        memcpy(u->name, name.p, name.len);
        u->name_len = name.len;
        flow_resume(s, u);
        map_add(&s->user_by_name, &u->by_name);
    }
    if (u->n_allocs >= s->cfg.max_per_user) {
        *code = 486;
        return NULL;
    }
    u->n_allocs++;
    return u;
}

bool user_take_more(const struct turn_server *s, struct user *u)
{
    bool fits = u->n_allocs < s->cfg.max_per_user;
    u->n_allocs += fits;
    return fits;
}

void user_give(struct turn_server *s, struct user *u)
{
    if (--u->n_allocs == 0) {
        flow_keep(s, u);
        map_remove(&s->user_by_name, &u->by_name);
        pool_give(&s->users, u);
    }
}

bool user_is(const struct user *u, const struct call *c)
{
    const struct turn_req *r = &c->req;
    return u->realm == c->conn->realm &&
           (r->userhash.len > 0
                ? slice_eq(r->userhash, slice_of(u->userhash, STUN_USERHASH_LEN))
                : slice_eq(r->username, slice_of(u->name, u->name_len)));
}

const char *quota_refuses_peer(const struct turn_server *s, const struct alloc *a,
                               uint16_t *code)
{
    const struct turn_tcp_quota *q = &s->cfg.tcp;
    *code = 508;
    if (a->n_peers >= s->cfg.max_connections || a->n_unbound >= s->cfg.max_unbound) {
        return "too many TCP connections";
    }
    if (s->peers.n_live == s->peers.cap) {
        return "too many TCP connections in all";
    }
    *code = 486;
    if ((q->per_user && a->user->n_peers >= q->per_user) ||
        (q->unbound_per_user && a->user->n_unbound >= q->unbound_per_user)) {
        return "too many TCP connections of the user";
    }
    return NULL;
}

static uint32_t moved(uint32_t n, int more)
{
    return more > 0 ? n + 1 : n - 1;
}

void quota_count_peer(struct alloc *a, int more)
{
    a->n_peers = moved(a->n_peers, more);
    a->user->n_peers = moved(a->user->n_peers, more);
}

void quota_count_unbound(struct turn_server *s, struct alloc *a, int more)
{
    a->n_unbound = moved(a->n_unbound, more);
    a->user->n_unbound = moved(a->user->n_unbound, more);
    s->stats.tcp_unbound = more > 0 ? s->stats.tcp_unbound + 1 : s->stats.tcp_unbound - 1;
}

/* Outlives the user's allocations: to end one and make another gives nothing back. */
bool quota_pass_connect(struct turn_server *s, const struct user *u)
{
    return rates_pass(&s->connects_by_user, slice_of(u->digest, sizeof u->digest), s->now_ms,
                      s->cfg.tcp.connects_per_s);
}

/* So that the server is of little use to flood somebody in whose name requests are sent. */
bool quota_pass_answer(struct turn_server *s, const struct addr *client)
{
    struct rate_key key = rate_key_of(client, s->cfg.rate_prefix);
    if (rates_pass(&s->answers_by_prefix, slice_of(key.b, sizeof key.b), s->now_ms,
                   s->cfg.max_unproven_per_s)) {
        return true;
    }
    struct turn_report *out = report_put(s, "deny", "too many answers to one network", NULL);
    out->client = *client;
    out->is_noise = true;
    return false;
}

bool quota_may_try(const struct turn_server *s, const struct addr *client)
{
    struct rate_key key = rate_key_of(client, s->cfg.rate_prefix);
    return rates_left(&s->failures_by_prefix, slice_of(key.b, sizeof key.b), s->now_ms,
                      s->cfg.max_failures_per_s);
}

void quota_count_failure(struct turn_server *s, const struct addr *client)
{
    struct rate_key key = rate_key_of(client, s->cfg.rate_prefix);
    s->stats.auth_failures_total++;
    (void)rates_pass(&s->failures_by_prefix, slice_of(key.b, sizeof key.b), s->now_ms,
                     s->cfg.max_failures_per_s);
}
