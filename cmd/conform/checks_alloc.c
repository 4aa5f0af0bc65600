/* Allocate and Refresh (RFC 8656 7 and 8). */
#include "cmd/conform/steps.h"

enum {
    LIFETIME_S = 600, /* the default that RFC 8656 3.2 recommends */
    ASKED_S = 1200,
    SCTP = 132
};

static const struct req_attr udp_relay = NUM(REQUESTED_TRANSPORT, 17);

static void success(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate(t, c);
    if (!is_over(t) && (relay.port == 0 || addr_is_any(&relay))) {
        fail(t, "XOR-RELAYED-ADDRESS names no address or no port");
    }
}

static void mapped(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = expect(t, c, 0, REQ(ALLOCATE, .at = {udp_relay}));
    (void)same_addr(t, addr_in(t, m, STUN_XOR_MAPPED_ADDRESS), c->local, "XOR-MAPPED-ADDRESS");
}

static uint32_t lifetime_for(struct trial *t, uint32_t asked_s, bool ask_it)
{
    struct line *c = dial_server(t);
    struct req q = {
        .method = STUN_ALLOCATE, .at = {udp_relay, NUM(LIFETIME, asked_s)}
    };
    q.at[1].is_set = ask_it;
    return number_in(t, expect(t, c, 0, &q), STUN_LIFETIME);
}

static void lifetime_default(struct trial *t)
{
    uint32_t s = lifetime_for(t, 0, false);
    if (!is_over(t) && s == 0) {
        fail(t, "LIFETIME is 0");
    } else if (s != LIFETIME_S) {
        skip(t, "the server's default is %u s; 600 s is only recommended", s);
    }
}

static void lifetime_asked(struct trial *t)
{
    uint32_t s = lifetime_for(t, ASKED_S, true);
    if (!is_over(t) && s == 0) {
        fail(t, "LIFETIME is 0");
    } else if (s > ASKED_S) {
        fail(t, "%d s were asked for, %u s were given", ASKED_S, s);
    }
}

static void lifetime_zero(struct trial *t)
{
    if (lifetime_for(t, 0, true) == 0) {
        fail(t, "LIFETIME is 0: the allocation ends as it begins");
    }
}

static void no_transport(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 400, REQ(ALLOCATE));
}

static void transport_unsupported(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 442, REQ(ALLOCATE, .at = {NUM(REQUESTED_TRANSPORT, SCTP)}));
}

static void twice(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    (void)expect(t, c, 437, REQ(ALLOCATE, .at = {udp_relay}));
}

static void retransmitted(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr first = allocate(t, c);
    say(t, c, slice_of(t->sent, t->sent_len));
    const struct stun_msg *m = answer(t, c, 0);
    if (code_of(m) != 0) {
        fail(t, "the request sent again got %u", code_of(m));
    }
    struct addr second = addr_in(t, m, STUN_XOR_RELAYED_ADDRESS);
    if (!is_over(t) && !addr_eq(&first, &second)) {
        fail(t, "the request sent again got another relay");
    }
}

static void even_port(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {udp_relay, NUM(EVEN_PORT, 0)}));
    if (code_of(m) == 508 || code_of(m) == 420) {
        skip(t, "the server has no even port for us (%u)", code_of(m));
    }
    if (addr_in(t, m, STUN_XOR_RELAYED_ADDRESS).port % 2 != 0) {
        fail(t, "the relay's port is odd");
    }
    if (!is_over(t) && stun_has(m, STUN_RESERVATION_TOKEN)) {
        fail(t, "a RESERVATION-TOKEN came although none was asked for");
    }
}

/* EVEN-PORT with R = 1; gives the relay. */
static struct addr reserve(struct trial *t, struct line *c, uint64_t *token)
{
    const struct stun_msg *m =
        ask(t, c, REQ(ALLOCATE, .at = {udp_relay, NUM(EVEN_PORT, 0x80)}));
    if (code_of(m) == 508 || code_of(m) == 420) {
        skip(t, "the server reserves no ports (%u)", code_of(m));
    }
    struct addr relay = addr_in(t, m, STUN_XOR_RELAYED_ADDRESS);
    if (!is_over(t) && stun_get_u64(m, STUN_RESERVATION_TOKEN, token)) {
        fail(t, "the response has no RESERVATION-TOKEN");
    }
    return relay;
}

