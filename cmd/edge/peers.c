/* Who may be a peer: networks, named pools, and what is our own. */
#include "cmd/edge/peers.h"

#include <stdlib.h>

#include "run/user_sqlite.h"

#include "cmd/edge/ip_range.h"

enum {
    ACCESS_ALLOW,
    ACCESS_DENY
};

const struct conf_option peers_options[] = {
    {.name = "cidr",
     .type = CONF_NET,
     .reloads = true,
     .many = true,
     .required = true,
     .help = "a network of the pool"},
    {.name = "access",
     .type = CONF_CHOICE,
     .reloads = true,
     .choices = "allow|deny",
     .preset = "allow",
     .help = "as peer-allow or as peer-deny"},
    {.name = "tcp-accept",
     .type = CONF_CHOICE,
     .reloads = true,
     .choices = "permission|any",
     .preset = "permission",
     .help =
         "may these connect to a TCP relay without a permission? As the option of this name"},
    {.name = NULL               },
};

static bool add_net(struct conf *c, const char *name, size_t nth, struct addr_net *nets,
                    size_t *n)
{
    if (*n == TURN_NETS_MAX) {
        conf_fail(c, name, nth, "at most %d networks in all", TURN_NETS_MAX);
        return false;
    }
    nets[(*n)++] = conf_net(c, name, nth);
    return true;
}

static bool read_nets(struct conf *c, const char *name, struct addr_net *nets, size_t *n)
{
    bool ok = true;
    for (size_t i = 0; i < conf_count(c, name) && ok; i++) {
        ok = add_net(c, name, i, nets, n);
    }
    return ok;
}

static bool read_pool(struct turn_policy *p, struct conf *pool)
{
    bool denies = conf_choice(pool, "access") == ACCESS_DENY;
    bool any = conf_choice(pool, "tcp-accept") == 1;
    if (denies && any) {
        conf_fail(pool, "tcp-accept", 0, "any does not go with access = deny");
        return false;
    }
    return (denies ? read_nets(pool, "cidr", p->deny, &p->n_deny)
                   : read_nets(pool, "cidr", p->allow, &p->n_allow)) &&
           (!any || read_nets(pool, "cidr", p->accept, &p->n_accept));
}

bool peers_read(struct edge_conf *e, struct conf *c)
{
    struct turn_policy *p = &e->policy;
    bool ok = read_nets(c, "peer-allow", p->allow, &p->n_allow) &&
              read_nets(c, "peer-deny", p->deny, &p->n_deny);
    for (size_t i = 0; i < conf_sections(c, "peers") && ok; i++) {
        ok = read_pool(p, conf_section(c, "peers", i));
    }
    if (ok && e->metrics.family && !addr_is_any(&e->metrics) &&
        !edge_conf_add_own(e, &e->metrics)) {
        conf_fail(c, "metrics", 0, "too many addresses of our own");
        return false;
    }
    return ok;
}

struct tables { /* coturn's: what is allowed comes out of what is denied */
    const struct turn_config *server;
    struct ip_set denied, allowed;
    bool is_allowed; /* the table that is being read */
    int err;
};

static bool is_ours(const struct turn_config *s, struct slice realm)
{
    bool is = realm.len == 0; /* of all realms */
    for (size_t i = 0; i < s->n_realms; i++) {
        is |= slice_eq(s->realms[i], realm);
    }
    return is;
}

/* There is one policy: what one realm denies is denied to all, and what one realm allows is
 * allowed only if there is no other. */
static void take_row(struct slice realm, struct slice range, void *ctx)
{
    struct tables *t = ctx;
    struct ip_range r;
    bool counts = is_ours(t->server, realm) &&
                  (!t->is_allowed || realm.len == 0 || t->server->n_realms == 1);
    if (t->err || !counts) {
        return;
    }
    if (!ip_range_parse(range, &r)) {
        t->err = ERR_MALFORMED;
    } else if (!t->is_allowed) {
        t->err = ip_set_add(&t->denied, &r);
    } else {
        t->err = ip_set_remove(&t->denied, &r);
        t->err = t->err ? t->err : ip_set_add(&t->allowed, &r);
    }
}

static int add_set(const struct ip_set *s, struct addr_net *nets, size_t *n)
{
    struct addr_net net;
    for (size_t i = 0; i < s->n; i++) {
        for (struct ip_range r = s->r[i]; ip_range_next_net(&r, &net);) {
            if (*n == TURN_NETS_MAX) {
                return ERR_LIMIT;
            }
            nets[(*n)++] = net;
        }
    }
    return OK;
}

bool peers_read_database(struct edge_conf *e, struct conf *c)
{
    struct turn_policy *p = &e->policy;
    struct tables *t = e->userdb ? calloc(1, sizeof *t) : NULL;
    if (!t) {
        return !e->userdb;
    }
    t->server = &e->run.server;
    int err = user_file_peers(e->userdb, true, take_row, t);
    t->is_allowed = true;
    err = err ? err : user_file_peers(e->userdb, false, take_row, t);
    err = t->err ? t->err : err;
    err = err ? err : add_set(&t->denied, p->deny, &p->n_deny);
    err = err ? err : add_set(&t->allowed, p->allow, &p->n_allow);
    free(t);
    if (err) {
        /* Without its rows who is denied would be a peer. */
        conf_fail(c, "userdb", 0, "denied_peer_ip and allowed_peer_ip: %s",
                  err == ERR_LIMIT    ? "too many networks"
                  : err == ERR_SYSTEM ? "cannot be read, or somebody keeps the file locked"
                                      : "not an address, a CIDR or FIRST-LAST");
    }
    return !err;
}

bool peers_take(struct edge_conf *e, const struct edge_conf *fresh)
{
    struct turn_policy next = fresh->policy;
    memcpy(next.own, e->policy.own, sizeof next.own);
    next.n_own = e->policy.n_own;
    next.own_loopback = e->policy.own_loopback;
    memcpy(next.relay, e->policy.relay, sizeof next.relay);
    next.relay_first = e->policy.relay_first;
    next.relay_last = e->policy.relay_last;
    e->policy = next;
    bool ok = true;
    for (size_t i = 0; i < fresh->policy.n_own && ok; i++) {
        ok = edge_conf_add_own(e, &fresh->policy.own[i]);
    }
    return ok;
}
