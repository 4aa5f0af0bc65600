/* The model's verdict on messages from clients. */
#include "tests/sim/turn_model.h"

enum {
    SECOND = 1000
};

static void deny(struct model *m, const struct frame *f)
{
    model_want_error(m, &f->conn, f->facts.method, &f->facts.tid);
    m->count[COUNT_ERROR]++;
}

/* Over UDP an address that has proven nothing gets so many answers in a second, and no more.
 * Addresses may share a place in the server's table: silence is right as soon as all of them
 * together have had as many. */
static bool is_muted(struct model *m, const struct frame *f)
{
    uint32_t most = m->cfg.max_unproven_per_s;
    bool is_answered = false;
    for (size_t i = 0; i < m->n_acts; i++) {
        is_answered |= m->acts[i].a.what == TURN_DO_SEND;
    }
    if (f->conn.is_proven || most == 0) {
        return false;
    }
    if (m->unproven_at_s != m->now_ms / SECOND) {
        m->unproven_at_s = m->now_ms / SECOND;
        m->unproven_all = 0;
        memset(m->unproven, 0, sizeof m->unproven);
    }
    if (!is_answered && m->unproven_all >= most) {
        m->count[COUNT_MUTED]++;
        return true;
    }
    m->unproven_all++;
    if (++m->unproven[model_prefix(m, &f->conn)] > most) {
        model_fault(m, "too many answers to a network that has proven nothing");
    }
    return false;
}

static void deny_unproven(struct model *m, const struct frame *f)
{
    if (!is_muted(m, f)) {
        deny(m, f);
    }
}

static void grant(struct model *m, const struct frame *f)
{
    struct stun_msg out;
    (void)model_want_success(m, &f->conn, f->facts.method, &f->facts.tid, f->facts.user, &out);
}

static bool may_reach(const struct model *m, struct m_alloc *a, const struct addr *peer)
{
    return model_relay_for(a, peer->family) && m->peer_ok(peer, m->is_strict);
}

static uint32_t granted_s(const struct model *m, const struct ask_facts *q)
{
    uint32_t s = q->has_lifetime ? q->lifetime_s : 0;
    s = s < m->cfg.lifetime_default_s ? m->cfg.lifetime_default_s : s;
    return s > m->cfg.lifetime_max_s ? m->cfg.lifetime_max_s : s;
}

static struct m_reserve *reserve_of(struct model *m, uint64_t token)
{
    for (size_t i = 0; i < m->n_reserves; i++) {
        if (m->reserves[i].token == token) {
            return &m->reserves[i];
        }
    }
    return NULL;
}

/* A port that is kept counts as an allocation until it is claimed or given up. */
static size_t n_of_user(struct model *m, uint8_t user)
{
    struct m_sums of_user = model_sums_of(m, user);
    size_t n = of_user.relays + of_user.reserves;
    for (size_t i = 0; i < m->n_reserves; i++) {
        n += m->reserves[i].user == user;
    }
    return n;
}

static bool quota_left(struct model *m, const struct ask_facts *q)
{
    const struct m_reserve *from = q->has_token ? reserve_of(m, q->token) : NULL;
    size_t more = (from && from->user == q->user ? 0u : 1u) + q->reserve_next;
    struct m_sums all = model_sums(m);
    return n_of_user(m, q->user) + more <= m->cfg.max_per_user &&
           all.allocs < m->cfg.max_allocations &&
           m->n_reserves + all.reserves + q->reserve_next <= m->cfg.max_allocations;
}

