/* Self-contained tokens (RFC 7635 6.2): a nonce, then under AES-GCM a key, a time and a
 * lifetime. */
#include "lib/turn/oauth_token.h"

#include "lib/base/crypto.h"
#include "lib/base/text.h"

enum {
    SKEW_S = 5, /* between the authorization server's clock and ours (RFC 7635 4.1.1) */
    PLAIN_MAX = 2 + STUN_KEY_MAX + 8 + 4,
    FRACTION_BITS = 16 /* of the time: 1/64000 s, and seconds above them */
};

int oauth_key_from_text(struct oauth_key *out, struct slice base64)
{
    size_t len;
    *out = (struct oauth_key){.until_unix_s = UINT64_MAX};
    if (text_base64(text_trim(base64), out->b, sizeof out->b, &len) ||
        (len != 16 && len != 32)) {
        secret_wipe(out, sizeof *out);
        return ERR_MALFORMED;
    }
    out->len = (uint8_t)len;
    return OK;
}

/* coturn cuts a key that is longer than its algorithm's. */
int oauth_key_from_row(struct oauth_key *out, struct slice row)
{
    uint8_t ikm[256];
    size_t len, want;
    uint64_t from_s, life_s;
    struct slice rest = row, base64 = text_split(&rest, '|'), name = text_split(&rest, '|'),
                 from = text_split(&rest, '|');
    *out = (struct oauth_key){.until_unix_s = UINT64_MAX};
    want = name.len == 0 || text_is(name, "A256GCM") ? 32 : text_is(name, "A128GCM") ? 16 : 0;
    int err = text_base64(base64, ikm, sizeof ikm, &len);
    err = err ? err : text_u64(from, UINT64_MAX, &from_s);
    err = err ? err : text_u64(rest, UINT32_MAX, &life_s);
    if (!err && want > 0 && len >= want) {
        memcpy(out->b, ikm, want);
        out->len = (uint8_t)want;
        if (from_s > 0 && life_s > 0 && from_s < UINT64_MAX - life_s) {
            out->until_unix_s = from_s + life_s;
        }
    }
    secret_wipe(ikm, sizeof ikm);
    return out->len > 0 ? OK : ERR_MALFORMED;
}

static int read_plain(struct oauth_token *out, struct slice plain)
{
    struct rd r = rd_over(plain);
    size_t len = rd_u16(&r);
    struct slice key = rd_take(&r, len);
    uint64_t time = rd_u64(&r);
    uint32_t lifetime_s = rd_u32(&r);
    if (r.err || rd_left(&r) > 0 || key.len == 0 || key.len > STUN_KEY_MAX) {
        return ERR_MALFORMED;
    }
    out->mac_key = (struct stun_key){.len = (uint8_t)key.len};
    memcpy(out->mac_key.b, key.p, key.len);
    out->made_unix_s = time >> FRACTION_BITS;
    out->lifetime_s = lifetime_s;
    return OK;
}

int oauth_token_open(struct oauth_token *out, const struct oauth_key *key, struct slice name,
                     struct slice token)
{
    uint8_t plain[PLAIN_MAX];
    struct wr w = wr_over(plain, sizeof plain);
    struct rd r = rd_over(token);
    size_t nonce_len = rd_u16(&r);
    struct slice nonce = rd_take(&r, nonce_len), sealed = rd_take(&r, rd_left(&r));
    const struct aes_gcm g = {.key = slice_of(key->b, key->len), .nonce = nonce, .aad = name};
    *out = (struct oauth_token){.lifetime_s = 0};
    if (r.err || nonce.len != AES_GCM_NONCE_LEN || token.len > OAUTH_TOKEN_MAX) {
        return ERR_MALFORMED;
    }
    int err = aes_gcm_open(&g, sealed, &w);
    err = err ? err : read_plain(out, wr_done(&w));
    secret_wipe(plain, sizeof plain);
    return err;
}

int oauth_token_seal(const struct oauth_token *t, const struct oauth_key *key,
                     struct slice name, const uint8_t nonce[12], struct wr *out)
{
    uint8_t plain[PLAIN_MAX];
    struct wr w = wr_over(plain, sizeof plain);
    const struct aes_gcm g = {.key = slice_of(key->b, key->len),
                              .nonce = slice_of(nonce, AES_GCM_NONCE_LEN),
                              .aad = name};
    wr_u16(&w, t->mac_key.len);
    wr_bytes(&w, slice_of(t->mac_key.b, t->mac_key.len));
    wr_u64(&w, t->made_unix_s << FRACTION_BITS);
    wr_u32(&w, t->lifetime_s);
    wr_u16(out, AES_GCM_NONCE_LEN);
    wr_bytes(out, g.nonce);
    int err = aes_gcm_seal(&g, wr_done(&w), out);
    secret_wipe(plain, sizeof plain);
    return err ? err : out->err;
}

void oauth_token_keys(struct turn_keys *out, const struct oauth_key *key,
                      const struct oauth_now *now, struct slice token)
{
    struct oauth_token t;
    *out = (struct turn_keys){.until_ms = UINT64_MAX};
    if (now->unix_s >= key->until_unix_s || oauth_token_open(&t, key, now->name, token)) {
        return;
    }
    /* RFC 7635 4.1.1: from its time on, for its lifetime, give or take the clocks. */
    uint64_t made_s = t.made_unix_s, end_s = made_s + t.lifetime_s; /* 48 bits, and 32 */
    if (now->unix_s + SKEW_S >= made_s && now->unix_s < end_s) {
        out->key[out->n++] = t.mac_key;
        out->ends_ms = now->ms + 1000 * (end_s - now->unix_s);
        out->until_ms = out->ends_ms;
    }
    secret_wipe(&t, sizeof t);
}
