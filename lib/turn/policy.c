/* Who may be a peer. */
#include "lib/turn/policy.h"

/* One address, spelled one way. */
static bool in_nets(const struct addr_net *nets, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (addr_net_has(&nets[i], a)) {
            return true;
        }
    }
    return false;
}

static bool is_own(const struct turn_policy *p, const struct addr *a)
{
    static const struct addr_net loopback = {
        {ADDR_IP4, {127}, 0},
        8
    };
    /* The kernel takes 0.0.0.0 and :: for this machine. */
    if (addr_is_any(a) || (p->own_loopback && addr_net_has(&loopback, a))) {
        return true;
    }
    for (size_t i = 0; i < p->n_own; i++) {
        struct addr inner;
        if (addr_ip_eq(&p->own[i], a) ||
            (addr_embedded_ip4(&p->own[i], &inner) && addr_ip_eq(&inner, a))) {
            return true;
        }
    }
    return false;
}

static bool is_relay(const struct turn_policy *p, const struct addr *a)
{
    bool is_port = a->port == 0 || (a->port >= p->relay_first && a->port <= p->relay_last);
    for (size_t i = 0; p->relay_first && is_port && i < sizeof p->relay / sizeof *p->relay;
         i++) {
        if (p->relay[i].family && addr_ip_eq(&p->relay[i], a)) {
            return true;
        }
    }
    return false;
}

const char *turn_policy_refuses(const struct turn_policy *p, const struct addr *peer)
{
    struct addr spelling[2] = {*peer};
    size_t n = addr_embedded_ip4(peer, &spelling[1]) ? 2 : 1;
    for (size_t i = 0; i < n; i++) {
        if (is_own(p, &spelling[i]) && !is_relay(p, &spelling[i])) {
            return "own-address";
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (in_nets(p->deny, p->n_deny, &spelling[i])) {
            return "denied";
        }
    }
    /* Each spelling must pass: allowing ::/0 does not allow ::ffff:127.0.0.1. */
    for (size_t i = 0; i < n; i++) {
        const char *special = addr_special(&spelling[i]);
        if (special && !in_nets(p->allow, p->n_allow, &spelling[i])) {
            return special;
        }
    }
    return NULL;
}

bool turn_policy_names(const struct turn_policy *p, const struct addr *peer)
{
    return in_nets(p->allow, p->n_allow, peer) || in_nets(p->accept, p->n_accept, peer) ||
           is_relay(p, peer);
}

bool turn_policy_accepts(const struct turn_policy *p, const struct addr *peer)
{
    return in_nets(p->accept, p->n_accept, peer);
}