static bool may_allocate(struct model *m, const struct frame *f)
{
    const struct ask_facts *q = &f->facts;
    bool tcp = q->transport == TURN_TCP;
    if ((!tcp && q->transport != TURN_UDP) || (tcp && f->conn.transport != TURN_TCP) ||
        (tcp && (q->even || q->has_token)) || (q->dont_fragment && (tcp || !m->cfg.can_df)) ||
        (q->has_token && (q->even || q->family || !reserve_of(m, q->token))) ||
        (q->has_ticket && (q->ticket.len > 0 || !m->cfg.mobility)) ||
        (q->has_also &&
         (q->also_family != ADDR_IP6 || q->family || q->has_token || q->reserve_next))) {
        return false;
    }
    bool ip4 = m->cfg.relay_ip4, ip6 = m->cfg.relay_ip6;
    bool family_ok = q->has_also             ? ip4 || ip6
                     : q->has_token          ? true
                     : q->family == ADDR_IP6 ? ip6
                     : q->family <= ADDR_IP4 ? ip4
                                             : false;
    return family_ok && !m->is_draining && quota_left(m, q);
}

/* Takes the RELAY_OPEN for this family. False: it is not there. */
static bool want_relay(struct model *m, const struct ask_facts *q, struct m_alloc *a,
                       uint8_t family)
{
    struct act *act = model_take(m, TURN_DO_RELAY_OPEN, 0);
    const struct m_reserve *from = q->has_token ? reserve_of(m, q->token) : NULL;
    if (!act) {
        return false;
    }
    const struct turn_action *o = &act->a;
    if (o->relay == 0 || model_relay(m, o->relay) || o->open.transport != q->transport ||
        o->open.family != family || o->open.even != q->even ||
        (o->open.reserve != 0) != q->reserve_next || o->open.from != (from ? from->id : 0)) {
        model_fault(m, "RELAY_OPEN asks for something else");
    }
    a->relay[a->relay[0].state != M_RELAY_NONE] =
        (struct m_relay){.id = o->relay, .state = M_RELAY_OPENING, .family = family};
    a->reserve = a->kept = o->open.reserve;
    return true;
}

/* The second of two families, which may be missing. */
static void want_second(struct model *m, const struct ask_facts *q, struct m_alloc *a,
                        bool fits)
{
    a->missing_family = ADDR_IP6;
    if (!m->cfg.relay_ip4 || !m->cfg.relay_ip6) {
        a->missing_family = m->cfg.relay_ip4 ? ADDR_IP6 : ADDR_IP4;
        a->missing_code = 440;
    } else if (!fits) {
        a->missing_code = 508;
    } else if (!want_relay(m, q, a, ADDR_IP6)) {
        model_fault(m, "RELAY_OPEN of the second family is missing");
    }
}

static void want_open(struct model *m, const struct frame *f, uint64_t until_ms)
{
    const struct ask_facts *q = &f->facts;
    struct m_alloc *a = model_free_slot(m);
    struct m_reserve *from = q->has_token ? reserve_of(m, q->token) : NULL;
    uint8_t family = from ? from->family : q->family ? q->family : ADDR_IP4;
    family = q->has_also && !m->cfg.relay_ip4 ? ADDR_IP6 : family;
    bool fits = n_of_user(m, q->user) + 2 <= m->cfg.max_per_user;
    *a = (struct m_alloc){.conn = f->conn,
                          .user = q->user,
                          .tid = q->tid,
                          .move.is_allowed = q->has_ticket,
                          .transport = (enum turn_transport)q->transport,
                          .lifetime_s = granted_s(m, q),
                          .key_until_ms = until_ms};
    if (!want_relay(m, q, a, family)) {
        model_fault(m, "RELAY_OPEN is missing");
        return;
    }
    a->id = a->relay[0].id;
    if (q->has_also) {
        want_second(m, q, a, fits);
    }
    a->is_live = true;
    if (from) {
        model_drop_reserve(m, from);
        m->count[COUNT_FROM_RESERVE]++;
    }
}

static void judge_allocate(struct model *m, const struct frame *f, struct m_alloc *a,
                           uint64_t until_ms)
{
    if (!a && may_allocate(m, f)) {
        want_open(m, f, until_ms);
    } else if (!a || memcmp(a->tid.b, f->facts.tid.b, sizeof a->tid.b) != 0) {
        deny(m, f);
    } else if (a->is_open) {
        model_want_allocated(m, a, &f->conn);
        m->count[COUNT_AGAIN]++;
    }
}

