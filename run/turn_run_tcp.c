/* Peers' TCP connections. A peer is not read before its connection is bound: what it sends
 * waits in the kernel (and in one bounded buffer), and so nothing is lost and nothing piles up.
 */
#include <stdlib.h>

#include "run/turn_run_impl.h"

enum {
    CONNECT_MS = 35000 /* the core gives up before */
};

static struct peer_link *link_new(struct turn_run *r, turn_id id, turn_id relay)
{
    struct peer_link *p = calloc(1, sizeof *p);
    if (!p) {
        return NULL;
    }
    *p = (struct peer_link){.run = r, .id = id, .relay = relay};
    map_add(&r->peers_by_id, &p->by_id);
    p->next = r->peers;
    p->at = &r->peers;
    if (p->next) {
        p->next->at = &p->next;
    }
    r->peers = p;
    return p;
}

struct tcp_pipe_count turn_run_link_count(const struct turn_run *r, turn_id peer_conn)
{
    const struct peer_link *p = peer_find(r, peer_conn);
    return !p ? (struct tcp_pipe_count){0} : p->pipe ? tcp_pipe_count(p->pipe) : p->count;
}

static void add_count(struct tcp_pipe_count *to, struct tcp_pipe_count n)
{
    to->a_to_b += n.a_to_b;
    to->b_to_a += n.b_to_a;
}

static void link_free(struct peer_link *p)
{
    struct relay *rl = relay_find(p->run, p->relay);
    add_count(&p->run->ended, p->count);
    if (rl) {
        add_count(&rl->ended, p->count);
    }
    map_remove(&p->run->peers_by_id, &p->by_id);
    *p->at = p->next;
    if (p->next) {
        p->next->at = p->at;
    }
    free(p);
}

struct peer_link *peer_find(const struct turn_run *r, turn_id id)
{
    return id ? MAP_ENTRY(map_find(&r->peers_by_id, &id), struct peer_link, by_id) : NULL;
}

void peer_close(struct peer_link *p)
{
    if (p->pipe) {
        p->count = tcp_pipe_count(p->pipe);
        tcp_pipe_close(p->pipe);
        p->pipe = NULL;
    } else if (p->tcp) {
        tcp_close(p->tcp);
    }
    link_free(p);
}

/* The core hears while the link is still here: its report of the end asks for the counts. */
static void link_ended(struct peer_link *p)
{
    struct turn_run *r = p->run;
    p->tcp = NULL;
    turn_server_tcp_closed(r->core, loop_now_ms(r->loop), p->id);
    run_actions(r);
    link_free(p);
}

struct tcp_pipe_count turn_run_tcp_count(const struct turn_run *r, turn_id session)
{
    struct tcp_pipe_count n = {0};
    struct turn_session s;
    struct turn_session_peer p;
    bool is_live = turn_server_session(r->core, loop_now_ms(r->loop), session, &s);
    for (size_t i = 0; i < 2 && is_live; i++) {
        const struct relay *rl = relay_find(r, s.relay[i].id);
        add_count(&n, rl ? rl->ended : (struct tcp_pipe_count){0});
    }
    for (size_t i = 0; turn_server_session_peer(r->core, session, i, &p); i++) {
        add_count(&n, turn_run_link_count(r, p.id));
    }
    return n;
}

struct turn_traffic turn_run_traffic(const struct turn_run *r)
{
    struct turn_stats s = turn_server_stats(r->core);
    struct tcp_pipe_count n = r->ended;
    for (const struct peer_link *p = r->peers; p; p = p->next) {
        add_count(&n, turn_run_link_count(r, p->id));
    }
    return (struct turn_traffic){.packets_to_peers = s.packets_to_peers,
                                 .packets_to_client = s.packets_to_client,
                                 .bytes_to_peers = s.bytes_to_peers,
                                 .bytes_to_client = s.bytes_to_client,
                                 .tcp_to_peers = n.a_to_b,
                                 .tcp_to_client = n.b_to_a,
                                 .dropped = r->dropped};
}

static void on_connected(struct tcp *t, void *ctx)
{
    struct peer_link *p = ctx;
    tcp_pause(t);
    turn_server_tcp_opened(p->run->core, loop_now_ms(p->run->loop), p->id, true);
    run_actions(p->run);
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    (void)t;
    (void)bytes;
    (void)ctx;
    return 0;
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    (void)t;
    (void)sys_errno;
    link_ended(ctx);
}

static const struct tcp_events peer_events = {
    .connected = on_connected,
    .data = on_data,
    .closed = on_closed,
};

void peer_connect(struct turn_run *r, const struct turn_action *a)
{
    struct relay *rl = relay_find(r, a->relay);
    struct peer_link *p = rl ? link_new(r, a->peer_conn, a->relay) : NULL;
    struct tcp_options opt = {.share_port = true, .timeout_ms = CONNECT_MS};
    if (p) {
        opt.local = &rl->addr;
        if (tcp_connect(&p->tcp, r->loop, &a->addr, &opt, &peer_events, p) == OK) {
            return;
        }
        link_free(p);
    }
    turn_server_tcp_opened(r->core, loop_now_ms(r->loop), a->peer_conn, false);
}

void peer_accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct relay *rl = ctx;
    struct turn_run *r = rl->run;
    uint64_t now_ms = loop_now_ms(r->loop);
    turn_id id = turn_server_tcp_accepted(r->core, now_ms, rl->id, peer);
    struct peer_link *p = id ? link_new(r, id, rl->id) : NULL;
    if (p) {
        p->tcp = t;
    } else {
        tcp_close(t);
    }
    run_actions(r);
    if (id && !p) {
        turn_server_tcp_closed(r->core, now_ms, id);
        run_actions(r);
    }
}

static void on_pipe_done(struct tcp_pipe *pipe, void *ctx)
{
    struct peer_link *p = ctx;
    p->count = tcp_pipe_count(pipe);
    p->pipe = NULL;
    link_ended(p);
}

static size_t link_room(bool from_client, uint64_t *again_ms, void *ctx)
{
    struct peer_link *p = ctx;
    struct turn_run *r = p->run;
    size_t room =
        turn_server_tcp_room(r->core, loop_now_ms(r->loop), p->id, from_client, again_ms);
    run_actions(r); /* it may have something to report */
    return room;
}

static void link_took(bool from_client, size_t n, void *ctx)
{
    struct peer_link *p = ctx;
    turn_server_tcp_took(p->run->core, loop_now_ms(p->run->loop), p->id, from_client, n);
}

/* False: there is no memory. */
static bool link_limit(struct peer_link *p)
{
    const struct tcp_pipe_limit limit = {.room = link_room, .took = link_took, .ctx = p};
    return !turn_config_is_limited(&p->run->cfg.server) ||
           tcp_pipe_set_limit(p->pipe, &limit) == OK;
}

void peer_pipe(struct turn_run *r, const struct turn_action *a)
{
    struct client *c = client_find(r, a->conn);
    struct peer_link *p = peer_find(r, a->peer_conn);
    if (c && p && tcp_pipe_new(&p->pipe, c->tcp, p->tcp, on_pipe_done, p) == OK) {
        client_free(c);
        if (!link_limit(p)) {
            turn_server_tcp_closed(r->core, loop_now_ms(r->loop), a->peer_conn);
            peer_close(p);
        }
        return;
    }
    /* The client has gone, or there is no memory: the peer learns it by its connection's end.
     */
    turn_server_tcp_closed(r->core, loop_now_ms(r->loop), a->peer_conn);
    if (p) {
        peer_close(p);
    }
    if (c) {
        client_close(c);
    }
}
