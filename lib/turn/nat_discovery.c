/* What RFC 5780 asks of a Binding's answer. Whoever writes a false source address makes it a
 * reflector for the owner of that address, as any Binding does: so the limit of answers counts
 * here too, padding is no longer than the request's, and the address is never another than the
 * source's. */
#include "lib/turn/nat_discovery.h"

#include "lib/turn/core.h"

enum {
    CHANGE_IP = 4, /* RFC 5780 7.2 */
    CHANGE_PORT = 2,
    PORT_LEAST = 1024 /* below are services that might answer to what they get */
};

const struct turn_nat *turn_nat_at(const struct turn_nat *nat, size_t n,
                                   const struct addr *local)
{
    for (size_t i = 0; i < n; i++) {
        bool ip = addr_ip_eq(&nat[i].ip[0], local) || addr_ip_eq(&nat[i].ip[1], local);
        bool port = nat[i].port[0] == local->port || nat[i].port[1] == local->port;
        if (nat[i].ip[0].family && ip && port) {
            return &nat[i];
        }
    }
    return NULL;
}

struct addr turn_nat_other(const struct turn_nat *nat, const struct addr *local, bool ip,
                           bool port)
{
    struct addr out = *local;
    if (ip) {
        out = nat->ip[addr_ip_eq(&nat->ip[0], local) ? 1 : 0];
    }
    out.port = port ? nat->port[nat->port[0] == local->port ? 1 : 0] : local->port;
    return out;
}

/* RFC 5780 6.1. Over a connection there is one way back only. */
static uint16_t check(const struct call *c, uint32_t change, const char **why)
{
    const struct stun_msg *m = &c->req.msg;
    bool moves = change & (CHANGE_IP | CHANGE_PORT) || stun_has(m, STUN_RESPONSE_PORT);
    *why = "CHANGE-REQUEST or RESPONSE-PORT over a connection";
    if (moves && (c->conn->transport != TURN_UDP || c->conn->id)) {
        return 400;
    }
    *why = "PADDING with RESPONSE-PORT";
    return stun_has(m, STUN_PADDING) && stun_has(m, STUN_RESPONSE_PORT) ? 400 : 0;
}

static uint16_t response_port(const struct stun_msg *m, uint16_t *port, const char **why)
{
    uint32_t asked;
    if (stun_get_u32(m, STUN_RESPONSE_PORT, &asked)) {
        return 0;
    }
    *why = "RESPONSE-PORT below 1024";
    *port = (uint16_t)asked;
    return *port < PORT_LEAST ? 400 : 0;
}

uint16_t nat_plan(const struct turn_server *s, const struct call *c, struct nat_answer *out,
                  const char **why)
{
    const struct stun_msg *m = &c->req.msg;
    const struct turn_nat *nat = turn_nat_at(s->cfg.nat, 2, &c->conn->local);
    uint32_t change = 0;
    struct slice padding;
    out->via = *c->conn;
    if (!nat) {
        return 0;
    }
    (void)!stun_get_u32(m, STUN_CHANGE_REQUEST, &change);
    uint16_t code = check(c, change, why);
    code = code ? code : response_port(m, &out->via.client.port, why);
    if (code) {
        return code;
    }
    out->via.local =
        turn_nat_other(nat, &c->conn->local, change & CHANGE_IP, change & CHANGE_PORT);
    out->reply.origin = out->via.local;
    out->reply.other = turn_nat_other(nat, &c->conn->local, true, true);
    if (stun_get_bytes(m, STUN_PADDING, &padding) == OK && c->conn->transport == TURN_UDP) {
        out->reply.padding = padding.len;
    }
    return 0;
}
