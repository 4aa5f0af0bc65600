/* An allocation's relays: a port each, for the peers of one address family (RFC 8656 5). */
#include "lib/turn/core.h"

turn_id relay_id(const struct turn_server *s, const struct relay *r)
{
    turn_id id = pool_id(&s->allocs, r->alloc);
    return r == r->alloc->relay ? id : pool_id_as(id, KIND_RELAY2);
}

struct relay *relay_of_id(const struct turn_server *s, turn_id id)
{
    bool is_second = pool_kind_of(id) == KIND_RELAY2;
    struct alloc *a = pool_find(&s->allocs, is_second ? pool_id_as(id, KIND_ALLOC) : id);
    struct relay *r = a ? &a->relay[is_second] : NULL;
    return r && r->state != RELAY_NONE ? r : NULL;
}

const struct relay *relay_of(const struct alloc *a, uint8_t family)
{
    for (size_t i = 0; i < ALLOC_RELAYS; i++) {
        if (a->relay[i].state == RELAY_OPEN && a->relay[i].family == family) {
            return &a->relay[i];
        }
    }
    return NULL;
}

const struct relay *relay_first(const struct alloc *a)
{
    for (size_t i = 0; i < ALLOC_RELAYS; i++) {
        if (a->relay[i].state == RELAY_OPEN) {
            return &a->relay[i];
        }
    }
    return NULL;
}

static void choose(struct alloc *a, size_t i, uint8_t family)
{
    a->relay[i] = (struct relay){.alloc = a, .state = RELAY_OPENING, .family = family};
}

/* RFC 8656 7.2, step 9: of two families one may be had alone, and the answer says why. */
void relay_choose(struct turn_server *s, struct alloc *a, const struct turn_req *r)
{
    bool is_dual = r->has_also_family;
    if (is_dual && !s->cfg.relay_ip4) {
        choose(a, 0, ADDR_IP6);
        a->missing = (struct turn_missing){.family = ADDR_IP4, .code = 440};
        return;
    }
    choose(a, 0, r->family ? r->family : ADDR_IP4);
    if (is_dual && !s->cfg.relay_ip6) {
        a->missing = (struct turn_missing){.family = ADDR_IP6, .code = 440};
    } else if (is_dual && user_take_more(s, a->user)) {
        choose(a, 1, ADDR_IP6); /* a port more, and so it counts once more */
    } else if (is_dual) {
        a->missing = (struct turn_missing){.family = ADDR_IP6, .code = 508};
    }
}

void relay_open_all(struct turn_server *s, struct alloc *a, bool even,
                    const struct reserve *from)
{
    for (size_t i = 0; i < ALLOC_RELAYS; i++) {
        const struct relay *r = &a->relay[i];
        if (r->state != RELAY_OPENING) {
            continue;
        }
        struct turn_action *out = action_put(s, TURN_DO_RELAY_OPEN);
        out->relay = relay_id(s, r);
        out->conn = a->conn.id;
        out->open.transport = a->transport;
        out->open.family = r->family;
        out->open.even = even;
        out->open.reserve = a->reserve ? pool_id(&s->reserves, a->reserve) : 0;
        out->open.from = from ? pool_id(&s->reserves, from) : 0;
    }
}

/* One relay the less: the port is closed and given back to the user's quota. */
static void relay_close(struct turn_server *s, struct relay *r)
{
    action_put(s, TURN_DO_RELAY_CLOSE)->relay = relay_id(s, r);
    timerq_clear(&s->timers, &r->timer);
    r->state = RELAY_NONE;
    user_give(s, r->alloc->user);
}

void relay_close_all(struct turn_server *s, struct alloc *a)
{
    for (size_t i = 0; i < ALLOC_RELAYS; i++) {
        if (a->relay[i].state != RELAY_NONE) {
            relay_close(s, &a->relay[i]);
        }
    }
}

static struct addr told_address(const struct turn_server *s, const struct addr *bound)
{
    struct addr told = *bound;
    if (s->cfg.external_ip.family == bound->family) {
        told = s->cfg.external_ip;
        told.port = bound->port;
    }
    return told;
}

static bool is_opening(const struct alloc *a)
{
    bool is = false;
    for (size_t i = 0; i < ALLOC_RELAYS; i++) {
        is |= a->relay[i].state == RELAY_OPENING;
    }
    return is;
}

void turn_server_relay_opened(struct turn_server *s, uint64_t now_ms, turn_id relay,
                              const struct addr *bound)
{
    struct relay *r = relay_of_id(s, relay);
    if (!r || r->state != RELAY_OPENING) {
        return;
    }
    s->now_ms = now_ms;
    struct alloc *a = r->alloc;
    if (bound) {
        r->state = RELAY_OPEN;
        r->told = told_address(s, bound);
    } else if (a->relay[r == a->relay].state != RELAY_NONE) {
        a->missing = (struct turn_missing){.family = r->family, .code = 508};
        relay_close(s, r);
    } else {
        r->state = RELAY_FAILED;
    }
    if (!is_opening(a)) {
        alloc_opened(s, a);
    }
}

void relay_live(struct turn_server *s, struct alloc *a, uint8_t family, uint32_t life_s)
{
    for (size_t i = 0; i < ALLOC_RELAYS; i++) {
        struct relay *r = &a->relay[i];
        if (r->state == RELAY_OPEN && (family == 0 || family == r->family)) {
            timer_set(s, &r->timer, TIMER_RELAY, life_s);
        }
    }
}

/* What serves peers of this family only. */
static void end_what_hangs(struct turn_server *s, struct alloc *a, uint8_t family)
{
    for (struct peer *p = a->peers, *next; p; p = next) {
        next = p->next;
        if (p->addr.family == family) {
            tcp_end(s, p, "relay ended");
        }
    }
    for (struct perm *p = a->perms, *next; p; p = next) {
        next = p->next;
        if (p->ip.family == family) {
            perm_end(s, p);
        }
    }
    for (struct chan *c = a->chans, *next; c; c = next) {
        next = c->next;
        if (c->peer.family == family) {
            chan_end(s, c);
        }
    }
}

void relay_end(struct turn_server *s, struct relay *r, const char *why)
{
    end_what_hangs(s, r->alloc, r->family);
    struct turn_report *report = report_put(s, "relay-end", why, r->alloc);
    report->relayed[0] = r->told;
    report->relayed[1] = (struct addr){0};
    report->relays[0] = relay_id(s, r);
    relay_close(s, r);
}

void relay_late(struct turn_server *s, struct relay *r)
{
    struct alloc *a = r->alloc;
    const struct relay *other = &a->relay[r == a->relay];
    if (other->state == RELAY_OPEN && other->timer.at_ms > s->now_ms) {
        relay_end(s, r, "expired");
    } else {
        alloc_cut(s, a, "expire", NULL);
    }
}
