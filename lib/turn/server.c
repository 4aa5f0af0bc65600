/* The server's doors: what comes in is sorted here, and the queue of actions goes out. */
#include <assert.h>
#include <stdlib.h>

#include "lib/base/crypto.h"

#include "lib/turn/core.h"

static size_t max_peers(const struct turn_config *cfg)
{
    size_t most = (size_t)cfg->max_allocations * cfg->max_connections;
    return cfg->tcp.in_all && cfg->tcp.in_all < most ? cfg->tcp.in_all : most;
}

/* One row for each pool and each map: how many, and what of. */
static int make_pools(struct turn_server *s)
{
    size_t n = s->cfg.max_allocations;
    int err = pool_init(&s->allocs, n, sizeof(struct alloc), KIND_ALLOC);
    err = err ? err : pool_init(&s->users, 2 * n, sizeof(struct user), KIND_USER);
    err = err ? err : pool_init(&s->reserves, n, sizeof(struct reserve), KIND_RESERVE);
    err =
        err ? err
            : pool_init(&s->perms, n * s->cfg.max_permissions, sizeof(struct perm), KIND_PERM);
    err = err ? err
              : pool_init(&s->chans, n * s->cfg.max_channels, sizeof(struct chan), KIND_CHAN);
    err = err ? err : pool_init(&s->peers, max_peers(&s->cfg), sizeof(struct peer), KIND_PEER);
    return err ? err : pool_init(&s->parked, PARKED_MAX, sizeof(struct parked), KIND_PARKED);
}

static int make_maps(struct turn_server *s)
{
    const struct {
        struct map *map;
        const struct pool *of;
        size_t key_at, key_len;
    } rows[] = {
        {&s->path_by_tuple,    &s->allocs,   MAP_KEY(struct path,    by_tuple,  tuple),
         sizeof(struct tuple_key)                                                                                   },
        {&s->user_by_name,     &s->users,    MAP_KEY(struct user,    by_name,   digest),     32                     },
        {&s->reserve_by_token, &s->reserves, MAP_KEY(struct reserve, by_token,  token),      8                      },
        {&s->perm_by_ip,       &s->perms,    MAP_KEY(struct perm,    by_ip,     key),        sizeof(struct peer_key)},
        {&s->chan_by_number,   &s->chans,    MAP_KEY(struct chan,    by_number, number_key),
         sizeof(struct number_key)                                                                                  },
        {&s->chan_by_peer,     &s->chans,    MAP_KEY(struct chan,    by_peer,   peer_key),
         sizeof(struct peer_key)                                                                                    },
        {&s->peer_by_cid,      &s->peers,    MAP_KEY(struct peer,    by_cid,    cid),        4                      },
        {&s->peer_by_addr,     &s->peers,    MAP_KEY(struct peer,    by_addr,   key),
         sizeof(struct peer_key)                                                                                    },
    };
    uint8_t secret[16];
    s->env.random(secret, sizeof secret, s->env.ctx);
    int err = OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !err; i++) {
        err = map_init(rows[i].map, rows[i].of->cap, rows[i].key_at, rows[i].key_len, secret);
    }
    return err;
}

static int keep_text(struct slice *text, uint8_t room[TEXT_KEPT])
{
    if (text->len > TEXT_KEPT) {
        return ERR_LIMIT;
    }
    if (text->len > 0) {
        memcpy(room, text->p, text->len);
    }
    *text = slice_of(room, text->len);
    return OK;
}

static int keep_realms(struct turn_server *s)
{
    int err = s->cfg.n_realms == 0 || s->cfg.n_realms > TURN_REALMS_MAX ? ERR_LIMIT : OK;
    for (size_t i = 0; i < s->cfg.n_realms && !err; i++) {
        err = keep_text(&s->cfg.realms[i], s->realms[i]);
    }
    return err;
}

