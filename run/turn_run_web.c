/* Connections that are for a web server which shares our port: joined to it byte for byte. */
#include <stdlib.h>

#include "lib/base/text.h"

#include "lib/proxy/proxy.h"
#include "lib/tls/client_hello.h"

#include "run/turn_run_impl.h"

enum {
    CONNECT_MS = 10000,
    SHARE = 4, /* of the connections one network may have this part */
    EVENTS_PER_S = 20
};

struct web_link {
    struct turn_run *run;
    struct web_link *next, **prev;
    struct tcp_pipe *pipe;
    turn_id conn;
    struct rate_key network;
    uint64_t bytes, seen_ms; /* both ways so far; when there was one more */
};

static struct rate_key network_of(const struct turn_run *r, const struct client *c)
{
    return rate_key_of(&c->conn.client, r->cfg.server.rate_prefix);
}

static uint64_t bytes_of(const struct web_link *w)
{
    struct tcp_pipe_count n = tcp_pipe_count(w->pipe);
    return n.a_to_b + n.b_to_a;
}

static void link_free(struct web_link *w)
{
    char id[TURN_ID_TEXT];
    struct tcp_pipe_count n = tcp_pipe_count(w->pipe);
    LOG(w->run->cfg.log, LOG_DEBUG, "web-closed", LOG_S("conn", turn_id_text(w->conn, id)),
        LOG_N("to_web", n.a_to_b), LOG_N("to_client", n.b_to_a));
    *w->prev = w->next;
    if (w->next) {
        w->next->prev = w->prev;
    }
    w->run->n_web--;
    free(w);
}

static void on_done(struct tcp_pipe *pipe, void *ctx)
{
    (void)pipe;
    link_free(ctx);
}

static void log_failure(struct client *c, const char *why)
{
    struct turn_run *r = c->run;
    char id[TURN_ID_TEXT], text[ADDR_TEXT_MAX];
    uint32_t held;
    if (log_limit_pass(&r->web_noise, loop_now_ms(r->loop) / 1000, EVENTS_PER_S, &held)) {
        LOG(r->cfg.log, LOG_WARN, "web-failed", LOG_S("conn", turn_id_text(c->id, id)),
            LOG_S("web", addr_text(&c->web_at, text)), LOG_S("why", why),
            LOG_N("held_back", held));
    }
}

/* Who the client is, if the web server wants to hear it. */
static int introduce(struct client *c)
{
    uint8_t header[PROXY_V2_LEN];
    struct wr w = wr_over(header, sizeof header);
    if (!c->run->cfg.web.says_client) {
        return OK;
    }
    proxy_write(&w, &(struct proxy_header){.client = c->conn.client, .server = c->server});
    return w.err ? w.err : tcp_write(c->web, wr_done(&w), slice_of(NULL, 0));
}

static void on_connected(struct tcp *t, void *ctx)
{
    struct client *c = ctx;
    struct turn_run *r = c->run;
    struct web_link *w = calloc(1, sizeof *w);
    (void)t;
    if (!w || introduce(c) || tcp_pipe_new(&w->pipe, c->tcp, c->web, on_done, w)) {
        log_failure(c, "out of memory");
        free(w);
        client_drop(c);
        return;
    }
    w->run = r;
    w->conn = c->id;
    w->network = network_of(r, c);
    w->seen_ms = loop_now_ms(r->loop);
    w->prev = &r->web_links;
    w->next = r->web_links;
    if (w->next) {
        w->next->prev = &w->next;
    }
    r->web_links = w;
    r->n_web++;
    c->web = NULL; /* the pipe's */
    client_free(c);
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct client *c = ctx;
    (void)t;
    c->web = NULL;
    log_failure(c, strerror(sys_errno));
    client_drop(c);
}

static const struct tcp_events web_events = {
    .connected = on_connected,
    .closed = on_closed,
};

/* What the client says meanwhile waits: the first bytes are here already. */
static size_t on_early(struct tcp *t, struct slice bytes, void *ctx)
{
    (void)t;
    (void)bytes;
    (void)ctx;
    return 0;
}

static const struct tcp_events early_events = {
    .data = on_early,
    .closed = client_closed,
};

