/* Permissions (RFC 8656 9 and 10), Send and Data (11). */
#include "cmd/conform/steps.h"

enum {
    DATA_MAX = 1200 /* passes every network */
};

static void success(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    permit(t, c, t->target->peer);
}

static void no_peer(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    (void)expect(t, c, 400, REQ(CREATE_PERMISSION));
}

static void several(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr a = t->target->peer, b = a;
    b.ip[addr_ip_len(b.family) - 1] ^= 1;
    (void)allocate(t, c);
    (void)expect_peer(
        t, c,
        REQ(CREATE_PERMISSION, .at = {ADDR(XOR_PEER_ADDRESS, b), ADDR(XOR_PEER_ADDRESS, a)}));
    struct line *peer = peer_udp(t);
    tell(t, c,
         REQ(SEND, .cls = STUN_INDICATION,
             .at = {ADDR(XOR_PEER_ADDRESS, peer->local), BYTES(DATA, slice_str("hi"))}));
    struct frame *f = any_frame(t, peer, t->target->timeout_ms);
    if (!f) {
        fail(t, "the second address has no permission");
    }
}

static void no_allocation(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr peer = t->target->peer;
    (void)expect(t, c, 437, REQ(CREATE_PERMISSION, .at = {ADDR(XOR_PEER_ADDRESS, peer)}));
}

static void family(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr other;
    struct addr relay = allocate(t, c);
    const char *text = relay.family == ADDR_IP4 ? "2001:db8::93" : "192.0.2.93";
    if (addr_parse(slice_str(text), &other)) {
        fail(t, "no address");
    }
    (void)expect(t, c, 443, REQ(CREATE_PERMISSION, .at = {ADDR(XOR_PEER_ADDRESS, other)}));
}

/* One good peer and one that must be refused: none of them is permitted. */
static void all_or_none(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr bad = {.family = t->target->peer.family};
    struct addr relay = allocate(t, c);
    const struct stun_msg *m =
        ask(t, c,
            REQ(CREATE_PERMISSION,
                .at = {ADDR(XOR_PEER_ADDRESS, peer->local), ADDR(XOR_PEER_ADDRESS, bad)}));
    if (code_of(m) != 403) {
        skip(t, "the server does not refuse the unspecified address");
    }
    if (!is_over(t)) {
        line_send_to(peer, &relay, slice_str("not permitted"));
    }
    silence(t, c, "the first address has a permission although the request was refused");
}

static void send_to(struct trial *t, struct line *c, struct addr peer, struct slice data)
{
    tell(t, c,
         REQ(SEND, .cls = STUN_INDICATION,
             .at = {ADDR(XOR_PEER_ADDRESS, peer), BYTES(DATA, data)}));
}

static void send_data(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    uint8_t room[DATA_MAX];
    struct addr relay = allocate(t, c);
    permit(t, c, peer->local);
    for (size_t n = 0; n <= 5 && !is_over(t); n++) {
        struct slice data = pattern(room, n == 5 ? DATA_MAX : n + 1, (uint8_t)n);
        send_to(t, c, peer->local, data);
        expect_at_peer(t, peer, relay, data);
    }
}

static void send_unpermitted(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr relay = allocate(t, c);
    send_to(t, c, peer->local, slice_str("too early"));
    silence(t, c, "a Send indication was answered");
    if (any_frame(t, peer, t->target->quiet_ms)) {
        fail(t, "the peer received data without a permission");
    }
    permit(t, c, peer->local); /* or the silence would prove nothing */
    send_to(t, c, peer->local, slice_str("in time"));
    expect_at_peer(t, peer, relay, slice_str("in time"));
}

static void expect_from_peer(struct trial *t, struct line *c, struct addr peer,
                             struct slice data)
{
    const struct stun_msg *m = indication(t, c, STUN_DATA_IND);
    (void)same_addr(t, addr_in(t, m, STUN_XOR_PEER_ADDRESS), peer, "XOR-PEER-ADDRESS");
    if (!slice_eq(bytes_in(t, m, STUN_DATA), data)) {
        fail(t, "DATA is not what the peer sent");
    }
}

