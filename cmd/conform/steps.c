/* Steps that many checks begin with. */
#include "cmd/conform/steps.h"

enum {
    CONNECT_MS = 35000 /* the server may try for 30 s (RFC 6062 5.2) */
};

static const struct stun_msg *allocate_as(struct trial *t, struct line *c, unsigned transport)
{
    const struct stun_msg *m =
        ask(t, c, REQ(ALLOCATE, .at = {NUM(REQUESTED_TRANSPORT, transport)}));
    unsigned code = code_of(m);
    if (code == 442) {
        skip(t, "the server does not offer %s relays (442)", transport == 6 ? "TCP" : "UDP");
    } else if (code == 486 || code == 508) {
        skip(t, "the server has no room for another allocation (%u)", code);
    } else if (code) {
        fail(t, "expected success, got error %u", code);
    }
    return m;
}

struct addr allocate(struct trial *t, struct line *c)
{
    return addr_in(t, allocate_as(t, c, 17), STUN_XOR_RELAYED_ADDRESS);
}

struct addr allocate_tcp(struct trial *t, struct line *c)
{
    return addr_in(t, allocate_as(t, c, 6), STUN_XOR_RELAYED_ADDRESS);
}

const struct stun_msg *expect_peer(struct trial *t, struct line *c, const struct req *q)
{
    char text[ADDR_TEXT_MAX];
    const struct stun_msg *m = ask(t, c, q);
    if (code_of(m) == 403) {
        skip(t, "the server's policy refuses our peer %s (403): see --peer-address",
             addr_ip_text(&t->target->peer, text));
    } else if (m->cls == STUN_ERROR) {
        fail(t, "expected success, got error %u", code_of(m));
    }
    return m;
}

void permit(struct trial *t, struct line *c, struct addr peer)
{
    (void)expect_peer(t, c, REQ(CREATE_PERMISSION, .at = {ADDR(XOR_PEER_ADDRESS, peer)}));
}

void bind_channel(struct trial *t, struct line *c, uint16_t channel, struct addr peer)
{
    (void)expect_peer(
        t, c,
        REQ(CHANNEL_BIND, .at = {NUM(CHANNEL_NUMBER, channel), ADDR(XOR_PEER_ADDRESS, peer)}));
}

uint32_t connect_to(struct trial *t, struct line *c, struct addr peer)
{
    const struct stun_msg *m = expect_peer(
        t, c, REQ(CONNECT, .patience_ms = CONNECT_MS, .at = {ADDR(XOR_PEER_ADDRESS, peer)}));
    return number_in(t, m, STUN_CONNECTION_ID);
}

uint32_t attempt_of(struct trial *t, struct line *c, struct addr peer)
{
    char text[2][ADDR_TEXT_MAX];
    const struct stun_msg *m = indication(t, c, STUN_CONNECTION_ATTEMPT);
    struct addr said = addr_in(t, m, STUN_XOR_PEER_ADDRESS);
    if (!is_over(t) && !t->target->nat && !addr_eq(&said, &peer)) {
        fail(t, "XOR-PEER-ADDRESS is %s, the peer is %s", addr_text(&said, text[0]),
             addr_text(&peer, text[1]));
    }
    return number_in(t, m, STUN_CONNECTION_ID);
}

struct line *dial_as(struct trial *t, const struct line *c)
{
    struct line *l = dial_server_over(t, VIA_TCP);
    l->realm = c->realm;
    l->nonce = c->nonce;
    return l;
}

struct line *bind_data(struct trial *t, struct line *c, uint32_t id)
{
    struct line *l = dial_as(t, c);
    (void)expect(t, l, 0, REQ(CONNECTION_BIND, .at = {NUM(CONNECTION_ID, id)}));
    return l;
}

struct line *peer_connect(struct trial *t, struct addr relay)
{
    struct line *l =
        is_over(t) ? NULL : dial_tcp(t->dial, &t->target->peer, &relay, t->target->timeout_ms);
    if (!l) {
        fail(t, "the peer could not connect to the relay");
    }
    return l ? l : &t->nowhere;
}

struct line *peer_accept(struct trial *t, struct line *listener)
{
    struct line *l = is_over(t) ? NULL : dial_accept(t->dial, listener, t->target->timeout_ms);
    if (!l) {
        fail(t, "the peer saw no connection");
    }
    return l ? l : &t->nowhere;
}

struct joined join(struct trial *t)
{
    struct joined j = {.control = dial_server(t)};
    j.relay = allocate_tcp(t, j.control);
    permit(t, j.control, t->target->peer);
    j.peer = peer_connect(t, j.relay);
    j.data = bind_data(t, j.control, attempt_of(t, j.control, j.peer->local));
    return j;
}

bool same_addr(struct trial *t, struct addr a, struct addr b, const char *what)
{
    char text[2][ADDR_TEXT_MAX];
    if (!is_over(t) && !t->target->nat && !addr_eq(&a, &b)) {
        fail(t, "%s is %s, not %s (a NAT in between? then say --nat)", what,
             addr_text(&a, text[0]), addr_text(&b, text[1]));
    }
    return !is_over(t);
}

void expect_at_peer(struct trial *t, struct line *peer, struct addr relay, struct slice data)
{
    struct frame *f = any_frame(t, peer, t->target->timeout_ms);
    if (is_over(t)) {
        return;
    }
    if (!f) {
        fail(t, "the peer received nothing");
    } else if (!slice_eq(slice_of(f->b, f->len), data)) {
        fail(t, "the peer received %zu bytes, other than the %zu that were sent", f->len,
             data.len);
    } else {
        (void)same_addr(t, f->from, relay, "the datagram's source");
    }
}

void expect_bytes(struct trial *t, struct line *l, struct slice want)
{
    uint64_t end = dial_in(t->dial, t->target->timeout_ms + (uint32_t)(want.len / 100));
    if (is_over(t)) {
        return;
    }
    while (l->in_len < want.len && !l->is_closed && !l->has_ended && dial_wait(t->dial, end)) {
    }
    if (l->in_len < want.len) {
        fail(t, "%zu of %zu bytes came%s", l->in_len, want.len,
             l->is_closed || l->has_ended ? ", then the stream ended" : "");
        return;
    }
    for (size_t i = 0; i < want.len; i++) {
        if (l->in[i] != want.p[i]) {
            fail(t, "byte %zu of %zu differs", i, want.len);
            return;
        }
    }
    l->in_len -= want.len;
    memmove(l->in, l->in + want.len, l->in_len);
    note(t, "%zu bytes came as they were sent", want.len);
}

void expect_end(struct trial *t, struct line *l, const char *who)
{
    uint64_t end = dial_in(t->dial, t->target->timeout_ms);
    if (is_over(t)) {
        return;
    }
    while (!l->is_closed && !l->has_ended && dial_wait(t->dial, end)) {
    }
    if (!l->is_closed && !l->has_ended) {
        fail(t, "%s is still open", who);
    }
}

struct slice pattern(uint8_t *room, size_t n, uint8_t seed)
{
    for (size_t i = 0; i < n; i++) {
        room[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed);
    }
    return slice_of(room, n);
}
