/* The simulated network. */
#include "tests/sim/tcpnet.h"

#include "tests/unit.h"

uint64_t net_random(struct net *n)
{
    n->rng ^= n->rng << 13; /* xorshift64 */
    n->rng ^= n->rng >> 7;
    n->rng ^= n->rng << 17;
    return n->rng;
}

void net_fill_random(void *out, size_t len, void *ctx)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)(net_random(ctx) >> 32);
    }
}

struct addr net_addr(int agent, int host)
{
    return (struct addr){
        ADDR_IP4, {10, (uint8_t)agent, 0, (uint8_t)host},
         5000
    };
}

static struct net_event *post(struct net *n, enum net_what what, uint64_t at_ms, int agent,
                              size_t conn)
{
    for (size_t i = 0; i < NET_EVENTS; i++) {
        struct net_event *e = &n->event[i];
        if (e->what == NET_FREE) {
            *e = (struct net_event){.what = what,
                                    .at_ms = at_ms,
                                    .order = n->order++,
                                    .agent = agent,
                                    .conn = conn};
            return e;
        }
    }
    fail_msg("too many events: somebody floods");
    return NULL;
}

static void begin_connect(struct net *n, int agent, const struct ice_action *a)
{
    enum net_fate fate = n->fate[agent][a->local.base.ip[3]][a->remote.addr.ip[3]];
    assert_true(n->n_conns < NET_CONNS);
    size_t i = n->n_conns++;
    struct net_conn *c = &n->conn[i];
    *c = (struct net_conn){.opener = agent, .latency_ms = 1 + net_random(n) % 80};
    c->path[agent] = a->path;
    if (fate == NET_SWALLOWS) {
        return;
    }
    struct net_event *e = post(n, NET_OPENED, n->now_ms + 2 * c->latency_ms, agent, i);
    e->path = a->path;
    e->ok = fate != NET_REFUSES;
    if (fate == NET_REFUSES) {
        return;
    }
    e = post(n, NET_ACCEPT, n->now_ms + c->latency_ms, 1 - agent, i);
    e->local = a->remote.addr;
    e->remote = a->local.base;
    e->remote.port = (uint16_t)(20000 + i);
    if (fate == NET_BREAKS) {
        uint64_t at = n->now_ms + 2 * c->latency_ms + net_random(n) % 700;
        post(n, NET_CLOSED, at, 0, i);
        post(n, NET_CLOSED, at + net_random(n) % 40, 1, i);
    }
}

static size_t conn_of(const struct net *n, int agent, ice_path path)
{
    size_t i = 0;
    while (i < n->n_conns && (path == 0 || n->conn[i].path[agent] != path)) {
        i++;
    }
    return i < n->n_conns ? i : NET_CONNS;
}

static void send_packet(struct net *n, int agent, const struct ice_action *a)
{
    size_t i = conn_of(n, agent, a->path);
    assert_true(i < NET_CONNS && a->data.len <= NET_PACKET);
    struct net_conn *c = &n->conn[i];
    uint64_t at = n->now_ms + c->latency_ms + net_random(n) % 20;
    at = at < c->last_ms[agent] ? c->last_ms[agent] : at;
    c->last_ms[agent] = at;
    struct net_event *e = post(n, NET_PACKET_IN, at, 1 - agent, i);
    e->len = a->data.len;
    memcpy(e->data, a->data.p, a->data.len);
}

static void take(struct net *n, int agent)
{
    struct ice_action a;
    while (ice_agent_next(n->agent[agent], &a)) {
        assert_false(n->failed[agent]); /* nothing follows FAILED */
        size_t i = conn_of(n, agent, a.path);
        switch (a.what) {
        case ICE_DO_CONNECT: begin_connect(n, agent, &a); break;
        case ICE_DO_SEND: send_packet(n, agent, &a); break;
        case ICE_DO_CLOSE:
            assert_true(i < NET_CONNS);
            n->conn[i].dead[agent] = true;
            post(n, NET_CLOSED, n->now_ms + n->conn[i].latency_ms, 1 - agent, i);
            break;
        case ICE_DO_SELECTED: n->n_selected[agent]++; break;
        case ICE_DO_DATA: n->n_data[agent]++; break;
        case ICE_DO_REPORT: break;
        case ICE_DO_FAILED:
            n->failed[agent] = true;
            strncpy(n->why[agent], a.why, sizeof n->why[agent] - 1);
            break;
        }
    }
}

static void deliver(struct net *n, struct net_event *e)
{
    struct ice_agent *a = n->agent[e->agent];
    struct net_conn *c = &n->conn[e->conn];
    ice_path path = c->path[e->agent];
    if (e->what == NET_OPENED && !c->dead[e->agent]) {
        ice_agent_connected(a, n->now_ms, e->path, e->ok);
    } else if (e->what == NET_ACCEPT && !c->dead[c->opener]) {
        c->path[e->agent] = ice_agent_accepted(a, n->now_ms, &e->local, &e->remote);
        if (c->path[e->agent] == 0) {
            post(n, NET_CLOSED, n->now_ms + c->latency_ms, c->opener, e->conn);
        }
    } else if (e->what == NET_PACKET_IN && !c->dead[e->agent] && path != 0) {
        struct slice s = exact(e->data, e->len);
        assert_int_equal(ice_agent_recv(a, n->now_ms, path, s), OK);
        take(n, e->agent); /* DATA borrows the packet */
        exact_free(s);
    } else if (e->what == NET_CLOSED && !c->dead[e->agent]) {
        c->dead[e->agent] = true;
        ice_agent_closed(a, n->now_ms, path);
    }
    take(n, e->agent);
}

static struct net_event *next_event(struct net *n)
{
    struct net_event *best = NULL;
    for (size_t i = 0; i < NET_EVENTS; i++) {
        struct net_event *e = &n->event[i];
        if (e->what != NET_FREE && (!best || e->at_ms < best->at_ms ||
                                    (e->at_ms == best->at_ms && e->order < best->order))) {
            best = e;
        }
    }
    return best;
}

void net_run(struct net *n, uint64_t until_ms)
{
    take(n, 0);
    take(n, 1);
    for (unsigned steps = 0;; steps++) {
        if (steps > 100000) {
            fail_msg("the agents keep asking for time");
        }
        struct net_event *e = next_event(n);
        uint64_t at = e ? e->at_ms : UINT64_MAX;
        int ticks = -1;
        for (int i = 0; i < 2; i++) {
            if (ice_agent_deadline_ms(n->agent[i]) < at) {
                at = ice_agent_deadline_ms(n->agent[i]);
                ticks = i;
            }
        }
        if (at > until_ms) {
            n->now_ms = until_ms;
            return;
        }
        n->now_ms = at > n->now_ms ? at : n->now_ms;
        if (ticks >= 0) {
            ice_agent_tick(n->agent[ticks], n->now_ms);
            take(n, ticks);
            continue;
        }
        struct net_event now = *e;
        e->what = NET_FREE;
        deliver(n, &now);
    }
}

size_t net_selected(const struct net *n, int agent)
{
    return conn_of(n, agent, ice_agent_selected(n->agent[agent]));
}
