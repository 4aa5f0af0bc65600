/* What an operator does and sees. */
#include "tests/sim/turn_model.h"

void model_kick(struct model *m, turn_id relay, int err)
{
    struct m_alloc *a = model_alloc(m, relay);
    if (!a || !a->is_open) {
        if (err != ERR_NOTFOUND) {
            model_fault(m, "an allocation is kicked that is not there");
        }
        return;
    }
    if (err) {
        model_fault(m, "an allocation is there and cannot be kicked");
    }
    model_cut_alloc(m, a);
    m->count[COUNT_KICKED]++;
}

void model_policy(struct model *m, bool is_strict)
{
    m->is_strict = is_strict;
    for (size_t k = 0; k < m->n_slots; k++) {
        struct m_alloc *a = model_touch(m, &m->allocs[k]);
        for (size_t i = 0; i < MODEL_PERMS && a->is_live; i++) {
            struct m_perm *p = &a->perms[i];
            if (p->alloc && !m->peer_ok(&p->ip, is_strict)) {
                p->alloc = NULL;
                m->count[COUNT_PERM_REVOKED]++;
            }
        }
        for (size_t i = 0; i < MODEL_CHANS && a->is_live; i++) {
            struct m_chan *ch = &a->chans[i];
            ch->alloc = ch->alloc && m->peer_ok(&ch->peer, is_strict) ? a : NULL;
        }
    }
}

static bool same_relays(const struct model *m, const struct m_alloc *a,
                        const struct turn_session *is)
{
    size_t n = 0;
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        const struct m_relay *r = &a->relay[i];
        const struct turn_session_relay *told = &is->relay[n];
        if (r->state != M_RELAY_OPEN) {
            continue;
        }
        uint64_t left_ms = r->expires_ms > m->now_ms ? r->expires_ms - m->now_ms : 0;
        if (told->id != r->id || !addr_eq(&told->addr, &r->told) || told->left_ms != left_ms) {
            return false;
        }
        n++;
    }
    return n == MODEL_RELAYS || is->relay[n].id == 0;
}

static void check_session(struct model *m, const struct m_alloc *a,
                          const struct turn_session *is)
{
    size_t n_perms = 0, n_chans = 0, n_links = 0;
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        n_perms += a->perms[i].alloc != NULL;
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        n_chans += a->chans[i].alloc != NULL;
    }
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        n_links += a->links[i].alloc != NULL;
    }
    if (!same_relays(m, a, is) || is->is_away != a->is_away ||
        !addr_eq(&is->conn.client, &a->conn.client) ||
        !slice_eq(is->username, slice_str(m->users[a->user].name)) ||
        is->permissions != n_perms || is->channels != n_chans || is->peers != n_links) {
        model_fault(m, "an allocation is described as another");
    }
}

void model_sessions(struct model *m)
{
    struct turn_session is;
    size_t n = 0;
    for (turn_id at = 0; turn_server_session_after(m->s, m->now_ms, at, &is); at = is.id) {
        const struct m_alloc *a = model_look(m, is.id);
        if (!a || !a->is_open || n++ == m->n_slots) {
            model_fault(m, "an allocation is listed that is not there, or twice");
            return;
        }
        check_session(m, a, &is);
    }
    if (n != model_sums(m).open) {
        model_fault(m, "not all allocations are listed");
    }
    m->count[COUNT_LISTED]++;
}