static void judge_refresh(struct model *m, const struct frame *f, struct m_alloc *a,
                          uint64_t until_ms)
{
    const struct ask_facts *q = &f->facts;
    struct stun_msg out;
    uint32_t said_s;
    if (q->has_ticket) {
        a = model_move(m, f, a, until_ms);
    }
    if (!a || !a->is_open || (q->family && !model_relay_for(a, q->family))) {
        deny(m, f);
        return;
    }
    bool is_end = q->has_lifetime && q->lifetime_s == 0;
    uint32_t life_s = is_end ? 0 : granted_s(m, q);
    if (model_want_success(m, &f->conn, STUN_REFRESH, &q->tid, q->user, &out)) {
        if (stun_get_u32(&out, STUN_LIFETIME, &said_s) || said_s != life_s) {
            model_fault(m, "the answer to Refresh says something else");
        }
        if (q->has_ticket) {
            model_ticket(m, a, &out);
        }
    }
    if (is_end && q->family && model_n_relays(a) == MODEL_RELAYS) {
        model_end_relay(m, a, model_relay_for(a, q->family));
        m->count[COUNT_RELAY_RELEASED]++;
        return;
    }
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        if (!q->family || a->relay[i].family == q->family) {
            a->relay[i].expires_ms = m->now_ms + (uint64_t)life_s * SECOND;
        }
    }
    if (is_end) {
        model_end_alloc(m, a);
    }
    m->count[is_end ? COUNT_RELEASED : COUNT_REFRESHED]++;
}

static size_t n_perms(const struct m_alloc *a)
{
    size_t n = 0;
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        n += a->perms[i].alloc != NULL;
    }
    return n;
}

static void install(struct model *m, struct m_alloc *a, const struct addr *peer)
{
    struct m_perm *p = model_perm(a, peer);
    for (size_t i = 0; i < MODEL_PERMS && !p; i++) {
        p = a->perms[i].alloc ? NULL : &a->perms[i];
    }
    if (p) {
        *p = (struct m_perm){.alloc = a, .ip = *peer, .expires_ms = m->now_ms + 300 * SECOND};
        p->ip.port = 0;
        m->count[COUNT_PERMITTED]++;
    }
}

/* Of the request's addresses, those without a permission; each once. */
static size_t n_new(struct m_alloc *a, const struct ask_facts *q)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n_peers; i++) {
        bool is_new = !model_perm(a, &q->peer[i]);
        for (size_t k = 0; k < i; k++) {
            is_new &= !addr_ip_eq(&q->peer[i], &q->peer[k]);
        }
        n += is_new;
    }
    return n;
}

static void judge_permission(struct model *m, const struct frame *f, struct m_alloc *a)
{
    const struct ask_facts *q = &f->facts;
    bool may = a && a->is_open && q->n_peers > 0;
    for (size_t i = 0; i < q->n_peers && may; i++) {
        may = may_reach(m, a, &q->peer[i]);
    }
    if (!may || n_perms(a) + n_new(a, q) > m->cfg.max_permissions) {
        deny(m, f);
        return;
    }
    for (size_t i = 0; i < q->n_peers; i++) {
        install(m, a, &q->peer[i]);
    }
    grant(m, f);
}

static bool may_bind_channel(struct model *m, const struct ask_facts *q, struct m_alloc *a,
                             struct m_chan **found)
{
    size_t n = 0;
    if (!a || !a->is_open || a->transport != TURN_UDP || q->n_peers == 0 ||
        q->channel < CHANNEL_MIN || q->channel > CHANNEL_MAX || !may_reach(m, a, &q->peer[0])) {
        return false;
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        struct m_chan *ch = &a->chans[i];
        bool number = ch->number == q->channel, peer = addr_eq(&ch->peer, &q->peer[0]);
        if (ch->alloc && number != peer) {
            return false;
        }
        *found = ch->alloc && number ? ch : *found;
        n += ch->alloc != NULL;
    }
    return (*found || n < m->cfg.max_channels) &&
           (model_perm(a, &q->peer[0]) || n_perms(a) < m->cfg.max_permissions);
}

