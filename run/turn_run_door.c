/* What a TCP connection is, by its first bytes: one table of doors. A new dialect is a row.
 *
 * Bytes that could be taken for each other, and why they are not:
 *   00..3F  STUN: a request of the methods there are begins 00 or 01.
 *   16 03   TLS. As STUN: a request of a method 0x583, which nobody defined.
 *   0D 0A   PROXY 2. As STUN: a response, 3338 bytes long, which is no multiple of four.
 *   40..7F  ChannelData, which no connection begins with: it has no allocation yet. So letters
 *           are free: "PROXY " (else channel 0x5052) and HTTP ("GE" else channel 0x4745). */
#include "lib/proxy/proxy.h"
#include "lib/tls/client_hello.h"

#include "run/turn_run_impl.h"

enum {
    EVENTS_PER_S = 20
};

struct door {
    const char *name;
    unsigned at; /* DOOR_*, where it can be */
    enum parse (*match)(struct slice first);
    enum door_step (*begin)(struct client *c, struct slice first, struct door_entry *e);
};

static enum parse match_stun(struct slice first)
{
    /* RFC 8489 5: the two bits that tell it from other protocols on the port. */
    return first.len == 0 ? PARSE_MORE : first.p[0] >> 6 == 0 ? PARSE_OK : PARSE_BAD;
}

static bool is_proxy(const struct turn_run *r, const struct addr *peer)
{
    for (size_t i = 0; i < r->cfg.n_proxy_from; i++) {
        if (addr_net_has(&r->cfg.proxy_from[i], peer)) {
            return true;
        }
    }
    return false;
}

static enum door_step begin_proxy(struct client *c, struct slice first, struct door_entry *e)
{
    struct proxy_header h;
    char id[TURN_ID_TEXT], text[2][ADDR_TEXT_MAX];
    if (c->at != DOOR_OUTSIDE || !c->is_from_proxy) {
        e->why = c->at == DOOR_OUTSIDE ? "PROXY header from an address not in proxy-from"
                                       : "second PROXY header";
        return DOOR_SHUT;
    }
    enum parse got = proxy_read(first, &h, &e->used);
    if (got != PARSE_OK) {
        e->why = "broken PROXY header";
        return got == PARSE_MORE ? DOOR_MORE : DOOR_SHUT;
    }
    c->at = DOOR_BEHIND_PROXY;
    if (h.client.family) {
        LOG(c->run->cfg.log, LOG_DEBUG, "proxied", LOG_S("conn", turn_id_text(c->id, id)),
            LOG_S("client", addr_text(&h.client, text[0])),
            LOG_S("proxy", addr_text(&c->conn.client, text[1])));
        c->conn.client = h.client;
        c->server = h.server;
    }
    e->why = crowd_join(c);
    return e->why ? DOOR_SHUT : DOOR_ON;
}

static const struct door doors[] = {
    {"PROXY", DOOR_OUTSIDE | DOOR_BEHIND_PROXY,               proxy_begins,        begin_proxy     },
    {"TLS",   DOOR_OUTSIDE | DOOR_BEHIND_PROXY,               client_hello_begins, client_tls_begin},
    {"HTTP",  DOOR_OUTSIDE | DOOR_BEHIND_PROXY,               web_match_http,      web_begin_http  },
    {"STUN",  DOOR_OUTSIDE | DOOR_BEHIND_PROXY | DOOR_IN_TLS, match_stun,          client_begin    },
};

/* The first door that it fits; one before it that may fit yet is waited for. */
static enum parse find(unsigned at, struct slice first, const struct door **out)
{
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        enum parse got = doors[i].at & at ? doors[i].match(first) : PARSE_BAD;
        if (got != PARSE_BAD) {
            *out = &doors[i];
            return got;
        }
    }
    return PARSE_BAD;
}

enum parse door_of(unsigned at, struct slice first, const char **name)
{
    const struct door *d = NULL;
    enum parse got = find(at, first, &d);
    *name = got == PARSE_OK ? d->name : NULL;
    return got;
}

void door_refuse(struct client *c, const char *why)
{
    struct turn_run *r = c->run;
    char id[TURN_ID_TEXT], text[ADDR_TEXT_MAX];
    uint32_t held;
    run_count_refusal(r, why);
    if (log_limit_pass(&r->door_noise, loop_now_ms(r->loop) / 1000, EVENTS_PER_S, &held)) {
        LOG(r->cfg.log, LOG_INFO, "door-refused", LOG_S("conn", turn_id_text(c->id, id)),
            LOG_S("client", addr_text(&c->conn.client, text)), LOG_S("why", why),
            LOG_N("held_back", held));
    }
    client_drop(c);
}

static enum door_step step(struct client *c, struct slice first, struct door_entry *e)
{
    const struct door *d;
    enum parse got = find(c->at, first, &d);
    bool lacks_header = c->at == DOOR_OUTSIDE && c->is_from_proxy;
    *e = (struct door_entry){.why = lacks_header ? "no PROXY header" : "no known protocol"};
    if (got == PARSE_OK && lacks_header && d->begin != begin_proxy) {
        return DOOR_SHUT;
    }
    return got == PARSE_OK ? d->begin(c, first, e) : got == PARSE_MORE ? DOOR_MORE : DOOR_SHUT;
}

static size_t on_first(struct tcp *t, struct slice bytes, void *ctx)
{
    struct client *c = ctx;
    size_t taken = 0;
    (void)t;
    while (taken < bytes.len) {
        struct door_entry e;
        switch (step(c, slice_from(bytes, taken), &e)) {
        case DOOR_MORE: return taken;
        case DOOR_ON: taken += e.used; break;
        case DOOR_IN: return taken + e.used; /* somebody else's; there may be no `c` */
        case DOOR_SHUT: door_refuse(c, e.why); return bytes.len;
        }
    }
    return taken;
}

static const struct tcp_events first_events = {
    .data = on_first,
    .ended = client_ended,
    .closed = client_closed,
};

void door_open(struct client *c)
{
    c->at = DOOR_OUTSIDE;
    c->is_from_proxy = is_proxy(c->run, &c->conn.client);
    c->server = c->conn.local;
    const char *why = c->is_from_proxy ? NULL : crowd_join(c); /* or behind the header */
    if (why) {
        door_refuse(c, why);
        return;
    }
    tcp_start(c->tcp, &first_events, c);
}
