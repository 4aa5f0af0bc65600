/* Permissions (RFC 8656 9), and Send, which they are for. */
#include "lib/turn/core.h"

struct peer_key key_of_ip(const struct alloc *a, const struct addr *ip)
{
    struct addr bare = *ip;
    bare.port = 0;
    return key_of_peer(a, &bare);
}

struct peer_key key_of_peer(const struct alloc *a, const struct addr *peer)
{
    struct peer_key k = {{0}};
    uintptr_t place = (uintptr_t)a;
    memcpy(k.b, &place, sizeof place);
    k.b[8] = peer->family;
    memcpy(k.b + 9, peer->ip, 16);
    k.b[25] = (uint8_t)(peer->port >> 8);
    k.b[26] = (uint8_t)peer->port;
    return k;
}

const char *peer_refused(const struct turn_server *s, const struct alloc *a,
                         const struct addr *peer, uint16_t *code)
{
    *code = 443;
    if (!relay_of(a, peer->family)) {
        return "peer's address family";
    }
    *code = 403;
    return turn_policy_refuses(s->cfg.policy, peer);
}

static struct perm *perm_find(const struct turn_server *s, const struct alloc *a,
                              const struct addr *peer)
{
    struct peer_key key = key_of_ip(a, peer);
    return MAP_ENTRY(map_find(&s->perm_by_ip, &key), struct perm, by_ip);
}

bool perm_has(const struct turn_server *s, const struct alloc *a, const struct addr *peer)
{
    return perm_find(s, a, peer) != NULL;
}

int perm_install(struct turn_server *s, struct alloc *a, const struct addr *peer)
{
    struct perm *p = perm_find(s, a, peer);
    if (!p) {
        p = a->n_perms < s->cfg.max_permissions ? pool_take(&s->perms) : NULL;
        if (!p) {
            return ERR_LIMIT;
        }
        p->alloc = a;
        p->key = key_of_ip(a, peer);
        p->ip = *peer;
        p->ip.port = 0;
        map_add(&s->perm_by_ip, &p->by_ip);
        p->next = a->perms;
        p->at = &a->perms;
        if (p->next) {
            p->next->at = &p->next;
        }
        a->perms = p;
        a->n_perms++;
    }
    timer_set(s, &p->timer, TIMER_PERM, PERM_LIFE_S);
    return OK;
}

void perm_end(struct turn_server *s, struct perm *p)
{
    timerq_clear(&s->timers, &p->timer);
    map_remove(&s->perm_by_ip, &p->by_ip);
    *p->at = p->next;
    if (p->next) {
        p->next->at = p->at;
    }
    p->alloc->n_perms--;
    pool_give(&s->perms, p);
}

static bool is_among(const struct addr *list, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (addr_ip_eq(&list[i], a)) {
            return true;
        }
    }
    return false;
}

/* RFC 8656 10.2: all of the addresses, or none. Returns the code to answer with, 0 for yes. */
static uint16_t check_all(const struct turn_server *s, const struct call *c, const char **why)
{
    struct addr peer, fresh[STUN_ATTRS_MAX];
    uint16_t code;
    size_t n_new = 0, n = 0;
    for (; stun_get_nth_addr(&c->req.msg, STUN_XOR_PEER_ADDRESS, n, &peer) == OK; n++) {
        peer.port = 0; /* RFC 8656 9: permissions are for addresses */
        *why = peer_refused(s, c->alloc, &peer, &code);
        if (*why) {
            return code;
        }
        if (!perm_has(s, c->alloc, &peer) && !is_among(fresh, n_new, &peer)) {
            fresh[n_new++] = peer;
        }
    }
    *why = n == 0 ? "no peer address" : "too many permissions";
    bool fits = c->alloc->n_perms + n_new <= s->cfg.max_permissions;
    return n == 0 ? 400 : fits ? 0 : 508;
}

void perm_request(struct turn_server *s, struct call *c)
{
    const char *why = "no allocation";
    uint16_t code = c->alloc && c->alloc->is_open ? check_all(s, c, &why) : 437;
    if (code) {
        reply_error(s, c, code, why);
        return;
    }
    struct addr peer;
    for (size_t n = 0; stun_get_nth_addr(&c->req.msg, STUN_XOR_PEER_ADDRESS, n, &peer) == OK;
         n++) {
        if (perm_install(s, c->alloc, &peer)) {
            reply_error(s, c, 508, "too many permissions");
            return;
        }
        report_put(s, "permission", NULL, c->alloc)->peer = peer;
    }
    struct turn_reply reply = {0};
    reply_success(s, c, &reply);
}

void relay_send(struct turn_server *s, const struct call *c, const struct addr *peer,
                struct slice data)
{
    struct alloc *a = c->alloc;
    const struct relay *r = relay_of(a, peer->family);
    struct dgram_opts opts;
    if (!r || !header_to_peer(c, peer, &opts) || !flow_pass(s, a, true, data.len)) {
        return;
    }
    struct turn_action *out = action_put(s, TURN_DO_RELAY_SEND);
    out->relay = relay_id(s, r);
    out->addr = *peer;
    out->opts = opts;
    out->body = data;
    a->to_peers += data.len;
    a->icmp_owed = (uint8_t)(a->icmp_owed + (a->icmp_owed < ICMP_OWED_MAX));
    s->stats.packets_to_peers++;
    s->stats.bytes_to_peers += data.len;
}

/* RFC 8656 11.2: an indication that may not be carried out is dropped without a word. */
void perm_send(struct turn_server *s, struct call *c)
{
    struct alloc *a = c->alloc;
    const struct turn_req *r = &c->req;
    uint16_t code;
    if (!a || a->transport != TURN_UDP || !r->has_peer || !r->has_data ||
        (r->dont_fragment && !s->cfg.can_df)) {
        return;
    }
    if (!peer_refused(s, a, &r->peer, &code) && perm_has(s, a, &r->peer)) {
        relay_send(s, c, &r->peer, r->data);
    }
}
