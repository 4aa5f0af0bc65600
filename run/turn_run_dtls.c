/* Clients that come over DTLS (RFC 7350), on the listeners' UDP ports: records go to the table
 * of associations, their plain text to the core, and what the core says to one back as a
 * record. */
#include "run/turn_run_dtls.h"

#include <stdlib.h>

#include "lib/tls/dtls_hello.h"

#include "run/turn_run_impl.h"

enum {
    HANDSHAKE_MS = 30000, /* a flight may get lost four times */
    HANDSHAKES_MAX = 64,  /* that are not done, from one address (IPv6: one /64) */
    EVENTS_PER_S = 20
};

struct turn_dtls {
    struct turn_run *run;
    struct dtls_server *core;
    struct loop_timer *timer;
    struct log_limit noise;
    struct dgram_opts opts; /* of the datagram at hand */
};

static dtls_id next_id(void *ctx)
{
    struct turn_run *r = ctx;
    return ++r->last_client;
}

static void random_bytes(void *out, size_t len, void *ctx)
{
    (void)ctx;
    io_random(out, len);
}

static void send_record(struct turn_run *r, const struct dtls_action *a, struct dgram_opts opts)
{
    const struct dgram body = {.data = a->bytes, .opts = opts};
    run_to_client(r, &a->client, &a->local, slice_of(NULL, 0), body);
}

static void begun(struct turn_run *r, const struct dtls_action *a)
{
    char id[TURN_ID_TEXT], client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];
    LOG(r->cfg.log, LOG_DEBUG, "client", LOG_S("conn", turn_id_text(a->id, id)),
        LOG_S("client", addr_text(&a->client, client)),
        LOG_S("listener", addr_text(&a->local, local)), LOG_S("transport", "dtls"));
}

static void ended(struct turn_dtls *d, const struct dtls_action *a)
{
    struct turn_run *r = d->run;
    char id[TURN_ID_TEXT], client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];
    uint64_t now_ms = loop_now_ms(r->loop);
    uint32_t held;
    if (a->has_begun) {
        LOG(r->cfg.log, LOG_DEBUG, "client-closed", LOG_S("conn", turn_id_text(a->id, id)),
            LOG_S("why", a->why));
        turn_server_conn_gone(r->core, now_ms, a->id);
        run_actions(r);
    } else if (log_limit_pass(&d->noise, now_ms / 1000, EVENTS_PER_S, &held)) {
        LOG(r->cfg.log, LOG_INFO, "dtls-failed", LOG_S("client", addr_text(&a->client, client)),
            LOG_S("listener", addr_text(&a->local, local)), LOG_S("why", a->why),
            LOG_N("held_back", held));
    }
}

/* A record is a message, as a datagram is one without DTLS. */
static void received(struct turn_dtls *d, const struct dtls_action *a)
{
    struct turn_run *r = d->run;
    struct turn_conn conn = run_udp_conn(r, &a->client, &a->local);
    const struct dgram frame = {.data = a->bytes, .opts = d->opts};
    conn.id = a->id;
    conn.is_proven = true;
    const struct turn_name *name = r->cfg.n_names > 0 ? run_name_of(r, a->server_name) : NULL;
    if (name && name->has_realm) {
        conn.realm = name->realm;
    }
    if (turn_server_from_client(r->core, loop_now_ms(r->loop), &conn, frame) == OK) {
        run_actions(r);
    }
}

static void pull(struct turn_dtls *d)
{
    struct dtls_action a;
    const struct dgram_opts usual = {0};
    while (dtls_server_next(d->core, &a)) {
        switch (a.what) {
        case DTLS_DO_SEND: send_record(d->run, &a, usual); break;
        case DTLS_DO_BEGIN: begun(d->run, &a); break;
        case DTLS_DO_PLAIN: received(d, &a); break;
        case DTLS_DO_END: ended(d, &a); break;
        }
    }
    loop_timer_at(d->timer, dtls_server_deadline_ms(d->core));
}

