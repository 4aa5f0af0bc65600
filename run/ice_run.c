/* Runs an ICE agent over TCP. */
#include "run/ice_run.h"

#include <stdlib.h>

#include "lib/rtp/rtp.h"

enum {
    HOSTS_MAX = 8,
    SILENCE_MS = 30000 /* of the peer's TCP, until a path is given up; keep-alives go out */
};

struct path {
    struct path *next;
    struct ice_run *owner;
    ice_path id;
    turn_data relay_data; /* of a path through the relay; 0: none */
    struct tcp *tcp;      /* NULL while a relayed connect is under way */
    bool refused;
};

struct host {
    struct ice_run *owner;
    struct tcp_listener *listener;
    struct addr at;
};

struct ice_run {
    struct loop *loop;
    struct ice_agent *agent;
    struct loop_timer *timer;
    struct host host[HOSTS_MAX];
    size_t n_hosts;
    struct path *paths;
    struct turn_client_run *relay;
    struct addr relayed;
    ice_path selected;
    const struct log *log;
    const char *tag;
    void (*event)(const struct ice_event *e, void *ctx);
    void *ctx;
    unsigned depth; /* calls into us under way: it is destroyed at the end of the outermost */
    bool is_over, is_freed, is_held;
};

static struct path *path_find(const struct ice_run *r, ice_path id)
{
    struct path *p = r->paths;
    while (p && p->id != id) {
        p = p->next;
    }
    return p;
}

static struct path *path_of_data(const struct ice_run *r, turn_data data)
{
    struct path *p = r->paths;
    while (p && p->relay_data != data) {
        p = p->next;
    }
    return p;
}

static struct path *path_new(struct ice_run *r)
{
    struct path *p = calloc(1, sizeof *p);
    if (p) {
        p->owner = r;
        p->next = r->paths;
        r->paths = p;
    }
    return p;
}

static void path_free(struct path *p)
{
    struct ice_run *r = p->owner;
    struct path **at = &r->paths;
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    if (p->tcp) {
        tcp_close(p->tcp);
        if (p->relay_data && r->relay) {
            turn_client_run_peer_gone(r->relay, p->relay_data);
        }
    }
    free(p);
}

static void emit(struct ice_run *r, const struct ice_event *e)
{
    if (!r->is_over && !r->is_freed) {
        r->is_over = e->type == ICE_EVENT_LOST;
        r->event(e, r->ctx);
    }
}

static void lose(struct ice_run *r, const char *why)
{
    const struct ice_event e = {.type = ICE_EVENT_LOST, .why = why};
    emit(r, &e);
}

static int path_connect(struct ice_run *r, const struct ice_action *a);

static void act(struct ice_run *r, const struct ice_action *a)
{
    struct path *p = path_find(r, a->path);
    struct ice_event e = {.local = a->local, .remote = a->remote, .packet = a->data};
    uint8_t head[2] = {(uint8_t)(a->data.len >> 8), (uint8_t)a->data.len};
    char local[ADDR_TEXT_MAX], remote[ADDR_TEXT_MAX];
    switch (a->what) {
    case ICE_DO_CONNECT:
        if (path_connect(r, a)) {
            LOG(r->log, LOG_WARN, "ice-connect-failed", LOG_S("for", r->tag));
        }
        break;
    case ICE_DO_SEND:
        if (p && p->tcp && tcp_write(p->tcp, slice_of(head, 2), a->data)) {
            LOG(r->log, LOG_WARN, "ice-send-dropped", LOG_S("for", r->tag));
        }
        break;
    case ICE_DO_CLOSE:
        if (p) {
            path_free(p);
        }
        break;
    case ICE_DO_SELECTED:
        r->selected = a->path;
        LOG(r->log, LOG_INFO, "ice-selected", LOG_S("for", r->tag),
            LOG_S("local", addr_text(&a->local.addr, local)),
            LOG_S("remote", addr_text(&a->remote.addr, remote)));
        e.type = ICE_EVENT_SELECTED;
        emit(r, &e);
        break;
    case ICE_DO_DATA:
        e.type = ICE_EVENT_PACKET;
        emit(r, &e);
        break;
    case ICE_DO_REPORT:
        LOG(r->log, LOG_DEBUG, "ice-step", LOG_S("for", r->tag), LOG_S("step", a->why),
            LOG_S("local", addr_text(&a->local.addr, local)),
            LOG_S("remote", addr_text(&a->remote.addr, remote)));
        break;
    case ICE_DO_FAILED: lose(r, a->why); break;
    }
}