static void data(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    uint8_t room[DATA_MAX];
    struct addr relay = allocate(t, c);
    permit(t, c, peer->local);
    for (size_t n = 0; n <= 5 && !is_over(t); n++) {
        struct slice bytes = pattern(room, n == 5 ? DATA_MAX : n + 1, (uint8_t)n);
        line_send_to(peer, &relay, bytes);
        expect_from_peer(t, c, peer->local, bytes);
    }
}

static void data_unpermitted(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr relay = allocate(t, c);
    note(t, "the peer sends before it has a permission");
    if (!is_over(t)) {
        line_send_to(peer, &relay, slice_str("too early"));
    }
    silence(t, c, "data of a peer without a permission came");
    permit(t, c, peer->local);
    if (!is_over(t)) {
        line_send_to(peer, &relay, slice_str("in time"));
    }
    expect_from_peer(t, c, peer->local, slice_str("in time"));
}

static void any_port(struct trial *t)
{
    struct line *c = dial_server(t), *one = peer_udp(t), *other = peer_udp(t);
    struct addr relay = allocate(t, c);
    permit(t, c, one->local);
    send_to(t, c, other->local, slice_str("ping"));
    expect_at_peer(t, other, relay, slice_str("ping"));
    if (!is_over(t)) {
        line_send_to(other, &relay, slice_str("pong"));
    }
    expect_from_peer(t, c, other->local, slice_str("pong"));
}

static void no_data(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    (void)allocate(t, c);
    permit(t, c, peer->local);
    tell(t, c, REQ(SEND, .cls = STUN_INDICATION, .at = {ADDR(XOR_PEER_ADDRESS, peer->local)}));
    silence(t, c, "a Send indication was answered");
    if (any_frame(t, peer, t->target->quiet_ms)) {
        fail(t, "the peer received something");
    }
}

const struct check checks_perm[] = {
    CHECK("turn.permission.success", "RFC 8656 10.2", "CreatePermission for a peer succeeds.",
          VIA_BOTH, NEEDS_USER, success),
    CHECK("turn.permission.several", "RFC 8656 10.2",
          "Each of several addresses in one request gets its permission.", VIA_BOTH, NEEDS_USER,
          several),
    CHECK("turn.permission.all-or-none", "RFC 8656 10.2",
          "A request with one forbidden address permits none of its addresses.", VIA_BOTH,
          NEEDS_USER, all_or_none),
    CHECK("turn.permission.no-peer", "RFC 8656 10.2",
          "CreatePermission without XOR-PEER-ADDRESS gets 400.", VIA_BOTH, NEEDS_USER, no_peer),
    CHECK("turn.permission.no-allocation", "RFC 8656 5",
          "CreatePermission without an allocation gets 437.", VIA_BOTH, NEEDS_USER,
          no_allocation),
    CHECK("turn.permission.family-mismatch", "RFC 8656 10.2",
          "A peer of a family that the relay does not have gets 443.", VIA_BOTH, NEEDS_USER,
          family),
    {.id = NULL},
};

const struct check checks_data[] = {
    CHECK("turn.send.to-peer", "RFC 8656 11.2",
          "A Send indication's data reach the peer, unchanged, from the relay's address.",
          VIA_BOTH, NEEDS_USER, send_data),
    CHECK("turn.send.without-permission", "RFC 8656 11.2", "Without a permission they do not.",
          VIA_BOTH, NEEDS_USER, send_unpermitted),
    CHECK("turn.send.no-data", "RFC 8656 11.2", "A Send indication without DATA is dropped.",
          VIA_BOTH, NEEDS_USER, no_data),
    CHECK("turn.data.from-peer", "RFC 8656 11.3",
          "A peer's datagram comes as a Data indication, unchanged, with the peer's address.",
          VIA_BOTH, NEEDS_USER, data),
    CHECK("turn.data.without-permission", "RFC 8656 11.3",
          "Without a permission it does not come.", VIA_BOTH, NEEDS_USER, data_unpermitted),
    CHECK("turn.permission.any-port", "RFC 8656 9",
          "A permission is for an address, with every port.", VIA_BOTH, NEEDS_USER, any_port),
    {.id = NULL},
};
