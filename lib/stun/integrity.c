/* What reader and writer share: the HMAC's input, the CRC, the XOR mask; and the keys. */
#include "lib/stun/integrity.h"

#include "lib/base/crypto.h"

int stun_integrity(const struct stun_wire *wire, const struct stun_key *key, struct slice text,
                   size_t end, uint8_t *mac, size_t *mac_len)
{
    static const uint8_t zero[64];
    if (text.len < STUN_HEADER_LEN || end < STUN_HEADER_LEN) {
        return ERR_MALFORMED;
    }
    uint8_t head[4] = {text.p[0], text.p[1], (uint8_t)((end - STUN_HEADER_LEN) >> 8),
                       (uint8_t)(end - STUN_HEADER_LEN)};
    size_t block = wire->integrity_block;
    size_t pad = (block - text.len % block) % block;
    struct hmac_piece in = {
        {slice_of(head, sizeof head), slice_from(text, 4), slice_of(zero, pad)}
    };
    struct slice k = slice_of(key->b, key->len);
    *mac_len = key->hash == STUN_SHA256 ? SHA256_LEN : SHA1_LEN;
    return key->hash == STUN_SHA256 ? hmac_sha256(k, &in, mac) : hmac_sha1(k, &in, mac);
}

uint32_t stun_fingerprint(struct slice before)
{
    return crc32_iso(before) ^ 0x5354554e; /* RFC 8489 14.7 */
}

void stun_xor_addr(struct addr *a, const struct stun_wire *wire, const struct stun_tid *tid)
{
    uint8_t mask[20];
    struct wr w = wr_over(mask, sizeof mask);
    if (wire->header_cookie) {
        wr_u32(&w, wire->header_cookie);
    }
    wr_bytes(&w, slice_of(tid->b, tid->len));
    a->port ^= (uint16_t)(mask[0] << 8 | mask[1]);
    for (size_t i = 0; i < addr_ip_len(a->family); i++) {
        a->ip[i] ^= mask[i];
    }
}

int stun_key_made(struct stun_key *out, enum stun_algorithm algorithm, struct slice username,
                  struct slice realm, struct slice password)
{
    uint8_t text[1600];
    struct wr w = wr_over(text, sizeof text);
    bool is_sha256 = algorithm == STUN_ALGORITHM_SHA256;
    *out = (struct stun_key){.hash = is_sha256 ? STUN_SHA256 : STUN_SHA1,
                             .algorithm = (uint8_t)algorithm,
                             .len = is_sha256 ? SHA256_LEN : MD5_LEN};
    wr_bytes(&w, username);
    wr_u8(&w, ':');
    wr_bytes(&w, realm);
    wr_u8(&w, ':');
    wr_bytes(&w, password);
    int err = w.err       ? ERR_LIMIT
              : is_sha256 ? sha256(wr_done(&w), out->b)
                          : md5(wr_done(&w), out->b);
    secret_wipe(text, sizeof text);
    return err;
}

int stun_key_long_term(struct stun_key *out, struct slice username, struct slice realm,
                       struct slice password)
{
    return stun_key_made(out, STUN_ALGORITHM_MD5, username, realm, password);
}

int stun_key_short_term(struct stun_key *out, struct slice password)
{
    *out = (struct stun_key){.hash = STUN_SHA1};
    if (password.len > sizeof out->b) {
        return ERR_LIMIT;
    }
    if (password.len > 0) {
        memcpy(out->b, password.p, password.len);
    }
    out->len = (uint8_t)password.len;
    return OK;
}