static void judge_channel(struct model *m, const struct frame *f, struct m_alloc *a)
{
    const struct ask_facts *q = &f->facts;
    struct m_chan *ch = NULL;
    if (!may_bind_channel(m, q, a, &ch)) {
        deny(m, f);
        return;
    }
    for (size_t i = 0; i < MODEL_CHANS && !ch; i++) {
        ch = a->chans[i].alloc ? NULL : &a->chans[i];
    }
    *ch = (struct m_chan){.alloc = a,
                          .peer = q->peer[0],
                          .number = q->channel,
                          .expires_ms = m->now_ms + 600 * SECOND};
    install(m, a, &q->peer[0]);
    grant(m, f);
    m->count[COUNT_CHANNEL]++;
}

static void judge_connect(struct model *m, const struct frame *f, struct m_alloc *a)
{
    const struct ask_facts *q = &f->facts;
    bool is_new = a && a->is_open && a->transport == TURN_TCP && q->n_peers > 0 &&
                  m->cfg.tcp.connect != TURN_CONNECT_NONE && !model_has_link(a, &q->peer[0]);
    bool is_named = is_new && (m->cfg.tcp.connect == TURN_CONNECT_ANY ||
                               m->peer_may_come(&q->peer[0], m->is_strict));
    bool may =
        is_new && model_may_connect(m, q->user) && may_reach(m, a, &q->peer[0]) && is_named;
    struct m_link *l = may ? model_new_link(m, a, &q->peer[0]) : NULL;
    if (!l) {
        deny(m, f);
        return;
    }
    l->tid = q->tid;
    l->state = LINK_CONNECTING;
    struct act *act = model_take(m, TURN_DO_TCP_CONNECT, 0);
    if (!act || act->a.relay != model_relay_for(a, l->peer.family)->id ||
        model_link(m, act->a.peer_conn) || !addr_eq(&act->a.addr, &l->peer)) {
        model_fault(m, "TCP_CONNECT is missing, or for something else");
    } else {
        l->id = act->a.peer_conn;
    }
    m->count[COUNT_CONNECT]++;
}

static void judge_bind(struct model *m, const struct frame *f, const struct m_alloc *a)
{
    struct m_link *l = f->facts.has_cid ? model_waiting_link(m, f->facts.cid) : NULL;
    if (!l || f->conn.transport != TURN_TCP || a || l->alloc->user != f->facts.user) {
        deny(m, f);
        return;
    }
    grant(m, f);
    struct act *act = model_take(m, TURN_DO_TCP_PIPE, f->conn.id);
    if (!act || act->a.peer_conn != l->id) {
        model_fault(m, "TCP_PIPE is missing, or joins somebody else's connection");
    }
    l->state = LINK_BOUND;
    l->conn = f->conn.id;
    model_drop_parked(m, f->conn.id); /* it is no STUN connection any more */
    m->count[COUNT_BOUND]++;
}

static bool nonce_fresh(struct model *m, uint32_t made_s)
{
    uint64_t now_s = m->unix_s;
    bool fresh = made_s > now_s ? made_s - now_s <= 1 : now_s - made_s <= m->cfg.nonce_life_s;
    m->count[COUNT_STALE] += !fresh;
    return fresh;
}

