/* Credentials that are not a name and a password. TURN REST is
 * draft-uberti-behave-turn-rest-00, section 2.2; its SHA-256 form is what servers have made of
 * it since. */
#include "lib/turn/credentials.h"

#include "lib/base/crypto.h"
#include "lib/base/text.h"

bool credential_is_timed(struct slice username, uint64_t *expires_unix_s)
{
    struct slice rest = username, expiry = text_split(&rest, ':');
    return text_u64(expiry, UINT64_MAX, expires_unix_s) == OK;
}

int credential_password(struct wr *w, enum stun_hash hash, struct slice secret,
                        struct slice username)
{
    uint8_t mac[SHA256_LEN];
    const struct hmac_piece in = {.part = {username}};
    bool is_sha1 = hash == STUN_SHA1;
    int err = is_sha1 ? hmac_sha1(secret, &in, mac) : hmac_sha256(secret, &in, mac);
    if (!err) {
        text_put_base64(w, slice_of(mac, is_sha1 ? SHA1_LEN : SHA256_LEN));
        err = w->err;
    }
    secret_wipe(mac, sizeof mac);
    return err;
}

int credential_key(struct stun_key *out, const struct credential_maker *maker,
                   struct slice username, struct slice realm)
{
    uint8_t password[CREDENTIAL_PASSWORD_MAX];
    struct wr w = wr_over(password, sizeof password);
    int err = credential_password(&w, maker->hash, maker->secret, username);
    err = err ? err : stun_key_made(out, maker->algorithm, username, realm, wr_done(&w));
    secret_wipe(password, sizeof password);
    return err;
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int credential_key_from_hex(struct stun_key *out, struct slice hex)
{
    *out = (struct stun_key){.hash = STUN_SHA1};
    if (hex.len != 2 * (size_t)MD5_LEN && hex.len != 2 * (size_t)SHA256_LEN) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < hex.len; i += 2) {
        int high = digit_of(hex.p[i]), low = digit_of(hex.p[i + 1]);
        if (high < 0 || low < 0) {
            secret_wipe(out, sizeof *out);
            return ERR_MALFORMED;
        }
        out->b[i / 2] = (uint8_t)(high << 4 | low);
    }
    out->len = (uint8_t)(hex.len / 2);
    out->algorithm = out->len == MD5_LEN ? STUN_ALGORITHM_MD5 : STUN_ALGORITHM_SHA256;
    return OK;
}

void credential_key_to_hex(struct wr *w, const struct stun_key *key)
{
    text_put_hex(w, slice_of(key->b, key->len));
}
