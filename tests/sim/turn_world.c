/* The world around the core: what happens next, and what the driver makes of the actions. */
#include "tests/sim/turn_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/alloc_fault.h"

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    TICKS_MAX = 4096, /* at one instant: more is spinning */
    BUSY = 24,
    FIRST_RELAY = 20000,
    RELAY_PORTS = 40000
};

static bool planted(struct world *w, int plant)
{
    return w->plant == plant && world_chance(w, 20);
}

static void learn_nonce(struct world *w, const struct turn_action *a)
{
    struct stun_msg m;
    struct slice nonce;
    struct endpoint *e = world_client(w, a->conn, &a->addr);
    if (e && !stun_parse(&m, a->body, &stun_wire_rfc8489) &&
        stun_get_bytes(&m, STUN_NONCE, &nonce) == OK && nonce.len <= sizeof e->nonce) {
        memcpy(e->nonce, nonce.p, nonce.len);
        e->nonce_len = nonce.len;
        e->nonce_s = (uint32_t)w->m.unix_s;
    }
}

static void owe(struct world *w, enum turn_do what, turn_id id)
{
    if (w->n_pending == w->max_pending) {
        model_fault(&w->m, "the core waits for more answers than it can");
        return;
    }
    w->pending[w->n_pending++] = (struct pending){.what = what, .id = id};
}

static void remember(struct world *w, turn_id id)
{
    if (id) {
        w->ids[w->n_ids++ % WORLD_IDS] = id;
    }
}

/* What the driver does, now or by and by. */
static void carry_out(struct world *w, const struct turn_action *a)
{
    remember(w, a->relay);
    remember(w, a->peer_conn);
    switch (a->what) {
    case TURN_DO_SEND: learn_nonce(w, a); break;
    case TURN_DO_RELAY_OPEN: owe(w, a->what, a->relay); break;
    case TURN_DO_TCP_CONNECT: owe(w, a->what, a->peer_conn); break;
    case TURN_DO_FIND_KEY:
        remember(w, a->key.ticket);
        owe(w, a->what, a->key.ticket);
        break;
    case TURN_DO_TCP_PIPE:
    case TURN_DO_CONN_CLOSE: {
        struct endpoint *e = world_client(w, a->conn, &a->addr);
        if (e) {
            e->is_closed = true;
        }
        break;
    }
    case TURN_DO_RELAY_SEND:
    case TURN_DO_RELAY_CLOSE:
    case TURN_DO_TCP_CLOSE:
    case TURN_DO_REPORT: break;
    }
}

/* Between the core and those who see what it does: here faults are planted. False: it is lost.
 */
static bool tamper(struct world *w, struct turn_action *a)
{
    bool is_answer = a->what == TURN_DO_SEND && a->head_len == 0;
    bool is_close = a->what == TURN_DO_TCP_CLOSE || a->what == TURN_DO_RELAY_CLOSE;
    if ((is_close && planted(w, PLANT_LOSE_CLOSE)) ||
        (is_answer && planted(w, PLANT_LOSE_ANSWER))) {
        return false;
    }
    if (is_answer && planted(w, PLANT_DOUBLE_ANSWER)) {
        model_act(&w->m, a);
    }
    if (a->what == TURN_DO_SEND && planted(w, PLANT_SWAP_CLIENTS)) {
        const struct endpoint *e = &w->clients[world_pick(w, (uint32_t)w->n_clients)];
        a->conn = e->conn.id;
        a->addr = e->conn.client;
    }
    if (a->what == TURN_DO_TCP_PIPE && planted(w, PLANT_WRONG_PIPE)) {
        a->peer_conn = w->ids[world_pick(w, WORLD_IDS)];
    }
    if (a->what == TURN_DO_RELAY_SEND && planted(w, PLANT_WRONG_RELAY)) {
        const struct m_alloc *of = model_alloc_with(&w->m, a->relay);
        a->relay = of ? of->relay[of->relay[0].id == a->relay].id : 0;
    }
    if (a->opts.ttl > 0 && planted(w, PLANT_WRONG_HEADER)) {
        a->opts.ttl++;
    }
    if (a->head_len > 0 && a->body.len > 0 && planted(w, PLANT_CHANGE_BYTES)) {
        a->body.len--;
    }
    return true;
}

