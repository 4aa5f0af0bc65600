/* Allocate and Refresh (RFC 8656 7, 8; RFC 6062 5.1), and the end of an allocation. */
#include "lib/base/crypto.h"

#include "lib/turn/core.h"

/* RFC 8656 7.2: what is asked for, between the default and the most we give. */
static uint32_t granted_s(const struct turn_server *s, const struct call *c)
{
    const struct turn_req *r = &c->req;
    uint32_t least = s->cfg.lifetime_default_s, most = s->cfg.lifetime_max_s;
    uint32_t asked = r->has_lifetime && r->lifetime_s > least ? r->lifetime_s : least;
    asked = asked > most ? most : asked;
    /* RFC 7635 4.1.1: not longer than the token is good. auth.c sees that it is good now. */
    uint64_t left_s = c->ends_ms ? (c->ends_ms - s->now_ms) / 1000 : asked;
    return left_s < asked ? (uint32_t)left_s : asked;
}

static void reply_allocated(struct turn_server *s, const struct call *c, const struct alloc *a)
{
    struct turn_reply reply = {
        .mapped = c->conn->client,
        .missing = a->missing,
        .missing_reason = reason_of(a->missing.code),
        .lifetime_s = a->lifetime_s,
        .has_lifetime = true,
        .reservation = a->reservation,
        .has_reservation = a->reservation != 0,
        .ticket = move_ticket(s, a),
    };
    for (size_t i = 0, n = 0; i < ALLOC_RELAYS; i++) {
        if (a->relay[i].state == RELAY_OPEN) {
            reply.relayed[n++] = a->relay[i].told;
        }
    }
    reply_success(s, c, &reply);
}

/* RFC 6062 5.1: a TCP relay goes with a TCP connection and with nothing about ports. */
static uint16_t check_tcp(const struct call *c, const char **why)
{
    const struct turn_req *r = &c->req;
    if (c->conn->transport != TURN_TCP) {
        *why = "TCP relay asked for over UDP";
        return 400;
    }
    *why = "EVEN-PORT, RESERVATION-TOKEN or DONT-FRAGMENT with a TCP relay";
    return r->even_port || r->has_reservation || r->dont_fragment ? 400 : 0;
}

/* RFC 8656 7.2, steps 5 to 9. */
static uint16_t check_families(const struct turn_server *s, const struct turn_req *r,
                               const char **why)
{
    *why = "ADDITIONAL-ADDRESS-FAMILY";
    if (r->has_also_family &&
        (r->also_family != ADDR_IP6 || r->family || r->has_reservation || r->reserve_next)) {
        return 400;
    }
    if (r->has_reservation) {
        return 0; /* the kept port's family counts, whichever it is */
    }
    *why = "address family";
    bool ip4 = s->cfg.relay_ip4, ip6 = s->cfg.relay_ip6;
    bool ok = r->has_also_family      ? ip4 || ip6
              : r->family == ADDR_IP6 ? ip6
                                      : ip4 && (r->family == 0 || r->family == ADDR_IP4);
    return ok ? 0 : 440;
}

static uint16_t check(const struct turn_server *s, const struct call *c, const char **why)
{
    const struct turn_req *r = &c->req;
    uint16_t code = 0;
    *why = "no REQUESTED-TRANSPORT";
    if (!r->transport) {
        return 400;
    }
    *why = "REQUESTED-TRANSPORT";
    if (r->transport != TURN_UDP && r->transport != TURN_TCP) {
        return 442;
    }
    if (r->transport == TURN_TCP) {
        code = check_tcp(c, why);
    } else if (r->dont_fragment && !s->cfg.can_df) {
        *why = "DONT-FRAGMENT";
        code = 420;
    } else if (r->has_reservation && (r->even_port || r->family)) {
        *why = "RESERVATION-TOKEN with EVEN-PORT or an address family";
        code = 400;
    }
    code = code ? code : check_families(s, r, why);
    return code ? code : move_check_allocate(s, r, why);
}

static struct reserve *reserve_find(const struct turn_server *s, uint64_t token)
{
    return MAP_ENTRY(map_find(&s->reserve_by_token, &token), struct reserve, by_token);
}

