/* The relays' ports: random ones out of the range, so that they are hard to guess. */
#include <errno.h>
#include <stdlib.h>

#include "run/turn_run_impl.h"

enum {
    TRIES_MAX = 512 /* ports tried before we say that none is free */
};

static struct ports *ports_of(struct turn_run *r, enum turn_transport transport)
{
    return transport == TURN_TCP ? &r->tcp_ports : &r->udp_ports;
}

/* TCP ports are shared with our own outgoing connections, so the kernel would not object to two
 * listeners of ours: this table does. */
static bool port_taken(const struct ports *p, uint16_t port)
{
    return p->taken[port / 8] >> port % 8 & 1;
}

static void port_mark(struct ports *p, uint16_t port)
{
    p->taken[port / 8] = (uint8_t)(p->taken[port / 8] ^ 1u << port % 8);
}

static void on_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                        struct dgram datagram, void *ctx)
{
    struct relay *rl = ctx;
    struct turn_run *r = rl->run;
    (void)u;
    (void)local;
    if (turn_server_from_peer(r->core, loop_now_ms(r->loop), rl->id, from, datagram) == OK) {
        run_actions(r);
    }
}

static void on_failed(struct udp *u, const struct udp_error *e, void *ctx)
{
    struct relay *rl = ctx;
    struct turn_run *r = rl->run;
    const struct turn_icmp what = {.type = e->type, .code = e->code, .mtu = e->mtu};
    (void)u;
    turn_server_from_icmp(r->core, loop_now_ms(r->loop), rl->id, &e->to, &what);
    run_actions(r);
}

static int open_at(struct relay *rl, const struct addr *at)
{
    struct turn_run *r = rl->run;
    struct ports *ports = ports_of(r, rl->transport);
    const struct tcp_options opt = {.share_port = true};
    const struct udp_options relayed = {.has_header = true, .failed = on_failed};
    if (port_taken(ports, at->port)) {
        errno = EADDRINUSE;
        return ERR_SYSTEM;
    }
    int err = rl->transport == TURN_TCP
                  ? tcp_listen(&rl->tcp, r->loop, at, &opt, peer_accepted, rl)
                  : udp_open(&rl->udp, r->loop, at, &relayed, on_datagram, rl);
    if (!err) {
        rl->addr = *at;
        port_mark(ports, at->port);
    }
    return err;
}

static struct relay *relay_new(struct turn_run *r, turn_id id, enum turn_transport transport)
{
    struct relay *rl = calloc(1, sizeof *rl);
    if (!rl) {
        return NULL;
    }
    *rl = (struct relay){.run = r, .id = id, .transport = transport};
    map_add(&r->relays_by_id, &rl->by_id);
    rl->next = r->relays;
    rl->at = &r->relays;
    if (rl->next) {
        rl->next->at = &rl->next;
    }
    r->relays = rl;
    return rl;
}

void relay_close(struct relay *rl)
{
    struct turn_run *r = rl->run;
    if (rl->udp) {
        udp_close(rl->udp);
    }
    if (rl->tcp) {
        tcp_listener_free(rl->tcp);
    }
    if (rl->udp || rl->tcp) {
        port_mark(ports_of(r, rl->transport), rl->addr.port);
    }
    map_remove(&r->relays_by_id, &rl->by_id);
    *rl->at = rl->next;
    if (rl->next) {
        rl->next->at = rl->at;
    }
    free(rl);
}

void relay_out(struct relay *rl, const struct turn_action *a)
{
    const struct dgram body = {.data = a->body, .opts = a->opts};
    udp_send(rl->udp, &a->addr, NULL, slice_of(NULL, 0), body);
}

struct relay *relay_find(const struct turn_run *r, turn_id id)
{
    return id ? MAP_ENTRY(map_find(&r->relays_by_id, &id), struct relay, by_id) : NULL;
}

/* From a random port on, one after the other; in steps of two when it must be even. */
static bool find_port(struct relay *rl, struct relay *next, struct addr at, bool even)
{
    const struct turn_run_config *cfg = &rl->run->cfg;
    uint32_t n = (uint32_t)cfg->relay_last - cfg->relay_first + 1u, start;
    io_random(&start, sizeof start);
    for (uint32_t i = 0; i < n && i < TRIES_MAX; i++) {
        uint32_t port = cfg->relay_first + (start % n + i) % n;
        if ((even && port % 2) || (next && port + 1 > cfg->relay_last)) {
            continue;
        }
        at.port = (uint16_t)port;
        if (open_at(rl, &at)) {
            if (errno == EADDRINUSE) {
                continue;
            }
            return false;
        }
        at.port++;
        if (!next || open_at(next, &at) == OK) {
            return true;
        }
        udp_close(rl->udp);
        rl->udp = NULL;
        port_mark(ports_of(rl->run, rl->transport), rl->addr.port);
    }
    return false;
}

static bool open_new(struct turn_run *r, const struct turn_action *a)
{
    struct addr at = a->open.family == ADDR_IP6 ? r->cfg.relay_ip6 : r->cfg.relay_ip4;
    struct relay *rl = relay_new(r, a->relay, a->open.transport);
    struct relay *next = NULL;
    if (a->open.reserve) {
        next = relay_new(r, a->open.reserve, a->open.transport);
    }
    bool ok = rl && (next || !a->open.reserve) && find_port(rl, next, at, a->open.even);
    if (!ok && next) {
        relay_close(next);
    }
    if (!ok && rl) {
        relay_close(rl);
    }
    return ok;
}

static bool open_kept(struct turn_run *r, const struct turn_action *a)
{
    struct relay *rl = relay_find(r, a->open.from);
    if (!rl) {
        return false;
    }
    map_remove(&r->relays_by_id, &rl->by_id);
    rl->id = a->relay;
    map_add(&r->relays_by_id, &rl->by_id);
    return true;
}

int relays_check(struct turn_run *r)
{
    const struct addr *at[] = {&r->cfg.relay_ip4, &r->cfg.relay_ip6};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        struct udp *u;
        char text[ADDR_TEXT_MAX];
        if (at[i]->family && udp_open(&u, r->loop, at[i], NULL, on_datagram, NULL)) {
            LOG(r->cfg.log, LOG_ERROR, "relay-address-failed",
                LOG_S("addr", addr_text(at[i], text)), LOG_S("why", strerror(errno)),
                LOG_S("hint", "give one of this machine's addresses as relay-address"));
            return ERR_SYSTEM;
        }
        if (at[i]->family) {
            udp_close(u);
        }
    }
    return OK;
}

void relay_open(struct turn_run *r, const struct turn_action *a)
{
    bool ok = a->open.from ? open_kept(r, a) : open_new(r, a);
    struct relay *rl = ok ? relay_find(r, a->relay) : NULL;
    turn_server_relay_opened(r->core, loop_now_ms(r->loop), a->relay, rl ? &rl->addr : NULL);
}
