/* import-coturn: listeners, relays and peers. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/text.h"

#include "lib/turn/policy.h"

#include "run/turn_run.h"

#include "cmd/edge/import.h"
#include "cmd/edge/ip_range.h"
#include "cmd/edge/own.h"

enum {
    RELAY_FIRST = 49152, /* coturn's */
    RELAY_LAST = 65535
};

static uint16_t port_of(struct import *m, const char *name, uint16_t otherwise)
{
    const struct coturn_line *l = coturn_last(&m->in, name);
    uint64_t n;
    if (!l || !*l->value) {
        return otherwise;
    }
    if (text_u64(slice_str(l->value), 65535, &n) || n == 0) {
        import_note(m, l, COTURN_INSTEAD, "is no port; %u is taken", otherwise);
        return otherwise;
    }
    return (uint16_t)n;
}

static bool has_tls(const struct import *m)
{
    return coturn_last(&m->in, "cert") && coturn_last(&m->in, "pkey") &&
           !coturn_flag(&m->in, "no-tls");
}

struct listens {
    struct addr a[TURN_LISTEN_MAX];
    size_t n;
};

static void listen_at(struct import *m, struct listens *all, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    for (size_t i = 0; i < all->n; i++) {
        if (addr_eq(&all->a[i], a)) {
            return;
        }
    }
    if (all->n == TURN_LISTEN_MAX) {
        import_note(m, NULL, COTURN_INSTEAD, "at most %d listen addresses: %s is left out",
                    TURN_LISTEN_MAX, addr_text(a, text));
        return;
    }
    all->a[all->n++] = *a;
    import_put(m, "listen", "%s", addr_text(a, text));
}

static void listen_at_ports(struct import *m, struct listens *all, struct addr a)
{
    a.port = port_of(m, "listening-port", 3478);
    listen_at(m, all, &a);
    if (has_tls(m)) {
        a.port = port_of(m, "tls-listening-port", 5349);
        listen_at(m, all, &a);
    }
    if (coturn_last(&m->in, "tcp-proxy-port")) {
        a.port = port_of(m, "tcp-proxy-port", 5555);
        listen_at(m, all, &a);
    }
}

/* coturn is then on each address that the machine has at the start. */
static void listen_everywhere(struct import *m, struct listens *all)
{
    struct addr own, any = {.family = ADDR_IP4};
    listen_at_ports(m, all, any);
    if (own_find(ADDR_IP6, &own)) {
        any.family = ADDR_IP6;
        listen_at_ports(m, all, any);
    } else {
        import_comment(m, "This machine has no way to the Internet over IPv6; later: "
                          "listen = [::]:3478");
    }
}

void import_listen(struct import *m)
{
    struct listens all = {.n = 0};
    struct addr a;
    (void)fputs("\n; Where clients come.\n", m->out);
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "listening-ip", l));) {
        if (addr_parse(slice_str(l->value), &a)) {
            import_note(m, l, COTURN_INSTEAD, "is no address");
        } else {
            listen_at_ports(m, &all, a);
        }
    }
    if (all.n == 0) {
        listen_everywhere(m, &all);
    }
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "aux-server", l));) {
        if (addr_parse(slice_str(l->value), &a) || a.port == 0) {
            import_note(m, l, COTURN_INSTEAD, "is no address with a port");
        } else {
            listen_at(m, &all, &a);
        }
    }
}

struct relays {
    struct addr ip4, ip6, external;
};

static void relay_at(struct import *m, struct relays *r, const struct coturn_line *l,
                     const struct addr *a)
{
    struct addr *to = a->family == ADDR_IP4 ? &r->ip4 : &r->ip6;
    if (to->family && !addr_ip_eq(to, a)) {
        import_note(m, l, COTURN_INSTEAD,
                    "there is one relay address of each family: this one is left out");
        return;
    }
    *to = *a;
}

static void read_external(struct import *m, struct relays *r, const struct coturn_line *l)
{
    struct slice inside = slice_str(l->value), outside = text_split(&inside, '/');
    struct addr a, own;
    if (addr_parse(outside, &a) || (inside.len > 0 && addr_parse(inside, &own))) {
        import_note(m, l, COTURN_INSTEAD, "is not PUBLIC or PUBLIC/PRIVATE");
    } else if (r->external.family) {
        import_note(m, l, COTURN_INSTEAD,
                    "there is one external address: start a second edge for this one");
    } else {
        r->external = a;
        if (inside.len > 0) {
            relay_at(m, r, l, &own);
        }
    }
}

/* Without any of its own coturn relays from the address that the client came to. */
static void relay_where_it_listens(struct import *m, struct relays *r)
{
    struct addr a, ip4, ip6;
    bool any = false;
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "listening-ip", l));) {
        if (addr_parse(slice_str(l->value), &a) == OK) {
            struct addr *to = a.family == ADDR_IP4 ? &r->ip4 : &r->ip6;
            *to = to->family ? *to : a;
            any = true;
        }
    }
    if (!any && own_find(ADDR_IP6, &ip6) && own_find(ADDR_IP4, &ip4)) {
        r->ip4 = r->ip4.family ? r->ip4 : ip4;
        r->ip6 = r->ip6.family ? r->ip6 : ip6;
    }
}

static bool listens_within(struct import *m, uint16_t first, uint16_t last)
{
    const uint16_t ports[] = {port_of(m, "listening-port", 3478),
                              port_of(m, "tls-listening-port", 5349)};
    struct addr a;
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        if (ports[i] >= first && ports[i] <= last) {
            return true;
        }
    }
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "aux-server", l));) {
        if (addr_parse(slice_str(l->value), &a) == OK && a.port >= first && a.port <= last) {
            return true;
        }
    }
    return false;
}

