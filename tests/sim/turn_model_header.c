/* What the model knows of IP headers and of ICMP. */
#include "tests/sim/turn_model.h"

enum {
    OWED_MAX = 32
};

bool model_same_opts(const struct dgram_opts *a, const struct dgram_opts *b)
{
    return a->tos == b->tos && a->ttl == b->ttl && a->df == b->df;
}

bool model_header(const struct turn_conn *c, const struct addr *peer,
                  const struct dgram_opts *in, struct dgram_opts *out)
{
    *out = (struct dgram_opts){.tos = 0};
    if (c->transport == TURN_TCP) { /* nothing of a stream's header is a datagram's */
        return true;
    }
    bool is_ip4 = c->client.family == ADDR_IP4 && peer->family == ADDR_IP4;
    *out = (struct dgram_opts){.tos = in->tos, .ttl = in->ttl, .df = is_ip4 && in->df};
    out->ttl = (uint8_t)(out->ttl > 1 ? out->ttl - 1 : 0);
    return in->ttl != 1;
}

void model_want_header(struct model *m, const struct frame *f, struct m_alloc *a,
                       const struct act *act)
{
    struct dgram_opts want;
    const struct addr *peer = &act->a.addr;
    bool tcp = f->conn.transport == TURN_TCP;
    (void)model_header(&f->conn, peer, &f->opts, &want);
    if (f->facts.kind == ASK_SEND && f->facts.dont_fragment) {
        want.df = tcp || (f->conn.client.family == ADDR_IP4 && peer->family == ADDR_IP4);
    }
    if (!model_same_opts(&act->a.opts, &want)) {
        model_fault(m, "a datagram to a peer with TOS %u, TTL %u, DF %d and not %u, %u, %d",
                    act->a.opts.tos, act->a.opts.ttl, act->a.opts.df, want.tos, want.ttl,
                    want.df);
    }
    m->count[COUNT_DF] += want.df;
    a->owed += a->owed < OWED_MAX;
}

/* NULL: nobody is to hear of it. */
static struct m_alloc *told_of(struct model *m, turn_id relay, const struct addr *peer,
                               const struct turn_icmp *what)
{
    struct m_alloc *a = model_alloc_with(m, relay);
    bool is_ip4 = peer->family == ADDR_IP4;
    bool type_ok =
        is_ip4 ? what->type == 3 || what->type == 11 : what->type >= 1 && what->type <= 3;
    bool is_his = a && a->is_open && !a->is_away && a->transport == TURN_UDP &&
                  model_perm(a, peer) &&
                  model_relay_for(a, peer->family) == model_relay(m, relay);
    return is_his && type_ok ? a : NULL;
}

void model_icmp(struct model *m, turn_id relay, const struct addr *peer,
                const struct turn_icmp *what)
{
    struct m_alloc *a = told_of(m, relay, peer, what);
    const uint8_t want[] = {0,
                            0,
                            what->type,
                            what->code,
                            (uint8_t)(what->mtu >> 24),
                            (uint8_t)(what->mtu >> 16),
                            (uint8_t)(what->mtu >> 8),
                            (uint8_t)what->mtu};
    struct stun_msg msg;
    struct addr said;
    struct slice value;
    if (!a || a->owed == 0) {
        m->count[a ? COUNT_ICMP_UNOWED : COUNT_ICMP_DROPPED]++;
        return;
    }
    const struct act *act = model_take(m, TURN_DO_SEND, 0);
    if (!act) {
        model_fault(m, "ICMP from a permitted peer's side is not told");
        return;
    }
    if (!model_goes_to(&act->a, &a->conn) || act->a.head_len > 0 ||
        stun_parse(&msg, act->a.body, &stun_wire_rfc8489) || msg.method != STUN_DATA_IND ||
        msg.cls != STUN_INDICATION || stun_has(&msg, STUN_DATA) ||
        stun_get_addr(&msg, STUN_XOR_PEER_ADDRESS, &said) || !addr_eq(&said, peer) ||
        stun_get_bytes(&msg, STUN_ICMP, &value) ||
        !slice_eq(value, slice_of(want, sizeof want))) {
        model_fault(m, "ICMP is told to the wrong client, or wrongly");
    }
    a->owed--;
    m->count[COUNT_ICMP_TOLD]++;
}
