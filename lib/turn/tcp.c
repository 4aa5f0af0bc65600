/* Peers' TCP connections (RFC 6062 5.2 to 5.4): Connect, ConnectionAttempt, ConnectionBind. */
#include "lib/turn/core.h"

static struct peer *peer_of_addr(const struct turn_server *s, const struct alloc *a,
                                 const struct addr *addr)
{
    struct peer_key key = key_of_peer(a, addr);
    return MAP_ENTRY(map_find(&s->peer_by_addr, &key), struct peer, by_addr);
}

static struct peer *peer_of_cid(const struct turn_server *s, uint32_t cid)
{
    return MAP_ENTRY(map_find(&s->peer_by_cid, &cid), struct peer, by_cid);
}

/* Not to be guessed, and it says which worker has the connection. */
static uint32_t new_cid(struct turn_server *s)
{
    uint32_t cid;
    do {
        s->env.random(&cid, sizeof cid, s->env.ctx);
        cid = (cid & 0x00ffffff) | (uint32_t)s->cfg.worker << 24;
    } while (peer_of_cid(s, cid));
    return cid;
}

/* The one place that changes a connection's state. */
static void set_state(struct turn_server *s, struct peer *p, enum peer_state state)
{
    bool was = p->state != PEER_BOUND, is = state != PEER_BOUND;
    p->state = state;
    if (was != is) {
        quota_count_unbound(s, p->alloc, is ? 1 : -1);
    }
    if (state == PEER_BOUND) {
        timerq_clear(&s->timers, &p->timer);
    } else {
        timer_set(s, &p->timer, TIMER_PEER,
                  state == PEER_CONNECTING ? CONNECT_WAIT_S : BIND_WAIT_S);
    }
}

/* There must be room: quota_refuses_peer() says so. */
static struct peer *peer_new(struct turn_server *s, struct alloc *a, const struct addr *addr,
                             enum peer_state state)
{
    struct peer *p = pool_take(&s->peers);
    p->alloc = a;
    p->addr = *addr;
    p->cid = new_cid(s);
    p->key = key_of_peer(a, addr);
    map_add(&s->peer_by_cid, &p->by_cid);
    map_add(&s->peer_by_addr, &p->by_addr);
    p->next = a->peers;
    p->at = &a->peers;
    if (p->next) {
        p->next->at = &p->next;
    }
    a->peers = p;
    quota_count_peer(a, 1);
    p->state = PEER_BOUND;
    set_state(s, p, state);
    return p;
}

static void peer_forget(struct turn_server *s, struct peer *p)
{
    if (p->state != PEER_BOUND) {
        set_state(s, p, PEER_BOUND);
    }
    map_remove(&s->peer_by_cid, &p->by_cid);
    map_remove(&s->peer_by_addr, &p->by_addr);
    *p->at = p->next;
    if (p->next) {
        p->next->at = p->at;
    }
    quota_count_peer(p->alloc, -1);
    pool_give(&s->peers, p);
}

static void report_peer(struct turn_server *s, const char *event, const char *why,
                        const struct peer *p)
{
    struct turn_report *r = report_put(s, event, why, p->alloc);
    r->peer = p->addr;
    action_last(s)->peer_conn = pool_id(&s->peers, p);
}

void tcp_end(struct turn_server *s, struct peer *p, const char *why)
{
    report_peer(s, "close", why, p);
    action_put(s, TURN_DO_TCP_CLOSE)->peer_conn = pool_id(&s->peers, p);
    peer_forget(s, p);
}

static uint16_t check(struct turn_server *s, const struct call *c, const char **why)
{
    uint16_t code = 0;
    *why = "no allocation";
    if (!c->alloc || !c->alloc->is_open) {
        return 437;
    }
    *why = "no TCP relay or no peer address";
    if (c->alloc->transport != TURN_TCP || !c->req.has_peer) {
        return 400;
    }
    *why = "Connect is switched off"; /* RFC 6062 5.2: forbidden by policy */
    if (s->cfg.tcp.connect == TURN_CONNECT_NONE) {
        return 403;
    }
    *why = "connected to this peer already";
    if (peer_of_addr(s, c->alloc, &c->req.peer)) {
        return 446;
    }
    /* Those that are refused count as well: who scans learns from a refusal, too. */
    *why = "too many Connects of the user";
    if (!quota_pass_connect(s, c->alloc->user)) {
        return 486;
    }
    *why = peer_refused(s, c->alloc, &c->req.peer, &code);
    if (*why) {
        return code;
    }
    *why = "Connect to an address that is not named";
    if (s->cfg.tcp.connect == TURN_CONNECT_NAMED &&
        !turn_policy_names(s->cfg.policy, &c->req.peer)) {
        return 403;
    }
    *why = quota_refuses_peer(s, c->alloc, &code);
    return *why ? code : 0;
}

