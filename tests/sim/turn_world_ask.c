/* What the clients say: facts first, then the bytes that say so. */
#include <stdio.h>

#include "tests/sim/turn_world.h"

static const struct {
    struct addr at;
    bool is_allowed, also_strictly;
} peers[] = {
    {{.family = ADDR_IP4, .ip = {8, 8, 8, 8}, .port = 1000},                   true,  true },
    {{.family = ADDR_IP4, .ip = {8, 8, 8, 8}, .port = 2000},                   true,  true },
    {{.family = ADDR_IP4, .ip = {8, 8, 4, 4}, .port = 1000},                   true,  false},
    {{.family = ADDR_IP4, .ip = {9, 9, 9, 9}, .port = 53},                     true,  false},
    {{.family = ADDR_IP4, .ip = {1, 1, 1, 1}, .port = 80},                     true,  false},
    {{.family = ADDR_IP4, .ip = {1, 0, 0, 1}, .port = 80},                     true,  true },
    {{.family = ADDR_IP4, .ip = {10, 0, 0, 1}, .port = 80},                    false, false},
    {{.family = ADDR_IP4, .ip = {127, 0, 0, 1}, .port = 80},                   false, false},
    {{.family = ADDR_IP4, .ip = {198, 51, 100, 1}, .port = 3478},              false, false},
    {{.family = ADDR_IP6, .ip = {0x20, 1, 0x48, 0x60, [15] = 1}, .port = 53},  true,  true },
    {{.family = ADDR_IP6, .ip = {0x26, 6, 0x47, 0, [15] = 1}, .port = 80},     true,  false},
    {{.family = ADDR_IP6, .ip = {[10] = 0xff, 0xff, 10, 0, 0, 1}, .port = 80}, false, false},
};

enum {
    TICKET_TRIES = 64, /* allocations looked at for one */
    N_PEERS = sizeof peers / sizeof *peers
};

static struct addr peer_more(uint32_t n)
{
    return (struct addr){
        .family = ADDR_IP4, .ip = {45, 0, (uint8_t)(n >> 8), (uint8_t)n},
             .port = 7000
    };
}

struct addr world_peer(struct world *w)
{
    if (world_is_large(w) && world_chance(w, 40)) {
        return peer_more(world_pick(w, WORLD_PEERS));
    }
    /* Mostly the few that share permissions. */
    uint32_t n = world_chance(w, 60) ? 4 : N_PEERS;
    return peers[world_pick(w, n)].at;
}

struct addr world_peer_of(struct world *w, const struct m_alloc *a)
{
    uint32_t at = world_pick(w, MODEL_PERMS), from = world_pick(w, N_PEERS);
    for (uint32_t i = 0; i < MODEL_PERMS && a && world_chance(w, 95); i++) {
        const struct m_perm *p = &a->perms[(at + i) % MODEL_PERMS];
        for (uint32_t k = 0; k < N_PEERS && p->alloc; k++) {
            const struct addr *peer = &peers[(from + k) % N_PEERS].at;
            if (addr_ip_eq(peer, &p->ip)) {
                return *peer;
            }
        }
        if (p->alloc) {
            return peer_more((uint32_t)(p->ip.ip[2] << 8 | p->ip.ip[3]));
        }
    }
    return world_peer(w);
}

bool world_peer_ok(const struct addr *peer, bool is_strict)
{
    for (size_t i = 0; i < N_PEERS; i++) {
        if (addr_ip_eq(&peers[i].at, peer)) {
            return is_strict ? peers[i].also_strictly : peers[i].is_allowed;
        }
    }
    return peer->family == ADDR_IP4 && peer->ip[0] == 45;
}

/* The pool is one of the policy that is not strict only. */
bool world_peer_may_come(const struct addr *peer, bool is_strict)
{
    return !is_strict && peer->family == ADDR_IP4 && peer->ip[0] == 9;
}