/* Now and then libcrypto runs out of memory; not where silence may have another reason. */
static void before_input(struct world *w)
{
    bool fails = world_chance(w, 2) && w->m.cfg.max_unproven_per_s == 0 &&
                 w->m.cfg.max_failures_per_s == 0;
    alloc_fault_crypto_at(fails ? 1 + world_pick(w, 30) : 0);
}

static void pull(struct world *w)
{
    struct turn_action a;
    w->m.crypto_failed |= alloc_fault_crypto_done();
    while (turn_server_next(w->s, &a)) {
        if (tamper(w, &a)) {
            model_act(&w->m, &a);
        }
        carry_out(w, &a);
    }
    if (planted(w, PLANT_SEND_UNASKED)) {
        a = (struct turn_action){.what = TURN_DO_RELAY_SEND, .addr = world_peer(w)};
        model_act(&w->m, &a);
    }
    w->events++;
}

/* What the core takes for now. */
static uint64_t core_now(const struct world *w)
{
    return w->m.now_ms -
           (w->plant == PLANT_SLOW_CLOCK && w->m.now_ms > MINUTE ? 5 * SECOND : 0);
}

static void from_client(struct world *w, const struct frame *f)
{
    const struct ask_facts *q = &f->facts;
    /* To the byte, so that one too far is seen. */
    uint8_t *exact = malloc(f->len + 1);
    if (!exact) {
        return;
    }
    memcpy(exact + 1, f->bytes, f->len);
    model_tell(&w->m, "  %s from conn %llu port %u as %s, cred %d, tid %02x%02x, lifetime %u%s",
               world_kind_text(q), (unsigned long long)f->conn.id, f->conn.client.port,
               w->m.users[q->user].name, q->cred, q->tid.b[0], q->tid.b[1], q->lifetime_s,
               q->n_peers ? ", with a peer" : "");
    alloc_fault_forbid(true);
    before_input(w);
    const struct dgram d = {.data = slice_of(exact + 1, f->len), .opts = f->opts};
    int err = turn_server_from_client(w->s, core_now(w), &f->conn, d);
    alloc_fault_forbid(false);
    if ((err == ERR_MALFORMED) != (q->kind == ASK_NOISE && f->conn.transport == TURN_TCP)) {
        model_fault(&w->m, "from_client says %s", err_text(err));
    }
    pull(w);
    model_client(&w->m, f);
    if (f->conn.id &&
        turn_server_conn_used(w->s, f->conn.id) != (model_alloc_of(&w->m, &f->conn) != NULL)) {
        model_fault(&w->m, "turn_server_conn_used() is wrong");
    }
    model_settle(&w->m);
    free(exact);
}

static void client_speaks(struct world *w)
{
    struct endpoint *e = &w->clients[world_pick(w, (uint32_t)w->n_clients)];
    static const struct frame none;
    struct frame *f;
    if (e->is_closed) { /* comes again on a new connection */
        e->is_closed = false;
        world_set_conn(w, e, ++w->next_conn);
        e->conn.client.port++;
    }
    if (e->conn.transport == TURN_TCP || w->n_flights == w->max_flights) {
        struct frame now = none;
        world_write(w, e, &now);
        from_client(w, &now);
        return;
    }
    f = &w->flight[w->n_flights];
    world_write(w, e, f);
    w->n_flights += !world_chance(w, 5); /* or it gets lost */
}

static void datagram_arrives(struct world *w)
{
    if (w->n_flights == 0) {
        return;
    }
    size_t i = world_pick(w, (uint32_t)w->n_flights);
    struct frame f = w->flight[i];
    /* It may come again, but DTLS takes none twice and none of an association that is over. */
    if (f.conn.id || !world_chance(w, 10)) {
        w->flight[i] = w->flight[--w->n_flights];
    }
    const struct endpoint *e = world_client(w, f.conn.id, &f.conn.client);
    if (!f.conn.id || (e && !e->is_closed)) {
        from_client(w, &f);
    }
}

static turn_id pick_relay(struct world *w, enum turn_transport transport)
{
    const struct m_alloc *a = world_pick_alloc(w, transport);
    size_t i = world_pick(w, MODEL_RELAYS);
    i = a && a->relay[i].state == M_RELAY_NONE ? 1 - i : i;
    return a && world_chance(w, 95) ? a->relay[i].id : w->ids[world_pick(w, WORLD_IDS)];
}

