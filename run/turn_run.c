/* Runs a TURN server core: listeners, the timer, and the actions. */
#include "run/turn_run.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "run/turn_run_impl.h"

enum {
    PORT_TRIES = 16, /* to find one port that both UDP and TCP have free */
    SWEEP_MS = 1000
};

static uint64_t core_unix_s(void *ctx)
{
    (void)ctx;
    return loop_unix_s();
}

void turn_run_keys(struct turn_run *r, turn_id ticket, const struct turn_keys *keys)
{
    turn_id conn = turn_server_ticket_conn(r->core, ticket);
    turn_server_keys(r->core, loop_now_ms(r->loop), ticket, keys);
    if (!r->acts) {
        run_actions(r);
    }
    client_wake(r, conn);
}

static struct listener *listener_at(struct turn_run *r, const struct addr *local)
{
    for (size_t i = 0; i < r->n_listeners; i++) {
        struct listener *l = &r->listeners[i];
        bool is_ours =
            addr_ip_eq(&l->at, local) || (addr_is_any(&l->at) && l->at.family == local->family);
        if (is_ours && l->at.port == local->port) {
            return l;
        }
    }
    return NULL;
}

struct slice run_body(struct turn_run *r, const struct turn_action *a)
{
    if (a->tail_len == 0 || a->body.len + a->tail_len > sizeof r->scratch) {
        return a->body;
    }
    if (a->body.len > 0) {
        memcpy(r->scratch, a->body.p, a->body.len);
    }
    memset(r->scratch + a->body.len, 0, a->tail_len);
    return slice_of(r->scratch, a->body.len + a->tail_len);
}

void run_to_client(struct turn_run *r, const struct addr *client, const struct addr *local,
                   struct slice head, struct dgram body)
{
    struct listener *l = listener_at(r, local);
    if (l) {
        udp_send(l->udp, client, local, head, body);
    }
}

static void send_datagram(struct turn_run *r, const struct turn_action *a)
{
    const struct dgram body = {.data = run_body(r, a), .opts = a->opts};
    run_to_client(r, &a->addr, &a->local, slice_of(a->head, a->head_len), body);
}

void run_dropped(struct turn_run *r, turn_id relay)
{
    struct relay *rl = relay_find(r, relay);
    r->dropped++;
    if (rl) {
        rl->dropped++;
    }
}

static void carry_out(struct turn_run *r, const struct turn_action *a)
{
    struct client *c = client_find(r, a->conn);
    struct relay *rl = relay_find(r, a->relay);
    struct peer_link *p = peer_find(r, a->peer_conn);
    switch (a->what) {
    case TURN_DO_SEND:
        if (c) {
            client_send(c, a);
        } else if (a->conn == 0) {
            send_datagram(r, a);
        } else {
            turn_dtls_send(r->dtls, a);
        }
        break;
    case TURN_DO_RELAY_OPEN: relay_open(r, a); break;
    case TURN_DO_RELAY_SEND:
        if (rl && rl->udp) {
            relay_out(rl, a);
        }
        break;
    case TURN_DO_RELAY_CLOSE:
        if (rl) {
            relay_close(rl);
        }
        break;
    case TURN_DO_TCP_CONNECT: peer_connect(r, a); break;
    case TURN_DO_TCP_PIPE: peer_pipe(r, a); break;
    case TURN_DO_TCP_CLOSE:
        if (p) {
            peer_close(p);
        }
        break;
    case TURN_DO_CONN_CLOSE:
        if (c) {
            client_close(c);
        } else {
            turn_dtls_close(r->dtls, a->conn);
        }
        break;
    case TURN_DO_FIND_KEY: r->cfg.find_keys(&a->key, r->cfg.ctx); break;
    case TURN_DO_REPORT: run_report(r, a); break;
    }
}

void run_actions(struct turn_run *r)
{
    struct turn_action a;
    bool acted = r->acts;
    r->acts = true;
    while (turn_server_next(r->core, &a)) {
        carry_out(r, &a);
    }
    r->acts = acted;
    loop_timer_at(r->timer, turn_server_deadline_ms(r->core));
    if (r->is_draining && turn_server_stats(r->core).allocations == 0) {
        r->is_draining = false; /* said once */
        loop_idle_arm(r->drained);
    }
}

static void on_drained(void *ctx)
{
    struct turn_run *r = ctx;
    r->cfg.drained(r->cfg.drained_ctx);
}

static void on_timer(void *ctx)
{
    struct turn_run *r = ctx;
    uint64_t now_ms = loop_now_ms(r->loop);
    while (turn_server_deadline_ms(r->core) <= now_ms) {
        turn_server_tick(r->core, now_ms);
        run_actions(r);
    }
    loop_timer_at(r->timer, turn_server_deadline_ms(r->core));
}

