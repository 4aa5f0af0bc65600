/* How many and how often, told a second time: peers' connections of a user, Connects and wrong
 * passwords in a second. */
#include "tests/sim/turn_model.h"

enum {
    SECOND = 1000
};

static void keep_second(struct model *m)
{
    if (m->rates.at_s != m->now_ms / SECOND) {
        m->rates = (struct m_rates){.at_s = m->now_ms / SECOND};
    }
}

/* All clients are of 192.0.2.0/24. */
uint8_t model_prefix(const struct model *m, const struct turn_conn *c)
{
    return m->cfg.rate_prefix.ip4_bits == 32 ? c->client.ip[3] : 0;
}

bool model_may_connect(struct model *m, uint8_t user)
{
    uint32_t most = m->cfg.tcp.connects_per_s;
    keep_second(m);
    if (most && m->rates.connects[user] == most) {
        m->count[COUNT_CONNECT_SOON]++;
        return false;
    }
    m->rates.connects[user]++;
    return true;
}

void model_failed(struct model *m, const struct turn_conn *c)
{
    keep_second(m);
    m->rates.failures[model_prefix(m, c)]++;
}

bool model_may_try(struct model *m, const struct turn_conn *c)
{
    uint32_t most = m->cfg.max_failures_per_s;
    keep_second(m);
    return most == 0 || m->rates.failures[model_prefix(m, c)] < most;
}

bool model_link_fits(struct model *m, const struct m_alloc *a)
{
    const struct turn_tcp_quota *q = &m->cfg.tcp;
    size_t n = 0, n_unbound = 0;
    struct m_sums all = model_sums(m), of_user = model_sums_of(m, a->user);
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        n += a->links[i].alloc != NULL;
        n_unbound += a->links[i].alloc && a->links[i].state != LINK_BOUND;
    }
    bool user_full = (q->per_user && of_user.links >= q->per_user) ||
                     (q->unbound_per_user && of_user.unbound >= q->unbound_per_user);
    m->count[COUNT_USER_FULL] += user_full;
    return n < m->cfg.max_connections && n_unbound < m->cfg.max_unbound && !user_full &&
           (q->in_all == 0 || all.links < q->in_all);
}

bool model_has_link(const struct m_alloc *a, const struct addr *peer)
{
    bool has = false;
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        has |= a->links[i].alloc && addr_eq(&a->links[i].peer, peer);
    }
    return has;
}

static void seep(const struct model *m, const struct bandwidth *w, struct m_meter *at)
{
    uint64_t ms = m->now_ms - at->at_ms;
    bool empty = w->bytes_per_s > 0 && ms > at->fill / w->bytes_per_s;
    at->fill = empty ? 0 : at->fill - ms * w->bytes_per_s;
    at->at_ms = m->now_ms;
}

bool model_flows(struct model *m, struct m_alloc *a, bool is_to_peer, size_t n)
{
    struct m_meter *meters[TURN_BANDWIDTHS] = {
        &a->meter[is_to_peer], &m->user_meter[a->user][is_to_peer], &m->meter[is_to_peer]};
    bool fits = true;
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        const struct bandwidth *w = &m->cfg.bandwidth[i];
        seep(m, w, meters[i]);
        fits &= w->bytes_per_s == 0 || meters[i]->fill + 1000 * n <= 1000ull * w->burst;
    }
    for (size_t i = 0; i < TURN_BANDWIDTHS && fits; i++) {
        meters[i]->fill += m->cfg.bandwidth[i].bytes_per_s ? 1000 * n : 0;
    }
    m->count[COUNT_HELD_BACK] += !fits;
    return fits;
}
