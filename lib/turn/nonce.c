/* Nonces that need no memory: what the server can do, when it was made, who asked, and an HMAC
 * over that. One nonce serves every request of a client, on any connection: a ConnectionBind
 * comes from another port than the Connect before it. */
#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/stun/security.h"
#include "lib/turn/core.h"

enum {
    NUMBER_LEN = 8, /* hexadecimal digits */
    HEAD_LEN = STUN_NONCE_COOKIE_LEN + 2 * NUMBER_LEN,
    MAC_BYTES = 18 /* 23 characters of base64 are shown, or 11: some 66 bits */
};
_Static_assert((int)NONCE_LEN - (int)HEAD_LEN <= MAC_BYTES / 3 * 4, "the HMAC is too short");

static uint32_t features(const struct turn_server *s)
{
    return (s->cfg.n_algorithms > 0 ? STUN_FEATURE_ALGORITHMS : 0u) |
           (s->cfg.anonymity ? STUN_FEATURE_ANONYMITY : 0u);
}

/* RFC 8489 9.2.4: no two sources get the same one. */
static uint32_t tag_of(const struct turn_server *s, const struct addr *client)
{
    uint8_t b[18];
    struct wr w = wr_over(b, sizeof b);
    wr_bytes(&w, slice_of(client->ip, 16));
    wr_u16(&w, client->port);
    return (uint32_t)siphash(s->tag_secret, wr_done(&w));
}

static int nonce_at(const struct turn_server *s, struct slice realm, uint32_t unix_s,
                    uint32_t tag, uint8_t out[NONCE_LEN])
{
    uint8_t mac[SHA256_LEN], text[NONCE_LEN + 4]; /* wr_text wants room for an end mark */
    struct wr w = wr_over(text, sizeof text);
    stun_put_nonce_cookie(&w, features(s));
    wr_text(&w, "%08x%08x", (unsigned)unix_s, (unsigned)tag);
    struct hmac_piece piece = {
        .part = {wr_done(&w), realm}
    };
    int err =
        hmac_sha256(slice_of(s->cfg.nonce_secret, sizeof s->cfg.nonce_secret), &piece, mac);
    text_put_base64(&w, slice_of(mac, MAC_BYTES));
    memcpy(out, text, NONCE_LEN);
    return err ? err : w.err;
}

int nonce_make(struct turn_server *s, const struct call *c)
{
    s->nonce_len = c->conn->is_proven ? NONCE_LEN : NONCE_SHORT_LEN;
    return nonce_at(s, s->cfg.realms[c->conn->realm], (uint32_t)s->env.unix_s(s->env.ctx),
                    tag_of(s, &c->conn->client), s->nonce);
}

static bool hex_u32(struct slice s, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) {
            return false;
        }
        *out = *out << 4 | (is_digit ? c - (uint32_t)'0' : c - (uint32_t)'a' + 10);
    }
    return true;
}

bool nonce_ok(const struct turn_server *s, const struct call *c)
{
    struct slice nonce = c->req.nonce;
    uint8_t right[NONCE_LEN];
    uint32_t made_s, tag, now_s = (uint32_t)s->env.unix_s(s->env.ctx);
    if (nonce.len != NONCE_LEN && nonce.len != NONCE_SHORT_LEN) {
        return false;
    }
    const uint8_t *numbers = nonce.p + STUN_NONCE_COOKIE_LEN;
    if (!hex_u32(slice_of(numbers, NUMBER_LEN), &made_s) ||
        !hex_u32(slice_of(numbers + NUMBER_LEN, NUMBER_LEN), &tag) ||
        nonce_at(s, s->cfg.realms[c->conn->realm], made_s, tag, right) ||
        !secret_eq(nonce, slice_of(right, nonce.len))) {
        return false;
    }
    /* Another worker's clock, read later, may be ahead. */
    return made_s > now_s ? made_s - now_s <= 1 : now_s - made_s <= s->cfg.nonce_life_s;
}
