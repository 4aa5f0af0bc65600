/* Clients that come over TLS, on the port of those that do not. */
#include "run/tls_stream.h"
#include "run/turn_run_impl.h"

enum {
    HANDSHAKE_MS = 10000,
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

/* A STUN message could begin like this by its grammar only: nobody defined such a method. */
enum parse client_is_tls(struct slice first)
{
    static const uint8_t handshake[] = {0x16, 0x03}; /* RFC 8446 5.1: record type, version */
    size_t n = first.len < sizeof handshake ? first.len : sizeof handshake;
    if (n > 0 && memcmp(first.p, handshake, n) != 0) {
        return PARSE_BAD;
    }
    return n < sizeof handshake ? PARSE_MORE : PARSE_OK;
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

bool client_tls_begin(struct client *c, struct slice first)
{
    if (has_too_many(c)) {
        log_tls(c, "too many handshakes from one address");
        return false;
    }
    struct tls *tls;
    if (!c->run->cfg.tls) { /* a reload took it away meanwhile */
        return false;
    }
    if (tls_new(&tls, c->run->cfg.tls, true, NULL)) {
        log_tls(c, "out of memory");
        return false;
    }
    c->tls = tls;
    tls_stream_begin(c->tcp, tls, first);
    return true;
}

bool client_tls_is_late(struct client *c, uint64_t now_ms)
{
    bool is_late = shakes_hands(c) && now_ms - c->seen_ms >= HANDSHAKE_MS;
    if (is_late) {
        log_tls(c, "the handshake took too long");
    }
    return is_late;
}

void client_tls_closed(struct client *c)
{
    if (shakes_hands(c)) {
        log_tls(c, tls_why(c->tls));
    }
}