void tcp_request(struct turn_server *s, struct call *c)
{
    const char *why;
    uint16_t code = check(s, c, &why);
    if (code) {
        reply_error(s, c, code, why);
        return;
    }
    struct peer *p = peer_new(s, c->alloc, &c->req.peer, PEER_CONNECTING);
    p->tid = c->req.msg.tid;
    struct turn_action *out = action_put(s, TURN_DO_TCP_CONNECT);
    out->relay = relay_id(s, relay_of(c->alloc, p->addr.family));
    out->peer_conn = pool_id(&s->peers, p);
    out->addr = p->addr;
}

static void reply_failed(struct turn_server *s, const struct peer *p, const char *why)
{
    struct call c = call_again(p->alloc, STUN_CONNECT, &p->tid);
    c.alloc = p->alloc;
    c.req.peer = p->addr;
    c.req.has_peer = true;
    reply_error(s, &c, 447, why);
}

void turn_server_tcp_opened(struct turn_server *s, uint64_t now_ms, turn_id peer_conn, bool ok)
{
    struct peer *p = pool_find(&s->peers, peer_conn);
    if (!p || p->state != PEER_CONNECTING) {
        return;
    }
    s->now_ms = now_ms;
    if (!ok) {
        reply_failed(s, p, "peer did not accept");
        peer_forget(s, p);
        return;
    }
    set_state(s, p, PEER_WAITING);
    struct call c = call_again(p->alloc, STUN_CONNECT, &p->tid);
    struct turn_reply reply = {.connection_id = p->cid, .has_connection_id = true};
    reply_success(s, &c, &reply);
    report_peer(s, "connect", NULL, p);
}

static turn_id refuse(struct turn_server *s, const struct alloc *a, const struct addr *peer,
                      const char *why)
{
    struct turn_report *r = report_put(s, "deny", why, a);
    r->peer = *peer;
    r->is_noise = true;
    s->stats.denied_total++;
    return 0;
}

turn_id turn_server_tcp_accepted(struct turn_server *s, uint64_t now_ms, turn_id relay,
                                 const struct addr *peer)
{
    const struct relay *r = relay_of_id(s, relay);
    struct alloc *a = r ? r->alloc : NULL;
    uint16_t code;
    if (!a || !a->is_open || a->transport != TURN_TCP) {
        return 0;
    }
    s->now_ms = now_ms;
    const char *why = peer_refused(s, a, peer, &code);
    if (why) {
        return refuse(s, a, peer, why);
    }
    /* RFC 6062 5.3: without a permission the connection is closed at once. */
    if (!s->cfg.tcp_accept_any && !turn_policy_accepts(s->cfg.policy, peer) &&
        !perm_has(s, a, peer)) {
        return refuse(s, a, peer, "no permission");
    }
    if (a->is_away) {
        return refuse(s, a, peer, "its client is away");
    }
    if (peer_of_addr(s, a, peer)) {
        return refuse(s, a, peer, "connected already");
    }
    why = quota_refuses_peer(s, a, &code);
    if (why) {
        return refuse(s, a, peer, why);
    }
    struct peer *p = peer_new(s, a, peer, PEER_WAITING);
    attempt_send(s, p);
    report_peer(s, "attempt", NULL, p);
    return pool_id(&s->peers, p);
}

/* RFC 6062 5.4. */
void tcp_bind(struct turn_server *s, struct call *c)
{
    struct peer *p = c->req.has_connection_id ? peer_of_cid(s, c->req.connection_id) : NULL;
    if (c->conn->transport != TURN_TCP || c->alloc) {
        reply_error(s, c, 400, "not on a TCP connection of its own");
        return;
    }
    if (!p || p->state != PEER_WAITING) {
        reply_error(s, c, 400, "no such connection waits");
        return;
    }
    if (!user_is(p->alloc->user, c) || !auth_is_same_token(p->alloc, c)) {
        reply_error(s, c, 441, "another user's connection");
        return;
    }
    set_state(s, p, PEER_BOUND);
    auth_drop_conn(s, c->conn->id); /* what it asked for besides has no place to go */
    struct turn_reply reply = {.connection_id = p->cid, .has_connection_id = true};
    reply_success(s, c, &reply);
    report_peer(s, "bind", NULL, p);
    action_last(s)->conn = c->conn->id; /* the data connection */
    struct turn_action *out = action_put(s, TURN_DO_TCP_PIPE);
    out->conn = c->conn->id;
    out->peer_conn = pool_id(&s->peers, p);
}

void turn_server_tcp_closed(struct turn_server *s, uint64_t now_ms, turn_id peer_conn)
{
    struct peer *p = pool_find(&s->peers, peer_conn);
    if (!p) {
        return;
    }
    s->now_ms = now_ms;
    if (p->state == PEER_CONNECTING) {
        reply_failed(s, p, "peer did not accept");
    } else {
        report_peer(s, "close", NULL, p);
    }
    peer_forget(s, p);
}

void tcp_late(struct turn_server *s, struct peer *p)
{
    if (p->state == PEER_CONNECTING) {
        reply_failed(s, p, "peer did not answer");
        action_put(s, TURN_DO_TCP_CLOSE)->peer_conn = pool_id(&s->peers, p);
        peer_forget(s, p);
    } else {
        tcp_end(s, p, "not bound in time");
    }
}
