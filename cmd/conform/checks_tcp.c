/* TCP relays (RFC 6062): Allocate, Connect, ConnectionAttempt, ConnectionBind. */
#include "cmd/conform/steps.h"

static const struct req_attr tcp_relay = NUM(REQUESTED_TRANSPORT, 6);

static void allocate_success(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate_tcp(t, c);
    if (!is_over(t) && relay.port == 0) {
        fail(t, "XOR-RELAYED-ADDRESS has no port");
    }
}

static void over_udp(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {tcp_relay}));
    if (!is_over(t) && code_of(m) == 442) {
        skip(t, "the server does not offer TCP relays over UDP (442)");
    }
    if (code_of(m) != 400) {
        fail(t, "expected error 400, got %u", code_of(m));
    }
}

static void offered(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate_tcp(t, c);
}

static void not_with(struct trial *t, struct req_attr attr)
{
    offered(t);
    struct line *c = dial_server(t);
    (void)expect(t, c, 400, REQ(ALLOCATE, .at = {tcp_relay, attr}));
}

static void even_port(struct trial *t)
{
    not_with(t, (struct req_attr)NUM(EVEN_PORT, 0));
}

static void reservation(struct trial *t)
{
    not_with(t, (struct req_attr)NUM(RESERVATION_TOKEN, 93));
}

static void dont_fragment(struct trial *t)
{
    not_with(t, (struct req_attr)FLAG(DONT_FRAGMENT));
}

static void connect_success(struct trial *t)
{
    struct line *c = dial_server(t), *listener = peer_listen(t);
    struct addr relay = allocate_tcp(t, c);
    (void)connect_to(t, c, listener->local);
    struct addr from = peer_accept(t, listener)->remote;
    from.port = relay.port; /* the next check's affair */
    (void)same_addr(t, from, relay, "the connection's source");
}

static void connect_port(struct trial *t)
{
    struct line *c = dial_server(t), *listener = peer_listen(t);
    struct addr relay = allocate_tcp(t, c);
    (void)connect_to(t, c, listener->local);
    (void)same_addr(t, peer_accept(t, listener)->remote, relay, "the connection's source");
}

static void connect_refused(struct trial *t)
{
    struct line *c = dial_server(t), *listener = peer_listen(t);
    struct addr nobody = listener->local;
    (void)allocate_tcp(t, c);
    permit(t, c, nobody); /* skips when our peer is not wanted */
    line_close(listener);
    const struct stun_msg *m =
        ask(t, c, REQ(CONNECT, .patience_ms = 35000, .at = {ADDR(XOR_PEER_ADDRESS, nobody)}));
    if (code_of(m) == 403) {
        skip(t, "the server's policy is not to connect (403)");
    }
    if (!is_over(t) && code_of(m) != 447) {
        fail(t, "expected error 447, got %u", code_of(m));
    }
}

static void connect_twice(struct trial *t)
{
    struct line *c = dial_server(t), *listener = peer_listen(t);
    (void)allocate_tcp(t, c);
    (void)connect_to(t, c, listener->local);
    (void)expect(t, c, 446, REQ(CONNECT, .at = {ADDR(XOR_PEER_ADDRESS, listener->local)}));
}

static void connect_no_allocation(struct trial *t)
{
    offered(t);
    struct line *c = dial_server(t), *listener = peer_listen(t);
    (void)expect(t, c, 437, REQ(CONNECT, .at = {ADDR(XOR_PEER_ADDRESS, listener->local)}));
}

static void connect_no_peer(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate_tcp(t, c);
    (void)expect(t, c, 400, REQ(CONNECT));
}

static void connect_misfit_peer(struct trial *t)
{
    static const uint8_t of_no_family[] = {0, 7, 0, 1, 1, 2, 3, 4};
    struct line *c = dial_server(t);
    (void)allocate_tcp(t, c);
    struct slice peer = slice_of(of_no_family, sizeof of_no_family);
    (void)expect(t, c, 400, REQ(CONNECT, .at = {RAW(0x0012, peer)}));
}

static void attempt(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate_tcp(t, c);
    permit(t, c, t->target->peer);
    struct line *peer = peer_connect(t, relay);
    (void)attempt_of(t, c, peer->local);
}

static void attempt_unpermitted(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate_tcp(t, c);
    struct line *peer =
        is_over(t) ? NULL : dial_tcp(t->dial, &t->target->peer, &relay, t->target->timeout_ms);
    note(t, "a peer without a permission connects to the relay");
    if (peer) {
        expect_end(t, peer, "its connection");
    }
    silence(t, c, "the client was told of a peer without a permission");
}

static void bind_success(struct trial *t)
{
    struct joined j = join(t);
    (void)j;
}

static void bind_wrong(struct trial *t)
{
    offered(t);
    struct line *c = dial_server(t);
    (void)expect(t, c, 400, REQ(CONNECTION_BIND, .at = {NUM(CONNECTION_ID, 93)}));
}

static void bind_no_id(struct trial *t)
{
    offered(t);
    struct line *c = dial_server(t);
    (void)expect(t, c, 400, REQ(CONNECTION_BIND));
}

static uint32_t waiting(struct trial *t, struct line *c)
{
    struct addr relay = allocate_tcp(t, c);
    permit(t, c, t->target->peer);
    struct line *peer = peer_connect(t, relay);
    return attempt_of(t, c, peer->local);
}

