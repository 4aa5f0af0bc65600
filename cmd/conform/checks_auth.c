/* Long-term credentials (RFC 8489 9.2), tried with Allocate. */
#include "cmd/conform/steps.h"

enum {
    TEXT_MAX = 128 * 6 /* characters of at most six bytes (RFC 8489 14.9, 14.10) */
};

static const struct req_attr udp_relay = NUM(REQUESTED_TRANSPORT, 17);

static void no_credentials(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = challenge(t, c);
    if (bytes_in(t, m, STUN_NONCE).len > TEXT_MAX ||
        bytes_in(t, m, STUN_REALM).len > TEXT_MAX) {
        fail(t, "REALM or NONCE is longer than 128 characters can be");
    } else if (stun_has(m, STUN_USERNAME)) {
        fail(t, "the 401 has a USERNAME");
    }
}

static void refused(struct trial *t, const struct req *q)
{
    struct line *c = dial_server(t);
    (void)challenge(t, c);
    const struct stun_msg *m = expect(t, c, 401, q);
    (void)bytes_in(t, m, STUN_NONCE);
    (void)bytes_in(t, m, STUN_REALM);
}

static void wrong_password(struct trial *t)
{
    struct account as = {t->target->user.name, slice_str("no such p\xc3\xa4ssword 93")};
    refused(t, REQ(ALLOCATE, .as = &as, .at = {udp_relay}));
}

static void unknown_user(struct trial *t)
{
    struct account as = {slice_str("nobody-of-that-name-93"), t->target->user.password};
    refused(t, REQ(ALLOCATE, .as = &as, .at = {udp_relay}));
}

static void tampered(struct trial *t)
{
    refused(t, REQ(ALLOCATE, .bad_integrity = true, .at = {udp_relay}));
}

static void stale_nonce(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)challenge(t, c);
    const struct stun_msg *m =
        expect(t, c, 438,
               REQ(ALLOCATE, .nonce = slice_str("0123456789abcdef0123456789abcdef"),
                   .at = {udp_relay}));
    (void)bytes_in(t, m, STUN_NONCE);
    (void)bytes_in(t, m, STUN_REALM);
}

static void nonce_after_stale(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)challenge(t, c);
    const struct stun_msg *m =
        expect(t, c, 438,
               REQ(ALLOCATE, .nonce = slice_str("0123456789abcdef0123456789abcdef"),
                   .at = {udp_relay}));
    struct slice nonce = bytes_in(t, m, STUN_NONCE);
    (void)expect(t, c, 0, REQ(ALLOCATE, .nonce = nonce, .at = {udp_relay}));
}

static void incomplete(struct trial *t, enum omit omit)
{
    struct line *c = dial_server(t);
    (void)challenge(t, c);
    (void)expect(t, c, 400, REQ(ALLOCATE, .omit = (unsigned)omit, .at = {udp_relay}));
}

static void no_username(struct trial *t)
{
    incomplete(t, OMIT_USERNAME);
}

static void no_realm(struct trial *t)
{
    incomplete(t, OMIT_REALM);
}

static void no_nonce(struct trial *t)
{
    incomplete(t, OMIT_NONCE);
}

static void integrity_right(struct trial *t, const struct line *c, const struct stun_msg *m)
{
    struct stun_key key;
    key_of(t, c, NULL, &key);
    int err = is_over(t) ? OK : stun_check_integrity(m, &key);
    if (err) {
        fail(t, err == ERR_NOTFOUND ? "the response has no MESSAGE-INTEGRITY"
                                    : "the response's MESSAGE-INTEGRITY is wrong");
    }
}

static void response_integrity(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {udp_relay}));
    integrity_right(t, c, m);
}

static void error_integrity(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = expect(t, c, 437, REQ(REFRESH));
    integrity_right(t, c, m);
}

static void response_fingerprint(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {udp_relay}));
    bool has = m->n_attrs > 0 && m->at[m->n_attrs - 1].type == STUN_FINGERPRINT;
    if (!is_over(t) && has && !stun_fingerprint_ok(m)) {
        fail(t, "the response's FINGERPRINT is wrong");
    } else if (!has) {
        skip(t, "the server's responses have no FINGERPRINT");
    }
}

static void after_integrity(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    const struct stun_msg *m = expect(t, c, 0, REQ(REFRESH, .after = {NUM(LIFETIME, 0)}));
    if (!is_over(t) && number_in(t, m, STUN_LIFETIME) == 0) {
        fail(t, "a LIFETIME of 0 behind MESSAGE-INTEGRITY was obeyed");
    }
    (void)expect(t, c, 0, REQ(REFRESH));
}

static void unknown_after_integrity(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    (void)expect(t, c, 0, REQ(REFRESH, .after = {RAW(0x7ff1, slice_str("four"))}));
}

static void unknown_signed(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 420, REQ(ALLOCATE, .at = {udp_relay, RAW(0x7ff1, slice_str("four"))}));
}