static void reservation(struct trial *t)
{
    struct line *c = dial_server(t), *d = dial_server(t);
    uint64_t token = 0;
    struct addr first = reserve(t, c, &token);
    const struct stun_msg *m =
        expect(t, d, 0, REQ(ALLOCATE, .at = {udp_relay, NUM(RESERVATION_TOKEN, token)}));
    struct addr second = addr_in(t, m, STUN_XOR_RELAYED_ADDRESS);
    if (!is_over(t) && (first.port % 2 != 0 || second.port != first.port + 1)) {
        fail(t, "ports %u and %u are not an even one and the next", first.port, second.port);
    }
}

static void reservation_unknown(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 508, REQ(ALLOCATE, .at = {udp_relay, NUM(RESERVATION_TOKEN, 93)}));
}

static void even_and_reservation(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(
        t, c, 400,
        REQ(ALLOCATE, .at = {udp_relay, NUM(EVEN_PORT, 0x80), NUM(RESERVATION_TOKEN, 93)}));
}

static void family_and_reservation(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 400,
                 REQ(ALLOCATE, .at = {udp_relay, NUM(REQUESTED_ADDRESS_FAMILY, 1),
                                      NUM(RESERVATION_TOKEN, 93)}));
}

static void family_ip6(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m =
        ask(t, c, REQ(ALLOCATE, .at = {udp_relay, NUM(REQUESTED_ADDRESS_FAMILY, ADDR_IP6)}));
    if (!is_over(t) && code_of(m) == 440) {
        return;
    }
    if (code_of(m) != 0) {
        fail(t, "expected success or error 440, got %u", code_of(m));
    }
    if (addr_in(t, m, STUN_XOR_RELAYED_ADDRESS).family != ADDR_IP6) {
        fail(t, "the relay is not an IPv6 address");
    }
}

static void family_unknown(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 440, REQ(ALLOCATE, .at = {udp_relay, NUM(REQUESTED_ADDRESS_FAMILY, 5)}));
}

static void dont_fragment(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {udp_relay, FLAG(DONT_FRAGMENT)}));
    if (is_over(t) || code_of(m) == 0) {
        return;
    }
    struct slice list = bytes_in(t, m, STUN_UNKNOWN_ATTRIBUTES);
    struct rd r = rd_over(list);
    if (code_of(m) != 420) {
        fail(t, "expected success or error 420, got %u", code_of(m));
    } else if (rd_u16(&r) != 0x001a) {
        fail(t, "UNKNOWN-ATTRIBUTES of the 420 does not list DONT-FRAGMENT");
    }
}

static void refresh(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    const struct stun_msg *m = expect(t, c, 0, REQ(REFRESH, .at = {NUM(LIFETIME, ASKED_S)}));
    uint32_t s = number_in(t, m, STUN_LIFETIME);
    if (s == 0 || s > ASKED_S) {
        fail(t, "%d s were asked for, %u s were given", ASKED_S, s);
    }
}

static void refresh_zero(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    const struct stun_msg *m = expect(t, c, 0, REQ(REFRESH, .at = {NUM(LIFETIME, 0)}));
    if (number_in(t, m, STUN_LIFETIME) != 0) {
        fail(t, "LIFETIME of the response is not 0");
    }
    (void)expect(t, c, 437, REQ(REFRESH));
}

static void refresh_zero_again(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    (void)expect(t, c, 0, REQ(REFRESH, .at = {NUM(LIFETIME, 0)}));
    (void)allocate(t, c);
}

static void refresh_none(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 437, REQ(REFRESH, .at = {NUM(LIFETIME, LIFETIME_S)}));
}

static void refresh_family(struct trial *t)
{
    struct line *c = dial_server(t);
    struct addr relay = allocate(t, c);
    unsigned other = relay.family == ADDR_IP4 ? ADDR_IP6 : ADDR_IP4;
    (void)expect(t, c, 443, REQ(REFRESH, .at = {NUM(REQUESTED_ADDRESS_FAMILY, other)}));
}

