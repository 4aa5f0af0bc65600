/* Channels (RFC 8656 12). */
#include "cmd/conform/steps.h"

enum {
    CHANNEL = 0x4001,
    DATA_MAX = 1200
};

static void send_on(struct trial *t, struct line *c, uint16_t channel, struct slice data)
{
    uint8_t room[DATA_MAX + 8];
    struct wr w = wr_over(room, sizeof room);
    wr_u16(&w, channel);
    wr_u16(&w, (uint16_t)data.len);
    wr_bytes(&w, data);
    if (c->tcp) {
        (void)wr_room(&w, (4 - data.len % 4) % 4); /* RFC 8656 12.5 */
    }
    say(t, c, wr_done(&w));
}

static void success(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    (void)allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
}

static void again(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    (void)allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    bind_channel(t, c, CHANNEL, peer->local);
}

static void refused(struct trial *t, struct line *c, unsigned channel, struct addr peer)
{
    (void)expect(
        t, c, 400,
        REQ(CHANNEL_BIND, .at = {NUM(CHANNEL_NUMBER, channel), ADDR(XOR_PEER_ADDRESS, peer)}));
}

static void range(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    (void)allocate(t, c);
    permit(t, c, peer->local);
    refused(t, c, 0x3fff, peer->local);
    refused(t, c, 0x8000, peer->local);
    refused(t, c, 0, peer->local);
}

static void other_peer(struct trial *t)
{
    struct line *c = dial_server(t), *one = peer_udp(t), *other = peer_udp(t);
    (void)allocate(t, c);
    bind_channel(t, c, CHANNEL, one->local);
    refused(t, c, CHANNEL, other->local);
}

static void other_channel(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    (void)allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    refused(t, c, CHANNEL + 1, peer->local);
}

static void no_peer(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    (void)expect(t, c, 400, REQ(CHANNEL_BIND, .at = {NUM(CHANNEL_NUMBER, CHANNEL)}));
}

/* RFC 5766 had these too; a server that serves its clients is told apart from one that fails.
 */
static void old_range(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    const struct stun_msg *m =
        ask(t, c,
            REQ(CHANNEL_BIND,
                .at = {NUM(CHANNEL_NUMBER, 0x5000), ADDR(XOR_PEER_ADDRESS, t->target->peer)}));
    if (code_of(m) == 0 || code_of(m) == 403) {
        skip(t, "the server takes the numbers of RFC 5766 as well, for its clients");
    } else if (code_of(m) != 400) {
        fail(t, "expected error 400, got %u", code_of(m));
    }
}

static void no_number(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr peer = t->target->peer;
    peer.port = 9;
    (void)allocate(t, c);
    (void)expect(t, c, 400, REQ(CHANNEL_BIND, .at = {ADDR(XOR_PEER_ADDRESS, peer)}));
}

static void no_allocation(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr peer = t->target->peer;
    peer.port = 9;
    (void)expect(
        t, c, 437,
        REQ(CHANNEL_BIND, .at = {NUM(CHANNEL_NUMBER, CHANNEL), ADDR(XOR_PEER_ADDRESS, peer)}));
}

static void to_peer(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    uint8_t room[DATA_MAX];
    struct addr relay = allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    for (size_t n = 0; n <= 5 && !is_over(t); n++) {
        struct slice data = pattern(room, n == 5 ? DATA_MAX : n + 1, (uint8_t)n);
        send_on(t, c, CHANNEL, data);
        expect_at_peer(t, peer, relay, data);
    }
}

static void from_peer(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    uint8_t room[DATA_MAX];
    struct addr relay = allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    for (size_t n = 0; n <= 5 && !is_over(t); n++) {
        struct slice data = pattern(room, n == 5 ? DATA_MAX : n + 1, (uint8_t)n);
        line_send_to(peer, &relay, data);
        if (!slice_eq(channel_data(t, c, CHANNEL), data)) {
            fail(t, "the data are not what the peer sent");
        }
    }
    /* Over TCP this also shows that every message was padded as it must be. */
    (void)expect(t, c, 0, REQ(BINDING));
}

static void permits(struct trial *t)
{
    struct line *c = dial_server(t), *one = peer_udp(t), *other = peer_udp(t);
    struct addr relay = allocate(t, c);
    bind_channel(t, c, CHANNEL, one->local);
    tell(t, c,
         REQ(SEND, .cls = STUN_INDICATION,
             .at = {ADDR(XOR_PEER_ADDRESS, other->local), BYTES(DATA, slice_str("hello"))}));
    expect_at_peer(t, other, relay, slice_str("hello"));
}

