/* TCP relays (RFC 6062): the data, and how it all ends. */
#include <stdlib.h>

#include "cmd/conform/steps.h"

enum {
    LARGE = 1 << 20 /* bytes, each way */
};

static void both_ways(struct trial *t, struct joined *j)
{
    if (is_over(t)) {
        return;
    }
    line_send(j->peer, slice_str("from the peer"));
    expect_bytes(t, j->data, slice_str("from the peer"));
    line_send(j->data, slice_str("from the client"));
    expect_bytes(t, j->peer, slice_str("from the client"));
}

static void attempt_data(struct trial *t)
{
    struct joined j = join(t);
    both_ways(t, &j);
}

static void connect_data(struct trial *t)
{
    struct line *c = dial_server(t), *listener = peer_listen(t);
    (void)allocate_tcp(t, c);
    uint32_t id = connect_to(t, c, listener->local);
    struct joined j = {.control = c, .data = bind_data(t, c, id)};
    j.peer = peer_accept(t, listener);
    both_ways(t, &j);
}

static void data_before_bind(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate_tcp(t, c);
    permit(t, c, t->target->peer);
    struct line *peer = peer_connect(t, relay);
    if (!is_over(t)) {
        line_send(peer, slice_str("first, "));
    }
    uint32_t id = attempt_of(t, c, peer->local);
    if (!is_over(t)) {
        line_send(peer, slice_str("second, "));
        dial_pause(t->dial, t->target->quiet_ms);
    }
    struct line *l = bind_data(t, c, id);
    if (!is_over(t)) {
        line_send(peer, slice_str("third"));
    }
    expect_bytes(t, l, slice_str("first, second, third"));
}

static void large(struct trial *t)
{
    struct joined j = join(t);
    uint8_t *room = malloc(2 * (size_t)LARGE);
    if (!room) {
        skip(t, "no memory for 2 MB");
    }
    if (!is_over(t)) {
        struct slice a = pattern(room, LARGE, 1), b = pattern(room + LARGE, LARGE, 7);
        line_send(j.data, a);
        line_send(j.peer, b);
        expect_bytes(t, j.peer, a);
        expect_bytes(t, j.data, b);
    }
    free(room);
}

/* `from` ends its half; the other half goes on. A server that ends both is not wrong. */
static void half_close(struct trial *t, struct line *from, struct line *to)
{
    if (is_over(t)) {
        return;
    }
    line_send(from, slice_str("the last"));
    line_finish(from);
    expect_bytes(t, to, slice_str("the last"));
    expect_end(t, to, "the other side, after FIN,");
    dial_pause(t->dial, t->target->quiet_ms);
    if (from->has_ended || from->is_closed) {
        skip(t, "the server ends both halves at once, which RFC 6062 does not forbid");
        return;
    }
    line_send(to, slice_str("still here"));
    expect_bytes(t, from, slice_str("still here"));
}

static void half_close_peer(struct trial *t)
{
    struct joined j = join(t);
    half_close(t, j.peer, j.data);
}

static void half_close_client(struct trial *t)
{
    struct joined j = join(t);
    half_close(t, j.data, j.peer);
}

static void client_closes(struct trial *t)
{
    struct joined j = join(t);
    if (!is_over(t)) {
        line_close(j.data);
    }
    expect_end(t, j.peer, "the peer's connection");
}

static void peer_closes(struct trial *t)
{
    struct joined j = join(t);
    if (!is_over(t)) {
        line_close(j.peer);
    }
    expect_end(t, j.data, "the client's data connection");
}

static void control_ends(struct trial *t)
{
    struct joined j = join(t);
    both_ways(t, &j);
    if (!is_over(t)) {
        line_close(j.control);
    }
    expect_end(t, j.data, "the client's data connection");
    expect_end(t, j.peer, "the peer's connection");
}

static void refresh_zero(struct trial *t)
{
    struct joined j = join(t);
    both_ways(t, &j);
    (void)expect(t, j.control, 0, REQ(REFRESH, .at = {NUM(LIFETIME, 0)}));
    expect_end(t, j.data, "the client's data connection");
    expect_end(t, j.peer, "the peer's connection");
    struct line *late =
        is_over(t) ? NULL
                   : dial_tcp(t->dial, &t->target->peer, &j.relay, t->target->timeout_ms);
    if (late) { /* we were quicker than its close() */
        expect_end(t, late, "the relay's port");
    }
}

static void unbound_ends(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate_tcp(t, c);
    permit(t, c, t->target->peer);
    struct line *peer = peer_connect(t, relay);
    (void)attempt_of(t, c, peer->local);
    if (!is_over(t)) {
        line_close(c);
    }
    expect_end(t, peer, "the peer's connection, which was not bound,");
}

static void control_goes_on(struct trial *t)
{
    struct joined j = join(t);
    both_ways(t, &j);
    if (!is_over(t)) {
        line_close(j.data);
    }
    expect_end(t, j.peer, "the peer's connection");
    (void)expect(t, j.control, 0, REQ(REFRESH));
    struct line *peer = peer_connect(t, j.relay);
    j.data = bind_data(t, j.control, attempt_of(t, j.control, peer->local));
    j.peer = peer;
    both_ways(t, &j);
}

const struct check checks_tcp_data[] = {
    CHECK("tcp.data.attempt", "RFC 6062 5.4",
          "After ConnectionBind bytes pass both ways, of a peer that connected.", VIA_TCP,
          NEEDS_USER, attempt_data),
    CHECK("tcp.data.connect", "RFC 6062 5.4",
          "After ConnectionBind bytes pass both ways, with a peer that was connected to.",
          VIA_TCP, NEEDS_USER, connect_data),
    CHECK("tcp.data.before-bind", "RFC 6062 5.3",
          "What a peer sends before ConnectionBind is kept, in order.", VIA_TCP, NEEDS_USER,
          data_before_bind),
    CHECK("tcp.data.large", "RFC 6062 5.4", "A megabyte each way arrives unchanged.", VIA_TCP,
          NEEDS_USER, large),
    CHECK("tcp.half-close.peer", "RFC 9293 3.6",
          "The peer's last bytes and FIN reach the client, who may still send.", VIA_TCP,
          NEEDS_USER, half_close_peer),
    CHECK("tcp.half-close.client", "RFC 9293 3.6",
          "The client's last bytes and FIN reach the peer, who may still send.", VIA_TCP,
          NEEDS_USER, half_close_client),
    CHECK("tcp.end.client", "RFC 6062 5.5",
          "When the client closes the data connection, the peer's is closed.", VIA_TCP,
          NEEDS_USER, client_closes),
    CHECK("tcp.end.peer", "RFC 6062 5.5",
          "When the peer closes, the client's data connection is closed.", VIA_TCP, NEEDS_USER,
          peer_closes),
    CHECK("tcp.end.control", "RFC 6062 5.5",
          "When the control connection ends, all of its data connections are closed.", VIA_TCP,
          NEEDS_USER, control_ends),
    CHECK("tcp.end.unbound", "RFC 6062 5.5", "And those that were not bound yet.", VIA_TCP,
          NEEDS_USER, unbound_ends),
    CHECK("tcp.end.refresh-zero", "RFC 6062 5.5",
          "When Refresh ends the allocation, all of its connections and its port are closed.",
          VIA_TCP, NEEDS_USER, refresh_zero),
    CHECK("tcp.end.allocation-stays", "RFC 6062 5.5",
          "The end of a data connection leaves the allocation, for the next peer.", VIA_TCP,
          NEEDS_USER, control_goes_on),
    {.id = NULL},
};
