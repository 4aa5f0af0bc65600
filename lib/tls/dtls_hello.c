/* ClientHello and HelloVerifyRequest (RFC 6347 4.2.1, 4.2.2, 4.3.2). */
#include "lib/tls/dtls_hello.h"

#include "lib/base/crypto.h"

enum {
    RECORD_HANDSHAKE = 22,
    CLIENT_HELLO = 1,
    HELLO_VERIFY_REQUEST = 3,
    SESSION_ID_MAX = 32,
    DTLS_1_0 = 0xfeff,
    HELLO_MIN = 42 /* without session, cookie, extensions; one cipher suite */
};

int dtls_hello_parse(struct dtls_hello *out, struct slice datagram)
{
    struct rd r = rd_over(datagram);
    *out = (struct dtls_hello){0};
    uint8_t type = rd_u8(&r), version = rd_u8(&r);
    (void)rd_u8(&r); /* 1.0 or 1.2: a first record may say either */
    out->record_seq = rd_u64(&r);
    size_t len = rd_u16(&r);
    struct rd m = rd_over(rd_take(&r, len));
    uint8_t message = rd_u8(&m);
    if (r.err || m.err || type != RECORD_HANDSHAKE || version != DTLS_1_0 >> 8 ||
        out->record_seq >> 48 != 0 || message != CLIENT_HELLO) {
        return ERR_UNSUPPORTED;
    }
    out->record_len = r.at;
    size_t whole = rd_uint(&m, 3);
    out->message_seq = rd_u16(&m);
    size_t at = rd_uint(&m, 3), here = rd_uint(&m, 3);
    if (at != 0) {
        return ERR_UNSUPPORTED; /* a later fragment */
    }
    if (m.err || here > whole || whole < HELLO_MIN || here != rd_left(&m)) {
        return ERR_MALFORMED;
    }
    uint8_t major = rd_u8(&m);
    (void)rd_u8(&m);
    out->random = rd_take(&m, DTLS_RANDOM_LEN);
    struct slice session = rd_take(&m, rd_u8(&m));
    out->cookie = rd_take(&m, rd_u8(&m));
    return m.err || major != DTLS_1_0 >> 8 || session.len > SESSION_ID_MAX ? ERR_MALFORMED : OK;
}

static void put_addr(struct wr *w, const struct addr *a)
{
    wr_u8(w, a->family);
    wr_bytes(w, slice_of(a->ip, sizeof a->ip));
    wr_u16(w, a->port);
}

/* The period's number is part of it, so that it goes stale without a clock of its own. */
static int cookie_of(const struct dtls_door *door, uint64_t period, struct slice random,
                     uint8_t out[DTLS_COOKIE_LEN])
{
    uint8_t mac[SHA256_LEN], about[2 * 19 + 8];
    struct wr w = wr_over(about, sizeof about);
    put_addr(&w, &door->client);
    put_addr(&w, &door->local);
    wr_u64(&w, period);
    const struct hmac_piece in = {
        .part = {wr_done(&w), random}
    };
    int err = hmac_sha256(slice_of(door->secret, 32), &in, mac);
    memcpy(out, mac, DTLS_COOKIE_LEN);
    return err;
}

static bool cookie_ok(const struct dtls_door *door, const struct dtls_hello *h)
{
    uint64_t period = door->now_ms / (1000ull * DTLS_COOKIE_S);
    for (uint64_t back = 0; back <= 1 && back <= period; back++) {
        uint8_t right[DTLS_COOKIE_LEN];
        if (cookie_of(door, period - back, h->random, right) == OK &&
            secret_eq(h->cookie, slice_of(right, sizeof right))) {
            return true;
        }
    }
    return false;
}

static bool ask(const struct dtls_door *door, const struct dtls_hello *h,
                uint8_t out[DTLS_VERIFY_LEN])
{
    enum {
        BODY = 3 + DTLS_COOKIE_LEN
    };
    uint8_t cookie[DTLS_COOKIE_LEN];
    struct wr w = wr_over(out, DTLS_VERIFY_LEN);
    if (cookie_of(door, door->now_ms / (1000ull * DTLS_COOKIE_S), h->random, cookie)) {
        return false;
    }
    wr_u8(&w, RECORD_HANDSHAKE);
    wr_u16(&w, DTLS_1_0);      /* RFC 6347 4.2.1: whatever version is spoken later */
    wr_u64(&w, h->record_seq); /* RFC 6347 4.2.1: the ClientHello's */
    wr_u16(&w, 12 + BODY);
    wr_u8(&w, HELLO_VERIFY_REQUEST);
    wr_uint(&w, BODY, 3);
    wr_u16(&w, 0); /* message_seq: the first that we say */
    wr_uint(&w, 0, 3);
    wr_uint(&w, BODY, 3);
    wr_u16(&w, DTLS_1_0);
    wr_u8(&w, DTLS_COOKIE_LEN);
    wr_bytes(&w, slice_of(cookie, sizeof cookie));
    return w.err == OK;
}

enum dtls_knock dtls_door_knock(const struct dtls_door *door, struct slice datagram,
                                struct dtls_hello *h, uint8_t out[DTLS_VERIFY_LEN])
{
    int err = dtls_hello_parse(h, datagram);
    if (err) {
        return err == ERR_UNSUPPORTED ? DTLS_NO_HELLO : DTLS_STRAY;
    }
    /* RFC 6347 4.2.2: the first ClientHello has number 0, the one with the cookie number 1. */
    if (h->message_seq == 0) {
        return ask(door, h, out) ? DTLS_VERIFY : DTLS_STRAY;
    }
    return h->message_seq == 1 && cookie_ok(door, h) ? DTLS_PROVEN : DTLS_STRAY;
}