static void unbound(struct trial *t)
{
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr relay = allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    send_on(t, c, CHANNEL + 1, slice_str("nowhere"));
    send_on(t, c, CHANNEL, slice_str("here"));
    expect_at_peer(t, peer, relay, slice_str("here"));
    silence(t, c, "ChannelData on a number that is not bound was answered");
}

static void too_short(struct trial *t)
{
    static const uint8_t cut[] = {CHANNEL >> 8, CHANNEL & 0xff, 0, 9, 'c', 'u', 't'};
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr relay = allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    say(t, c, slice_of(cut, sizeof cut));
    say(t, c, slice_of(cut, 3));
    send_on(t, c, CHANNEL, slice_str("whole"));
    expect_at_peer(t, peer, relay, slice_str("whole"));
}

static void excess(struct trial *t)
{
    static const uint8_t more[] = {CHANNEL >> 8, CHANNEL & 0xff, 0, 3, 'y', 'e', 's', 0};
    struct line *c = dial_server(t), *peer = peer_udp(t);
    struct addr relay = allocate(t, c);
    bind_channel(t, c, CHANNEL, peer->local);
    say(t, c, slice_of(more, sizeof more));
    expect_at_peer(t, peer, relay, slice_str("yes"));
}

const struct check checks_channel[] = {
    CHECK("turn.channel.success", "RFC 8656 12.2", "ChannelBind of 0x4001 succeeds.", VIA_BOTH,
          NEEDS_USER, success),
    CHECK("turn.channel.again", "RFC 8656 12.2", "The same ChannelBind again succeeds.",
          VIA_BOTH, NEEDS_USER, again),
    CHECK("turn.channel.range", "RFC 8656 12.2", "Numbers 0, 0x3FFF and 0x8000 get 400.",
          VIA_BOTH, NEEDS_USER, range),
    CHECK("turn.channel.range-rfc5766", "RFC 8656 12", "Number 0x5000 gets 400.", VIA_BOTH,
          NEEDS_USER, old_range),
    CHECK("turn.channel.other-peer", "RFC 8656 12.2",
          "A bound channel for another peer gets 400.", VIA_BOTH, NEEDS_USER, other_peer),
    CHECK("turn.channel.other-channel", "RFC 8656 12.2",
          "A bound peer for another channel gets 400.", VIA_BOTH, NEEDS_USER, other_channel),
    CHECK("turn.channel.no-peer", "RFC 8656 12.2",
          "ChannelBind without XOR-PEER-ADDRESS gets 400.", VIA_BOTH, NEEDS_USER, no_peer),
    CHECK("turn.channel.no-number", "RFC 8656 12.2",
          "ChannelBind without CHANNEL-NUMBER gets 400.", VIA_BOTH, NEEDS_USER, no_number),
    CHECK("turn.channel.no-allocation", "RFC 8656 5",
          "ChannelBind without an allocation gets 437.", VIA_BOTH, NEEDS_USER, no_allocation),
    CHECK("turn.channel.to-peer", "RFC 8656 12.6",
          "ChannelData of any length reach the peer unchanged, from the relay's address.",
          VIA_BOTH, NEEDS_USER, to_peer),
    CHECK("turn.channel.from-peer", "RFC 8656 12.7",
          "A bound peer's datagrams come as ChannelData, over TCP padded to four bytes.",
          VIA_BOTH, NEEDS_USER, from_peer),
    CHECK("turn.channel.permits", "RFC 8656 12.2", "ChannelBind installs a permission as well.",
          VIA_BOTH, NEEDS_USER, permits),
    CHECK("turn.channel.unbound", "RFC 8656 12.6",
          "ChannelData on a number that is not bound are dropped.", VIA_BOTH, NEEDS_USER,
          unbound),
    CHECK("turn.channel.short", "RFC 8656 12.6",
          "ChannelData shorter than their length are dropped.", VIA_UDP, NEEDS_USER, too_short),
    CHECK("turn.channel.excess", "RFC 8656 12.6",
          "Bytes behind the length of ChannelData are ignored.", VIA_UDP, NEEDS_USER, excess),
    {.id = NULL},
};