static void reserve_forget(struct turn_server *s, struct reserve *r)
{
    timerq_clear(&s->timers, &r->timer);
    map_remove(&s->reserve_by_token, &r->by_token);
    if (r->user) {
        user_give(s, r->user);
    }
    pool_give(&s->reserves, r);
}

void reserve_end(struct turn_server *s, struct reserve *r)
{
    action_put(s, TURN_DO_RELAY_CLOSE)->relay = pool_id(&s->reserves, r);
    reserve_forget(s, r);
}

static struct reserve *reserve_new(struct turn_server *s, const struct alloc *a, uint16_t *code)
{
    struct user *u =
        user_take(s, a->user->realm, slice_of(a->user->name, a->user->name_len), code);
    struct reserve *r = u ? pool_take(&s->reserves) : NULL;
    if (!r) {
        if (u) {
            user_give(s, u);
        }
        return NULL;
    }
    r->user = u;
    r->family = a->relay[0].family;
    do {
        s->env.random(&r->token, sizeof r->token, s->env.ctx);
    } while (r->token == 0 || reserve_find(s, r->token));
    map_add(&s->reserve_by_token, &r->by_token);
    return r;
}

static struct alloc *alloc_new(struct turn_server *s, const struct call *c, struct user *u)
{
    struct alloc *a = pool_take(&s->allocs);
    if (!a) {
        return NULL;
    }
    a->conn = *c->conn;
    a->user = u;
    a->key = *c->key;
    a->key_until_ms = c->key_until_ms;
    a->ends_ms = c->ends_ms;
    a->tid = c->req.msg.tid;
    a->transport = (enum turn_transport)c->req.transport;
    relay_choose(s, a, &c->req);
    a->lifetime_s = granted_s(s, c);
    a->move.is_allowed = c->req.has_ticket;
    path_add(s, &a->path, a, c->conn);
    return a;
}

static void alloc_forget(struct turn_server *s, struct alloc *a)
{
    path_remove(s, &a->path);
    path_remove(s, &a->move.path);
    secret_wipe(&a->key, sizeof a->key);
    pool_give(&s->allocs, a);
}

static void alloc_again(struct turn_server *s, const struct call *c)
{
    const struct alloc *a = c->alloc;
    const struct stun_tid *tid = &c->req.msg.tid;
    if (a->tid.len != tid->len || memcmp(a->tid.b, tid->b, tid->len) != 0) {
        reply_error(s, c, 437, "has an allocation");
    } else if (a->is_open) {
        /* RFC 8656 7.2: a retransmission gets the same answer. */
        reply_allocated(s, c, a);
    }
}

/* `from`: the port kept for it, or NULL. */
static void alloc_start(struct turn_server *s, struct call *c, struct reserve *from)
{
    uint16_t code = 508;
    bool is_his = from && user_is(from->user, c);
    struct user *u = is_his ? from->user : user_take(s, c->conn->realm, c->req.username, &code);
    struct alloc *a = u ? alloc_new(s, c, u) : NULL;
    if (!a) {
        if (u && !is_his) {
            user_give(s, u);
        }
        if (code == 508) {
            reply_elsewhere(s, c, "too many allocations");
        } else {
            reply_error(s, c, code,
                        code == 500 ? "no name can be hashed" : "too many allocations");
        }
        return;
    }
    if (is_his) {
        from->user = NULL; /* what counted for the port now counts for the allocation */
    }
    if (c->req.reserve_next) {
        a->reserve = reserve_new(s, a, &code);
        if (!a->reserve) {
            reply_error(s, c, code, "too many ports kept");
            user_give(s, u);
            alloc_forget(s, a);
            return;
        }
    }
    relay_open_all(s, a, c->req.even_port, from);
    if (from) {
        reserve_forget(s, from);
    }
}

void alloc_request(struct turn_server *s, struct call *c)
{
    const char *why;
    if (c->alloc) {
        alloc_again(s, c);
        return;
    }
    if (s->is_draining) {
        /* RFC 8656 7.4: 508 says that we cannot and that another server may, and so a client
         * tries one at once; 486 would blame the user's quota, on every server. */
        reply_elsewhere(s, c, "draining");
        return;
    }
    uint16_t code = check(s, c, &why);
    if (code) {
        reply_error(s, c, code, why);
        return;
    }
    struct reserve *from = NULL;
    if (c->req.has_reservation) {
        from = reserve_find(s, c->req.reservation);
        if (!from) {
            reply_error(s, c, 508, "no such reservation");
            return;
        }
        c->req.family = from->family;
    }
    alloc_start(s, c, from);
}