static void datagram_from_peer(struct world *w)
{
    uint8_t data[40];
    turn_id relay = pick_relay(w, TURN_UDP);
    const struct addr peer = world_peer_of(w, model_alloc_with(&w->m, relay));
    size_t len = world_pick(w, sizeof data + 1);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)world_pick(w, 256);
    }
    const struct dgram d = {.data = slice_of(data, len), .opts = world_opts(w)};
    model_tell(&w->m, "  %zu bytes from peer port %u to relay %llx, TTL %u", len, peer.port,
               (unsigned long long)relay, d.opts.ttl);
    alloc_fault_forbid(true);
    if (turn_server_from_peer(w->s, core_now(w), relay, &peer, d)) {
        model_fault(&w->m, "from_peer fails");
    }
    alloc_fault_forbid(false);
    pull(w);
    model_peer(&w->m, relay, &peer, d);
    model_settle(&w->m);
}

static void icmp_arrives(struct world *w, turn_id relay, const struct addr *peer)
{
    const struct turn_icmp what = world_icmp(w);
    model_tell(&w->m, "  ICMP %u/%u of peer port %u to relay %llx", what.type, what.code,
               peer->port, (unsigned long long)relay);
    alloc_fault_forbid(true);
    turn_server_from_icmp(w->s, core_now(w), relay, peer, &what);
    alloc_fault_forbid(false);
    pull(w);
    model_icmp(&w->m, relay, peer, &what);
    model_settle(&w->m);
}

static void much_icmp_arrives(struct world *w)
{
    turn_id relay = pick_relay(w, TURN_UDP);
    const struct addr peer = world_peer_of(w, model_alloc_with(&w->m, relay));
    for (uint32_t n = 1 + world_pick(w, 4); n > 0; n--) {
        icmp_arrives(w, relay, &peer);
    }
}

static void key_found(struct world *w, turn_id ticket)
{
    struct m_user *u = NULL;
    for (size_t i = 0; i < MODEL_PARKED; i++) {
        const struct m_parked *p = &w->m.parked[i];
        u = ticket && p->ticket == ticket ? &w->m.users[p->frame.facts.user] : u;
    }
    uint32_t how = world_pick(w, 100);
    bool is_known = u && (u->is_known || planted(w, PLANT_ANY_KEY));
    enum key_answer answer = how < 4               ? KEY_UNKNOWN
                             : is_known && how > 8 ? KEY_RIGHT
                                                   : KEY_WRONG;
    struct turn_keys keys = {.n = world_pick(w, 3), .until_ms = UINT64_MAX};
    for (size_t i = 0; i < keys.n; i++) {
        keys.key[i] = (struct stun_key){
            .len = 16, .b = {1, 2, 3}
        };
    }
    if (answer == KEY_RIGHT) {
        keys.key[keys.n++] = u->key;
        keys.name_len = strlen(u->name);
        memcpy(keys.name, u->name, keys.name_len);
    }
    if (world_chance(w, 50)) {
        keys.until_ms = w->m.now_ms + world_pick(w, 10 * MINUTE);
    }
    model_tell(&w->m, "  key for ticket %llx: %s", (unsigned long long)ticket,
               answer == KEY_RIGHT   ? u->name
               : answer == KEY_WRONG ? "none that is right"
                                     : "nobody knows");
    before_input(w);
    turn_server_keys(w->s, core_now(w), ticket, answer == KEY_UNKNOWN ? NULL : &keys);
    pull(w);
    /* Whoever planted the key, the model knows no such user. */
    answer = answer == KEY_RIGHT && !u->is_known ? KEY_WRONG : answer;
    model_key(&w->m, ticket, answer, keys.until_ms);
    model_settle(&w->m);
}

static void relay_opened(struct world *w, turn_id relay)
{
    const struct m_relay *is = model_relay(&w->m, relay);
    struct addr at = {
        .family = is ? is->family : ADDR_IP4, .ip = {198, 51, 100, 1}
    };
    at.port = (uint16_t)(FIRST_RELAY + w->n_ports++ % RELAY_PORTS);
    const struct addr *bound = world_chance(w, 95) ? &at : NULL;
    model_tell(&w->m, "  relay %llx %s", (unsigned long long)relay,
               bound ? "opened" : "could not be opened");
    before_input(w);
    turn_server_relay_opened(w->s, core_now(w), relay, bound);
    pull(w);
    model_relay_opened(&w->m, relay, bound);
    model_settle(&w->m);
}