void world_deny_strictly(struct turn_policy *p)
{
    for (size_t i = 0; i < N_PEERS; i++) {
        if (!peers[i].also_strictly) {
            uint8_t bits = peers[i].at.family == ADDR_IP4 ? 32 : 128;
            p->deny[p->n_deny++] = (struct addr_net){.base = peers[i].at, .bits = bits};
        }
    }
}

static void pick_data(struct world *w, struct ask_facts *q)
{
    q->data_len = world_pick(w, sizeof q->data + 1);
    for (size_t i = 0; i < q->data_len; i++) {
        q->data[i] = (uint8_t)world_pick(w, 256);
    }
}

static uint16_t pick_channel(struct world *w)
{
    return (uint16_t)(world_chance(w, 95) ? 0x4000 + world_pick(w, 4) : world_pick(w, 65536));
}

static void pick_allocate(struct world *w, const struct endpoint *e, struct ask_facts *q)
{
    static const uint8_t odd[] = {0, 1, TURN_TCP, TURN_UDP};
    bool tcp = e->conn.transport == TURN_TCP && world_chance(w, 70);
    q->transport = tcp ? TURN_TCP : TURN_UDP;
    q->transport = world_chance(w, 3) ? odd[world_pick(w, 4)] : q->transport;
    q->family = world_chance(w, 20) ? (uint8_t)world_pick(w, 4) : 0;
    q->has_ticket = world_chance(w, w->m.cfg.mobility ? 60 : 2);
    q->ticket.len = world_chance(w, 2) ? 5 : 0;
    q->has_also = world_chance(w, q->family ? 5 : 30);
    q->also_family = world_chance(w, 95) ? ADDR_IP6 : (uint8_t)world_pick(w, 4);
    q->has_lifetime = world_chance(w, 40);
    q->lifetime_s = world_chance(w, 90) ? world_pick(w, 5000) : UINT32_MAX;
    q->even = world_chance(w, tcp ? 2 : 25);
    q->reserve_next = q->even && world_chance(w, 70);
    q->dont_fragment = world_chance(w, 2);
    q->has_token = world_chance(w, q->even || tcp ? 2 : 20);
    q->token = world_pick(w, UINT32_MAX);
    if (q->has_token && w->m.n_reserves > 0 && world_chance(w, 90)) {
        const struct m_reserve *r = &w->m.reserves[world_pick(w, (uint32_t)w->m.n_reserves)];
        q->token = r->token ? r->token : q->token;
    }
}

static void pick_bind(struct world *w, struct ask_facts *q)
{
    q->has_cid = world_chance(w, 98);
    q->cid = world_pick(w, UINT32_MAX);
    for (int i = 0; i < 4; i++) {
        const struct m_link *l = world_pick_link(w);
        if (l && l->state != LINK_CONNECTING && world_chance(w, 80)) {
            q->cid = l->cid;
            q->user = world_chance(w, 90) ? l->alloc->user : q->user;
        }
    }
}

/* The ticket of one of the user's allocations, mostly; now and then the one before. */
static void pick_ticket(struct world *w, struct ask_facts *q)
{
    size_t at = world_pick(w, (uint32_t)w->m.n_slots);
    q->has_ticket = true;
    for (size_t i = 0; i < TICKET_TRIES && q->ticket.len == 0; i++) {
        const struct m_alloc *a = &w->m.allocs[(at + i) % w->m.n_slots];
        if (a->is_live && (a->user == q->user || world_chance(w, 3))) {
            q->ticket = world_chance(w, 85) ? a->move.ticket : a->move.before;
        }
    }
    if (world_chance(w, 5)) {
        q->ticket.b[world_pick(w, 32)] ^= 1;
    }
}

