/* What RFC 8489 9.2 added to long-term credentials: SHA-256, hashed names, and nonces that tell
 * of them. */
#include "lib/stun/security.h"

#include "cmd/conform/steps.h"

enum {
    NONCE_KEPT = 763
};

static const struct req_attr udp_relay = NUM(REQUESTED_TRANSPORT, 17);
/* Number, length of the parameters: none (RFC 8489 14.12). */
static const uint8_t md5[] = {0, 1, 0, 0}, sha256[] = {0, 2, 0, 0},
                     unheard[] = {0x7f, 0xf1, 0, 0};

#define ALGORITHM(a)     BYTES(PASSWORD_ALGORITHM, slice_of(a, sizeof(a)))
#define ALGORITHMS(list) BYTES(PASSWORD_ALGORITHMS, list)

static bool lists(struct slice algorithms, const uint8_t one[4])
{
    for (size_t i = 0; i + 4 <= algorithms.len; i += 4) {
        if (memcmp(algorithms.p + i, one, 4) == 0) {
            return true;
        }
    }
    return false;
}

/* PASSWORD-ALGORITHMS of the challenge. Skips where SHA-256 is not in it. */
static struct slice offered(struct trial *t, struct line *c)
{
    const struct stun_msg *m = challenge(t, c);
    struct slice list = slice_of(NULL, 0);
    if (is_over(t)) {
        return list;
    }
    if (stun_get_bytes(m, STUN_PASSWORD_ALGORITHMS, &list)) {
        skip(t, "the server offers no PASSWORD-ALGORITHMS");
    } else if (!lists(list, sha256)) {
        skip(t, "the server does not offer SHA-256");
    }
    return list;
}

/* A request as RFC 8489 9.2.3.2 has it; without attributes of its own. */
static const struct stun_msg *refresh(struct trial *t, struct line *c, struct slice list,
                                      unsigned code)
{
    return expect(
        t, c, code,
        REQ(REFRESH, .sign = SIGN_SHA256, .at = {ALGORITHMS(list), ALGORITHM(sha256)}));
}