int turn_server_new(struct turn_server **out, const struct turn_config *cfg,
                    const struct turn_env *env)
{
    struct turn_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return ERR_NOMEM;
    }
    s->cfg = *cfg;
    s->env = *env;
    s->next_tid.len = 12;
    env->random(s->next_tid.b, s->next_tid.len, env->ctx);
    env->random(s->tag_secret, sizeof s->tag_secret, env->ctx);
    env->random(s->ticket_secret, sizeof s->ticket_secret, env->ctx);
    struct rates *rates[] = {&s->answers_by_prefix, &s->failures_by_prefix,
                             &s->connects_by_user};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        env->random(rates[i]->secret, sizeof rates[i]->secret, env->ctx);
    }
    int err = keep_realms(s);
    err = err ? err : keep_text(&s->cfg.software, s->software);
    err = err ? err : keep_text(&s->cfg.alternate_domain, s->alternate_domain);
    err = err ? err : keep_text(&s->cfg.third_party, s->third_party);
    err = err ? err : make_pools(s);
    err = err ? err : make_maps(s);
    err = err ? err
              : timerq_init(&s->timers, (size_t)ALLOC_RELAYS * s->allocs.cap + s->reserves.cap +
                                            s->perms.cap + s->chans.cap + s->peers.cap);
    /* The most one input can cause: the end of an allocation with all its connections, or the
     * permissions of one request; and a few words about it. */
    s->ring_cap = 2 * (size_t)cfg->max_connections + STUN_ATTRS_MAX + 16;
    s->ring = err ? NULL : calloc(s->ring_cap, sizeof *s->ring);
    if (!s->ring) {
        turn_server_free(s);
        return err ? err : ERR_NOMEM;
    }
    *out = s;
    return OK;
}

static void wipe_keys(struct turn_server *s)
{
    for (uint32_t i = 0; i < s->allocs.n_touched; i++) {
        struct alloc *a = (struct alloc *)(void *)(s->allocs.items + i * s->allocs.size);
        secret_wipe(&a->key, sizeof a->key);
    }
    secret_wipe(s->cfg.nonce_secret, sizeof s->cfg.nonce_secret);
    secret_wipe(s->ticket_secret, sizeof s->ticket_secret);
}

void turn_server_free(struct turn_server *s)
{
    if (!s) {
        return;
    }
    wipe_keys(s);
    struct pool *pools[] = {&s->allocs, &s->perms,    &s->chans, &s->peers,
                            &s->users,  &s->reserves, &s->parked};
    struct map *maps[] = {&s->path_by_tuple, &s->perm_by_ip,      &s->chan_by_number,
                          &s->chan_by_peer,  &s->peer_by_cid,     &s->peer_by_addr,
                          &s->user_by_name,  &s->reserve_by_token};
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++) {
        pool_done(pools[i]);
    }
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        map_done(maps[i]);
    }
    timerq_done(&s->timers);
    free(s->ring);
    free(s);
}

/* They need only differ from each other, so one random start and a count will do. */
struct stun_tid server_tid(struct turn_server *s)
{
    for (size_t i = s->next_tid.len; i-- > 0 && ++s->next_tid.b[i] == 0;) {
    }
    return s->next_tid;
}

void timer_set(struct turn_server *s, struct timer *t, enum timer_kind kind, uint32_t in_s)
{
    t->kind = kind;
    timerq_set(&s->timers, t, s->now_ms + 1000ull * in_s);
}

static void binding(struct turn_server *s, const struct call *c)
{
    if (c->code) {
        reply_error(s, c, c->code, c->code == 400 ? "misfit attribute" : "unknown attribute");
        return;
    }
    struct nat_answer nat = {.reply = {.mapped = c->conn->client}};
    const char *why;
    uint16_t code = nat_plan(s, c, &nat, &why);
    if (code) {
        reply_error(s, c, code, why);
        return;
    }
    struct call out = *c;
    out.conn = &nat.via;
    reply_success(s, &out, &nat.reply);
}

void call_run(struct turn_server *s, struct call *c)
{
    if (!c->req.has_ticket) {
        move_arrive(s, c);
    }
    switch (c->req.op) {
    case TURN_OP_ALLOCATE: alloc_request(s, c); break;
    case TURN_OP_REFRESH: alloc_refresh(s, c); break;
    case TURN_OP_PERMISSION: perm_request(s, c); break;
    case TURN_OP_CHANNEL: chan_request(s, c); break;
    case TURN_OP_CONNECT: tcp_request(s, c); break;
    case TURN_OP_CONNECTION_BIND: tcp_bind(s, c); break;
    case TURN_OP_BINDING:
    case TURN_OP_CHANNEL_DATA:
    case TURN_OP_SEND:
    case TURN_OP_IGNORE: break;
    }
}

int turn_server_from_client(struct turn_server *s, uint64_t now_ms,
                            const struct turn_conn *conn, struct dgram frame)
{
    struct call c;
    assert(conn->realm < s->cfg.n_realms);
    s->now_ms = now_ms;
    c.conn = conn;
    c.key = NULL;
    c.opts = frame.opts;
    c.code = conn->dialect->read(&c.req, frame.data);
    if (c.code == 1) {
        return conn->transport == TURN_TCP ? ERR_MALFORMED : OK;
    }
    c.alloc = alloc_of_conn(s, conn);
    switch (c.req.op) {
    case TURN_OP_BINDING: binding(s, &c); break;
    case TURN_OP_CHANNEL_DATA:
        move_arrive(s, &c);
        chan_data(s, &c);
        break;
    case TURN_OP_SEND:
        move_arrive(s, &c);
        perm_send(s, &c);
        break;
    case TURN_OP_IGNORE: break;
    case TURN_OP_ALLOCATE:
    case TURN_OP_REFRESH:
    case TURN_OP_PERMISSION:
    case TURN_OP_CHANNEL:
    case TURN_OP_CONNECT:
    case TURN_OP_CONNECTION_BIND: auth_begin(s, &c); break;
    }
    return OK;
}

