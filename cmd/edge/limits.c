/* How many and how often: the options that end in a number. */
#include "cmd/edge/limits.h"

#include "lib/base/text.h"

enum {
    LIFETIME_DEFAULT_S = 600 /* RFC 8656 3.2 */
};

static uint32_t number(const struct conf *c, const char *name)
{
    return (uint32_t)conf_number(c, name);
}

static void read_tcp(struct turn_tcp_quota *q, const struct conf *c)
{
    q->in_all = number(c, "max-peers-in-all");
    q->per_user = number(c, "max-peers-per-user");
    q->unbound_per_user = number(c, "max-unbound-per-user");
    q->connects_per_s = number(c, "max-connects");
    static const enum turn_connect connects[] = {TURN_CONNECT_NAMED, TURN_CONNECT_ANY,
                                                 TURN_CONNECT_NONE};
    q->connect = connects[conf_choice(c, "tcp-connect")];
}

enum {
    BURST_MIN = 65536, /* bytes: a datagram fits */
    BURST_SHARE = 4    /* a quarter of a second's */
};

/* "500" and "500k" are 500,000 bits a second. */
static bool parse_bandwidth(struct slice s, struct bandwidth *out)
{
    static const struct {
        char unit;
        uint64_t bits;
    } units[] = {
        {'k', 1000      },
        {'M', 1000000   },
        {'G', 1000000000},
    };
    uint64_t n, bits = 1000;
    for (size_t i = 0; s.len > 1 && i < sizeof units / sizeof *units; i++) {
        if (s.p[s.len - 1] == units[i].unit) {
            bits = units[i].bits;
            s.len--;
            break;
        }
    }
    if (text_u64(s, BANDWIDTH_MAX * 8 / bits, &n)) {
        return false;
    }
    out->bytes_per_s = n * bits / 8;
    uint64_t burst = out->bytes_per_s / BURST_SHARE;
    out->burst = (uint32_t)(burst < BURST_MIN    ? BURST_MIN
                            : burst > UINT32_MAX ? UINT32_MAX
                                                 : burst);
    return true;
}

static bool read_bandwidth(struct turn_config *s, struct conf *c)
{
    static const char *const names[TURN_BANDWIDTHS] = {
        [TURN_BANDWIDTH_ALLOC] = "max-bandwidth-per-allocation",
        [TURN_BANDWIDTH_USER] = "max-bandwidth-per-user",
        [TURN_BANDWIDTH_ALL] = "max-bandwidth",
    };
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        if (!parse_bandwidth(slice_str(conf_text(c, names[i], 0)), &s->bandwidth[i])) {
            conf_fail(c, names[i], 0, "must be a number of kbit/s, or one with k, M or G");
            return false;
        }
    }
    return true;
}

/* RFC 8489 10: one of each family. */
static bool read_alternate(struct turn_config *s, struct conf *c)
{
    const char *domain = conf_text(c, "alternate-domain", 0);
    for (size_t i = 0; i < conf_count(c, "alternate-server"); i++) {
        struct addr a = conf_addr(c, "alternate-server", i);
        struct addr *to = &s->alternate[a.family == ADDR_IP6];
        if (to->family) {
            conf_fail(c, "alternate-server", i, "at most one of each address family");
            return false;
        }
        if (a.port == 0 || addr_is_any(&a)) {
            conf_fail(c, "alternate-server", i, "must be an address and port to connect to");
            return false;
        }
        *to = a;
    }
    s->alternate_domain = slice_str(domain ? domain : "");
    if (s->alternate_domain.len > 128) {
        conf_fail(c, "alternate-domain", 0, "must have at most 128 bytes");
        return false;
    }
    return true;
}

bool limits_read(struct edge_conf *e, struct conf *c)
{
    struct turn_config *s = &e->run.server;
    s->max_allocations = number(c, "max-allocations");
    s->max_per_user = number(c, "max-per-user");
    s->max_connections = number(c, "max-peers");
    s->max_unbound = number(c, "max-unbound");
    s->max_permissions = number(c, "max-permissions");
    s->max_channels = number(c, "max-channels");
    s->max_unproven_per_s = number(c, "max-answers");
    s->max_failures_per_s = number(c, "max-failures");
    s->rate_prefix.ip4_bits = (uint8_t)number(c, "network-ip4");
    s->rate_prefix.ip6_bits = (uint8_t)number(c, "network-ip6");
    read_tcp(&s->tcp, c);
    s->lifetime_default_s = LIFETIME_DEFAULT_S;
    s->lifetime_max_s = number(c, "max-lifetime");
    s->nonce_life_s = number(c, "nonce-life");
    s->mobility = conf_bool(c, "mobility");
    s->tcp_accept_any = conf_choice(c, "tcp-accept") == 1;
    e->run.max_connections = number(c, "max-connections");
    e->run.max_accepts_per_s = number(c, "max-accepts");
    e->run.max_strangers = number(c, "max-strangers");
    e->run.idle_s = number(c, "idle");
    e->run.first_s = number(c, "first-message");
    e->run.udp_buffer = number(c, "udp-buffer");
    s->realms[0] = slice_str(conf_text(c, "realm", 0));
    s->n_realms = 1;
    s->software = slice_str("Causeway");
    if (s->realms[0].len == 0 || s->realms[0].len > 128) {
        conf_fail(c, "realm", 0, "must have 1 to 128 bytes");
        return false;
    }
    return read_bandwidth(s, c) && read_alternate(s, c);
}
