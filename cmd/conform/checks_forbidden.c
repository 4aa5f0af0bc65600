/* Peers that no server may reach for a client: itself. The same addresses through every request
 * that names a peer, since servers have forgotten to look in one of them. */
#include "cmd/conform/steps.h"

enum {
    CHANNEL = 0x4001,
    CONNECT_MS = 35000
};

static const char *const loopback[] = {
    "127.0.0.1",          "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1",
    "64:ff9b::127.0.0.1", "2002:7f00:1::1",  NULL};
static const char *const unspecified[] = {"0.0.0.0", "0.0.0.1", "::", "::ffff:0.0.0.0", NULL};

/* Where the server was told to allow it, for our own peer. */
static bool allows_loopback(struct trial *t)
{
    struct addr peer = t->target->peer;
    const char *kind = addr_special(&peer);
    if (!kind || strcmp(kind, "loopback") != 0) {
        return false;
    }
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    return code_of(ask(t, c, REQ(CREATE_PERMISSION, .at = {ADDR(XOR_PEER_ADDRESS, peer)}))) !=
           403;
}

/* 403 for the n-th of these peers. */
static void refused(struct trial *t, struct line *c, uint16_t method, struct addr peer,
                    size_t n)
{
    struct req q = {
        .method = method,
        .patience_ms = CONNECT_MS,
        .at = {ADDR(XOR_PEER_ADDRESS, peer), NUM(CHANNEL_NUMBER, CHANNEL + n)}
    };
    q.at[1].is_set = method == STUN_CHANNEL_BIND;
    (void)expect(t, c, 403, &q);
}

/* Tries those that are of `family`; gives how many. */
static size_t try_family(struct trial *t, uint16_t method, const char *const *texts,
                         uint8_t family)
{
    struct line *c = dial_server(t);
    unsigned transport = method == STUN_CONNECT ? 6 : 17;
    const struct stun_msg *m =
        ask(t, c,
            REQ(ALLOCATE, .at = {NUM(REQUESTED_TRANSPORT, transport),
                                 NUM(REQUESTED_ADDRESS_FAMILY, family)}));
    size_t n = 0;
    struct addr peer;
    if (is_over(t) || code_of(m) == 440 || code_of(m) == 442) {
        return 0;
    }
    for (; *texts && !is_over(t); texts++) {
        if (addr_parse(slice_str(*texts), &peer) == OK && peer.family == family) {
            peer.port = t->target->server.port;
            refused(t, c, method, peer, n++);
        }
    }
    return n;
}

static void forbidden(struct trial *t, uint16_t method, const char *const *texts)
{
    size_t n = try_family(t, method, texts, ADDR_IP4);
    n += try_family(t, method, texts, ADDR_IP6);
    if (n == 0) {
        skip(t, "the server offers no such relay");
    }
}

static void forbidden_loopback(struct trial *t, uint16_t method)
{
    if (allows_loopback(t)) {
        skip(t, "the server was told to allow loopback, where our peer is");
    } else {
        forbidden(t, method, loopback);
    }
}

static void permission_loopback(struct trial *t)
{
    forbidden_loopback(t, STUN_CREATE_PERMISSION);
}

static void channel_loopback(struct trial *t)
{
    forbidden_loopback(t, STUN_CHANNEL_BIND);
}

static void connect_loopback(struct trial *t)
{
    forbidden_loopback(t, STUN_CONNECT);
}

static void permission_unspecified(struct trial *t)
{
    forbidden(t, STUN_CREATE_PERMISSION, unspecified);
}

static void channel_unspecified(struct trial *t)
{
    forbidden(t, STUN_CHANNEL_BIND, unspecified);
}

static void connect_unspecified(struct trial *t)
{
    forbidden(t, STUN_CONNECT, unspecified);
}

const struct check checks_forbidden[] = {
    CHECK("turn.permission.loopback", "RFC 8656 10.2",
          "CreatePermission for the server's own loopback gets 403, in every spelling.",
          VIA_BOTH, NEEDS_USER, permission_loopback),
    CHECK("turn.permission.unspecified", "RFC 8656 10.2",
          "CreatePermission for an address that means this host gets 403.", VIA_BOTH,
          NEEDS_USER, permission_unspecified),
    CHECK("turn.channel.loopback", "RFC 8656 12.2",
          "ChannelBind to the server's own loopback gets 403, in every spelling.", VIA_BOTH,
          NEEDS_USER, channel_loopback),
    CHECK("turn.channel.unspecified", "RFC 8656 12.2",
          "ChannelBind to an address that means this host gets 403.", VIA_BOTH, NEEDS_USER,
          channel_unspecified),
    CHECK("tcp.connect.loopback", "RFC 6062 5.2",
          "Connect to the server's own loopback gets 403, in every spelling.", VIA_TCP,
          NEEDS_USER, connect_loopback),
    CHECK("tcp.connect.unspecified", "RFC 6062 5.2",
          "Connect to an address that means this host gets 403.", VIA_TCP, NEEDS_USER,
          connect_unspecified),
    {.id = NULL},
};