static uint16_t pick_method(struct world *w, const struct endpoint *e, const struct m_alloc *a)
{
    static const uint16_t with_udp[] = {STUN_REFRESH, STUN_CREATE_PERMISSION,
                                        STUN_CREATE_PERMISSION, STUN_CHANNEL_BIND,
                                        STUN_CHANNEL_BIND};
    static const uint16_t with_tcp[] = {STUN_REFRESH, STUN_CREATE_PERMISSION, STUN_CONNECT,
                                        STUN_CONNECT};
    static const uint16_t all[] = {STUN_BINDING,           STUN_ALLOCATE,     STUN_REFRESH,
                                   STUN_CREATE_PERMISSION, STUN_CHANNEL_BIND, STUN_CONNECT,
                                   STUN_CONNECTION_BIND};
    if (world_chance(w, 7)) {
        return all[world_pick(w, sizeof all / sizeof *all)];
    }
    if (!a) {
        bool binds = e->conn.transport == TURN_TCP && world_chance(w, 60);
        return binds ? STUN_CONNECTION_BIND : STUN_ALLOCATE;
    }
    return a->transport == TURN_TCP ? with_tcp[world_pick(w, 4)] : with_udp[world_pick(w, 5)];
}

static void pick_request(struct world *w, const struct endpoint *e, struct ask_facts *q)
{
    const struct m_alloc *a = model_alloc_of(&w->m, &e->conn);
    bool is_dual = a && model_n_relays(a) == MODEL_RELAYS;
    q->method = pick_method(w, e, a);
    if (w->m.cfg.mobility ? world_chance(w, a && !model_is_next(a, &e->conn) ? 2 : 25)
                          : world_chance(w, 1)) {
        q->method = STUN_REFRESH;
        pick_ticket(w, q);
    }
    switch (q->method) {
    case STUN_ALLOCATE: pick_allocate(w, e, q); break;
    case STUN_REFRESH:
        q->has_lifetime = world_chance(w, 60);
        q->lifetime_s = world_chance(w, 80) ? world_pick(w, 5000) : 0;
        q->family = world_chance(w, is_dual ? 60 : 5) ? (uint8_t)(1 + world_pick(w, 2)) : 0;
        break;
    case STUN_CREATE_PERMISSION: q->n_peers = 1 + world_pick(w, MODEL_PEERS); break;
    case STUN_CHANNEL_BIND:
        q->channel = pick_channel(w);
        q->n_peers = 1;
        break;
    case STUN_CONNECT: q->n_peers = 1; break;
    case STUN_CONNECTION_BIND: pick_bind(w, q); break;
    default: break;
    }
    q->n_peers = world_chance(w, 2) ? 0 : q->n_peers;
    q->unknown = world_chance(w, 1);
}

static void pick_cred(struct world *w, const struct endpoint *e, struct ask_facts *q)
{
    q->cred = world_chance(w, 92) ? CRED_GOOD : (enum cred)world_pick(w, CRED_TAMPERED + 1);
    if (q->cred == CRED_BID_DOWN && !w->m.users[q->user].is_modern) {
        q->cred = CRED_GOOD;
    }
    q->cred = e->nonce_len == 0 || q->method == STUN_BINDING ? CRED_NONE : q->cred;
    q->nonce_s = e->nonce_s;
}

static void pick_facts(struct world *w, const struct endpoint *e, struct ask_facts *q)
{
    const struct m_alloc *a = model_alloc_of(&w->m, &e->conn);
    uint32_t kind = a && a->transport == TURN_UDP ? world_pick(w, 100) : 55 + world_pick(w, 45);
    uint32_t tid = ++w->next_tid;
    q->tid.len = 12;
    memcpy(q->tid.b, &tid, sizeof tid);
    q->user = world_chance(w, 96) ? e->user : (uint8_t)world_pick(w, MODEL_USERS);
    q->kind = kind < 30 ? ASK_SEND : kind < 60 ? ASK_CHANNEL_DATA : ASK_REQUEST;
    if (q->kind == ASK_REQUEST) {
        pick_request(w, e, q);
        pick_cred(w, e, q);
    } else {
        q->method = STUN_SEND;
        q->n_peers = q->kind == ASK_SEND && world_chance(w, 98);
        q->channel = pick_channel(w);
        for (size_t i = 0; i < MODEL_CHANS && a && world_chance(w, 95); i++) {
            q->channel = a->chans[i].alloc ? a->chans[i].number : q->channel;
        }
        q->channel = q->channel < CHANNEL_MIN || q->channel > CHANNEL_MAX ? 0x4000 : q->channel;
        q->dont_fragment = q->kind == ASK_SEND && world_chance(w, 2);
        pick_data(w, q);
    }
    for (size_t i = 0; i < q->n_peers; i++) {
        q->peer[i] = q->kind == ASK_SEND ? world_peer_of(w, a) : world_peer(w);
    }
}