static void on_sweep(void *ctx)
{
    struct turn_run *r = ctx;
    clients_sweep(r);
    web_sweep(r);
    turn_dtls_sweep(r->dtls);
    loop_timer_at(r->sweep, loop_now_ms(r->loop) + SWEEP_MS);
}

const struct turn_dialect *run_dialect(const struct turn_run *r, const struct addr *local)
{
    return turn_nat_at(r->cfg.server.nat, 2, local) ? &turn_dialect_rfc5780
                                                    : &turn_dialect_rfc8656;
}

struct turn_conn run_udp_conn(struct turn_run *r, const struct addr *client,
                              const struct addr *local)
{
    const struct listener *l = listener_at(r, local);
    return (struct turn_conn){.realm = l ? l->realm : 0,
                              .client = *client,
                              .local = *local,
                              .transport = TURN_UDP,
                              .dialect = run_dialect(r, local)};
}

static void on_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                        struct dgram datagram, void *ctx)
{
    struct listener *l = ctx;
    struct turn_run *r = l->run;
    struct turn_conn conn = run_udp_conn(r, from, local);
    (void)u;
    if (turn_dtls_take(r->dtls, from, local, datagram)) {
        return;
    }
    /* Trouble means that the datagram is dropped, as it is with UDP. */
    if (turn_server_from_client(r->core, loop_now_ms(r->loop), &conn, datagram) == OK) {
        run_actions(r);
    }
}

/* TCP first, then UDP on the same port; a port left to the kernel may need several tries. */
static int listen_both(struct turn_run *r, struct listener *l, size_t n)
{
    const struct addr *at = &r->cfg.listen[n];
    const struct tcp_options tcp = {.fd = r->cfg.listen_tcp[n]};
    const struct udp_options opt = {
        .has_header = true, .buffer = r->cfg.udp_buffer, .fd = r->cfg.listen_udp[n]};
    int err = OK;
    for (int i = 0; i < (at->port ? 1 : PORT_TRIES); i++) {
        err = tcp_listen(&l->tcp, r->loop, at, &tcp, client_accepted, l);
        if (err) {
            return err;
        }
        l->at = tcp_listener_addr(l->tcp);
        err = udp_open(&l->udp, r->loop, &l->at, &opt, on_datagram, l);
        if (!err) {
            return OK;
        }
        int why = errno;
        tcp_listener_free(l->tcp);
        l->tcp = NULL;
        errno = why;
    }
    return err;
}

/* All clients' datagrams pass through the listeners' buffers. */
static void tell_buffer(const struct turn_run *r)
{
    uint32_t got = udp_buffer(r->listeners[0].udp);
    if (got < r->cfg.udp_buffer) {
        LOG(r->cfg.log, LOG_INFO, "udp-buffer-cut", LOG_N("asked", r->cfg.udp_buffer),
            LOG_N("got", got), LOG_S("hint", "raise net.core.rmem_max and net.core.wmem_max"));
    }
}

static int listen_all(struct turn_run *r)
{
    char text[ADDR_TEXT_MAX];
    for (size_t i = 0; i < r->cfg.n_listen; i++) {
        struct listener *l = &r->listeners[i];
        *l = (struct listener){.run = r, .realm = r->cfg.listen_realm[i]};
        if (listen_both(r, l, i)) {
            LOG(r->cfg.log, LOG_ERROR, "listen-failed",
                LOG_S("addr", addr_text(&r->cfg.listen[i], text)),
                LOG_S("why", strerror(errno)));
            return ERR_SYSTEM;
        }
        r->n_listeners = i + 1;
    }
    if (r->n_listeners > 0) {
        tell_buffer(r);
    }
    return OK;
}

static int make_maps(struct turn_run *r)
{
    uint8_t secret[16];
    size_t n = r->cfg.server.max_allocations;
    io_random(secret, sizeof secret);
    int err = map_init(&r->clients_by_id, r->cfg.max_connections,
                       MAP_KEY(struct client, by_id, id), sizeof(turn_id), secret);
    err = err ? err : crowd_init(r, secret);
    err = err ? err
              : map_init(&r->relays_by_id, 3 * n, MAP_KEY(struct relay, by_id, id),
                         sizeof(turn_id), secret);
    return err ? err
               : map_init(&r->peers_by_id, r->cfg.max_connections,
                          MAP_KEY(struct peer_link, by_id, id), sizeof(turn_id), secret);
}

