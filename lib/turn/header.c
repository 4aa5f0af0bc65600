/* The IP header of a relayed datagram (RFC 8656 13 to 16). TTL from IPv4 to IPv4 is not in
 * there any more: that is as RFC 5766 12 had it, and as RFC 8656 13 wants it with the other
 * families. */
#include "lib/turn/core.h"

/* As a router: TOS as it came, with its ECN bits, and one hop less. False: that was the last
 * one. (No "time exceeded" is sent: that takes a raw socket.) */
static bool onward(const struct dgram_opts *in, struct dgram_opts *out)
{
    *out = *in;
    if (in->ttl > 0) { /* else not known: the system's own */
        out->ttl--;
    }
    return in->ttl != 1;
}

/* RFC 8656 14: DF is for IPv4 to IPv4. Where a header is translated, 13 has it ignored. */
static bool may_have_df(const struct turn_conn *c, const struct addr *peer)
{
    return c->client.family == ADDR_IP4 && peer->family == ADDR_IP4;
}

bool header_to_peer(const struct call *c, const struct addr *peer, struct dgram_opts *out)
{
    bool asked = c->req.op == TURN_OP_SEND && c->req.dont_fragment;
    if (c->conn->transport == TURN_TCP) {
        /* RFC 8656 15: no ECN, DSCP's alternate behaviour, and the client's word on DF. */
        *out = (struct dgram_opts){.df = asked};
        return true;
    }
    bool ok = onward(&c->opts, out);
    out->df = may_have_df(c->conn, peer) && (asked || c->opts.df);
    return ok;
}

bool header_to_client(const struct turn_conn *c, const struct dgram_opts *in,
                      const struct addr *peer, struct dgram_opts *out)
{
    if (c->transport == TURN_TCP) { /* RFC 8656 16: a stream has its own */
        *out = (struct dgram_opts){0};
        return true;
    }
    bool ok = onward(in, out);
    out->df = may_have_df(c, peer) && in->df;
    return ok;
}