static void put_ports(struct import *m)
{
    uint16_t first = port_of(m, "min-port", RELAY_FIRST);
    uint16_t last = port_of(m, "max-port", RELAY_LAST);
    if (first > last) {
        import_note(m, coturn_last(&m->in, "max-port"), COTURN_INSTEAD,
                    "is below min-port: coturn's defaults are taken");
        first = RELAY_FIRST;
        last = RELAY_LAST;
    }
    import_put(m, "relay-ports", "%u-%u", first, last);
    if (listens_within(m, first, last)) {
        import_note(m, NULL, COTURN_INSTEAD,
                    "a listen port is among relay-ports: two clients of this server cannot "
                    "reach each other through their relays. Move one, and set relay-to-relay");
        return;
    }
    import_comment(m, "As in coturn: two clients that both use this server reach each other.");
    import_put(m, "relay-to-relay", "on");
}

void import_relays(struct import *m)
{
    struct relays r = {.ip4 = {.family = ADDR_NONE}};
    struct addr a;
    char text[ADDR_TEXT_MAX];
    (void)fputs("\n; Relays.\n", m->out);
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "relay-ip", l));) {
        if (addr_parse(slice_str(l->value), &a)) {
            import_note(m, l, COTURN_INSTEAD, "is no address");
        } else {
            relay_at(m, &r, l, &a);
        }
    }
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "external-ip", l));) {
        read_external(m, &r, l);
    }
    if (!r.ip4.family && !r.ip6.family) {
        relay_where_it_listens(m, &r);
    }
    const struct addr *relays[] = {&r.ip4, &r.ip6};
    for (size_t i = 0; i < 2; i++) {
        if (relays[i]->family) {
            import_put(m, "relay-address", "%s", addr_ip_text(relays[i], text));
        }
    }
    if (!r.ip4.family && !r.ip6.family) {
        import_comment(m, "At the address that this machine uses towards the Internet.");
    }
    if (r.external.family) {
        import_put(m, "external-address", "%s", addr_ip_text(&r.external, text));
    }
    put_ports(m);
    import_comment(m, "RFC 6062's Connect, as in coturn: clients may open TCP connections to "
                      "peers.");
    import_put(m, "tcp-connect", coturn_flag(&m->in, "no-tcp-relay") ? "off" : "any");
}

/* The ranges of all lines of this name. */
static void read_ranges(struct import *m, const char *name, struct ip_set *out)
{
    struct ip_range r;
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, name, l));) {
        if (!ip_range_parse(slice_str(l->value), &r)) {
            import_note(m, l, COTURN_INSTEAD, "is no address and no range of them");
        } else if (ip_set_add(out, &r)) {
            import_note(m, l, COTURN_INSTEAD, "too many ranges: this one is left out");
        }
    }
}

static void put_nets(struct import *m, const char *key, const struct ip_set *set)
{
    char text[ADDR_TEXT_MAX];
    struct addr_net net;
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++) {
        struct ip_range r = set->r[i];
        while (ip_range_next_net(&r, &net)) {
            if (n++ < TURN_NETS_MAX) {
                import_put(m, key, "%s/%u", addr_ip_text(&net.base, text), net.bits);
            }
        }
    }
    if (n > TURN_NETS_MAX) {
        import_note(m, NULL, COTURN_INSTEAD,
                    "%zu networks of %s, %d are taken: the others are missing above, put "
                    "several into one",
                    n, key, TURN_NETS_MAX);
    }
}

/* What coturn refuses whatever is allowed. */
static int remove_never_allowed(struct import *m, struct ip_set *allowed)
{
    static const char *const never[] = {"0.0.0.0/8", "::/128",      "224.0.0.0/3",
                                        "ff00::/8",  "127.0.0.0/8", "::1/128"};
    size_t n = sizeof never / sizeof *never;
    struct ip_range r;
    int err = OK;
    for (size_t i = 0; i < n && !err; i++) {
        bool is_loopback = i >= 4;
        if ((!is_loopback || !coturn_flag(&m->in, "allow-loopback-peers")) &&
            ip_range_parse(slice_str(never[i]), &r)) {
            err = ip_set_remove(allowed, &r);
        }
    }
    return err;
}

void import_peers(struct import *m)
{
    struct ip_set *allowed = calloc(1, sizeof *allowed), *denied = calloc(1, sizeof *denied);
    int err = allowed && denied ? OK : ERR_NOMEM;
    (void)fputs("\n; Peers. Private, loopback and other special addresses are refused if they "
                "are not allowed;\n; coturn refuses loopback only. Should your peers be in "
                "such a network, name it:\n;peer-allow = 10.20.30.0/24\n",
                m->out);
    if (!err) {
        read_ranges(m, "allowed-peer-ip", allowed);
        read_ranges(m, "denied-peer-ip", denied);
        err = remove_never_allowed(m, allowed);
    }
    /* What is allowed wins in coturn, what is denied here. */
    for (size_t i = 0; !err && i < allowed->n; i++) {
        err = ip_set_remove(denied, &allowed->r[i]);
    }
    if (err) {
        import_note(m, NULL, COTURN_INSTEAD,
                    "too many ranges in allowed-peer-ip and denied-peer-ip: write peer-allow "
                    "and peer-deny yourself");
    } else {
        put_nets(m, "peer-allow", allowed);
        put_nets(m, "peer-deny", denied);
    }
    free(allowed);
    free(denied);
}
