/* How many allocations there may be, in all and of one user. */
#include "lib/base/crypto.h"

#include "lib/turn/core.h"

struct user *user_take(struct turn_server *s, uint8_t realm, struct slice name, uint16_t *code)
{
    uint8_t digest[SHA256_LEN], text[1 + USERNAME_KEPT];
    struct wr w = wr_over(text, sizeof text);
    wr_u8(&w, realm);
    wr_bytes(&w, name);
    *code = 508;
    if (w.err || sha256(wr_done(&w), digest)) {
        return NULL;
    }
    struct user *u = MAP_ENTRY(map_find(&s->user_by_name, digest), struct user, by_name);
    if (!u) {
        u = pool_take(&s->users);
        if (!u) {
            return NULL;
        }
        memcpy(u->digest, digest, sizeof digest);
        u->realm = realm;
        memcpy(u->name, name.p, name.len);
        u->name_len = name.len;
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
        map_remove(&s->user_by_name, &u->by_name);
        pool_give(&s->users, u);
    }
}

bool user_is(const struct user *u, const struct call *c)
{
    return u->realm == c->conn->realm &&
           slice_eq(c->req.username, slice_of(u->name, u->name_len));
}
