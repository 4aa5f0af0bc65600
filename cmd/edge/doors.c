/* Where clients come in: addresses, proxies before us, the web server beside us. */
#include "cmd/edge/doors.h"

#include "lib/base/text.h"

#include "io/daemon.h"

#include "cmd/edge/own.h"

enum {
    NAME_MAX_BYTES = 253 /* RFC 1035 */
};

const char *doors_put_listen(struct edge_conf *e, uint8_t realm, const struct addr *a)
{
    struct turn_run_config *r = &e->run;
    for (size_t i = 0; i < r->n_listen; i++) {
        if (a->port != 0 && addr_eq(&r->listen[i], a)) {
            return "is there twice";
        }
    }
    if (r->n_listen == TURN_LISTEN_MAX) {
        return "too many addresses to listen at";
    }
    r->listen[r->n_listen] = *a;
    r->listen_realm[r->n_listen++] = realm;
    if (addr_is_any(a)) {
        e->policy.own_loopback = true;
        return NULL;
    }
    return edge_conf_add_own(e, a) ? NULL : "too many addresses of our own";
}

static bool read_addresses(struct edge_conf *e, uint8_t realm, struct conf *c)
{
    for (size_t i = 0; i < conf_count(c, "listen"); i++) {
        struct addr a = conf_addr(c, "listen", i);
        const char *wrong = doors_put_listen(e, realm, &a);
        if (wrong) {
            conf_fail(c, "listen", i, "%s", wrong);
            return false;
        }
    }
    return true;
}

/* Gives an inherited socket to the address it is bound to. */
static bool hand_over(struct turn_run_config *r, const struct daemon_socket *s)
{
    for (size_t i = 0; i < r->n_listen; i++) {
        int *to = s->is_tcp ? &r->listen_tcp[i] : &r->listen_udp[i];
        if (addr_eq(&r->listen[i], &s->at) && *to == 0) {
            *to = s->fd;
            return true;
        }
    }
    return false;
}

/* `is_open`: their addresses are served, whatever they are. */
static bool take_sockets(struct edge_conf *e, struct conf *c, bool is_open)
{
    struct daemon_socket sockets[DAEMON_SOCKETS_MAX];
    char why[DAEMON_WHY_MAX], text[ADDR_TEXT_MAX];
    size_t n;
    if (daemon_sockets(sockets, &n, why)) {
        conf_fail(c, "listen", 0, "%s", why);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct daemon_socket *s = &sockets[i];
        bool ok = hand_over(&e->run, s);
        if (!ok && is_open) {
            ok = !doors_put_listen(e, 0, &s->at) && hand_over(&e->run, s);
        }
        if (!ok) {
            conf_fail(c, "listen", 0,
                      "%s for %s, which the service manager opened, is not among these "
                      "addresses, or there twice, or one too many",
                      addr_text(&s->at, text), s->is_tcp ? "TCP" : "UDP");
            return false;
        }
    }
    return true;
}

bool doors_read_listen(struct edge_conf *e, struct conf *c)
{
    /* Who gives sockets and no address means these and not the default. */
    bool is_open = daemon_has_sockets() && !conf_is_given(c, "listen");
    bool ok = is_open || read_addresses(e, 0, c);
    for (size_t i = 0; ok && i < conf_sections(c, "realm"); i++) {
        ok = read_addresses(e, (uint8_t)(i + 1), conf_section(c, "realm", i));
    }
    if (!ok || !take_sockets(e, c, is_open)) {
        return false;
    }
    /* A wildcard listener is on every address of the machine. */
    if (e->policy.own_loopback && !own_add_all(e)) {
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
    if (w->says_client && !w->tls.family && !w->plain.family) {
        conf_fail(c, "web-upstream-proxy-protocol", 0,
                  "needs web-upstream or web-upstream-plain");
        return false;
    }
    w->max = (uint32_t)conf_number(c, "max-web");
    w->idle_s = (uint32_t)conf_number(c, "web-idle");
    return true;
}

/* Of another one no client would ask. */
static bool is_host_name(const char *name)
{
    static const char in_names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-_.";
    size_t len = strlen(name);
    return len > 0 && len <= NAME_MAX_BYTES && strspn(name, in_names) == len &&
           name[0] != '.' && name[len - 1] != '.';
}

static bool add_name(struct edge_conf *e, struct conf *c, const char *key, size_t n)
{
    const char *name = conf_text(c, key, n);
    if (!is_host_name(name)) {
        conf_fail(c, key, n, "must be a host name, without * and a dot at its end");
        return false;
    }
    if (!e->run.tls) {
        conf_fail(c, key, n, "needs tls-cert and tls-key");
        return false;
    }
    if (e->run.n_names == EDGE_NAMES_MAX) {
        conf_fail(c, key, n, "at most %d names, in all", EDGE_NAMES_MAX);
        return false;
    }
    for (size_t i = 0; i < e->run.n_names; i++) {
        if (text_is(slice_str(name), e->names[i].name)) {
            conf_fail(c, key, n, "is there twice");
            return false;
        }
    }
    e->names[e->run.n_names++] = (struct turn_name){.name = name};
    e->run.names = e->names;
    return true;
}

static bool read_names(struct edge_conf *e, struct conf *c)
{
    for (size_t i = 0; i < conf_count(c, "tls-name"); i++) {
        if (!add_name(e, c, "tls-name", i)) {
            return false;
        }
    }
    for (size_t i = 0; i < conf_sections(c, "realm"); i++) {
        struct conf *section = conf_section(c, "realm", i);
        for (size_t j = 0; j < conf_count(section, "sni"); j++) {
            if (!add_name(e, section, "sni", j)) {
                return false;
            }
            e->names[e->run.n_names - 1].realm = (uint8_t)(i + 1);
            e->names[e->run.n_names - 1].has_realm = true;
        }
    }
    return true;
}

bool doors_read(struct edge_conf *e, struct conf *c)
{
    return read_names(e, c) && read_proxies(e, c) && read_web(e, c);
}
