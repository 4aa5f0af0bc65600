/* Clients that come over TLS, on the port of those that do not. */
#include "lib/tls/client_hello.h"

#include "run/tls_stream.h"
#include "run/turn_run_impl.h"

enum {
    HANDSHAKES_MAX = 64, /* that are not done, from one address (IPv6: one /64) */
    EVENTS_PER_S = 20
};

static void log_tls(struct client *c, const char *why)
{
    char id[TURN_ID_TEXT], text[ADDR_TEXT_MAX];
    uint32_t held;
    struct turn_run *r = c->run;
    if (log_limit_pass(&r->tls_noise, loop_now_ms(r->loop) / 1000, EVENTS_PER_S, &held)) {
        LOG(r->cfg.log, LOG_INFO, "tls-failed", LOG_S("conn", turn_id_text(c->id, id)),
            LOG_S("client", addr_text(&c->conn.client, text)), LOG_S("why", why),
            LOG_N("held_back", held));
    }
}

static bool shakes_hands(const struct client *c)
{
    return c->tls && !tls_is_up(c->tls);
}

static bool has_too_many(const struct client *c)
{
    size_t n = 0, len = c->conn.client.family == ADDR_IP6 ? 8 : 4;
    for (const struct client *o = c->run->clients; o; o = o->next) {
        n += shakes_hands(o) && o->conn.client.family == c->conn.client.family &&
             memcmp(o->conn.client.ip, c->conn.client.ip, len) == 0;
    }
    return n >= HANDSHAKES_MAX;
}

static enum door_step begin_here(struct client *c, struct slice first, struct door_entry *e)
{
    struct tls *tls;
    if (!c->run->cfg.tls) {
        e->why = "TLS without a certificate here";
        return DOOR_SHUT;
    }
    if (has_too_many(c)) {
        e->why = "too many handshakes from one address";
        return DOOR_SHUT;
    }
    if (tls_new(&tls, c->run->cfg.tls, true, NULL)) {
        e->why = "out of memory";
        return DOOR_SHUT;
    }
    c->tls = tls;
    c->at = DOOR_IN_TLS;
    e->used = first.len;
    tls_stream_begin(c->tcp, tls, first);
    return DOOR_ON;
}

enum door_step client_tls_begin(struct client *c, struct slice first, struct door_entry *e)
{
    struct turn_run *r = c->run;
    struct client_hello h;
    if (!r->cfg.web.tls.family && r->cfg.n_names == 0) {
        return begin_here(c, first, e);
    }
    switch (client_hello_read(first, &h)) {
    case PARSE_MORE: return DOOR_MORE;
    case PARSE_BAD: return begin_here(c, first, e); /* where it is told what is wrong */
    case PARSE_OK: break;
    }
    if (web_wants(r, &h)) {
        return web_begin(c, &r->cfg.web.tls, e);
    }
    const struct turn_name *name = run_name_of(r, h.server_name);
    if (name && name->has_realm) {
        c->conn.realm = name->realm;
    }
    return begin_here(c, first, e);
}

void client_tls_closed(struct client *c)
{
    if (shakes_hands(c)) {
        log_tls(c, tls_why(c->tls));
    }
}