static struct slice allocate_strong(struct trial *t, struct line *c)
{
    struct slice list = offered(t, c);
    (void)expect(t, c, 0,
                 REQ(ALLOCATE, .sign = SIGN_SHA256,
                     .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
    return list;
}

static bool is_base64(uint8_t c)
{
    return c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c);
}

/* RFC 8489 9.2: "obMatJos2", and 24 bits in base64. */
static bool has_cookie(struct slice nonce)
{
    static const char cookie[] = "obMatJos2";
    size_t n = sizeof cookie - 1;
    bool has = nonce.len >= STUN_NONCE_COOKIE_LEN && memcmp(nonce.p, cookie, n) == 0;
    for (; has && n < STUN_NONCE_COOKIE_LEN; n++) {
        has = is_base64(nonce.p[n]);
    }
    return has;
}

static void nonce_cookie(struct trial *t)
{
    const struct stun_msg *m = challenge(t, dial_server(t));
    struct slice nonce = bytes_in(t, m, STUN_NONCE), list = slice_of(NULL, 0);
    if (is_over(t)) {
        return;
    }
    bool says = stun_nonce_features(nonce) & STUN_FEATURE_ALGORITHMS;
    bool has = stun_get_bytes(m, STUN_PASSWORD_ALGORITHMS, &list) == OK;
    if (!has && !says) {
        skip(t, "the server offers no PASSWORD-ALGORITHMS");
    } else if (!has) {
        fail(t, "the nonce tells of PASSWORD-ALGORITHMS, and there are none");
    } else if (!has_cookie(nonce)) {
        fail(t,
             "there are PASSWORD-ALGORITHMS, and the nonce does not begin with a nonce cookie");
    } else if (!says) {
        fail(t, "there are PASSWORD-ALGORITHMS, and the nonce does not tell of them");
    } else if (stun_algorithm_of(list) == STUN_ALGORITHM_NONE) {
        fail(t, "PASSWORD-ALGORITHMS has neither MD5 nor SHA-256, or is cut short");
    }
}

static void integrity_right(struct trial *t, const struct line *c, const struct stun_msg *m)
{
    struct stun_key key;
    key_made_of(t, c, NULL, STUN_ALGORITHM_SHA256, &key);
    if (is_over(t)) {
        return;
    }
    if (m->integrity_sha256 == 0) {
        fail(t, "the response has no MESSAGE-INTEGRITY-SHA256");
    } else if (stun_check_integrity(m, &key)) {
        fail(t, "the response's MESSAGE-INTEGRITY-SHA256 is wrong");
    }
}

static void success(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    const struct stun_msg *m =
        expect(t, c, 0,
               REQ(ALLOCATE, .sign = SIGN_SHA256,
                   .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
    integrity_right(t, c, m);
}

static void error_integrity(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    integrity_right(t, c, refresh(t, c, list, 437));
}

static void tampered(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    (void)expect(t, c, 401,
                 REQ(ALLOCATE, .sign = SIGN_SHA256, .bad_integrity = true,
                     .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
}

/* Somebody between takes the strong ones out of the challenge: the client sends back what it
 * saw, and that is how the server notices. */
static void bid_down(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)offered(t, c);
    (void)expect(t, c, 400,
                 REQ(ALLOCATE,
                     .at = {udp_relay, ALGORITHMS(slice_of(md5, sizeof md5)), ALGORITHM(md5)}));
}

static void reordered(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    uint8_t other[8];
    if (is_over(t)) {
        return;
    }
    if (list.len != sizeof other) {
        skip(t, "the server does not offer two algorithms");
        return;
    }
    memcpy(other, list.p + 4, 4);
    memcpy(other + 4, list.p, 4);
    list = slice_of(other, sizeof other);
    (void)expect(t, c, 400,
                 REQ(ALLOCATE, .sign = SIGN_SHA256,
                     .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
}

static void not_offered(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    (void)expect(t, c, 400,
                 REQ(ALLOCATE, .sign = SIGN_SHA256,
                     .at = {udp_relay, ALGORITHMS(list), ALGORITHM(unheard)}));
}

static void list_alone(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    (void)expect(t, c, 400, REQ(ALLOCATE, .at = {udp_relay, ALGORITHMS(list)}));
}

static void choice_alone(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)offered(t, c);
    (void)expect(t, c, 400,
                 REQ(ALLOCATE, .sign = SIGN_SHA256, .at = {udp_relay, ALGORITHM(sha256)}));
}

/* The other way down: a nonce that tells of no features any more. */
static void nonce_changed(struct trial *t)
{
    struct line *c = dial_server(t);
    uint8_t text[NONCE_KEPT];
    struct wr w = wr_over(text, STUN_NONCE_COOKIE_LEN);
    (void)offered(t, c);
    if (is_over(t)) {
        return;
    }
    if (c->nonce.len > sizeof text || c->nonce.len < STUN_NONCE_COOKIE_LEN) {
        fail(t, "the nonce has no nonce cookie, or is too long");
        return;
    }
    memcpy(text, c->nonce.b, c->nonce.len);
    stun_put_nonce_cookie(&w, 0);
    const struct stun_msg *m = expect(
        t, c, 438, REQ(ALLOCATE, .nonce = slice_of(text, c->nonce.len), .at = {udp_relay}));
    (void)bytes_in(t, m, STUN_PASSWORD_ALGORITHMS);
}

static void weaker_right(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    (void)expect(t, c, 401,
                 REQ(ALLOCATE, .sign = SIGN_SHA1_SHA256, .bad_integrity = true,
                     .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
}

static void weaker_behind(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    (void)expect(t, c, 0,
                 REQ(ALLOCATE, .sign = SIGN_SHA256_SHA1, .bad_integrity = true,
                     .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
}

static void after_integrity(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = allocate_strong(t, c);
    const struct stun_msg *m =
        expect(t, c, 0,
               REQ(REFRESH, .sign = SIGN_SHA256, .after = {NUM(LIFETIME, 0)},
                   .at = {ALGORITHMS(list), ALGORITHM(sha256)}));
    if (!is_over(t) && number_in(t, m, STUN_LIFETIME) == 0) {
        fail(t, "a LIFETIME of 0 behind MESSAGE-INTEGRITY-SHA256 was obeyed");
    }
    (void)refresh(t, c, list, 0);
}

static void truncated(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    const struct stun_msg *m = ask(t, c,
                                   REQ(ALLOCATE, .sign = SIGN_SHA256_CUT_16,
                                       .at = {udp_relay, ALGORITHMS(list), ALGORITHM(sha256)}));
    unsigned code = code_of(m);
    if (!is_over(t) && code != 400 && code != 401) {
        fail(t, "expected error 401 or 400, got %s %u", code ? "error" : "success:", code);
    }
}

static void md5_goes_on(struct trial *t)
{
    struct line *c = dial_server(t);
    struct slice list = offered(t, c);
    if (!is_over(t) && !lists(list, md5)) {
        skip(t, "the server does not offer MD5");
    }
    (void)expect(t, c, 0, REQ(ALLOCATE, .at = {udp_relay}));
}

struct hashed { /* a name that is not sent as it is */
    uint8_t b[STUN_USERHASH_LEN];
};

/* Skips where the nonce does not tell of username anonymity. */
static struct req by_hash(struct trial *t, struct line *c, struct slice name, struct hashed *h)
{
    const struct stun_msg *m = challenge(t, c);
    struct slice list;
    *h = (struct hashed){{0}};
    if (!is_over(t) &&
        !(stun_nonce_features(slice_of(c->nonce.b, c->nonce.len)) & STUN_FEATURE_ANONYMITY)) {
        skip(t, "the server does not take USERHASH");
    }
    if (!is_over(t) && stun_userhash(h->b, name, slice_of(c->realm.b, c->realm.len))) {
        fail(t, "cannot hash the name");
    }
    struct req q = {
        .method = STUN_ALLOCATE,
        .omit = OMIT_USERNAME,
        .at = {udp_relay, BYTES(USERHASH, slice_of(h->b, sizeof h->b))}
    };
    if (!is_over(t) && stun_get_bytes(m, STUN_PASSWORD_ALGORITHMS, &list) == OK &&
        lists(list, sha256)) {
        q.sign = SIGN_SHA256;
        q.at[2] = (struct req_attr)ALGORITHMS(list);
        q.at[3] = (struct req_attr)ALGORITHM(sha256);
    }
    return q;
}

static void hash_works(struct trial *t)
{
    struct line *c = dial_server(t);
    struct hashed h;
    struct req q = by_hash(t, c, t->target->user.name, &h);
    (void)expect(t, c, 0, &q);
}

static void hash_of_nobody(struct trial *t)
{
    struct line *c = dial_server(t);
    struct hashed h;
    struct req q = by_hash(t, c, slice_str("nobody-of-that-name-93"), &h);
    (void)expect(t, c, 401, &q);
}

static void hash_and_name(struct trial *t)
{
    struct line *c = dial_server(t);
    struct hashed h;
    struct req q = by_hash(t, c, t->target->user.name, &h);
    q.omit = 0;
    const struct stun_msg *m = ask(t, c, &q);
    if (!is_over(t) && m->cls == STUN_SUCCESS) {
        skip(t, "the server takes both at once: the RFC says \"either\", and no more");
    } else if (code_of(m) != 400) {
        fail(t, "expected error 400, got %u", code_of(m));
    }
}

static void sent_away(struct trial *t)
{
    struct line *c = dial_server(t);
    const struct stun_msg *m = ask(t, c, REQ(ALLOCATE, .at = {udp_relay}));
    if (is_over(t) || code_of(m) != 300) {
        return;
    }
    struct addr to = addr_in(t, m, STUN_ALTERNATE_SERVER);
    if (!is_over(t) && to.family != t->target->server.family) {
        fail(t, "ALTERNATE-SERVER is of another address family than the request's");
    } else if (!is_over(t) && addr_eq(&to, &t->target->server)) {
        fail(t, "ALTERNATE-SERVER is the server itself");
    }
}

/* clang-format off: it gives every row a line of its own alignment */
const struct check checks_sha256[] = {
    CHECK("auth.sha256.nonce-cookie", "RFC 8489 9.2.1",
          "PASSWORD-ALGORITHMS comes with a nonce that begins with a nonce cookie and tells of "
          "it.",
          VIA_BOTH, NEEDS_TURN, nonce_cookie),
    CHECK("auth.sha256.success", "RFC 8489 9.2.4",
          "SHA-256, when chosen, works, and the answer has a right MESSAGE-INTEGRITY-SHA256.",
          VIA_BOTH, NEEDS_USER, success),
    CHECK("auth.sha256.error-integrity", "RFC 8489 9.2.4",
          "So has an error response to a request that was authenticated.", VIA_BOTH, NEEDS_USER,
          error_integrity),
    CHECK("auth.sha256.tampered", "RFC 8489 9.2.4",
          "A request whose MESSAGE-INTEGRITY-SHA256 is off by one bit gets 401.", VIA_BOTH,
          NEEDS_USER, tampered),
    CHECK("auth.sha256.bid-down", "RFC 8489 9.2.4",
          "PASSWORD-ALGORITHMS that has lost SHA-256 on the way gets 400.", VIA_BOTH,
          NEEDS_USER, bid_down),
    CHECK("auth.sha256.reordered", "RFC 8489 9.2.4",
          "PASSWORD-ALGORITHMS in another order gets 400.", VIA_BOTH, NEEDS_USER, reordered),
    CHECK("auth.sha256.not-offered", "RFC 8489 9.2.4",
          "A PASSWORD-ALGORITHM that was not offered gets 400.", VIA_BOTH, NEEDS_USER,
          not_offered),
    CHECK("auth.sha256.list-alone", "RFC 8489 9.2.4",
          "PASSWORD-ALGORITHMS without PASSWORD-ALGORITHM gets 400.", VIA_BOTH, NEEDS_USER,
          list_alone),
    CHECK("auth.sha256.choice-alone", "RFC 8489 9.2.4",
          "PASSWORD-ALGORITHM without PASSWORD-ALGORITHMS gets 400.", VIA_BOTH, NEEDS_USER,
          choice_alone),
    CHECK("auth.sha256.nonce-changed", "RFC 8489 9.2.4",
          "A nonce whose features were taken out gets 438 with PASSWORD-ALGORITHMS.", VIA_BOTH,
          NEEDS_USER, nonce_changed),
    CHECK("auth.sha256.weaker-right", "RFC 8489 9.2.4",
          "A right MESSAGE-INTEGRITY does not excuse a wrong MESSAGE-INTEGRITY-SHA256.",
          VIA_BOTH, NEEDS_USER, weaker_right),
    CHECK("auth.sha256.weaker-behind", "RFC 8489 14.6",
          "A MESSAGE-INTEGRITY behind MESSAGE-INTEGRITY-SHA256 is ignored.", VIA_BOTH,
          NEEDS_USER, weaker_behind),
    CHECK("auth.sha256.attribute-after", "RFC 8489 14.6",
          "A known attribute behind MESSAGE-INTEGRITY-SHA256 is ignored.", VIA_BOTH, NEEDS_USER,
          after_integrity),
    CHECK("auth.sha256.truncated", "RFC 8489 14.6",
          "A MESSAGE-INTEGRITY-SHA256 of 16 bytes is refused: TURN does not let it be cut.",
          VIA_BOTH, NEEDS_USER, truncated),
    CHECK("auth.sha256.md5", "RFC 8489 9.2.4",
          "A client that knows nothing of all this gets in where MD5 is offered.", VIA_BOTH,
          NEEDS_USER, md5_goes_on),
    CHECK("auth.userhash.success", "RFC 8489 9.2.4",
          "USERHASH in place of USERNAME works where the nonce tells of it.", VIA_BOTH,
          NEEDS_USER, hash_works),
    CHECK("auth.userhash.unknown", "RFC 8489 9.2.4", "A USERHASH of nobody gets 401.", VIA_BOTH,
          NEEDS_USER, hash_of_nobody),
    CHECK("auth.userhash.and-username", "RFC 8489 9.2.4",
          "USERHASH and USERNAME at once get 400.", VIA_BOTH, NEEDS_USER, hash_and_name),
    CHECK("auth.alternate-server", "RFC 8489 10",
          "A client is not sent elsewhere (300), or is told where, in its own address family.",
          VIA_BOTH, NEEDS_USER, sent_away),
    {.id = NULL},
};
/* clang-format on */