static void nonce_elsewhere(struct trial *t)
{
    struct line *first = dial_server(t), *c = dial_server(t);
    (void)challenge(t, first);
    c->realm = first->realm;
    struct slice nonce = slice_of(first->nonce.b, first->nonce.len);
    const struct stun_msg *m = ask(t, c, REQ(REFRESH, .nonce = nonce));
    unsigned code = code_of(m);
    if (code == 438 || code == 401) {
        skip(t, "the server ties a nonce to one connection (%u), which it may", code);
    } else if (code != 437) {
        fail(t, "expected error 437, got %u", code);
    }
}

static void other_user(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    const struct stun_msg *m = ask(t, c, REQ(REFRESH, .as = &t->target->other));
    unsigned code = code_of(m);
    if (!is_over(t) && m->cls != STUN_ERROR) {
        fail(t, "another user refreshed the allocation");
    } else if (code != 441) {
        fail(t, "expected error 441, got %u", code);
    }
}

static void other_user_allocates(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)allocate(t, c);
    (void)expect(t, c, 437, REQ(ALLOCATE, .at = {udp_relay}, .as = &t->target->other));
}

const struct check checks_auth[] = {
    CHECK("turn.allocate.no-credentials", "RFC 8489 9.2.4",
          "A request without credentials gets 401 with REALM and NONCE.", VIA_BOTH, NEEDS_TURN,
          no_credentials),
    CHECK("auth.wrong-password", "RFC 8489 9.2.4",
          "A wrong password gets 401 with REALM and NONCE.", VIA_BOTH, NEEDS_USER,
          wrong_password),
    CHECK("auth.unknown-user", "RFC 8489 9.2.4",
          "An unknown user gets 401 with REALM and NONCE.", VIA_BOTH, NEEDS_USER, unknown_user),
    CHECK("auth.tampered", "RFC 8489 9.2.4",
          "A request whose MESSAGE-INTEGRITY is off by one bit gets 401.", VIA_BOTH, NEEDS_USER,
          tampered),
    CHECK("auth.stale-nonce", "RFC 8489 9.2.4",
          "A nonce that the server did not give gets 438 with a new one.", VIA_BOTH, NEEDS_USER,
          stale_nonce),
    CHECK("auth.nonce-after-stale", "RFC 8489 9.2.4", "The nonce of a 438 is good.", VIA_BOTH,
          NEEDS_USER, nonce_after_stale),
    CHECK("auth.missing-username", "RFC 8489 9.2.4",
          "MESSAGE-INTEGRITY without USERNAME gets 400.", VIA_BOTH, NEEDS_USER, no_username),
    CHECK("auth.missing-realm", "RFC 8489 9.2.4", "MESSAGE-INTEGRITY without REALM gets 400.",
          VIA_BOTH, NEEDS_USER, no_realm),
    CHECK("auth.missing-nonce", "RFC 8489 9.2.4", "MESSAGE-INTEGRITY without NONCE gets 400.",
          VIA_BOTH, NEEDS_USER, no_nonce),
    CHECK("auth.response-integrity", "RFC 8489 9.2.4",
          "A success response has a right MESSAGE-INTEGRITY.", VIA_BOTH, NEEDS_USER,
          response_integrity),
    CHECK("auth.error-integrity", "RFC 8489 9.2.4",
          "So has an error response to a request that was authenticated.", VIA_BOTH, NEEDS_USER,
          error_integrity),
    CHECK("auth.response-fingerprint", "RFC 8489 7", "A FINGERPRINT in a response is right.",
          VIA_BOTH, NEEDS_USER, response_fingerprint),
    CHECK("auth.attribute-after-integrity", "RFC 8489 14.5",
          "A known attribute behind MESSAGE-INTEGRITY is ignored.", VIA_BOTH, NEEDS_USER,
          after_integrity),
    CHECK("auth.unknown-after-integrity", "RFC 8489 14.5",
          "An unknown attribute behind MESSAGE-INTEGRITY is ignored.", VIA_BOTH, NEEDS_USER,
          unknown_after_integrity),
    CHECK("auth.unknown-attribute", "RFC 8489 9.2.4",
          "An authenticated request with an unknown required attribute gets 420.", VIA_BOTH,
          NEEDS_USER, unknown_signed),
    CHECK("auth.nonce-elsewhere", "RFC 8489 9.2",
          "A nonce is good on another connection too, if the server wants it so.", VIA_BOTH,
          NEEDS_USER, nonce_elsewhere),
    CHECK("auth.other-user", "RFC 8656 5",
          "Another user's request about an allocation gets 441.", VIA_BOTH, NEEDS_OTHER_USER,
          other_user),
    CHECK("auth.other-user-allocates", "RFC 8656 7.2",
          "Another user's Allocate on a 5-tuple that has an allocation gets 437.", VIA_BOTH,
          NEEDS_OTHER_USER, other_user_allocates),
    {.id = NULL},
};
