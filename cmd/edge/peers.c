/* Who may be a peer: networks, named pools, and what is our own. */
#include "cmd/edge/peers.h"

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