static void put_attrs(struct stun_writer *s, const struct ask_facts *q)
{
    if (q->method == STUN_ALLOCATE && q->transport) {
        stun_put_u32(s, STUN_REQUESTED_TRANSPORT, q->transport);
    }
    if (q->family) {
        stun_put_u32(s, STUN_REQUESTED_ADDRESS_FAMILY, q->family);
    }
    if (q->has_ticket) {
        stun_put_bytes(s, STUN_MOBILITY_TICKET, slice_of(q->ticket.b, q->ticket.len));
    }
    if (q->has_also) {
        stun_put_u32(s, STUN_ADDITIONAL_ADDRESS_FAMILY, q->also_family);
    }
    if (q->has_lifetime) {
        stun_put_u32(s, STUN_LIFETIME, q->lifetime_s);
    }
    if (q->even) {
        stun_put_u32(s, STUN_EVEN_PORT, q->reserve_next ? 0x80 : 0);
    }
    if (q->has_token) {
        stun_put_u64(s, STUN_RESERVATION_TOKEN, q->token);
    }
    if (q->dont_fragment) {
        stun_put_flag(s, STUN_DONT_FRAGMENT);
    }
    if (q->method == STUN_CHANNEL_BIND) {
        stun_put_u32(s, STUN_CHANNEL_NUMBER, q->channel);
    }
    if (q->has_cid) {
        stun_put_u32(s, STUN_CONNECTION_ID, q->cid);
    }
    if (q->unknown) {
        wr_u32(&s->w, 0x7abc0000); /* must be understood, and is not */
    }
    for (size_t i = 0; i < q->n_peers; i++) {
        stun_put_addr(s, STUN_XOR_PEER_ADDRESS, &q->peer[i]);
    }
    if (q->kind == ASK_SEND) {
        stun_put_bytes(s, STUN_DATA, slice_of(q->data, q->data_len));
    }
}

static void put_cred(struct world *w, struct stun_writer *s, const struct endpoint *e,
                     const struct ask_facts *q)
{
    const struct m_user *u = &w->m.users[q->user];
    struct stun_key key = u->key;
    struct slice offered = slice_of(w->m.cfg.algorithms, w->m.cfg.n_algorithms);
    char forged[WORLD_NONCE];
    if (q->cred == CRED_NONE || q->kind != ASK_REQUEST) {
        return;
    }
    (void)snprintf(forged, sizeof forged, "obMatJos2%s%08x%031x",
                   offered.len > 0 ? "gAAA" : "AAAA", (unsigned)q->nonce_s,
                   (unsigned)world_pick(w, UINT32_MAX));
    if (u->is_hidden) {
        stun_put_bytes(s, STUN_USERHASH, slice_of(u->hash, sizeof u->hash));
    } else {
        stun_put_bytes(s, STUN_USERNAME, slice_str(u->name));
    }
    if (u->is_modern) {
        offered.len -= q->cred == CRED_BID_DOWN;
        stun_put_algorithms(s, STUN_PASSWORD_ALGORITHMS, offered);
        stun_put_algorithms(s, STUN_PASSWORD_ALGORITHM, slice_of(&u->key.algorithm, 1));
    }
    stun_put_bytes(s, STUN_REALM,
                   q->cred == CRED_WRONG_REALM ? slice_str("elsewhere") : w->m.cfg.realms[0]);
    if (q->cred != CRED_NO_NONCE) {
        stun_put_bytes(s, STUN_NONCE,
                       q->cred == CRED_FORGED_NONCE ? slice_str(forged)
                                                    : slice_of(e->nonce, e->nonce_len));
    }
    key.b[0] ^= q->cred == CRED_BAD_PASSWORD;
    stun_put_integrity(s, &key);
}

