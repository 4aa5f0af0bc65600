/* Nonce cookies, password algorithms, user hashes (RFC 8489 9.2). */
#include "lib/stun/security.h"

#include "lib/base/crypto.h"
#include "lib/base/text.h"

static const char cookie[] = "obMatJos2";

enum {
    COOKIE_LEN = sizeof cookie - 1,
    ENTRY_LEN = 4, /* of an algorithm without parameters */
    LIST_MAX = 4
};
_Static_assert((int)COOKIE_LEN + 4 == (int)STUN_NONCE_COOKIE_LEN, "four characters of base64");

void stun_put_nonce_cookie(struct wr *w, uint32_t features)
{
    const uint8_t bits[3] = {(uint8_t)(features >> 16), (uint8_t)(features >> 8),
                             (uint8_t)features};
    wr_bytes(w, slice_str(cookie));
    text_put_base64(w, slice_of(bits, sizeof bits));
}

uint32_t stun_nonce_features(struct slice nonce)
{
    uint8_t bits[3];
    size_t len;
    if (nonce.len < STUN_NONCE_COOKIE_LEN || memcmp(nonce.p, cookie, COOKIE_LEN) != 0 ||
        text_base64(slice_of(nonce.p + COOKIE_LEN, 4), bits, sizeof bits, &len) ||
        len != sizeof bits) {
        return 0;
    }
    return (uint32_t)bits[0] << 16 | (uint32_t)bits[1] << 8 | bits[2];
}

int stun_userhash(uint8_t out[STUN_USERHASH_LEN], struct slice username, struct slice realm)
{
    uint8_t text[1300];
    struct wr w = wr_over(text, sizeof text);
    wr_bytes(&w, username);
    wr_u8(&w, ':');
    wr_bytes(&w, realm);
    return w.err ? ERR_LIMIT : sha256(wr_done(&w), out);
}

static void put_list(struct wr *w, struct slice list)
{
    for (size_t i = 0; i < list.len; i++) {
        wr_u16(w, list.p[i]);
        wr_u16(w, 0); /* neither MD5 nor SHA-256 takes parameters */
    }
}

void stun_put_algorithms(struct stun_writer *s, enum stun_attr type, struct slice list)
{
    uint8_t value[ENTRY_LEN * LIST_MAX];
    struct wr w = wr_over(value, sizeof value);
    put_list(&w, list);
    if (w.err && !s->w.err) {
        s->w.err = w.err;
    }
    stun_put_bytes(s, type, wr_done(&w));
}

bool stun_algorithms_are(struct slice value, struct slice list)
{
    uint8_t want[ENTRY_LEN * LIST_MAX];
    struct wr w = wr_over(want, sizeof want);
    put_list(&w, list);
    return !w.err && slice_eq(value, wr_done(&w));
}

enum stun_algorithm stun_algorithm_of(struct slice value)
{
    struct rd r = rd_over(value);
    enum stun_algorithm found = STUN_ALGORITHM_NONE;
    while (rd_left(&r) > 0) {
        unsigned number = rd_u16(&r);
        size_t len = rd_u16(&r);
        (void)rd_take(&r, len);
        (void)rd_take(&r, (4 - len % 4) % 4);
        bool is_known = number == STUN_ALGORITHM_MD5 || number == STUN_ALGORITHM_SHA256;
        if (found == STUN_ALGORITHM_NONE && is_known && len == 0) {
            found = (enum stun_algorithm)number;
        }
    }
    return r.err ? STUN_ALGORITHM_NONE : found;
}