static void destroy(struct ice_run *r)
{
    while (r->paths) {
        path_free(r->paths);
    }
    for (size_t i = 0; i < r->n_hosts; i++) {
        tcp_listener_free(r->host[i].listener);
    }
    loop_timer_free(r->timer);
    ice_agent_free(r->agent);
    free(r);
}

static struct path *path_refused(const struct ice_run *r)
{
    struct path *p = r->paths;
    while (p && !p->refused) {
        p = p->next;
    }
    return p;
}

/* Every call in is between enter and leave. Leaving the outermost carries out what the agent
 * wants; `r` may be gone after that. */
static void enter(struct ice_run *r)
{
    r->depth++;
}

static void leave(struct ice_run *r)
{
    struct ice_action a;
    while (r->depth == 1 && !r->is_over && !r->is_freed) {
        struct path *p = path_refused(r);
        if (ice_agent_next(r->agent, &a)) {
            act(r, &a);
        } else if (p) {
            ice_path id = p->id;
            path_free(p);
            ice_agent_connected(r->agent, loop_now_ms(r->loop), id, false);
        } else {
            break;
        }
    }
    if (--r->depth > 0) {
        return;
    }
    if (r->is_freed) {
        destroy(r);
        return;
    }
    loop_timer_at(r->timer, r->is_over ? UINT64_MAX : ice_agent_deadline_ms(r->agent));
}

/* Carries out the agent's actions now, although we are inside a call: so that an answer and the
 * application's packets keep the order of the frames that caused them. */
static void settle(struct ice_run *r)
{
    struct ice_action a;
    while (!r->is_over && !r->is_freed && ice_agent_next(r->agent, &a)) {
        act(r, &a);
    }
}

static void path_connected(struct tcp *t, void *ctx)
{
    struct path *p = ctx;
    struct ice_run *r = p->owner;
    tcp_give_up_after(t, SILENCE_MS);
    enter(r);
    ice_agent_connected(r->agent, loop_now_ms(r->loop), p->id, true);
    leave(r);
}

/* Takes whole RFC 4571 frames; a held path stops between two of them. */
static size_t path_bytes(struct tcp *t, struct slice bytes, void *ctx)
{
    struct path *p = ctx;
    struct ice_run *r = p->owner;
    ice_path id = p->id;
    struct slice packet;
    size_t used = 0, n;
    (void)t;
    enter(r);
    while (!r->is_over && !r->is_freed && path_find(r, id) &&
           !(r->is_held && id == r->selected) &&
           rtp_frame_next(slice_from(bytes, used), &packet, &n) == PARSE_OK) {
        used += n;
        if (packet.len > 0 && ice_agent_recv(r->agent, loop_now_ms(r->loop), id, packet)) {
            LOG(r->log, LOG_DEBUG, "ice-packet-dropped", LOG_S("for", r->tag));
        }
        settle(r);
    }
    leave(r);
    return used;
}

static void path_drained(struct tcp *t, void *ctx)
{
    struct path *p = ctx;
    struct ice_run *r = p->owner;
    const struct ice_event e = {.type = ICE_EVENT_DRAINED};
    (void)t;
    enter(r);
    if (p->id == r->selected) {
        emit(r, &e);
    }
    leave(r);
}