void model_judge(struct model *m, const struct frame *f, bool key_is_right, uint64_t until_ms)
{
    const struct ask_facts *q = &f->facts;
    struct m_alloc *a = model_alloc_of(m, &f->conn);
    bool is_known = key_is_right && (q->cred == CRED_GOOD || q->cred == CRED_FORGED_NONCE);
    bool is_failure =
        q->cred == CRED_WRONG_REALM || (!is_known && q->cred != CRED_NONE &&
                                        q->cred != CRED_NO_NONCE && q->cred != CRED_BID_DOWN);
    if (is_failure) {
        model_failed(m, &f->conn);
    }
    if (model_is_refused(m, f, &is_known) || !is_known || q->cred != CRED_GOOD) {
        if (is_known) {
            deny(m, f);
        } else {
            deny_unproven(m, f);
        }
        return;
    }
    if (!nonce_fresh(m, q->nonce_s) || (a && a->user != q->user)) {
        deny(m, f);
        return;
    }
    if (a) {
        a->key_until_ms = until_ms;
    }
    if (q->unknown) {
        deny(m, f);
        return;
    }
    if (!q->has_ticket) {
        model_arrive(m, f, a);
    }
    switch (q->method) {
    case STUN_ALLOCATE: judge_allocate(m, f, a, until_ms); break;
    case STUN_REFRESH: judge_refresh(m, f, a, until_ms); break;
    case STUN_CREATE_PERMISSION: judge_permission(m, f, a); break;
    case STUN_CHANNEL_BIND: judge_channel(m, f, a); break;
    case STUN_CONNECT: judge_connect(m, f, a); break;
    case STUN_CONNECTION_BIND: judge_bind(m, f, a); break;
    default: break;
    }
}

static void park(struct model *m, const struct act *act, const struct frame *f)
{
    struct m_parked *p = NULL;
    const struct m_user *u = &m->users[f->facts.user];
    const struct turn_ask *who = &act->a.key;
    bool is_his = u->is_hidden
                      ? who->username.len == 0 &&
                            slice_eq(who->userhash, slice_of(u->hash, sizeof u->hash))
                      : who->userhash.len == 0 && slice_eq(who->username, slice_str(u->name));
    if (!is_his || who->algorithm != u->key.algorithm) {
        model_fault(m, "FIND_KEY for another user");
    }
    for (size_t i = 0; i < MODEL_PARKED; i++) {
        if (m->parked[i].ticket == act->a.key.ticket) {
            model_fault(m, "two requests wait under one ticket");
        }
        p = m->parked[i].ticket ? p : &m->parked[i];
    }
    if (p) {
        *p = (struct m_parked){.ticket = act->a.key.ticket, .frame = *f};
    } else {
        model_fault(m, "more requests wait than can be");
    }
    m->count[COUNT_PARKED]++;
}

static void judge_request(struct model *m, const struct frame *f)
{
    const struct ask_facts *q = &f->facts;
    struct stun_msg out;
    struct m_alloc *a = model_alloc_of(m, &f->conn);
    bool has_key = a && a->user == q->user && m->now_ms < a->key_until_ms;
    bool wants_key = q->method != STUN_BINDING && q->cred != CRED_NONE &&
                     q->cred != CRED_NO_NONCE && q->cred != CRED_BID_DOWN &&
                     q->cred != CRED_WRONG_REALM && !has_key;
    if (wants_key && !model_may_try(m, &f->conn)) {
        /* A FIND_KEY stays unseen, and so is a fault. */
        m->count[COUNT_HUSHED]++;
        if (f->conn.transport == TURN_TCP) {
            model_want_error(m, &f->conn, q->method, &q->tid);
        }
        return;
    }
    struct act *act = model_take(m, TURN_DO_FIND_KEY, 0);
    if (act) {
        park(m, act, f);
        if (q->cred == CRED_NONE || q->cred == CRED_NO_NONCE || q->cred == CRED_BID_DOWN ||
            q->cred == CRED_WRONG_REALM) {
            model_fault(m, "FIND_KEY for somebody who cannot be authentic");
        }
        return;
    }
    if (q->method == STUN_BINDING) {
        if (is_muted(m, f)) {
            return;
        }
        bool is_answered = model_take_reply(m, &f->conn, q->method, &q->tid, &out);
        if (!is_answered || (out.cls == STUN_SUCCESS) == q->unknown) {
            model_fault(m, "no proper answer to Binding");
        }
        m->count[COUNT_BINDING]++;
        return;
    }
    if (q->cred == CRED_NONE) {
        m->count[COUNT_CHALLENGE]++;
    } else if (wants_key) {
        size_t n_parked = 0;
        for (size_t i = 0; i < MODEL_PARKED; i++) {
            n_parked += m->parked[i].ticket != 0;
        }
        if (n_parked < 64) {
            model_fault(m, "FIND_KEY is missing");
        }
        deny_unproven(m, f);
        return;
    }
    model_judge(m, f, has_key, a ? a->key_until_ms : 0);
}