static void write_noise(struct world *w, struct frame *f)
{
    f->len = world_pick(w, 60);
    for (size_t i = 0; i < f->len; i++) {
        f->bytes[i] = (uint8_t)world_pick(w, 256);
    }
    f->bytes[0] |= 0x80; /* never a STUN message, never ChannelData */
}

static void write_stun(struct world *w, const struct endpoint *e, struct frame *f)
{
    struct stun_writer s;
    struct slice out;
    struct ask_facts *q = &f->facts;
    enum stun_class cls = q->kind == ASK_SEND ? STUN_INDICATION : STUN_REQUEST;
    stun_begin(&s, f->bytes, sizeof f->bytes, &stun_wire_rfc8489, cls, q->method, &q->tid);
    put_attrs(&s, q);
    put_cred(w, &s, e, q);
    if (q->cred != CRED_TAMPERED && world_chance(w, 80)) {
        stun_put_fingerprint(&s);
    }
    if (stun_end(&s, &out)) {
        model_fault(&w->m, "a client's message does not fit");
        return;
    }
    f->len = out.len;
    if (q->cred == CRED_TAMPERED) {
        f->bytes[19] ^= 1; /* in the transaction id: all else stays as it was */
        q->tid.b[11] ^= 1;
    }
}

void world_write(struct world *w, struct endpoint *e, struct frame *f)
{
    if (e->last.len > 0 && world_chance(w, 8)) {
        *f = e->last; /* again, to the bit */
        f->conn = e->conn;
        return;
    }
    *f = (struct frame){.conn = e->conn, .opts = world_opts(w), .facts.kind = ASK_NOISE};
    if (world_chance(w, 2)) {
        write_noise(w, f);
        return;
    }
    pick_facts(w, e, &f->facts);
    if (f->facts.kind == ASK_CHANNEL_DATA) {
        struct wr out = wr_over(f->bytes, sizeof f->bytes);
        wr_u16(&out, f->facts.channel);
        wr_u16(&out, (uint16_t)f->facts.data_len);
        wr_bytes(&out, slice_of(f->facts.data, f->facts.data_len));
        f->len = out.len;
    } else {
        write_stun(w, e, f);
    }
    e->last = *f;
}

const char *world_kind_text(const struct ask_facts *f)
{
    const char *method = stun_method_name(f->method);
    switch (f->kind) {
    case ASK_SEND: return "Send";
    case ASK_CHANNEL_DATA: return "ChannelData";
    case ASK_NOISE: return "noise";
    case ASK_REQUEST: break;
    }
    return method ? method : "?";
}

struct dgram_opts world_opts(struct world *w)
{
    static const uint8_t ttls[] = {0, 1, 2, 64, 255};
    return (struct dgram_opts){.tos = (uint8_t)world_pick(w, 256),
                               .ttl = world_chance(w, 80) ? 64 : ttls[world_pick(w, 5)],
                               .df = world_chance(w, 20)};
}

struct turn_icmp world_icmp(struct world *w)
{
    static const uint8_t types[] = {3, 11, 1, 2};
    return (struct turn_icmp){.type = world_chance(w, 95) ? types[world_pick(w, 4)]
                                                          : (uint8_t)world_pick(w, 256),
                              .code = (uint8_t)world_pick(w, 16),
                              .mtu = world_chance(w, 50) ? world_pick(w, UINT32_MAX) : 0};
}
