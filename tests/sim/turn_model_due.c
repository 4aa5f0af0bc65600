/* What falls due, and the numbers that must be right after every event. */
#include "tests/sim/turn_model.h"

/* When a relay's links end, as seen from now: the allocation ends with the first of its relays
 * when all of them are over. */
static uint64_t ends_ms(const struct model *m, const struct m_alloc *a, uint8_t family)
{
    uint64_t own = UINT64_MAX, first = UINT64_MAX;
    bool all_over = true;
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        const struct m_relay *r = &a->relay[i];
        if (r->state == M_RELAY_OPEN) {
            own = r->family == family ? r->expires_ms : own;
            first = r->expires_ms < first ? r->expires_ms : first;
            all_over &= r->expires_ms <= m->now_ms;
        }
    }
    return all_over ? first : own;
}

static void link_due(struct model *m, struct m_link *l)
{
    struct stun_msg out;
    const struct m_alloc *a = l->alloc;
    uint64_t end_ms = ends_ms(m, a, l->peer.family);
    bool is_first = !a->is_open || end_ms > l->expires_ms;
    model_want_close(m, TURN_DO_TCP_CLOSE, l->id);
    if (l->state == LINK_WAITING) {
        m->count[COUNT_UNBOUND]++;
    } else if (is_first) {
        model_want_error(m, &a->conn, STUN_CONNECT, &l->tid);
        m->count[COUNT_CONNECT_LATE]++;
    } else if (end_ms == l->expires_ms) { /* either may come first */
        (void)model_take_reply(m, &a->conn, STUN_CONNECT, &l->tid, &out);
    }
    l->alloc = NULL;
}

static void small_things_due(struct model *m, struct m_alloc *a)
{
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        struct m_perm *p = &a->perms[i];
        if (p->alloc && p->expires_ms <= m->now_ms && !m->keeps_permissions) {
            p->alloc = NULL;
            m->count[COUNT_PERM_EXPIRED]++;
        }
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        struct m_chan *ch = &a->chans[i];
        if (ch->alloc && ch->expires_ms <= m->now_ms) {
            ch->alloc = NULL;
            m->count[COUNT_CHAN_EXPIRED]++;
        }
    }
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        struct m_link *l = &a->links[i];
        if (l->alloc && l->state != LINK_BOUND && l->expires_ms <= m->now_ms) {
            link_due(m, l);
        }
    }
}

static void reserves_due(struct model *m)
{
    for (size_t i = m->n_reserves;
         i-- > 0;) { /* the last one takes the place of one that goes */
        struct m_reserve *r = &m->reserves[i];
        if (r->expires_ms <= m->now_ms) {
            model_want_close(m, TURN_DO_RELAY_CLOSE, r->id);
            model_drop_reserve(m, r);
            m->count[COUNT_RESERVE_EXPIRED]++;
        }
    }
}

/* Ends the relay that is over, if the other is not. True: all are. */
static bool is_over(struct model *m, struct m_alloc *a)
{
    struct m_relay *over = NULL;
    size_t n = 0;
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        struct m_relay *r = &a->relay[i];
        if (r->state == M_RELAY_OPEN && r->expires_ms <= m->now_ms) {
            over = r;
            n++;
        }
    }
    if (n == model_n_relays(a)) {
        return true;
    }
    if (over) {
        model_end_relay(m, a, over);
        m->count[COUNT_RELAY_EXPIRED]++;
    }
    return false;
}

void model_ticked(struct model *m)
{
    reserves_due(m);
    for (struct m_alloc *a = NULL; (a = model_next_due(m, a)) != NULL;) {
        small_things_due(m, a);
        if (a->is_open && is_over(m, a)) {
            model_cut_alloc(m, a);
            m->count[COUNT_EXPIRED]++;
        }
    }
}

uint64_t model_deadline_ms(struct model *m)
{
    uint64_t d = model_alloc_due_ms(m);
    for (size_t i = 0; i < m->n_reserves; i++) {
        d = m->reserves[i].expires_ms < d ? m->reserves[i].expires_ms : d;
    }
    return d;
}

static void same(struct model *m, const char *what, uint64_t is, uint64_t should)
{
    if (is != should) {
        model_fault(m, "%llu %s, should be %llu", (unsigned long long)is, what,
                    (unsigned long long)should);
    }
}

void model_check_numbers(struct model *m)
{
    struct turn_stats st = turn_server_stats(m->s);
    struct m_sums all = model_sums(m);
    m->most_allocs = all.allocs > m->most_allocs ? all.allocs : m->most_allocs;
    same(m, "allocations", st.allocations, all.allocs);
    same(m, "permissions", st.permissions, all.perms);
    same(m, "channels", st.channels, all.chans);
    same(m, "TCP connections", st.tcp_connections, all.links);
    same(m, "unbound TCP connections", st.tcp_unbound, all.unbound);
    same(m, "allocations opened in all", st.allocations_total, m->count[COUNT_OPENED]);
    same(m, "datagrams to peers", st.packets_to_peers,
         m->count[COUNT_SENT] + m->count[COUNT_CHAN_SENT]);
    same(m, "datagrams to clients", st.packets_to_client,
         m->count[COUNT_INDICATED] + m->count[COUNT_CHANNELED]);
    if (turn_server_deadline_ms(m->s) > model_deadline_ms(m)) {
        model_fault(m, "the deadline is later than what falls due");
    }
}