static void tcp_opened(struct world *w, turn_id link)
{
    bool ok = world_chance(w, 80);
    turn_id told = planted(w, PLANT_STALE_AS_NEW) ? w->ids[world_pick(w, WORLD_IDS)] : link;
    model_tell(&w->m, "  link %llx %s", (unsigned long long)link,
               ok ? "connected" : "did not connect");
    before_input(w);
    turn_server_tcp_opened(w->s, core_now(w), link, ok);
    pull(w);
    model_tcp_opened(&w->m, told, ok);
    model_settle(&w->m);
}

static void tcp_closed(struct world *w, turn_id link)
{
    model_tell(&w->m, "  link %llx closed by its peer", (unsigned long long)link);
    before_input(w);
    turn_server_tcp_closed(w->s, core_now(w), link);
    pull(w);
    model_tcp_closed(&w->m, link);
    model_settle(&w->m);
}

static void answer(struct world *w)
{
    if (w->n_pending == 0) {
        return;
    }
    size_t i = world_pick(w, (uint32_t)w->n_pending);
    struct pending p = w->pending[i];
    if (!world_chance(w, 5)) { /* else it is answered again */
        w->pending[i] = w->pending[--w->n_pending];
    }
    switch (p.what) {
    case TURN_DO_FIND_KEY: key_found(w, p.id); break;
    case TURN_DO_RELAY_OPEN: relay_opened(w, p.id); break;
    default: tcp_opened(w, p.id); break;
    }
}

static void peer_connects(struct world *w)
{
    turn_id relay = pick_relay(w, TURN_TCP);
    struct addr peer = world_peer(w);
    peer.port = (uint16_t)(peer.port + world_pick(w, 8));
    model_tell(&w->m, "  peer port %u connects to relay %llx", peer.port,
               (unsigned long long)relay);
    before_input(w);
    turn_id link = turn_server_tcp_accepted(w->s, core_now(w), relay, &peer);
    remember(w, link);
    pull(w);
    model_tcp_accepted(&w->m, relay, &peer, link);
    model_settle(&w->m);
}

static void peer_closes(struct world *w)
{
    const struct m_link *l = world_pick_link(w);
    if (l) {
        tcp_closed(w, l->id);
    }
}

static void conn_gone(struct world *w, turn_id conn)
{
    model_tell(&w->m, "  conn %llu gone", (unsigned long long)conn);
    if (!planted(w, PLANT_DEAF_TO_END)) {
        turn_server_conn_gone(w->s, core_now(w), conn);
    }
    pull(w);
    model_conn_gone(&w->m, conn);
    model_settle(&w->m);
}

static void client_leaves(struct world *w)
{
    struct endpoint *e = &w->clients[world_pick(w, (uint32_t)w->n_clients)];
    if (e->conn.id) {
        e->is_closed = true;
        conn_gone(w, e->conn.id);
    }
}

/* Late news of anything that was ever named, live or not. */
static void stale_event(struct world *w)
{
    turn_id id = w->ids[world_pick(w, WORLD_IDS)];
    switch (world_pick(w, 5)) {
    case 0: key_found(w, id); break;
    case 1: relay_opened(w, id); break;
    case 2: tcp_opened(w, id); break;
    case 3: tcp_closed(w, id); break;
    default: conn_gone(w, 1 + world_pick(w, (uint32_t)w->next_conn + 8)); break;
    }
}

static void kick(struct world *w)
{
    turn_id relay = pick_relay(w, world_chance(w, 50) ? TURN_TCP : TURN_UDP);
    model_tell(&w->m, "  relay %llx is kicked", (unsigned long long)relay);
    int err = turn_server_kick(w->s, core_now(w), relay);
    pull(w);
    model_kick(&w->m, relay, err);
    model_settle(&w->m);
}

static void operator_acts(struct world *w)
{
    uint32_t what = world_pick(w, 100);
    if (what < 40) {
        kick(w);
    } else if (what < 60) {
        bool is_strict = world_chance(w, 30);
        model_tell(&w->m, "  the policy is %s", is_strict ? "strict" : "as before");
        turn_server_set_policy(w->s, is_strict ? &w->strict : &w->policy);
        pull(w);
        model_policy(&w->m, is_strict);
        model_settle(&w->m);
    } else if (what < 99) {
        model_sessions(&w->m);
    } else if (world_chance(w, 20) && world_pick(w, world_scale(w)) == 0) {
        model_tell(&w->m, "  the server drains");
        turn_server_drain(w->s);
        w->m.is_draining = true;
        w->m.count[COUNT_DRAINED]++;
    }
}