int turn_server_from_peer(struct turn_server *s, uint64_t now_ms, turn_id relay,
                          const struct addr *peer, struct dgram datagram)
{
    const struct relay *r = relay_of_id(s, relay);
    struct alloc *a = r ? r->alloc : NULL;
    struct dgram_opts opts;
    s->now_ms = now_ms;
    if (!a || !a->is_open || a->is_away || a->transport != TURN_UDP ||
        peer->family != r->family || !perm_has(s, a, peer) ||
        !header_to_client(&a->conn, &datagram.opts, peer, &opts)) {
        return OK;
    }
    const struct chan *ch = chan_of_peer(s, a, peer);
    struct stun_tid tid = {.len = 0};
    if (!ch) {
        tid = server_tid(s);
    }
    struct turn_data_head d = {
        .tid = &tid, .peer = peer, .channel = ch ? ch->number : 0, .len = datagram.data.len};
    uint8_t head[TURN_HEAD_MAX];
    struct wr w = wr_over(head, sizeof head);
    size_t tail;
    int err = a->conn.dialect->write_data_head(&w, &d, &tail);
    if (err) {
        return err;
    }
    if (!flow_pass(s, a, false, datagram.data.len)) {
        return OK;
    }
    struct turn_action *out = action_put(s, TURN_DO_SEND);
    out->conn = a->conn.id;
    out->relay = relay;
    out->addr = a->conn.client;
    out->local = a->conn.local;
    out->head_len = (uint8_t)w.len;
    memcpy(out->head, head, w.len);
    out->opts = opts;
    out->body = datagram.data;
    /* RFC 8656 12.5: over UDP, ChannelData needs no padding. */
    out->tail_len = ch && a->conn.transport == TURN_UDP ? 0 : (uint8_t)tail;
    a->to_client += datagram.data.len;
    s->stats.packets_to_client++;
    s->stats.bytes_to_client += datagram.data.len;
    return OK;
}

void turn_server_conn_gone(struct turn_server *s, uint64_t now_ms, turn_id conn)
{
    struct path *p = path_of_conn_id(s, conn);
    s->now_ms = now_ms;
    auth_drop_conn(s, conn);
    if (p && p->alloc->move.is_allowed && p->alloc->is_open) {
        move_conn_gone(s, p);
    } else if (p) {
        alloc_end(s, p->alloc, "release", "connection closed");
    }
}

void turn_server_tick(struct turn_server *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    struct timer *t = timerq_due(&s->timers, now_ms);
    if (!t) {
        return;
    }
    switch ((enum timer_kind)t->kind) {
    case TIMER_RELAY: relay_late(s, TIMER_OWNER(t, struct relay, timer)); break;
    case TIMER_PERM: perm_end(s, TIMER_OWNER(t, struct perm, timer)); break;
    case TIMER_CHAN: chan_end(s, TIMER_OWNER(t, struct chan, timer)); break;
    case TIMER_PEER: tcp_late(s, TIMER_OWNER(t, struct peer, timer)); break;
    case TIMER_RESERVE: reserve_end(s, TIMER_OWNER(t, struct reserve, timer)); break;
    }
}

bool turn_server_next(struct turn_server *s, struct turn_action *out)
{
    if (s->ring_n == 0) {
        return false;
    }
    *out = s->ring[s->ring_at];
    s->ring_at = (s->ring_at + 1) % s->ring_cap;
    s->ring_n--;
    return true;
}

uint64_t turn_server_deadline_ms(const struct turn_server *s)
{
    return timerq_next_ms(&s->timers);
}

bool turn_server_conn_used(const struct turn_server *s, turn_id conn)
{
    return path_of_conn_id(s, conn) != NULL;
}

struct turn_stats turn_server_stats(const struct turn_server *s)
{
    struct turn_stats out = s->stats;
    out.allocations = s->allocs.n_live;
    out.tcp_connections = s->peers.n_live;
    out.permissions = s->perms.n_live;
    out.channels = s->chans.n_live;
    return out;
}