static void bind_twice(struct trial *t)
{
    struct line *c = dial_server(t);
    uint32_t id = waiting(t, c);
    (void)bind_data(t, c, id);
    struct line *second = dial_as(t, c);
    (void)expect(t, second, 400, REQ(CONNECTION_BIND, .at = {NUM(CONNECTION_ID, id)}));
}

static void bind_over_udp(struct trial *t)
{
    struct line *c = dial_server_over(t, VIA_TCP);
    uint32_t id = waiting(t, c);
    struct line *wrong = dial_server(t);
    (void)expect(t, wrong, 400, REQ(CONNECTION_BIND, .at = {NUM(CONNECTION_ID, id)}));
}

static void bind_other_user(struct trial *t)
{
    struct line *c = dial_server(t);
    uint32_t id = waiting(t, c);
    struct line *l = dial_server(t);
    (void)challenge(t, l);
    tell(t, l, REQ(CONNECTION_BIND, .as = &t->target->other, .at = {NUM(CONNECTION_ID, id)}));
    struct frame *f = any_frame(t, l, t->target->timeout_ms); /* or it closes the connection */
    if (f && !f->err && f->msg.cls == STUN_SUCCESS) {
        fail(t, "another user took the connection");
    }
}

const struct check checks_tcp_alloc[] = {
    CHECK("tcp.allocate.success", "RFC 6062 5.1", "Allocate of a TCP relay over TCP succeeds.",
          VIA_TCP, NEEDS_USER, allocate_success),
    CHECK("tcp.allocate.over-udp", "RFC 6062 5.1", "Allocate of a TCP relay over UDP gets 400.",
          VIA_UDP, NEEDS_USER, over_udp),
    CHECK("tcp.allocate.even-port", "RFC 6062 5.1", "EVEN-PORT with a TCP relay gets 400.",
          VIA_TCP, NEEDS_USER, even_port),
    CHECK("tcp.allocate.reservation", "RFC 6062 5.1",
          "RESERVATION-TOKEN with a TCP relay gets 400.", VIA_TCP, NEEDS_USER, reservation),
    CHECK("tcp.allocate.dont-fragment", "RFC 6062 5.1",
          "DONT-FRAGMENT with a TCP relay gets 400.", VIA_TCP, NEEDS_USER, dont_fragment),
    {.id = NULL},
};

const struct check checks_tcp_connect[] = {
    CHECK("tcp.connect.success", "RFC 6062 5.2",
          "Connect reaches the peer from the relay's IP address, and gives a CONNECTION-ID.",
          VIA_TCP, NEEDS_USER, connect_success),
    CHECK("tcp.connect.source-port", "RFC 6062 5.2",
          "The connection comes from the relay's port as well.", VIA_TCP, NEEDS_USER,
          connect_port),
    CHECK("tcp.connect.refused", "RFC 6062 5.2", "Connect to a peer that refuses gets 447.",
          VIA_TCP, NEEDS_USER, connect_refused),
    CHECK("tcp.connect.twice", "RFC 6062 5.2", "Connect to a peer that is connected gets 446.",
          VIA_TCP, NEEDS_USER, connect_twice),
    CHECK("tcp.connect.no-allocation", "RFC 6062 5.2",
          "Connect without an allocation gets 437.", VIA_TCP, NEEDS_USER,
          connect_no_allocation),
    CHECK("tcp.connect.no-peer", "RFC 6062 5.2", "Connect without XOR-PEER-ADDRESS gets 400.",
          VIA_TCP, NEEDS_USER, connect_no_peer),
    CHECK("tcp.connect.misfit-peer", "RFC 6062 5.2",
          "Connect with an XOR-PEER-ADDRESS of no known family gets 400.", VIA_TCP, NEEDS_USER,
          connect_misfit_peer),
    CHECK("tcp.attempt.permitted", "RFC 6062 5.3",
          "A permitted peer's connection comes as ConnectionAttempt with its address.", VIA_TCP,
          NEEDS_USER, attempt),
    CHECK("tcp.attempt.without-permission", "RFC 6062 5.3",
          "A connection of a peer without a permission is closed, and not told of.", VIA_TCP,
          NEEDS_USER, attempt_unpermitted),
    CHECK("tcp.bind.success", "RFC 6062 5.4",
          "ConnectionBind with the id of a ConnectionAttempt succeeds.", VIA_TCP, NEEDS_USER,
          bind_success),
    CHECK("tcp.bind.wrong-id", "RFC 6062 5.4", "ConnectionBind with an unknown id gets 400.",
          VIA_TCP, NEEDS_USER, bind_wrong),
    CHECK("tcp.bind.no-id", "RFC 6062 5.4", "ConnectionBind without CONNECTION-ID gets 400.",
          VIA_TCP, NEEDS_USER, bind_no_id),
    CHECK("tcp.bind.twice", "RFC 6062 5.4", "ConnectionBind with an id that is bound gets 400.",
          VIA_TCP, NEEDS_USER, bind_twice),
    CHECK("tcp.bind.over-udp", "RFC 6062 5.4", "ConnectionBind over UDP gets 400.", VIA_UDP,
          NEEDS_USER, bind_over_udp),
    CHECK("tcp.bind.other-user", "RFC 6062 5.4", "Another user cannot bind the connection.",
          VIA_TCP, NEEDS_OTHER_USER, bind_other_user),
    {.id = NULL},
};