static void path_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct path *p = ctx;
    struct ice_run *r = p->owner;
    ice_path id = p->id;
    bool was_open = sys_errno == 0 || id == r->selected;
    (void)t;
    enter(r);
    p->tcp = NULL;
    if (p->relay_data && r->relay) {
        turn_client_run_peer_gone(r->relay, p->relay_data);
    }
    path_free(p);
    LOG(r->log, LOG_DEBUG, "ice-path-closed", LOG_S("for", r->tag),
        LOG_S("why", sys_errno ? strerror(sys_errno) : "closed by the peer"));
    if (was_open) {
        ice_agent_closed(r->agent, loop_now_ms(r->loop), id);
    } else {
        ice_agent_connected(r->agent, loop_now_ms(r->loop), id, false);
        ice_agent_closed(r->agent, loop_now_ms(r->loop), id);
    }
    settle(r);
    if (id == r->selected) {
        r->selected = 0;
        lose(r, "the media connection was closed");
    }
    leave(r);
}

static void path_ended(struct tcp *t, void *ctx)
{
    tcp_close(t);
    path_closed(t, 0, ctx);
}

static const struct tcp_events path_events = {.connected = path_connected,
                                              .data = path_bytes,
                                              .ended = path_ended,
                                              .drained = path_drained,
                                              .closed = path_closed};

static int path_connect(struct ice_run *r, const struct ice_action *a)
{
    struct path *p = path_new(r);
    if (!p) {
        return ERR_NOMEM;
    }
    p->id = a->path;
    int err;
    if (a->local.type == ICE_RELAY) {
        err = r->relay ? turn_client_run_connect(r->relay, &a->remote.addr, &p->relay_data)
                       : ERR_BADSTATE;
    } else {
        struct addr from = a->local.addr;
        from.port = 0; /* the passive candidate's port is taken by its listener */
        const struct tcp_options opt = {.local = &from, .timeout_ms = 10000};
        err = tcp_connect(&p->tcp, r->loop, &a->remote.addr, &opt, &path_events, p);
    }
    p->refused = err != OK;
    return OK;
}

static void host_accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct host *h = ctx;
    struct ice_run *r = h->owner;
    struct path *p = path_new(r);
    if (!p) {
        tcp_close(t);
        return;
    }
    enter(r);
    p->tcp = t;
    p->id = ice_agent_accepted(r->agent, loop_now_ms(r->loop), &h->at, peer);
    if (p->id) {
        tcp_give_up_after(t, SILENCE_MS);
        tcp_start(t, &path_events, p);
    } else {
        path_free(p);
    }
    leave(r);
}

static void on_timer(void *ctx)
{
    struct ice_run *r = ctx;
    enter(r);
    ice_agent_tick(r->agent, loop_now_ms(r->loop));
    leave(r);
}

int ice_run_new(struct ice_run **out, struct loop *l, const struct ice_run_config *cfg)
{
    struct ice_run *r = calloc(1, sizeof *r);
    const struct ice_env env = {.random = io_random_env};
    *out = NULL;
    if (!r) {
        return ERR_NOMEM;
    }
    *r = (struct ice_run){
        .loop = l, .log = cfg->log, .tag = cfg->tag, .event = cfg->event, .ctx = cfg->ctx};
    int err = ice_agent_new(&r->agent, &cfg->ice, &env);
    if (!err) {
        err = loop_timer_new(&r->timer, l, on_timer, r);
    }
    if (err) {
        destroy(r);
        return err;
    }
    *out = r;
    return OK;
}

void ice_run_free(struct ice_run *r)
{
    if (r) {
        enter(r);
        r->is_freed = true;
        leave(r);
    }
}

static int add_pair(struct ice_run *r, const struct ice_cand *like, bool may_connect)
{
    struct ice_cand c = *like;
    c.component = 1;
    c.tcp = ICE_PASSIVE;
    int err = ice_agent_add_local(r->agent, &c);
    c.tcp = ICE_ACTIVE;
    return err || !may_connect ? err : ice_agent_add_local(r->agent, &c);
}