static int begin(struct turn_run *r)
{
    const struct turn_env env = {.random = io_random_env, .unix_s = core_unix_s, .ctx = r};
    r->cfg.server.can_df = udp_can_df();
    int err = turn_server_new(&r->core, &r->cfg.server, &env);
    secret_wipe(r->cfg.server.nonce_secret, sizeof r->cfg.server.nonce_secret);
    err = err ? err : make_maps(r);
    err = err ? err : loop_timer_new(&r->timer, r->loop, on_timer, r);
    err = err ? err : loop_timer_new(&r->sweep, r->loop, on_sweep, r);
    err = err || r->cfg.max_dtls == 0 ? err : turn_dtls_new(&r->dtls, r);
    err = err ? err : loop_idle_new(&r->drained, r->loop, on_drained, r);
    if (err) {
        LOG(r->cfg.log, LOG_ERROR, "start-failed", LOG_S("why", err_text(err)));
        return err;
    }
    loop_timer_at(r->sweep, loop_now_ms(r->loop) + SWEEP_MS);
    err = listen_all(r);
    return err ? err : relays_check(r);
}

static const char *inherited(const struct turn_run_config *cfg, size_t n)
{
    return cfg->listen_tcp[n]   ? cfg->listen_udp[n] ? "udp,tcp" : "tcp"
           : cfg->listen_udp[n] ? "udp"
                                : "none";
}

static const char *transports(const struct turn_run_config *cfg)
{
    bool dtls = cfg->dtls && cfg->max_dtls > 0;
    return dtls && cfg->tls ? "udp,tcp,tls,dtls" : cfg->tls ? "udp,tcp,tls" : "udp,tcp";
}

int turn_run_new(struct turn_run **out, struct loop *l, const struct turn_run_config *cfg)
{
    struct turn_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        return ERR_NOMEM;
    }
    r->loop = l;
    r->cfg = *cfg;
    int err = begin(r);
    if (err) {
        turn_run_free(r);
        return err;
    }
    for (size_t i = 0; i < r->n_listeners; i++) {
        char text[ADDR_TEXT_MAX];
        LOG(cfg->log, LOG_INFO, "listening",
            LOG_S("addr", addr_text(&r->listeners[i].at, text)),
            LOG_S("transports", transports(cfg)), LOG_S("inherited", inherited(cfg, i)));
    }
    *out = r;
    return OK;
}

void turn_run_free(struct turn_run *r)
{
    if (!r) {
        return;
    }
    while (r->peers) {
        peer_close(r->peers);
    }
    while (r->clients) {
        tcp_close(r->clients->tcp);
        client_free(r->clients);
    }
    web_done(r);
    turn_dtls_free(r->dtls);
    while (r->relays) {
        relay_close(r->relays);
    }
    for (size_t i = 0; i < r->n_listeners; i++) {
        udp_close(r->listeners[i].udp);
        tcp_listener_free(r->listeners[i].tcp);
    }
    loop_timer_free(r->timer);
    loop_timer_free(r->sweep);
    loop_idle_free(r->drained);
    map_done(&r->clients_by_id);
    map_done(&r->networks);
    map_done(&r->relays_by_id);
    map_done(&r->peers_by_id);
    turn_server_free(r->core);
    free(r);
}

struct turn_stats turn_run_stats(const struct turn_run *r)
{
    return turn_server_stats(r->core);
}

const struct turn_server *turn_run_core(const struct turn_run *r)
{
    return r->core;
}

size_t turn_run_clients(const struct turn_run *r)
{
    return r->n_clients;
}

struct slice turn_run_realm(const struct turn_run *r, uint8_t index)
{
    const struct turn_config *s = &r->cfg.server;
    return index < s->n_realms ? s->realms[index] : slice_of(NULL, 0);
}

void turn_run_web(const struct turn_run *r, size_t *now, uint64_t *ever)
{
    *now = r->n_web;
    *ever = r->n_web_ever;
}

int turn_run_kick(struct turn_run *r, turn_id session)
{
    int err = turn_server_kick(r->core, loop_now_ms(r->loop), session);
    run_actions(r);
    return err;
}

void turn_run_drain(struct turn_run *r)
{
    turn_server_drain(r->core);
    r->is_draining = true;
    run_actions(r);
}

void turn_run_set_policy(struct turn_run *r, const struct turn_policy *policy)
{
    turn_server_set_policy(r->core, policy);
    run_actions(r);
}

void turn_run_set_tls(struct turn_run *r, struct tls_context *tls)
{
    r->cfg.tls = tls;
}

const char *turn_id_text(turn_id id, char *out)
{
    struct wr w = wr_over((uint8_t *)out, TURN_ID_TEXT);
    wr_text(&w, "%llx", (unsigned long long)id);
    out[w.len] = '\0';
    return out;
}

int turn_id_parse(struct slice s, turn_id *out)
{
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool is_digit = c >= '0' && c <= '9';
        if (s.len >= TURN_ID_TEXT || (!is_digit && (c < 'a' || c > 'f'))) {
            return ERR_MALFORMED;
        }
        *out = *out << 4 | (turn_id)(is_digit ? c - '0' : c - 'a' + 10);
    }
    return s.len > 0 ? OK : ERR_MALFORMED;
}

struct addr turn_run_addr(const struct turn_run *r, size_t n)
{
    return r->listeners[n].at;
}
