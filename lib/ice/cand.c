/* Candidates and how they pair up (RFC 8445 5.1, 6.1.2; RFC 6544 6.2). */
#include "lib/base/text.h"

#include "lib/ice/agent_core.h"

static bool priority_taken(const struct ice_agent *a, uint32_t priority)
{
    for (size_t i = 0; i < a->n_local; i++) {
        if (a->local[i].priority == priority) {
            return true;
        }
    }
    return false;
}

/* RFC 8445 5.1.1.3: one foundation for the same type, base address and transport. */
static void fill_foundation(const struct ice_agent *a, struct ice_cand *c)
{
    for (size_t i = 0; i < a->n_local; i++) {
        const struct ice_cand *o = &a->local[i];
        if (o->type == c->type && o->tcp == c->tcp && addr_ip_eq(&o->base, &c->base)) {
            memcpy(c->foundation, o->foundation, sizeof c->foundation);
            return;
        }
    }
    struct wr w = wr_over((uint8_t *)c->foundation, sizeof c->foundation);
    wr_text(&w, "%u", (unsigned)a->n_local + 1);
    c->foundation[w.len] = '\0';
}

int ice_agent_add_local(struct ice_agent *a, const struct ice_cand *c)
{
    if (a->has_remote) {
        return ERR_BADSTATE;
    }
    if (c->type > ICE_RELAY || c->tcp > ICE_SO || addr_ip_len(c->addr.family) == 0) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < a->n_local; i++) {
        if (a->local[i].tcp == c->tcp && addr_eq(&a->local[i].addr, &c->addr)) {
            return OK; /* redundant (RFC 8445 5.1.3) */
        }
    }
    if (a->n_local == ICE_CANDS_MAX) {
        return ERR_LIMIT;
    }
    struct ice_cand *n = &a->local[a->n_local];
    *n = *c;
    n->component = 1;
    n->foundation[sizeof n->foundation - 1] = '\0';
    if (n->base.family == ADDR_NONE) {
        n->base = n->addr;
    }
    if (n->foundation[0] == '\0') {
        fill_foundation(a, n);
    }
    if (n->priority == 0) {
        n->priority = a->profile->priority(n);
        while (priority_taken(a, n->priority)) {
            n->priority -= 1u << 8; /* the next interface's local preference */
        }
    }
    a->n_local++;
    return OK;
}

size_t ice_agent_local(const struct ice_agent *a, struct ice_cand *out, size_t cap)
{
    size_t n = a->n_local < cap ? a->n_local : cap;
    if (n > 0) {
        memcpy(out, a->local, n * sizeof *out);
    }
    return n;
}

/* RFC 8445 6.1.2.3 */
uint64_t ice_pair_priority(const struct ice_agent *a, const struct ice_pair *p)
{
    uint64_t g = a->is_controlling ? p->local.priority : p->remote.priority;
    uint64_t d = a->is_controlling ? p->remote.priority : p->local.priority;
    return (g < d ? g : d) << 32 | ((g > d ? 2 * g + 1 : 2 * d) & UINT64_MAX);
}

struct ice_pair *ice_pair_free(struct ice_agent *a)
{
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        if (p->state == PAIR_FREE || (p->state == PAIR_FAILED && p->path == 0)) {
            return p;
        }
    }
    return NULL;
}

/* Over one base and one remote address there is one connection to try. */
static bool is_paired(const struct ice_agent *a, const struct ice_pair *n)
{
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        const struct ice_pair *p = &a->pair[i];
        if (p->state != PAIR_FREE && !p->is_inbound &&
            addr_eq(&p->remote.addr, &n->remote.addr) &&
            addr_ip_eq(&p->local.base, &n->local.base) && p->local.type == n->local.type) {
            return true;
        }
    }
    return false;
}

/* Takes the place of the weakest when there are too many (RFC 8445 6.1.2.5). */
static struct ice_pair *place_for(struct ice_agent *a, const struct ice_pair *n)
{
    struct ice_pair *weakest = NULL;
    size_t count = 0;
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        if (p->state != PAIR_WAITING) {
            continue;
        }
        count++;
        if (!weakest || ice_pair_priority(a, p) < ice_pair_priority(a, weakest)) {
            weakest = p;
        }
    }
    struct ice_pair *room = count < ICE_OUTBOUND_MAX ? ice_pair_free(a) : NULL;
    if (room || !weakest) {
        return room;
    }
    return ice_pair_priority(a, weakest) < ice_pair_priority(a, n) ? weakest : NULL;
}

static void form_pair(struct ice_agent *a, const struct ice_cand *l, const struct ice_cand *r)
{
    /* RFC 6544 6.2: what is passive waits; a reflexive address is its base's affair. */
    if (l->tcp != ICE_ACTIVE || r->tcp != ICE_PASSIVE || l->addr.family != r->addr.family ||
        (l->type != ICE_HOST && l->type != ICE_RELAY)) {
        return;
    }
    struct ice_pair n = {
        .state = PAIR_WAITING, .local = *l, .remote = *r, .deadline_ms = TIMER_NEVER};
    struct ice_pair *place = is_paired(a, &n) ? NULL : place_for(a, &n);
    if (place) {
        *place = n;
    }
}

void ice_form_pairs(struct ice_agent *a)
{
    for (size_t i = 0; i < a->n_local; i++) {
        for (size_t k = 0; k < a->n_remote; k++) {
            form_pair(a, &a->local[i], &a->remote[k]);
        }
    }
}

static const struct ice_cand *find(const struct ice_cand *c, size_t n, enum ice_tcp_type tcp,
                                   const struct addr *at, bool with_port)
{
    for (size_t i = 0; i < n; i++) {
        if (c[i].tcp == tcp &&
            (with_port ? addr_eq(&c[i].addr, at) : addr_ip_eq(&c[i].addr, at))) {
            return &c[i];
        }
    }
    return NULL;
}

/* A signalled active candidate matches by its whole address only: its port says little (RFC
 * 6544 4.5), but a relay's is the one it connects from. All others are peer-reflexive. */
void ice_match_inbound(struct ice_agent *a, struct ice_pair *p, const struct addr *local,
                       const struct addr *remote)
{
    const struct ice_cand *l = find(a->local, a->n_local, ICE_PASSIVE, local, true);
    if (!l) {
        l = find(a->local, a->n_local, ICE_PASSIVE, local, false);
    }
    struct ice_cand fresh = {.foundation = "p", .component = 1, .tcp = ICE_PASSIVE};
    fresh.addr = fresh.base = *local;
    fresh.priority = a->profile->priority(&fresh);
    p->local = l ? *l : fresh;
    const struct ice_cand *r = find(a->remote, a->n_remote, ICE_ACTIVE, remote, true);
    if (r) {
        p->remote = *r;
        return;
    }
    fresh.type = ICE_PRFLX;
    fresh.tcp = ICE_ACTIVE;
    fresh.addr = fresh.base = *remote;
    fresh.priority = a->profile->priority(&fresh);
    p->remote = fresh;
}
