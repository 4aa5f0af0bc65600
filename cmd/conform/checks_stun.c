/* STUN (RFC 8489): Binding, and what must not be answered. */
#include "cmd/conform/steps.h"

enum {
    GARBAGE_N = 100
};

static void success(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)addr_in(t, expect(t, c, 0, REQ(BINDING)), STUN_XOR_MAPPED_ADDRESS);
}

static void transaction_id(struct trial *t)
{
    struct line *c = dial_server(t);
    tell(t, c, REQ(BINDING));
    struct frame *f = any_frame(t, c, t->target->timeout_ms);
    if (!f) {
        fail(t, "no answer came");
    } else if (f->err) {
        fail(t, "the answer is not a well-formed STUN message");
    } else if (memcmp(f->msg.tid.b, t->tid.b, t->tid.len) != 0) {
        fail(t, "the answer has another transaction id");
    }
}

static void mapped(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = expect(t, c, 0, REQ(BINDING));
    (void)same_addr(t, addr_in(t, m, STUN_XOR_MAPPED_ADDRESS), c->local, "XOR-MAPPED-ADDRESS");
}

static void unknown_required(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = expect(
        t, c, 420,
        REQ(BINDING, .at = {RAW(0x7ff1, slice_str("a")), RAW(0x7ff2, slice_str("bcdef"))}));
    struct slice list = bytes_in(t, m, STUN_UNKNOWN_ATTRIBUTES);
    struct rd r = rd_over(list);
    bool first = false, second = false;
    while (rd_left(&r) > 1) {
        uint16_t code = rd_u16(&r);
        first = first || code == 0x7ff1;
        second = second || code == 0x7ff2;
    }
    if (!first || !second) {
        fail(t, "UNKNOWN-ATTRIBUTES does not list both 0x7FF1 and 0x7FF2");
    }
}

static void unknown_optional(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 0, REQ(BINDING, .at = {RAW(0xfff1, slice_str("ignore me"))}));
}

static void padding(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice m = encode(t, c, REQ(BINDING, .at = {BYTES(SOFTWARE, slice_str("x"))}));
    /* Behind the one byte: three of padding. FINGERPRINT would be wrong then: left out. */
    memset(t->sent + STUN_HEADER_LEN + 5, 0xff, 3);
    t->sent[3] = (uint8_t)(t->sent[3] - 8);
    t->sent_len = m.len - 8;
    say(t, c, slice_of(t->sent, t->sent_len));
    if (code_of(answer(t, c, 0)) != 0) {
        fail(t, "padding that is not zero was refused");
    }
}

static void fingerprint_wrong(struct trial *t)
{
    struct line *c = dial_server(t);
    tell(t, c, REQ(BINDING, .bad_fingerprint = true));
    silence(t, c, "a message with a wrong FINGERPRINT was answered");
}

static void fingerprint_none(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice m = encode(t, c, REQ(BINDING));
    t->sent[3] = 0;
    t->sent_len = m.len - 8;
    say(t, c, slice_of(t->sent, t->sent_len));
    if (code_of(answer(t, c, 0)) != 0) {
        fail(t, "a request without FINGERPRINT was refused");
    }
}

static void cookie_wrong(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)encode(t, c, REQ(BINDING));
    memset(t->sent + 4, 0x55, 4);
    t->sent[3] = 0;
    say(t, c, slice_of(t->sent, STUN_HEADER_LEN));
    struct frame *f = any_frame(t, c, t->target->quiet_ms);
    if (f && f->len >= STUN_HEADER_LEN && memcmp(f->b + 4, t->sent + 4, 16) == 0) {
        skip(t, "the server speaks RFC 3489 as well, as RFC 5389 12.2 allows");
    } else if (f) {
        fail(t, "a message with a wrong magic cookie was answered");
    }
    silence(t, c, "a message with a wrong magic cookie was answered");
}

/* A Binding request, spoiled by `spoil`, of which `len` bytes are sent. */
static void spoiled(struct trial *t, size_t at, uint8_t value, size_t len, const char *what)
{
    struct line *c = dial_server(t);
    (void)encode(t, c, REQ(BINDING));
    t->sent[at] = value;
    say(t, c, slice_of(t->sent, len));
    silence(t, c, what);
}

static void truncated(struct trial *t)
{
    spoiled(t, 3, 8, 24, "a message shorter than its length field was answered");
    spoiled(t, 3, 8, 19, "a header cut short was answered");
}

static void length_odd(struct trial *t)
{
    spoiled(t, 3, 5, 25, "a length that four does not divide was answered");
}

static void top_bits(struct trial *t)
{
    spoiled(t, 0, 0xc0, 28, "a message that begins with bits 11 was answered");
}

