/* Where relays are opened, as what they are seen, and whether they may be peers. */
#include "cmd/edge/relays.h"

#include "cmd/edge/own.h"

/* The default: the first listen address, or for a wildcard what faces the Internet. */
static bool use_listen(struct edge_conf *e, struct conf *c)
{
    struct addr a = e->run.listen[0];
    if (addr_is_any(&a) && !own_find(a.family, &a)) {
        conf_fail(c, "relay-address", 0,
                  "is needed: the first listen address is a wildcard, and no default route "
                  "tells which address faces the Internet");
        return false;
    }
    a.port = 0;
    *(a.family == ADDR_IP4 ? &e->run.relay_ip4 : &e->run.relay_ip6) = a;
    return true;
}

static bool read_addresses(struct edge_conf *e, struct conf *c)
{
    size_t n = conf_count(c, "relay-address");
    for (size_t i = 0; i < n; i++) {
        struct addr a = conf_addr(c, "relay-address", i);
        struct addr *to = a.family == ADDR_IP4 ? &e->run.relay_ip4 : &e->run.relay_ip6;
        if (addr_is_any(&a) || to->family) {
            conf_fail(c, "relay-address", i, "must be one real address of each family");
            return false;
        }
        *to = a;
    }
    if (n == 0 && !use_listen(e, c)) {
        return false;
    }
    e->run.server.relay_ip4 = e->run.relay_ip4.family != ADDR_NONE;
    e->run.server.relay_ip6 = e->run.relay_ip6.family != ADDR_NONE;
    return true;
}

static bool read_external(struct edge_conf *e, struct conf *c)
{
    struct turn_config *s = &e->run.server;
    if (conf_count(c, "external-address") == 0) {
        return true;
    }
    s->external_ip = conf_addr(c, "external-address", 0);
    bool is_ip6 = s->external_ip.family == ADDR_IP6;
    if (addr_is_any(&s->external_ip) || !(is_ip6 ? s->relay_ip6 : s->relay_ip4)) {
        conf_fail(c, "external-address", 0,
                  "must be a real address of the same family as a relay-address");
        return false;
    }
    return true;
}

/* The line that `listen[n]` is from: of the whole or of its realm's section. */
static void fail_at_listen(const struct edge_conf *e, struct conf *c, size_t n)
{
    uint8_t realm = e->run.listen_realm[n];
    size_t before = 0;
    for (size_t i = 0; i < n; i++) {
        before += e->run.listen_realm[i] == realm;
    }
    conf_fail(realm ? conf_section(c, "realm", realm - 1u) : c, "listen", before,
              "port %u is one of relay-ports: not with relay-to-relay", e->run.listen[n].port);
}

/* A relay may be a peer by its port. Were a listener's among those, clients could connect to
 * the server through itself, again and again. */
static bool listens_apart(const struct edge_conf *e, struct conf *c)
{
    for (size_t i = 0; i < e->run.n_listen; i++) {
        uint16_t port = e->run.listen[i].port;
        if (port >= e->run.relay_first && port <= e->run.relay_last) {
            fail_at_listen(e, c, i);
            return false;
        }
    }
    return true;
}

bool relays_read(struct edge_conf *e, struct conf *c)
{
    if (!read_addresses(e, c) || !read_external(e, c)) {
        return false;
    }
    const struct addr *own[] = {&e->run.relay_ip4, &e->run.relay_ip6,
                                &e->run.server.external_ip};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (own[i]->family && !edge_conf_add_own(e, own[i])) {
            conf_fail(c, "listen", 0, "too many addresses of our own");
            return false;
        }
    }
    conf_ports(c, "relay-ports", &e->run.relay_first, &e->run.relay_last);
    if (conf_bool(c, "relay-to-relay")) {
        if (!listens_apart(e, c)) {
            return false;
        }
        e->policy.relay_first = e->run.relay_first;
        e->policy.relay_last = e->run.relay_last;
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
            e->policy.relay[i] = *own[i];
        }
    }
    return true;
}
