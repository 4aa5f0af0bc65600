/* Allocations of both address families (RFC 8656 7.2 and 8.2). */
#include "cmd/conform/steps.h"

static const struct req_attr udp_relay = NUM(REQUESTED_TRANSPORT, 17),
                             also_ip6 = NUM(ADDITIONAL_ADDRESS_FAMILY, ADDR_IP6);

/* How many there are; `first` gets the first two. */
static size_t relays_in(const struct stun_msg *m, struct addr first[2])
{
    struct addr at;
    size_t n = 0;
    for (; stun_get_nth_addr(m, STUN_XOR_RELAYED_ADDRESS, n, &at) == OK; n++) {
        if (n < 2) {
            first[n] = at;
        }
    }
    return n;
}

static size_t count_relays(const struct stun_msg *m)
{
    struct addr first[2];
    return relays_in(m, first);
}

/* The answer to a request for both; skips where the attribute, which is optional to understand,
 * is not understood. */
static const struct stun_msg *allocate_both(struct trial *t, struct line *c)
{
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {udp_relay, also_ip6}));
    if (is_over(t)) {
        return m;
    }
    if (code_of(m) == 440 || code_of(m) == 486 || code_of(m) == 508) {
        skip(t, "the server has no relays for us (%u)", code_of(m));
    } else if (code_of(m) != 0) {
        fail(t, "expected success, got error %u", code_of(m));
    } else if (count_relays(m) == 1 && !stun_has(m, STUN_ADDRESS_ERROR_CODE)) {
        skip(t, "the server does not know ADDITIONAL-ADDRESS-FAMILY");
    }
    return m;
}

/* And skips where one of the two is not to be had. */
static const struct stun_msg *want_both(struct trial *t, struct line *c)
{
    const struct stun_msg *m = allocate_both(t, c);
    if (!is_over(t) && count_relays(m) < 2) {
        skip(t, "the server has relays of one family only");
    }
    return m;
}

static void both(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = allocate_both(t, c);
    struct addr at[2] = {{0}};
    uint8_t family;
    uint16_t code;
    if (is_over(t)) {
        return;
    }
    size_t n = relays_in(m, at);
    int err = stun_get_addr_error(m, &family, &code);
    if (n == 0 || n > 2 || (n == 2 && (at[0].family == at[1].family || !err))) {
        fail(t, "the relays are not one of each family");
    } else if (n == 1 && err) {
        fail(t, "ADDRESS-ERROR-CODE has no code");
    } else if (n == 1 && (family == at[0].family || (code != 440 && code != 508))) {
        fail(t, "ADDRESS-ERROR-CODE says %u of family %u", code, family);
    }
}

static void retransmitted(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr first[2] = {{0}}, again[2] = {{0}};
    const struct stun_msg *m = allocate_both(t, c);
    (void)relays_in(m, first);
    say(t, c, slice_of(t->sent, t->sent_len));
    m = answer(t, c, 0);
    (void)relays_in(m, again);
    if (!is_over(t) && (!addr_eq(&first[0], &again[0]) || !addr_eq(&first[1], &again[1]))) {
        fail(t, "the request sent again got other relays");
    }
}

/* What must be refused, by a server that knows the attribute. */
static void refused(struct trial *t, struct req *q)
{
    struct line *probe = dial_server(t);
    (void)allocate_both(t, probe);
    (void)expect(t, dial_server(t), 400, q);
}

static void ip4_value(struct trial *t)
{
    refused(t, REQ(ALLOCATE, .at = {udp_relay, NUM(ADDITIONAL_ADDRESS_FAMILY, ADDR_IP4)}));
}

static void with_family(struct trial *t)
{
    refused(
        t, REQ(ALLOCATE, .at = {udp_relay, also_ip6, NUM(REQUESTED_ADDRESS_FAMILY, ADDR_IP4)}));
}

static void with_pair(struct trial *t)
{
    refused(t, REQ(ALLOCATE, .at = {udp_relay, also_ip6, NUM(EVEN_PORT, 0x80)}));
}

static void with_reservation(struct trial *t)
{
    refused(t, REQ(ALLOCATE, .at = {udp_relay, also_ip6, NUM(RESERVATION_TOKEN, 93)}));
}

static void refresh_one(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)want_both(t, c);
    (void)expect(
        t, c, 0,
        REQ(REFRESH, .at = {NUM(LIFETIME, 0), NUM(REQUESTED_ADDRESS_FAMILY, ADDR_IP6)}));
    (void)expect(t, c, 443, REQ(REFRESH, .at = {NUM(REQUESTED_ADDRESS_FAMILY, ADDR_IP6)}));
    (void)expect(t, c, 0, REQ(REFRESH, .at = {NUM(REQUESTED_ADDRESS_FAMILY, ADDR_IP4)}));
}

static void refresh_both(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)want_both(t, c);
    (void)expect(t, c, 0, REQ(REFRESH, .at = {NUM(LIFETIME, 0)}));
    (void)expect(t, c, 437, REQ(REFRESH, .at = {NUM(REQUESTED_ADDRESS_FAMILY, ADDR_IP6)}));
}

const struct check checks_dual[] = {
    CHECK("turn.dual.both", "RFC 8656 7.2",
          "ADDITIONAL-ADDRESS-FAMILY gets a relay of each family, or is told which one not.",
          VIA_BOTH, NEEDS_USER, both),
    CHECK("turn.dual.retransmitted", "RFC 8656 7.2",
          "The same Allocate sent again gets the same relays.", VIA_UDP, NEEDS_USER,
          retransmitted),
    CHECK("turn.dual.ip4", "RFC 8656 7.2", "An ADDITIONAL-ADDRESS-FAMILY of IPv4 gets 400.",
          VIA_BOTH, NEEDS_USER, ip4_value),
    CHECK("turn.dual.and-family", "RFC 8656 7.2",
          "ADDITIONAL-ADDRESS-FAMILY with REQUESTED-ADDRESS-FAMILY gets 400.", VIA_BOTH,
          NEEDS_USER, with_family),
    CHECK("turn.dual.and-even-port", "RFC 8656 7.2",
          "ADDITIONAL-ADDRESS-FAMILY with EVEN-PORT, R = 1, gets 400.", VIA_BOTH, NEEDS_USER,
          with_pair),
    CHECK("turn.dual.and-reservation", "RFC 8656 7.2",
          "ADDITIONAL-ADDRESS-FAMILY with RESERVATION-TOKEN gets 400.", VIA_BOTH, NEEDS_USER,
          with_reservation),
    CHECK("turn.dual.refresh-one", "RFC 8656 8.2",
          "Refresh with REQUESTED-ADDRESS-FAMILY ends one of two relays.", VIA_BOTH, NEEDS_USER,
          refresh_one),
    CHECK("turn.dual.refresh-both", "RFC 8656 8.2", "Refresh without it ends both.", VIA_BOTH,
          NEEDS_USER, refresh_both),
    {.id = NULL},
};
