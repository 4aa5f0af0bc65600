/* What an operator sees of the allocations and does to them from outside. */
#include "lib/turn/core.h"

static void describe(const struct turn_server *s, uint64_t now_ms, const struct alloc *a,
                     struct turn_session *out)
{
    *out = (struct turn_session){
        .id = pool_id(&s->allocs, a),
        .username = slice_of(a->user->name, a->user->name_len),
        .conn = a->conn,
        .transport = a->transport,
        .age_ms = now_ms > a->begun_ms ? now_ms - a->begun_ms : 0,
        .to_peers = a->to_peers,
        .to_client = a->to_client,
        .permissions = a->n_perms,
        .channels = a->n_chans,
        .peers = a->n_peers,
        .is_away = a->is_away,
    };
    for (size_t i = 0, n = 0; i < ALLOC_RELAYS; i++) {
        const struct relay *r = &a->relay[i];
        if (r->state == RELAY_OPEN) {
            uint64_t left_ms = r->timer.at_ms > now_ms ? r->timer.at_ms - now_ms : 0;
            out->relay[n++] = (struct turn_session_relay){
                .id = relay_id(s, r), .addr = r->told, .left_ms = left_ms};
        }
    }
}

bool turn_server_session(const struct turn_server *s, uint64_t now_ms, turn_id id,
                         struct turn_session *out)
{
    const struct alloc *a = pool_find(&s->allocs, id);
    if (!a || !a->is_open) {
        return false;
    }
    describe(s, now_ms, a, out);
    return true;
}

bool turn_server_session_after(const struct turn_server *s, uint64_t now_ms, turn_id after,
                               struct turn_session *out)
{
    for (const struct alloc *a = pool_after(&s->allocs, after); a;
         a = pool_after(&s->allocs, pool_id(&s->allocs, a))) {
        if (a->is_open) {
            describe(s, now_ms, a, out);
            return true;
        }
    }
    return false;
}

bool turn_server_session_peer(const struct turn_server *s, turn_id id, size_t n,
                              struct turn_session_peer *out)
{
    const struct alloc *a = pool_find(&s->allocs, id);
    const struct peer *p = a ? a->peers : NULL;
    for (; p && n > 0; n--) {
        p = p->next;
    }
    if (p) {
        *out = (struct turn_session_peer){
            .id = pool_id(&s->peers, p), .addr = p->addr, .is_bound = p->state == PEER_BOUND};
    }
    return p != NULL;
}

int turn_server_kick(struct turn_server *s, uint64_t now_ms, turn_id id)
{
    struct alloc *a = pool_find(&s->allocs, id);
    if (!a || !a->is_open) {
        return ERR_NOTFOUND;
    }
    s->now_ms = now_ms;
    alloc_cut(s, a, "kick", "by the operator");
    return OK;
}

void turn_server_drain(struct turn_server *s)
{
    s->is_draining = true;
}

void turn_server_set_policy(struct turn_server *s, const struct turn_policy *policy)
{
    s->cfg.policy = policy;
    for (uint32_t i = 0; i < s->perms.n_touched; i++) {
        struct perm *p = (struct perm *)(void *)(s->perms.items + i * s->perms.size);
        if (p->slot.is_live && turn_policy_refuses(policy, &p->ip)) {
            perm_end(s, p);
        }
    }
    for (uint32_t i = 0; i < s->chans.n_touched; i++) {
        struct chan *c = (struct chan *)(void *)(s->chans.items + i * s->chans.size);
        if (c->slot.is_live && turn_policy_refuses(policy, &c->peer)) {
            chan_end(s, c);
        }
    }
}