int ice_run_add_host(struct ice_run *r, const struct addr *ip, bool may_connect)
{
    if (r->n_hosts == HOSTS_MAX) {
        return ERR_LIMIT;
    }
    struct host *h = &r->host[r->n_hosts];
    struct addr at = *ip;
    at.port = 0;
    *h = (struct host){.owner = r};
    int err = tcp_listen(&h->listener, r->loop, &at, NULL, host_accepted, h);
    if (err) {
        return err;
    }
    r->n_hosts++;
    h->at = tcp_listener_addr(h->listener);
    const struct ice_cand c = {.type = ICE_HOST, .addr = h->at, .base = h->at};
    return add_pair(r, &c, may_connect);
}

int ice_run_add_relay(struct ice_run *r, struct turn_client_run *relay,
                      const struct addr *relayed, const struct addr *base, bool may_connect)
{
    const struct ice_cand c = {.type = ICE_RELAY, .addr = *relayed, .base = *base};
    r->relay = relay;
    r->relayed = *relayed;
    return add_pair(r, &c, may_connect);
}

void ice_run_relay_gone(struct ice_run *r)
{
    r->relay = NULL;
}

size_t ice_run_local(const struct ice_run *r, struct ice_cand *out, size_t cap)
{
    return ice_agent_local(r->agent, out, cap);
}

int ice_run_set_remote(struct ice_run *r, struct slice ufrag, struct slice pwd,
                       const struct ice_cand *cands, size_t n)
{
    enter(r);
    int err = ice_agent_set_remote(r->agent, loop_now_ms(r->loop), ufrag, pwd, cands, n);
    leave(r);
    return err;
}

/* A peer came in by itself, or a connect of ours came through. */
static void relay_peer(struct ice_run *r, const struct relay_event *e)
{
    struct path *p = path_of_data(r, e->data);
    bool is_ours = p != NULL;
    p = p ? p : path_new(r);
    if (!p) {
        tcp_close(e->stream);
        return;
    }
    p->tcp = e->stream;
    p->relay_data = e->data;
    uint64_t now_ms = loop_now_ms(r->loop);
    if (is_ours) {
        ice_agent_connected(r->agent, now_ms, p->id, true);
    } else {
        p->id = ice_agent_accepted(r->agent, now_ms, &r->relayed, &e->peer);
    }
    if (p->id) {
        tcp_give_up_after(p->tcp, SILENCE_MS);
        tcp_start(p->tcp, &path_events, p);
    } else {
        path_free(p);
    }
}

void ice_run_relay_event(struct ice_run *r, const struct relay_event *e)
{
    enter(r);
    struct path *p = path_of_data(r, e->data);
    if (e->type == RELAY_PEER) {
        relay_peer(r, e);
    } else if (e->type == RELAY_NO_CONNECT && p) {
        p->refused = true;
    }
    leave(r);
}

int ice_run_send(struct ice_run *r, struct slice packet)
{
    struct path *p = r->selected ? path_find(r, r->selected) : NULL;
    uint8_t head[2] = {(uint8_t)(packet.len >> 8), (uint8_t)packet.len};
    if (!p || !p->tcp) {
        return ERR_BADSTATE;
    }
    return packet.len > RTP_FRAME_MAX ? ERR_LIMIT
                                      : tcp_write(p->tcp, slice_of(head, 2), packet);
}

bool ice_run_is_full(const struct ice_run *r)
{
    struct path *p = r->selected ? path_find(r, r->selected) : NULL;
    return p && p->tcp && tcp_is_full(p->tcp);
}

void ice_run_hold(struct ice_run *r, bool hold)
{
    struct path *p = r->selected ? path_find(r, r->selected) : NULL;
    if (r->is_held == hold) {
        return;
    }
    r->is_held = hold;
    if (p && p->tcp && hold) {
        tcp_pause(p->tcp);
    } else if (p && p->tcp) {
        tcp_resume(p->tcp);
    }
}
