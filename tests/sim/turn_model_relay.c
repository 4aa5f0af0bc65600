/* The model's allocations and their relays: how they open and how they end. */
#include "tests/sim/turn_model.h"

enum {
    SECOND = 1000
};

struct m_relay *model_relay(struct model *m, turn_id relay)
{
    struct m_alloc *a = model_alloc_with(m, relay);
    return a ? &a->relay[a->relay[0].state == M_RELAY_NONE || a->relay[0].id != relay] : NULL;
}

struct m_relay *model_relay_for(struct m_alloc *a, uint8_t family)
{
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        if (a->relay[i].state == M_RELAY_OPEN && a->relay[i].family == family) {
            return &a->relay[i];
        }
    }
    return NULL;
}

size_t model_n_relays(const struct m_alloc *a)
{
    size_t n = 0;
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        n += a->relay[i].state != M_RELAY_NONE;
    }
    return n;
}

void model_drop_reserve(struct model *m, struct m_reserve *r)
{
    *r = m->reserves[--m->n_reserves];
}

void model_end_relay(struct model *m, struct m_alloc *a, struct m_relay *r)
{
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        struct m_link *l = &a->links[i];
        if (l->alloc && l->peer.family == r->family) {
            model_want_close(m, TURN_DO_TCP_CLOSE, l->id);
            l->alloc = NULL;
        }
    }
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        struct m_perm *p = &a->perms[i];
        p->alloc = p->ip.family == r->family ? NULL : p->alloc;
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        struct m_chan *ch = &a->chans[i];
        ch->alloc = ch->peer.family == r->family ? NULL : ch->alloc;
    }
    model_want_close(m, TURN_DO_RELAY_CLOSE, r->id);
    r->state = M_RELAY_NONE;
}

void model_end_alloc(struct model *m, struct m_alloc *a)
{
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        if (a->links[i].alloc) {
            model_want_close(m, TURN_DO_TCP_CLOSE, a->links[i].id);
            a->links[i].alloc = NULL;
        }
    }
    if (a->reserve) {
        model_want_close(m, TURN_DO_RELAY_CLOSE, a->reserve);
    }
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        if (a->relay[i].state != M_RELAY_NONE) {
            model_want_close(m, TURN_DO_RELAY_CLOSE, a->relay[i].id);
        }
    }
    a->is_live = false;
}

/* The relays told, in any order, and why one is not. */
static bool tells_relays(struct m_alloc *a, const struct stun_msg *out)
{
    struct addr told;
    uint8_t family = 0;
    uint16_t code = 0;
    size_t n = 0;
    for (; stun_get_nth_addr(out, STUN_XOR_RELAYED_ADDRESS, n, &told) == OK; n++) {
        const struct m_relay *r = model_relay_for(a, told.family);
        if (!r || !addr_eq(&r->told, &told)) {
            return false;
        }
    }
    bool has_missing = stun_get_addr_error(out, &family, &code) == OK;
    return n == model_n_relays(a) && has_missing == (a->missing_code != 0) &&
           (!has_missing || (family == a->missing_family && code == a->missing_code));
}

void model_want_allocated(struct model *m, struct m_alloc *a, const struct turn_conn *c)
{
    struct stun_msg out;
    struct addr mapped;
    uint32_t lifetime_s;
    uint64_t token;
    if (!model_want_success(m, c, STUN_ALLOCATE, &a->tid, a->user, &out)) {
        return;
    }
    model_ticket(m, a, &out);
    bool has_token = stun_get_u64(&out, STUN_RESERVATION_TOKEN, &token) == OK;
    if (a->token == 0 && has_token) {
        a->token = token;
        for (size_t i = 0; i < m->n_reserves; i++) {
            struct m_reserve *r = &m->reserves[i];
            r->token = r->id == a->kept ? token : r->token;
        }
    }
    if (!tells_relays(a, &out) || stun_get_addr(&out, STUN_XOR_MAPPED_ADDRESS, &mapped) ||
        stun_get_u32(&out, STUN_LIFETIME, &lifetime_s) || !addr_eq(&mapped, &c->client) ||
        lifetime_s != a->lifetime_s || has_token != (a->kept != 0) ||
        (has_token && token != a->token)) {
        model_fault(m, "the answer to Allocate says something else");
    }
}

static void opened(struct model *m, struct m_alloc *a)
{
    a->is_open = true;
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        a->relay[i].expires_ms = m->now_ms + (uint64_t)a->lifetime_s * SECOND;
    }
    if (a->reserve && m->n_reserves < m->n_slots) {
        m->reserves[m->n_reserves++] =
            (struct m_reserve){.id = a->reserve,
                               .user = a->user,
                               .family = a->relay[0].family,
                               .expires_ms = m->now_ms + 30 * SECOND};
        a->reserve = 0;
        m->count[COUNT_RESERVED]++;
    }
    model_want_allocated(m, a, &a->conn);
    m->count[COUNT_OPENED]++;
    m->count[COUNT_DUAL] += model_n_relays(a) == MODEL_RELAYS;
    m->count[COUNT_MISSING] += a->missing_code != 0;
}

void model_relay_opened(struct model *m, turn_id relay, const struct addr *bound)
{
    struct m_alloc *a = model_alloc_with(m, relay);
    struct m_relay *r = model_relay(m, relay);
    if (!r || r->state != M_RELAY_OPENING) {
        m->count[COUNT_STALE_EVENT]++;
        return;
    }
    if (!bound && model_n_relays(a) == 1) {
        model_want_error(m, &a->conn, STUN_ALLOCATE, &a->tid);
        model_end_alloc(m, a);
        m->count[COUNT_NOT_OPENED]++;
        return;
    }
    if (bound) {
        r->state = M_RELAY_OPEN;
        r->told = *bound;
        if (m->cfg.external_ip.family == bound->family) {
            r->told = m->cfg.external_ip;
            r->told.port = bound->port;
        }
    } else {
        a->missing_family = r->family;
        a->missing_code = 508;
        model_want_close(m, TURN_DO_RELAY_CLOSE, relay);
        r->state = M_RELAY_NONE;
    }
    if (a->relay[0].state != M_RELAY_OPENING && a->relay[1].state != M_RELAY_OPENING) {
        opened(m, a);
    }
}
