/* Where clients come in: addresses, proxies before us, the web server beside us. */
#include "cmd/edge/doors.h"

#include "cmd/edge/own.h"

enum {
    NAME_MAX_BYTES = 253 /* RFC 1035 */
};

bool doors_read_listen(struct edge_conf *e, struct conf *c)
{
    bool any = false;
    e->run.n_listen = conf_count(c, "listen");
    if (e->run.n_listen > TURN_LISTEN_MAX) {
        conf_fail(c, "listen", TURN_LISTEN_MAX, "at most %d addresses", TURN_LISTEN_MAX);
        return false;
    }
    for (size_t i = 0; i < e->run.n_listen; i++) {
        struct addr a = conf_addr(c, "listen", i);
        e->run.listen[i] = a;
        any = any || addr_is_any(&a);
        if (!addr_is_any(&a) && !edge_conf_add_own(e, &a)) {
            return false;
        }
    }
    e->policy.own_loopback = any;
    /* A wildcard listener is on every address of the machine. */
    if (any && !own_add_all(e)) {
        conf_fail(c, "listen", 0, "this machine has too many addresses (at most %d): name them",
                  TURN_OWN_MAX);
        return false;
    }
    return true;
}

static bool read_proxies(struct edge_conf *e, struct conf *c)
{
    size_t n = conf_count(c, "proxy-from");
    if (n > TURN_NETS_MAX) {
        conf_fail(c, "proxy-from", TURN_NETS_MAX, "at most %d networks", TURN_NETS_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        e->proxy_from[i] = conf_net(c, "proxy-from", i);
    }
    e->run.proxy_from = e->proxy_from;
    e->run.n_proxy_from = n;
    return true;
}

/* What goes there would come back, again and again. */
static bool is_listened_on(const struct edge_conf *e, const struct addr *a)
{
    const char *refusal = turn_policy_refuses(&e->policy, a);
    bool is_own = refusal && strcmp(refusal, "own-address") == 0;
    for (size_t i = 0; i < e->run.n_listen; i++) {
        const struct addr *l = &e->run.listen[i];
        if (l->port == a->port && (addr_ip_eq(l, a) || (addr_is_any(l) && is_own))) {
            return true;
        }
    }
    return false;
}

/* It may believe a PROXY header from our address: no relay must be a way to it. */
static bool read_upstream(struct edge_conf *e, struct conf *c, const char *key,
                          struct addr *out)
{
    if (conf_count(c, key) == 0) {
        return true;
    }
    *out = conf_addr(c, key, 0);
    const char *wrong = out->port == 0 || addr_is_any(out) ? "must be an address and a port "
                                                             "that can be connected to"
                        : is_listened_on(e, out)     ? "is where this server listens itself"
                        : !edge_conf_add_own(e, out) ? "too many addresses of our own"
                                                     : NULL;
    if (wrong) {
        conf_fail(c, key, 0, "%s", wrong);
    }
    return !wrong;
}

static bool read_web(struct edge_conf *e, struct conf *c)
{
    struct turn_web *w = &e->run.web;
    if (!read_upstream(e, c, "web-upstream", &w->tls) ||
        !read_upstream(e, c, "web-upstream-plain", &w->plain)) {
        return false;
    }
    if (w->tls.family && !e->run.tls) {
        conf_fail(c, "web-upstream", 0,
                  "needs tls-cert and tls-key: TURN clients come over TLS too");
        return false;
    }
    w->says_client = conf_bool(c, "web-upstream-proxy-protocol");
    w->max = (uint32_t)conf_number(c, "max-web");
    w->idle_s = (uint32_t)conf_number(c, "web-idle");
    return true;
}

static bool add_name(struct edge_conf *e, struct conf *c, const char *key, size_t n)
{
    const char *name = conf_text(c, key, n);
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_BYTES || name[len - 1] == '.') {
        conf_fail(c, key, n, "must be a host name without a dot at its end");
        return false;
    }
    if (e->run.n_names == EDGE_NAMES_MAX) {
        conf_fail(c, key, n, "at most %d names, in all", EDGE_NAMES_MAX);
        return false;
    }
    e->names[e->run.n_names++] = (struct turn_name){.name = name};
    e->run.names = e->names;
    return true;
}

bool doors_read(struct edge_conf *e, struct conf *c)
{
    for (size_t i = 0; i < conf_count(c, "tls-name"); i++) {
        if (!add_name(e, c, "tls-name", i)) {
            return false;
        }
    }
    return read_proxies(e, c) && read_web(e, c);
}