static void on_timer(void *ctx)
{
    struct turn_dtls *d = ctx;
    uint64_t now_ms = loop_now_ms(d->run->loop);
    while (dtls_server_deadline_ms(d->core) <= now_ms) {
        dtls_server_tick(d->core, now_ms);
        pull(d);
    }
    loop_timer_at(d->timer, dtls_server_deadline_ms(d->core));
}

int turn_dtls_new(struct turn_dtls **out, struct turn_run *r)
{
    const struct dtls_server_config cfg = {.max = r->cfg.max_dtls,
                                           .max_per_prefix = r->cfg.max_dtls_per_address,
                                           .max_unfinished = HANDSHAKES_MAX,
                                           .handshake_ms = HANDSHAKE_MS};
    const struct dtls_server_env env = {.random = random_bytes, .next_id = next_id, .ctx = r};
    struct turn_dtls *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) {
        return ERR_NOMEM;
    }
    d->run = r;
    int err = dtls_server_new(&d->core, &cfg, &env);
    err = err ? err : loop_timer_new(&d->timer, r->loop, on_timer, d);
    if (err) {
        turn_dtls_free(d);
        return err;
    }
    dtls_server_set_context(d->core, r->cfg.dtls);
    *out = d;
    return OK;
}

void turn_dtls_free(struct turn_dtls *d)
{
    if (!d) {
        return;
    }
    struct dtls_server_info info;
    while (d->core && dtls_server_after(d->core, 0, &info)) {
        turn_dtls_close(d, info.id);
    }
    dtls_server_free(d->core);
    loop_timer_free(d->timer);
    free(d);
}

bool turn_dtls_take(struct turn_dtls *d, const struct addr *from, const struct addr *local,
                    struct dgram datagram)
{
    if (!d || !dtls_is_record(datagram.data)) {
        return false;
    }
    d->opts = datagram.opts;
    dtls_server_in(d->core, loop_now_ms(d->run->loop), from, local, datagram.data);
    pull(d);
    return true;
}

void turn_dtls_send(struct turn_dtls *d, const struct turn_action *a)
{
    struct dtls_action out;
    if (!d) {
        return;
    }
    int err = dtls_server_seal(d->core, a->conn, slice_of(a->head, a->head_len),
                               run_body(d->run, a), &out);
    if (err == OK) {
        send_record(d->run, &out, a->opts);
    } else if (err == ERR_LIMIT) {
        run_dropped(d->run, a->relay); /* no record is that long */
    }
}

void turn_dtls_close(struct turn_dtls *d, turn_id conn)
{
    struct dtls_action out;
    const struct dgram_opts usual = {0};
    if (d && dtls_server_close(d->core, conn, &out)) {
        send_record(d->run, &out, usual);
    }
}

void turn_dtls_sweep(struct turn_dtls *d)
{
    struct dtls_server_info info;
    struct turn_run *r = d ? d->run : NULL;
    bool is_more = d && dtls_server_after(d->core, 0, &info);
    while (is_more) {
        dtls_id id = info.id;
        uint64_t age_ms = loop_now_ms(r->loop) - info.seen_ms;
        bool idles = info.is_up && age_ms >= 1000ull * r->cfg.idle_s &&
                     !turn_server_conn_used(r->core, id);
        is_more = dtls_server_after(d->core, id, &info);
        if (idles) {
            char text[TURN_ID_TEXT];
            LOG(r->cfg.log, LOG_DEBUG, "client-closed", LOG_S("conn", turn_id_text(id, text)),
                LOG_S("why", "idle"));
            turn_dtls_close(d, id);
            turn_server_conn_gone(r->core, loop_now_ms(r->loop), id);
            run_actions(r);
        }
    }
}

void turn_run_set_dtls(struct turn_run *r, struct tls_context *dtls)
{
    r->cfg.dtls = dtls;
    if (r->dtls) {
        dtls_server_set_context(r->dtls->core, dtls);
    }
}

struct dtls_server_stats turn_run_dtls(const struct turn_run *r)
{
    return r->dtls ? dtls_server_stats(r->dtls->core) : (struct dtls_server_stats){0};
}