const struct check checks_alloc[] = {
    CHECK("turn.allocate.success", "RFC 8656 7.2",
          "An authenticated Allocate gets XOR-RELAYED-ADDRESS.", VIA_BOTH, NEEDS_USER, success),
    CHECK("turn.allocate.mapped-address", "RFC 8656 7.2",
          "XOR-MAPPED-ADDRESS is the client's address.", VIA_BOTH, NEEDS_USER, mapped),
    CHECK("turn.allocate.lifetime-default", "RFC 8656 7.2",
          "Without LIFETIME the default is given, 600 s.", VIA_BOTH, NEEDS_USER,
          lifetime_default),
    CHECK("turn.allocate.lifetime-asked", "RFC 8656 7.2",
          "No more seconds are given than asked for.", VIA_BOTH, NEEDS_USER, lifetime_asked),
    CHECK("turn.allocate.lifetime-zero", "RFC 8656 7.2",
          "A LIFETIME of 0 in Allocate gives the default.", VIA_BOTH, NEEDS_USER,
          lifetime_zero),
    CHECK("turn.allocate.no-transport", "RFC 8656 7.2",
          "Allocate without REQUESTED-TRANSPORT gets 400.", VIA_BOTH, NEEDS_USER, no_transport),
    CHECK("turn.allocate.transport-unsupported", "RFC 8656 7.2",
          "A REQUESTED-TRANSPORT of 132 gets 442.", VIA_BOTH, NEEDS_USER,
          transport_unsupported),
    CHECK("turn.allocate.twice", "RFC 8656 7.2",
          "A second Allocate on the same 5-tuple gets 437.", VIA_BOTH, NEEDS_USER, twice),
    CHECK("turn.allocate.retransmitted", "RFC 8656 7.2",
          "The same Allocate sent again gets the same answer.", VIA_UDP, NEEDS_USER,
          retransmitted),
    CHECK("turn.allocate.even-port", "RFC 8656 7.2",
          "EVEN-PORT with R = 0 gives an even port and no token.", VIA_BOTH, NEEDS_USER,
          even_port),
    CHECK("turn.allocate.reservation", "RFC 8656 7.2",
          "RESERVATION-TOKEN gives the port behind the even one.", VIA_BOTH, NEEDS_USER,
          reservation),
    CHECK("turn.allocate.reservation-unknown", "RFC 8656 7.2",
          "An unknown RESERVATION-TOKEN gets 508.", VIA_BOTH, NEEDS_USER, reservation_unknown),
    CHECK("turn.allocate.even-port-and-reservation", "RFC 8656 7.2",
          "RESERVATION-TOKEN with EVEN-PORT gets 400.", VIA_BOTH, NEEDS_USER,
          even_and_reservation),
    CHECK("turn.allocate.family-and-reservation", "RFC 8656 7.2",
          "RESERVATION-TOKEN with REQUESTED-ADDRESS-FAMILY gets 400.", VIA_BOTH, NEEDS_USER,
          family_and_reservation),
    CHECK("turn.allocate.family-ip6", "RFC 8656 7.2", "An IPv6 relay is given, or 440.",
          VIA_BOTH, NEEDS_USER, family_ip6),
    CHECK("turn.allocate.family-unknown", "RFC 8656 7.2",
          "A REQUESTED-ADDRESS-FAMILY of 5 gets 440.", VIA_BOTH, NEEDS_USER, family_unknown),
    CHECK("turn.allocate.dont-fragment", "RFC 8656 7.2",
          "DONT-FRAGMENT is obeyed, or gets 420 and is listed.", VIA_BOTH, NEEDS_USER,
          dont_fragment),
    {.id = NULL},
};

const struct check checks_refresh[] = {
    CHECK("turn.refresh.success", "RFC 8656 8.2",
          "Refresh gets success and LIFETIME, no more than asked for.", VIA_BOTH, NEEDS_USER,
          refresh),
    CHECK("turn.refresh.zero", "RFC 8656 8.2",
          "A LIFETIME of 0 ends the allocation: the next Refresh gets 437.", VIA_BOTH,
          NEEDS_USER, refresh_zero),
    CHECK("turn.refresh.allocate-again", "RFC 8656 8.2",
          "After that the 5-tuple may have a new allocation.", VIA_BOTH, NEEDS_USER,
          refresh_zero_again),
    CHECK("turn.refresh.no-allocation", "RFC 8656 8.2",
          "Refresh without an allocation gets 437.", VIA_BOTH, NEEDS_USER, refresh_none),
    CHECK("turn.refresh.family-mismatch", "RFC 8656 8.2",
          "Refresh of a family that the allocation does not have gets 443.", VIA_BOTH,
          NEEDS_USER, refresh_family),
    {.id = NULL},
};