static void attr_too_long(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)encode(t, c, REQ(BINDING, .at = {BYTES(SOFTWARE, slice_str("four"))}));
    t->sent[STUN_HEADER_LEN + 3] = 40;
    t->sent[3] = 8;
    say(t, c, slice_of(t->sent, STUN_HEADER_LEN + 8));
    struct frame *f = any_frame(t, c, t->target->quiet_ms);
    if (f && !f->err && f->msg.cls == STUN_SUCCESS) {
        fail(t, "an attribute that ends behind the message was accepted");
    }
    silence(t, c, "more than one answer came");
}

static void indication_silent(struct trial *t)
{
    struct line *c = dial_server(t);
    tell(t, c, REQ(BINDING, .cls = STUN_INDICATION));
    silence(t, c, "an indication was answered");
}

static void response_silent(struct trial *t)
{
    struct line *c = dial_server(t);
    tell(t, c, REQ(BINDING, .cls = STUN_SUCCESS));
    tell(t, c, REQ(BINDING, .cls = STUN_ERROR));
    silence(t, c, "a response was answered");
}

static void method_unknown(struct trial *t)
{
    struct line *c = dial_server(t);
    tell(t, c, &(struct req){.method = 0x0ef, .omit = OMIT_CREDENTIALS});
    silence(t, c, "a request of an unknown method was answered");
}

static void garbage(struct trial *t)
{
    struct line *c = dial_server(t);
    for (size_t i = 0; i < GARBAGE_N && !is_over(t); i++) {
        uint8_t junk[GARBAGE_N * 4];
        io_random(junk, sizeof junk);
        junk[0] &= i % 2 ? 0x7f : 0x3f; /* half of them could begin as STUN does */
        line_send(c, slice_of(junk, 4 * i));
    }
    note(t, "sent %d datagrams of random bytes", GARBAGE_N);
    dial_pause(t->dial, t->target->quiet_ms);
    still_alive(t);
}

const struct check checks_stun[] = {
    CHECK("stun.binding.success", "RFC 8489 6.3.1",
          "A Binding request gets a success response with XOR-MAPPED-ADDRESS.", VIA_BOTH, 0,
          success),
    CHECK("stun.binding.transaction-id", "RFC 8489 6.3.1.1",
          "The response has the request's transaction id.", VIA_BOTH, 0, transaction_id),
    CHECK("stun.binding.mapped-address", "RFC 8489 14.2",
          "XOR-MAPPED-ADDRESS, unmasked, is the address that the request came from.", VIA_BOTH,
          0, mapped),
    CHECK("stun.attribute.unknown-required", "RFC 8489 6.3.1",
          "Unknown comprehension-required attributes get 420 and are listed.", VIA_BOTH, 0,
          unknown_required),
    CHECK("stun.attribute.unknown-optional", "RFC 8489 14",
          "An unknown comprehension-optional attribute is ignored.", VIA_BOTH, 0,
          unknown_optional),
    CHECK("stun.attribute.padding", "RFC 8489 14", "Padding may have any value.", VIA_BOTH, 0,
          padding),
    CHECK("stun.attribute.too-long", "RFC 8489 6.3",
          "A message whose attribute ends behind its end is not accepted.", VIA_UDP, 0,
          attr_too_long),
    CHECK("stun.fingerprint.absent", "RFC 8489 7", "A Binding request needs no FINGERPRINT.",
          VIA_BOTH, 0, fingerprint_none),
    CHECK("stun.fingerprint.wrong", "RFC 8489 6.3",
          "A message whose FINGERPRINT is wrong is dropped.", VIA_UDP, 0, fingerprint_wrong),
    CHECK("stun.cookie.wrong", "RFC 8489 6.3",
          "A message with a wrong magic cookie is dropped.", VIA_UDP, 0, cookie_wrong),
    CHECK("stun.length.truncated", "RFC 8489 6.3",
          "A datagram shorter than it says is dropped.", VIA_UDP, 0, truncated),
    CHECK("stun.length.odd", "RFC 8489 5", "A length that is no multiple of four is dropped.",
          VIA_UDP, 0, length_odd),
    CHECK("stun.first-bits", "RFC 8489 6.3",
          "A message whose first two bits are not zero is dropped.", VIA_UDP, 0, top_bits),
    CHECK("stun.indication.silent", "RFC 8489 6.3.2", "An indication gets no response.",
          VIA_BOTH, 0, indication_silent),
    CHECK("stun.response.silent", "RFC 8489 6.3.3",
          "A response nobody asked for gets no response.", VIA_BOTH, 0, response_silent),
    CHECK("stun.method.unknown", "RFC 8489 6.3", "A request of an unknown method is dropped.",
          VIA_BOTH, 0, method_unknown),
    CHECK("stun.garbage", "RFC 8489 6.3",
          "After a hundred datagrams of random bytes the server still answers.", VIA_UDP, 0,
          garbage),
    {.id = NULL},
};
