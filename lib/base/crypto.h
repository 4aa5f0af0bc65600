/* Digests, HMACs and comparisons of secrets, on libcrypto. CRC-32 for STUN's FINGERPRINT. */
#pragma once

#include "lib/base/wire.h"

enum {
    MD5_LEN = 16,
    SHA1_LEN = 20,
    SHA256_LEN = 32
};

/* ERR_SYSTEM when libcrypto refuses (MD5 in FIPS mode, say). */
MUST_USE int md5(struct slice in, uint8_t out[MD5_LEN]);
MUST_USE int sha256(struct slice in, uint8_t out[SHA256_LEN]);

/* An HMAC over bytes that come in pieces. */
struct hmac_piece {
    struct slice part[4];
};
MUST_USE int hmac_sha1(struct slice key, const struct hmac_piece *in, uint8_t out[SHA1_LEN]);
MUST_USE int hmac_sha256(struct slice key, const struct hmac_piece *in,
                         uint8_t out[SHA256_LEN]);

/* AES-GCM (RFC 5116 5.1, 5.2): `sealed` ends with the tag of AES_GCM_TAG_LEN bytes, and a key
 * of 16 or 32 bytes says which AES it is. */
enum {
    AES_GCM_NONCE_LEN = 12,
    AES_GCM_TAG_LEN = 16
};
struct aes_gcm {
    struct slice key, nonce, aad;
};
/* ERR_AUTH when somebody changed it, or with another key; `out` is then empty. ERR_NOSPACE. */
MUST_USE int aes_gcm_open(const struct aes_gcm *g, struct slice sealed, struct wr *out);
/* And back. */
MUST_USE int aes_gcm_seal(const struct aes_gcm *g, struct slice plain, struct wr *out);

/* In a time that depends on the lengths only. */
bool secret_eq(struct slice a, struct slice b);
void secret_wipe(void *p, size_t len);

/* ISO 3309 CRC-32, as RFC 8489 14.7 uses it. */
uint32_t crc32_iso(struct slice in);
