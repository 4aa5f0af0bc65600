/* Clients' TCP connections: one frame after the other to the core, until a connection becomes
 * one end of a pipe. */
#include <stdlib.h>

#include "run/turn_run_impl.h"

static void client_end(struct client *c)
{
    struct turn_run *r = c->run;
    turn_id id = c->id;
    char text[TURN_ID_TEXT];
    LOG(r->cfg.log, LOG_DEBUG, "client-closed", LOG_S("conn", turn_id_text(id, text)));
    client_free(c);
    turn_server_conn_gone(r->core, loop_now_ms(r->loop), id);
    run_actions(r);
}

void client_close(struct client *c)
{
    tcp_close_when_sent(c->tcp);
    client_end(c);
}

void client_drop(struct client *c)
{
    tcp_close(c->tcp);
    client_end(c);
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct client *c = ctx;
    struct turn_run *r = c->run;
    turn_id id = c->id;
    size_t taken = 0;
    (void)t;
    /* Looked up anew for each frame: what one leads to may close or pipe the stream. */
    for (; c && taken < bytes.len; c = client_find(r, id)) {
        struct slice frame;
        size_t used;
        enum parse got = c->conn.dialect->deframe(slice_from(bytes, taken), &frame, &used);
        if (got == PARSE_MORE) {
            break;
        }
        if (got == PARSE_OK) {
            taken += used;
            /* Not with each byte: a drop now and then must not keep a place for ever. */
            c->seen_ms = loop_now_ms(r->loop);
            c->has_spoken = true;
            int err = turn_server_from_client(r->core, c->seen_ms, &c->conn, dgram_of(frame));
            got = err == ERR_MALFORMED ? PARSE_BAD : PARSE_OK;
            run_actions(r);
        }
        c = client_find(r, id);
        if (got == PARSE_BAD && c) {
            client_drop(c);
            return bytes.len;
        }
        if (c && turn_server_conn_waits(r->core, id)) {
            c->is_waiting = true;
            tcp_pause(c->tcp);
            break;
        }
    }
    return taken;
}

void client_wake(struct turn_run *r, turn_id id)
{
    struct client *c = client_find(r, id);
    if (c && c->is_waiting && !turn_server_conn_waits(r->core, id)) {
        c->is_waiting = false;
        tcp_resume(c->tcp);
    }
}

/* A connection that carries no pipe has nothing to say after the client's FIN. */
void client_ended(struct tcp *t, void *ctx)
{
    (void)t;
    client_close(ctx);
}

void client_closed(struct tcp *t, int sys_errno, void *ctx)
{
    (void)t;
    (void)sys_errno;
    client_tls_closed(ctx);
    client_end(ctx);
}

static const struct tcp_events client_events = {
    .data = on_data,
    .ended = client_ended,
    .closed = client_closed,
};

enum door_step client_begin(struct client *c, struct slice first, struct door_entry *e)
{
    tcp_start(c->tcp, &client_events, c);
    e->used = on_data(c->tcp, first, c);
    return DOOR_IN;
}

struct client *client_find(struct turn_run *r, turn_id id)
{
    return id ? MAP_ENTRY(map_find(&r->clients_by_id, &id), struct client, by_id) : NULL;
}

void client_accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct listener *l = ctx;
    struct turn_run *r = l->run;
    struct client *c = r->n_clients < r->cfg.max_connections ? calloc(1, sizeof *c) : NULL;
    uint32_t held;
    if (!c) {
        if (log_limit_pass(&r->full, loop_now_ms(r->loop) / 1000, 1, &held)) {
            LOG(r->cfg.log, LOG_WARN, "clients-full", LOG_N("max", r->cfg.max_connections),
                LOG_N("held_back", held));
        }
        tcp_close(t);
        return;
    }
    char id[TURN_ID_TEXT], text[ADDR_TEXT_MAX];
    *c = (struct client){.run = r, .tcp = t, .begun_ms = loop_now_ms(r->loop)};
    c->seen_ms = c->begun_ms;
    c->id = ++r->last_client;
    struct addr local = tcp_local(t);
    c->conn = (struct turn_conn){.id = c->id,
                                 .realm = l->realm,
                                 .client = *peer,
                                 .local = local,
                                 .transport = TURN_TCP,
                                 .is_proven = true,
                                 .dialect = run_dialect(r, &local)};
    map_add(&r->clients_by_id, &c->by_id);
    c->next = r->clients;
    c->prev = &r->clients;
    if (c->next) {
        c->next->prev = &c->next;
    }
    r->clients = c;
    r->n_clients++;
    LOG(r->cfg.log, LOG_DEBUG, "client", LOG_S("conn", turn_id_text(c->id, id)),
        LOG_S("client", addr_text(peer, text)));
    door_open(c);
}

void client_free(struct client *c)
{
    struct turn_run *r = c->run;
    crowd_leave(c);
    map_remove(&r->clients_by_id, &c->by_id);
    *c->prev = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    r->n_clients--;
    if (c->web) {
        tcp_close(c->web);
    }
    free(c);
}

void client_send(struct client *c, const struct turn_action *a)
{
    struct relay *rl = relay_find(c->run, a->relay);
    /* Over TCP too a datagram may get lost, rather than wait and fill memory. */
    if (rl && tcp_is_full(c->tcp)) {
        rl->dropped++;
        c->run->dropped++;
        return;
    }
    /* Answers go to anybody, but not into the memory of one who never reads them. */
    if (tcp_is_full(c->tcp) && !turn_server_conn_used(c->run->core, c->id)) {
        client_drop(c);
        return;
    }
    if (tcp_write(c->tcp, slice_of(a->head, a->head_len), run_body(c->run, a))) {
        client_close(c);
    }
}

void clients_sweep(struct turn_run *r)
{
    uint64_t now_ms = loop_now_ms(r->loop);
    struct client *next;
    for (struct client *c = r->clients; c; c = next) {
        next = c->next;
        if (!c->has_spoken && !c->web && now_ms - c->begun_ms >= 1000ull * r->cfg.first_s) {
            door_refuse(c, "no whole message in time");
        } else if (now_ms - c->seen_ms >= 1000ull * r->cfg.idle_s &&
                   !turn_server_conn_used(r->core, c->id)) {
            client_drop(c);
        }
    }
}