static void tick(struct world *w)
{
    size_t n = 0, ticks_max = TICKS_MAX + 32 * w->n_clients;
    while (turn_server_deadline_ms(w->s) <= core_now(w) && n++ < ticks_max) {
        before_input(w);
        turn_server_tick(w->s, core_now(w));
        pull(w);
    }
    if (n > ticks_max) {
        model_fault(&w->m, "ticks at the deadline lead nowhere");
    }
    model_ticked(&w->m);
    model_settle(&w->m);
}

static void time_passes(struct world *w, uint64_t ms)
{
    int64_t step_s = world_chance(w, 2) ? (int64_t)world_pick(w, 2000) - 1000 : 0;
    uint64_t before_s = w->m.now_ms / SECOND;
    w->m.now_ms += ms;
    w->m.unix_s += (uint64_t)((int64_t)(w->m.now_ms / SECOND - before_s) + step_s);
    model_tell(&w->m, "  %llu ms pass: now %llu", (unsigned long long)ms,
               (unsigned long long)w->m.now_ms);
    /* A busy driver may be late by a little; what comes first finds things as they were. */
    if (!world_chance(w, 5) || ms > SECOND) {
        tick(w);
    }
}

/* Answers come late, but not for ever; and where many ask, the core must not be full of them.
 */
static bool is_behind(struct world *w)
{
    return w->n_pending > w->max_pending - 16 ||
           (world_is_large(w) && w->n_pending > BUSY && world_chance(w, 70));
}

static void step(struct world *w)
{
    uint32_t what = world_pick(w, 100);
    if (is_behind(w)) {
        answer(w);
    } else if (what < 35) {
        client_speaks(w);
    } else if (what < 60) {
        datagram_arrives(w);
    } else if (what < 80) {
        answer(w);
    } else if (what < 85) {
        datagram_from_peer(w);
    } else if (what < 86) {
        much_icmp_arrives(w);
    } else if (what < 90) {
        peer_connects(w);
    } else if (what < 91) {
        peer_closes(w);
    } else if (what < 92) {
        client_leaves(w);
    } else if (what < 94) {
        stale_event(w);
    } else if (what < 95) {
        operator_acts(w);
    } else if (world_pick(w, world_scale(w)) == 0) {
        time_passes(w, world_some_time(w));
    } else { /* where more happens, less time passes between two things */
        client_speaks(w);
    }
}

/* Everybody leaves, every answer is given, and a day passes: nothing may be left. */
static void world_end(struct world *w)
{
    while (w->n_pending > 0) {
        answer(w);
    }
    for (turn_id id = 1; id <= w->next_conn; id++) {
        conn_gone(w, id);
    }
    while (w->n_pending > 0) {
        answer(w);
    }
    w->m.now_ms += 24ull * 60 * MINUTE;
    tick(w);
    if (model_sums(&w->m).allocs || turn_server_deadline_ms(w->s) != UINT64_MAX) {
        model_fault(&w->m, "something is left in the end");
    }
}

void turn_sim_run(const struct sim_plan *plan, struct sim_result *out)
{
    struct world *w = calloc(1, sizeof *w);
    out->fault[0] = 0;
    if (!w) {
        return;
    }
    bool ok = world_start(w, plan);
    size_t i = 0;
    for (; ok && i < plan->steps && !w->m.fault[0]; i++) {
        /* Each step has its own numbers, so leaving one out changes no other. */
        w->rng = world_mix(world_mix(plan->seed) + i);
        w->core_rng = ~w->rng;
        if (!plan->skip || !plan->skip[i]) {
            step(w);
        }
    }
    if (!ok) {
        model_fault(&w->m, "no memory for the world itself");
    } else if (!w->m.fault[0]) {
        world_end(w);
    }
    out->step = i;
    out->n_lines = w->m.n_lines;
    memcpy(out->fault, w->m.fault, sizeof out->fault);
    memcpy(out->line, w->m.line, sizeof out->line);
    for (size_t k = 0; k < COUNT_ALL; k++) {
        out->count[k] += w->m.count[k];
    }
    out->events += w->events;
    out->most_allocs =
        w->m.most_allocs > out->most_allocs ? w->m.most_allocs : out->most_allocs;
    world_clear(w);
    free(w);
}
