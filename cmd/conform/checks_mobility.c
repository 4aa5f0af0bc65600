/* Allocations that move with their clients (RFC 8016). */
#include "cmd/conform/steps.h"

enum {
    TICKET_MAX = 763
};

static const struct req_attr udp_relay = NUM(REQUESTED_TRANSPORT, 17);

struct ticket {
    uint8_t b[TICKET_MAX];
    size_t len;
};

static void take_ticket(struct trial *t, const struct stun_msg *m, struct ticket *out)
{
    struct slice is = bytes_in(t, m, STUN_MOBILITY_TICKET);
    out->len = is.len < sizeof out->b ? is.len : sizeof out->b;
    memcpy(out->b, is.len > 0 ? is.p : (const uint8_t *)"", out->len);
}

/* An allocation that may move. Skips where the server does not let it. */
static void allocate_mobile(struct trial *t, struct line *c, struct ticket *out)
{
    const struct stun_msg *m =
        ask(t, c, REQ(ALLOCATE, .at = {udp_relay, BYTES(MOBILITY_TICKET, slice_of(NULL, 0))}));
    out->len = 0;
    if (is_over(t)) {
        return;
    }
    if (code_of(m) == 405) {
        skip(t, "the server's mobility is off (405)");
    } else if (code_of(m) != 0) {
        fail(t, "expected success or error 405, got %u", code_of(m));
    } else if (!stun_has(m, STUN_MOBILITY_TICKET)) {
        skip(t, "the server does not know MOBILITY-TICKET");
    }
    take_ticket(t, m, out);
}

static struct req refresh_with(const struct ticket *ticket)
{
    return (struct req){.method = STUN_REFRESH,
                        .at = {BYTES(MOBILITY_TICKET, slice_of(ticket->b, ticket->len))}};
}

static void gives_ticket(struct trial *t)
{
    struct ticket ticket;
    allocate_mobile(t, dial_server(t), &ticket);
    if (!is_over(t) && ticket.len == 0) {
        fail(t, "the ticket is empty");
    }
}

static void not_empty(struct trial *t)
{
    struct ticket ticket;
    allocate_mobile(t, dial_server(t), &ticket);
    (void)expect(
        t, dial_server(t), 400,
        REQ(ALLOCATE, .at = {udp_relay, BYTES(MOBILITY_TICKET, slice_str("0123456789"))}));
}

static void forbidden(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m =
        ask(t, c, REQ(ALLOCATE, .at = {udp_relay, BYTES(MOBILITY_TICKET, slice_of(NULL, 0))}));
    if (!is_over(t) && code_of(m) == 0) {
        skip(t, "the server allows mobility, or does not know of it");
    }
    if (!is_over(t) && code_of(m) != 405) {
        fail(t, "expected success or error 405, got %u", code_of(m));
    }
    (void)allocate(t, c);
    const struct ticket any = {.len = 0};
    struct req q = refresh_with(&any);
    (void)expect(t, dial_server(t), 405, &q);
}

static void moves(struct trial *t)
{
    struct line *c = dial_server(t), *next = dial_server(t);
    struct ticket ticket, fresh;
    allocate_mobile(t, c, &ticket);
    struct req q = refresh_with(&ticket);
    const struct stun_msg *m = expect(t, next, 0, &q);
    take_ticket(t, m, &fresh);
    if (!is_over(t) && fresh.len == ticket.len && !memcmp(fresh.b, ticket.b, fresh.len)) {
        fail(t, "the ticket of the answer is the one that served");
    }
    permit(t, next, t->target->peer);
}

static void same_path(struct trial *t)
{
    struct line *c = dial_server(t);
    struct ticket ticket;
    allocate_mobile(t, c, &ticket);
    struct req q = refresh_with(&ticket);
    (void)expect(t, c, 400, &q);
}

static void forged(struct trial *t)
{
    struct ticket ticket;
    allocate_mobile(t, dial_server(t), &ticket);
    ticket.b[ticket.len / 2] ^= 1;
    struct req q = refresh_with(&ticket);
    (void)expect(t, dial_server(t), 400, &q);
}

static void ended(struct trial *t)
{
    struct line *c = dial_server(t);
    struct ticket ticket;
    allocate_mobile(t, c, &ticket);
    (void)expect(t, c, 0, REQ(REFRESH, .at = {NUM(LIFETIME, 0)}));
    struct req q = refresh_with(&ticket);
    (void)expect(t, dial_server(t), 437, &q);
}

static void other_user(struct trial *t)
{
    struct ticket ticket;
    allocate_mobile(t, dial_server(t), &ticket);
    struct req q = refresh_with(&ticket);
    q.as = &t->target->other;
    (void)expect(t, dial_server(t), 441, &q);
}

const struct check checks_mobility[] = {
    CHECK("turn.mobility.ticket", "RFC 8016 3.1.2",
          "An empty MOBILITY-TICKET in Allocate gets a ticket.", VIA_BOTH, NEEDS_USER,
          gives_ticket),
    CHECK("turn.mobility.not-empty", "RFC 8016 3.1.2",
          "A MOBILITY-TICKET in Allocate that is not empty gets 400.", VIA_BOTH, NEEDS_USER,
          not_empty),
    CHECK("turn.mobility.forbidden", "RFC 8016 3.1.2",
          "Where mobility is off, MOBILITY-TICKET gets 405.", VIA_BOTH, NEEDS_USER, forbidden),
    CHECK("turn.mobility.moves", "RFC 8016 3.2.2",
          "Refresh with the ticket moves the allocation, and gets another ticket.", VIA_BOTH,
          NEEDS_USER, moves),
    CHECK("turn.mobility.same-path", "RFC 8016 3.2.2",
          "The ticket gets 400 where the client is already.", VIA_BOTH, NEEDS_USER, same_path),
    CHECK("turn.mobility.forged", "RFC 8016 3.2.2", "A ticket that was changed gets 400.",
          VIA_BOTH, NEEDS_USER, forged),
    CHECK("turn.mobility.ended", "RFC 8016 3.2.2",
          "The ticket of an allocation that has ended gets 437.", VIA_BOTH, NEEDS_USER, ended),
    CHECK("turn.mobility.other-user", "RFC 8016 3.2.2", "Another user's ticket gets 441.",
          VIA_BOTH, NEEDS_OTHER_USER, other_user),
    {.id = NULL},
};
