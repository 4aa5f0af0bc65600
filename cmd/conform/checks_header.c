/* DONT-FRAGMENT, the IP headers of what is relayed, and ICMP (RFC 8656 11.5, 14, 15). */
#include "cmd/conform/steps.h"

/* Of a server that may lack DONT-FRAGMENT. */
static struct addr allocate_df(struct trial *t, struct line *c)
{
    const struct stun_msg *m =
        ask(t, c, REQ(ALLOCATE, .at = {NUM(REQUESTED_TRANSPORT, 17), FLAG(DONT_FRAGMENT)}));
    if (code_of(m) == 420) {
        skip(t, "the server does not offer DONT-FRAGMENT (420)");
    } else if (code_of(m)) {
        fail(t, "expected success or error 420, got %u", code_of(m));
    }
    return addr_in(t, m, STUN_XOR_RELAYED_ADDRESS);
}

static void send_df(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct slice data = slice_str("in one piece");
    struct addr relay = allocate_df(t, c);
    permit(t, c, peer->local);
    tell(t, c,
         REQ(SEND, .cls = STUN_INDICATION,
             .at = {ADDR(XOR_PEER_ADDRESS, peer->local), FLAG(DONT_FRAGMENT),
                    BYTES(DATA, data)}));
    expect_at_peer(t, peer, relay, data);
}

static void send_to(struct trial *t, struct line *c, struct addr peer, struct slice data)
{
    tell(t, c,
         REQ(SEND, .cls = STUN_INDICATION,
             .at = {ADDR(XOR_PEER_ADDRESS, peer), BYTES(DATA, data)}));
}

/* A stream's ECN is between its two ends. */
static void no_ecn(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    (void)allocate(t, c);
    permit(t, c, peer->local);
    send_to(t, c, peer->local, slice_str("no ECT"));
    struct frame *f = any_frame(t, peer, t->target->timeout_ms);
    if (is_over(t)) {
        return;
    }
    if (!f) {
        fail(t, "the peer received nothing");
    } else if (f->opts.tos & 3) {
        fail(t, "the datagram at the peer has ECN %u", f->opts.tos & 3u);
    }
}

/* A port where nobody is: one that we had. */
static struct addr closed_port(struct trial *t)
{
    struct line *gone = peer_udp(t);
    struct addr at = gone->local;
    if (gone != &t->nowhere) {
        line_close(gone);
    }
    return at;
}

static void unreachable(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr nobody = closed_port(t);
    bool is_ip6 = nobody.family == ADDR_IP6;
    (void)allocate(t, c);
    permit(t, c, nobody);
    note(t, "nobody listens at the peer's port");
    send_to(t, c, nobody, slice_str("anybody?"));
    const struct stun_msg *m = indication(t, c, STUN_DATA_IND);
    struct addr said = addr_in(t, m, STUN_XOR_PEER_ADDRESS);
    struct rd r = rd_over(bytes_in(t, m, STUN_ICMP));
    (void)rd_u16(&r);
    unsigned type = rd_u8(&r), code = rd_u8(&r), data = rd_u32(&r);
    if (is_over(t)) {
        return;
    }
    nobody.port = said.port == 0 ? 0 : nobody.port; /* "if available" */
    if (!same_addr(t, said, nobody, "XOR-PEER-ADDRESS")) {
        return;
    }
    if (stun_has(m, STUN_DATA)) {
        fail(t, "the Data indication has DATA beside ICMP");
    } else if (type != (is_ip6 ? 1 : 3) || code != (is_ip6 ? 4 : 3) || data) {
        fail(t, "ICMP says type %u, code %u, data %u and not %u, %u, 0", type, code, data,
             is_ip6 ? 1 : 3, is_ip6 ? 4 : 3);
    }
}

/* Sockets report an earlier datagram's fate to a later one: that one must go out all the same.
 */
static void after_unreachable(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr nobody = closed_port(t), relay = allocate(t, c);
    permit(t, c, nobody);
    for (unsigned i = 0; i < 5 && !is_over(t); i++) {
        uint8_t n = (uint8_t)i;
        send_to(t, c, nobody, slice_str("anybody?"));
        dial_pause(t->dial, 20); /* for the ICMP to come back to the server */
        send_to(t, c, peer->local, slice_of(&n, 1));
        expect_at_peer(t, peer, relay, slice_of(&n, 1));
    }
}

const struct check checks_header[] = {
    CHECK("turn.send.dont-fragment", "RFC 8656 11.2",
          "What is sent with DONT-FRAGMENT reaches the peer, if the server has the attribute.",
          VIA_BOTH, NEEDS_USER, send_df),
    CHECK("turn.send.no-ecn", "RFC 8656 15",
          "A client's data from a TCP connection go to the peer as Not-ECT.", VIA_TCP,
          NEEDS_USER, no_ecn),
    CHECK("turn.icmp.unreachable", "RFC 8656 11.5",
          "ICMP from a permitted peer's host comes as a Data indication with ICMP.", VIA_BOTH,
          NEEDS_USER, unreachable),
    CHECK("turn.icmp.others", "RFC 8656 11.2",
          "After it, data for other peers arrive as before.", VIA_BOTH, NEEDS_USER,
          after_unreachable),
    {.id = NULL},
};