static void reserve_start(struct turn_server *s, struct alloc *a)
{
    if (a->reserve) {
        a->reservation = a->reserve->token;
        timer_set(s, &a->reserve->timer, TIMER_RESERVE, RESERVE_LIFE_S);
        a->reserve = NULL;
    }
}

void alloc_opened(struct turn_server *s, struct alloc *a)
{
    struct call c = call_again(a, STUN_ALLOCATE, &a->tid);
    if (!relay_first(a)) {
        reply_error(s, &c, 508, "no port is free");
        alloc_end(s, a, NULL, NULL);
        return;
    }
    a->is_open = true;
    a->begun_ms = s->now_ms;
    reserve_start(s, a);
    relay_live(s, a, 0, a->lifetime_s);
    s->stats.allocations_total++;
    reply_allocated(s, &c, a);
    report_put(s, "alloc", NULL, a)->lifetime_s = a->lifetime_s;
}

/* RFC 8656 8.2: with REQUESTED-ADDRESS-FAMILY it is about the relay of that family. */
static bool is_end_of_one(const struct alloc *a, uint8_t family)
{
    return family && a->relay[0].state == RELAY_OPEN && a->relay[1].state == RELAY_OPEN;
}

void alloc_refresh(struct turn_server *s, struct call *c)
{
    if (c->req.has_ticket && !move_begin(s, c)) {
        return;
    }
    struct alloc *a = c->alloc;
    uint8_t family = c->req.family;
    if (!a || !a->is_open) {
        reply_error(s, c, 437, "no allocation");
        return;
    }
    if (family && !relay_of(a, family)) {
        reply_error(s, c, 443, "address family");
        return;
    }
    bool is_end = c->req.has_lifetime && c->req.lifetime_s == 0;
    uint32_t life_s = is_end ? 0 : granted_s(s, c);
    struct turn_reply reply = {.lifetime_s = life_s, .has_lifetime = true};
    if (c->req.has_ticket) {
        reply.ticket = move_ticket(s, a);
    }
    reply_success(s, c, &reply);
    if (!is_end) {
        relay_live(s, a, family, life_s);
        report_put(s, "refresh", NULL, a)->lifetime_s = life_s;
    } else if (is_end_of_one(a, family)) {
        relay_end(s, &a->relay[a->relay[1].family == family], "released");
    } else {
        alloc_end(s, a, "release", NULL);
    }
}

void alloc_end(struct turn_server *s, struct alloc *a, const char *event, const char *why)
{
    while (a->peers) {
        tcp_end(s, a->peers, "allocation ended");
    }
    while (a->perms) {
        perm_end(s, a->perms);
    }
    while (a->chans) {
        chan_end(s, a->chans);
    }
    if (a->reserve) {
        reserve_end(s, a->reserve);
    }
    if (event) {
        struct turn_report *r = report_put(s, event, why, a);
        r->to_peers = a->to_peers;
        r->to_client = a->to_client;
        for (size_t i = 0; i < ALLOC_RELAYS; i++) {
            bool is_open = a->relay[i].state == RELAY_OPEN;
            r->relays[i] = is_open ? relay_id(s, &a->relay[i]) : 0;
        }
    }
    relay_close_all(s, a);
    alloc_forget(s, a);
}

void alloc_cut(struct turn_server *s, struct alloc *a, const char *event, const char *why)
{
    const turn_id conns[] = {a->path.alloc ? a->conn.id : 0,
                             a->move.path.alloc ? a->move.conn.id : 0};
    alloc_end(s, a, event, why);
    for (size_t i = 0; i < sizeof conns / sizeof *conns; i++) {
        if (conns[i]) {
            auth_drop_conn(s, conns[i]);
            action_put(s, TURN_DO_CONN_CLOSE)->conn = conns[i];
        }
    }
}