/* Indications and ChannelData: relayed with the right bytes to the right peer, or dropped. */
static void judge_data(struct model *m, const struct frame *f)
{
    const struct ask_facts *q = &f->facts;
    struct m_alloc *a = model_alloc_of(m, &f->conn);
    const struct addr *peer = q->kind == ASK_SEND && q->n_peers > 0 ? &q->peer[0] : NULL;
    bool is_chan = q->kind == ASK_CHANNEL_DATA;
    model_arrive(m, f, a);
    for (size_t i = 0; i < MODEL_CHANS && is_chan && a; i++) {
        if (a->chans[i].alloc && a->chans[i].number == q->channel) {
            peer = &a->chans[i].peer;
        }
    }
    bool may = a && a->is_open && a->transport == TURN_UDP && peer && may_reach(m, a, peer) &&
               model_perm(a, peer) && !q->unknown && (!q->dont_fragment || m->cfg.can_df);
    struct dgram_opts opts;
    bool ends = may && !model_header(&f->conn, peer, &f->opts, &opts);
    m->count[COUNT_HOPS_GONE] += ends;
    if (!may || ends || !model_flows(m, a, true, q->data_len)) {
        m->count[is_chan ? COUNT_CHAN_DROPPED : COUNT_SEND_DROPPED]++;
        return;
    }
    struct act *act = model_take(m, TURN_DO_RELAY_SEND, model_relay_for(a, peer->family)->id);
    if (!act) {
        model_fault(m, "data with a permission is not relayed");
    } else if (!addr_eq(&act->a.addr, peer) ||
               !slice_eq(act->a.body, slice_of(q->data, q->data_len))) {
        model_fault(m, "data reaches the wrong peer, or is changed");
    } else {
        model_want_header(m, f, a, act);
    }
    m->count[is_chan ? COUNT_CHAN_SENT : COUNT_SENT]++;
}

void model_client(struct model *m, const struct frame *f)
{
    switch (f->facts.kind) {
    case ASK_REQUEST: judge_request(m, f); break;
    case ASK_SEND:
    case ASK_CHANNEL_DATA: judge_data(m, f); break;
    case ASK_NOISE: break;
    }
}

/* What runs goes on while the database is away; nothing new begins. */
static void judge_late(struct model *m, const struct frame *f, enum key_answer answer,
                       uint64_t until_ms)
{
    const struct m_alloc *a = model_alloc_of(m, &f->conn);
    if (answer != KEY_UNKNOWN) {
        model_judge(m, f, answer == KEY_RIGHT, until_ms);
    } else if (a && a->user == f->facts.user) {
        model_judge(m, f, true, a->key_until_ms);
    } else {
        deny_unproven(m, f);
    }
}

void model_key(struct model *m, turn_id ticket, enum key_answer answer, uint64_t until_ms)
{
    for (size_t i = 0; i < MODEL_PARKED; i++) {
        if (ticket && m->parked[i].ticket == ticket) {
            m->parked[i].ticket = 0;
            judge_late(m, &m->parked[i].frame, answer, until_ms);
            return;
        }
    }
    m->count[COUNT_STALE_EVENT]++;
}
