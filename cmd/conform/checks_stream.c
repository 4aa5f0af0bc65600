/* STUN over TCP (RFC 8489 6.2.2): where messages begin and end. */
#include "cmd/conform/steps.h"

enum {
    APART_MS = 3, /* so that two writes are two segments */
    JOINED_N = 5
};

static void split(struct trial *t)
{
    struct line *c = dial_server(t);
    for (size_t cut = 1; cut < 28 && !is_over(t); cut++) {
        struct slice m = encode(t, c, REQ(BINDING));
        note(t, "a request in two segments, %zu bytes and the rest", cut);
        line_send(c, slice_of(m.p, cut));
        dial_pause(t->dial, APART_MS);
        line_send(c, slice_from(m, cut));
        if (code_of(answer(t, c, 0)) != 0) {
            fail(t, "cut after %zu bytes it was refused", cut);
        }
    }
}

static void bytewise(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice m = encode(t, c, REQ(BINDING));
    for (size_t i = 0; i < m.len && !is_over(t); i++) {
        line_send(c, slice_of(m.p + i, 1));
        dial_pause(t->dial, APART_MS);
    }
    note(t, "a request, each byte a segment of its own");
    if (code_of(answer(t, c, 0)) != 0) {
        fail(t, "it was refused");
    }
}

static void joined(struct trial *t)
{
    struct line *c = dial_server(t);
    uint8_t all[JOINED_N * 64];
    struct wr w = wr_over(all, sizeof all);
    struct stun_tid tids[JOINED_N];
    for (size_t i = 0; i < JOINED_N; i++) {
        wr_bytes(&w, encode(t, c, REQ(BINDING)));
        tids[i] = t->tid;
    }
    note(t, "%d requests in one segment", JOINED_N);
    if (!is_over(t)) {
        line_send(c, wr_done(&w));
    }
    for (size_t i = 0; i < JOINED_N; i++) {
        t->tid = tids[i];
        (void)answer(t, c, 0);
    }
}

static void garbage(struct trial *t)
{
    struct line *c = dial_server(t);
    uint8_t junk[512];
    memset(junk, 0xf7, sizeof junk);
    if (!is_over(t)) {
        line_send(c, slice_of(junk, sizeof junk));
    }
    note(t, "sent %zu bytes of 0xf7", sizeof junk);
    struct frame *f = any_frame(t, c, t->target->quiet_ms);
    if (f) {
        fail(t, "bytes that begin no message were answered");
    }
    still_alive(t);
}

static void half_message(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice m = encode(t, c, REQ(BINDING));
    note(t, "half a request, then FIN");
    if (!is_over(t)) {
        line_send(c, slice_of(m.p, 14));
        line_finish(c);
    }
    expect_end(t, c, "the connection whose client has ended it");
    still_alive(t);
}

const struct check checks_stream[] = {
    CHECK("stream.split", "RFC 8489 6.2.2",
          "A message that comes in two segments, cut at any byte, is one message.", VIA_TCP, 0,
          split),
    CHECK("stream.bytewise", "RFC 8489 6.2.2",
          "A message that comes byte by byte is one message.", VIA_TCP, 0, bytewise),
    CHECK("stream.joined", "RFC 8489 6.2.2",
          "Several messages in one segment are all answered.", VIA_TCP, 0, joined),
    CHECK("stream.garbage", "RFC 8489 6.2.2",
          "Bytes that begin no message get no answer, and the server lives.", VIA_TCP, 0,
          garbage),
    CHECK("stream.half-message", "RFC 8489 6.2.2",
          "A client that ends in the middle of a message does no harm.", VIA_TCP, 0,
          half_message),
    {.id = NULL},
};