/* NULL, or why there must not be another one of `c`'s network. */
static const char *is_full(const struct turn_run *r, const struct client *c)
{
    struct rate_key network = network_of(r, c), other;
    size_t all = r->n_web, same = 0;
    for (const struct web_link *w = r->web_links; w; w = w->next) {
        same += memcmp(&w->network, &network, sizeof network) == 0;
    }
    for (const struct client *o = r->clients; o; o = o->next) {
        if (o->web) {
            other = network_of(r, o);
            all++;
            same += memcmp(&other, &network, sizeof network) == 0;
        }
    }
    return all >= r->cfg.web.max ? "too many connections to the web server"
           : same >= (r->cfg.web.max + SHARE - 1) / SHARE
               ? "too many connections to the web server from one network"
               : NULL;
}

enum door_step web_begin(struct client *c, const struct addr *to, struct door_entry *e)
{
    struct turn_run *r = c->run;
    char id[TURN_ID_TEXT], text[2][ADDR_TEXT_MAX];
    const struct tcp_options opt = {.timeout_ms = CONNECT_MS};
    e->why = is_full(r, c);
    if (e->why) {
        return DOOR_SHUT;
    }
    c->web_at = *to;
    if (tcp_connect(&c->web, r->loop, to, &opt, &web_events, c)) {
        c->web = NULL;
        e->why = "no connection to the web server";
        return DOOR_SHUT;
    }
    r->n_web_ever++;
    LOG(r->cfg.log, LOG_DEBUG, "web", LOG_S("conn", turn_id_text(c->id, id)),
        LOG_S("client", addr_text(&c->conn.client, text[0])),
        LOG_S("web", addr_text(to, text[1])));
    tcp_start(c->tcp, &early_events, c);
    tcp_pause(c->tcp);
    return DOOR_IN;
}

enum parse web_match_http(struct slice first)
{
    /* RFC 9110 9.3, RFC 5789; PRI is the preface of HTTP/2 (RFC 9113 3.4). */
    static const char *const methods[] = {
        "GET ",     "HEAD ",  "POST ",  "PUT ",     "DELETE ",
        "OPTIONS ", "PATCH ", "TRACE ", "CONNECT ", "PRI * HTTP/2.0\r\n"};
    enum parse best = PARSE_BAD;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        size_t len = strlen(methods[i]), n = first.len < len ? first.len : len;
        if (n == 0 || memcmp(first.p, methods[i], n) == 0) {
            best = n == len ? PARSE_OK : PARSE_MORE;
            break;
        }
    }
    return best;
}

enum door_step web_begin_http(struct client *c, struct slice first, struct door_entry *e)
{
    (void)first;
    if (!c->run->cfg.web.plain.family) {
        e->why = "HTTP without a web server here";
        return DOOR_SHUT;
    }
    return web_begin(c, &c->run->cfg.web.plain, e);
}

const struct turn_name *run_name_of(const struct turn_run *r, struct slice name)
{
    size_t len = name.len > 0 && name.p[name.len - 1] == '.' ? name.len - 1 : name.len;
    for (size_t i = 0; i < r->cfg.n_names; i++) {
        if (text_is(slice_of(name.p, len), r->cfg.names[i].name)) {
            return &r->cfg.names[i];
        }
    }
    return NULL;
}

bool web_wants(const struct turn_run *r, const struct client_hello *h)
{
    if (!r->cfg.web.tls.family) {
        return false;
    }
    /* RFC 7443: whoever says so wants us, whatever the name. */
    if (client_hello_offers(h, "stun.turn") || client_hello_offers(h, "stun.nat-discovery")) {
        return false;
    }
    /* Browsers offer h2 and http/1.1 to every web server, and nothing for turns: URIs. */
    bool is_named = h->server_name.len > 0 && r->cfg.n_names > 0;
    return h->alpn.len > 0 || (is_named && !run_name_of(r, h->server_name));
}

void web_sweep(struct turn_run *r)
{
    uint64_t now_ms = loop_now_ms(r->loop);
    struct web_link *next;
    for (struct web_link *w = r->web_links; w; w = next) {
        next = w->next;
        uint64_t bytes = bytes_of(w);
        if (bytes != w->bytes) {
            w->bytes = bytes;
            w->seen_ms = now_ms;
        } else if (now_ms - w->seen_ms >= 1000ull * r->cfg.web.idle_s) {
            tcp_pipe_close(w->pipe);
            link_free(w);
        }
    }
}

void web_done(struct turn_run *r)
{
    while (r->web_links) {
        tcp_pipe_close(r->web_links->pipe);
        link_free(r->web_links);
    }
}
