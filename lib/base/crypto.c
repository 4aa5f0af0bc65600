/* Digests, HMACs and comparisons of secrets, on libcrypto. */
#include "lib/base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

static int digest(const EVP_MD *md, struct slice in, uint8_t *out)
{
    return EVP_Digest(in.p, in.len, out, NULL, md, NULL) == 1 ? OK : ERR_SYSTEM;
}

int md5(struct slice in, uint8_t out[MD5_LEN])
{
    return digest(EVP_md5(), in, out);
}

int sha256(struct slice in, uint8_t out[SHA256_LEN])
{
    return digest(EVP_sha256(), in, out);
}

static int hmac(const char *hash, struct slice key, const struct hmac_piece *in, uint8_t *out,
                size_t len)
{
    static const uint8_t no_key[1];
    char name[16];
    int err = ERR_SYSTEM;
    size_t done = 0;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    (void)OPENSSL_strlcpy(name, hash, sizeof name);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", name, 0),
                           OSSL_PARAM_construct_end()};
    if (!ctx || !EVP_MAC_init(ctx, key.len ? key.p : no_key, key.len, params)) {
        goto out;
    }
    for (size_t i = 0; i < sizeof in->part / sizeof in->part[0]; i++) {
        if (in->part[i].len && !EVP_MAC_update(ctx, in->part[i].p, in->part[i].len)) {
            goto out;
        }
    }
    err = EVP_MAC_final(ctx, out, &done, len) && done == len ? OK : ERR_SYSTEM;
out:
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return err;
}

int hmac_sha1(struct slice key, const struct hmac_piece *in, uint8_t out[SHA1_LEN])
{
    return hmac("SHA1", key, in, out, SHA1_LEN);
}

int hmac_sha256(struct slice key, const struct hmac_piece *in, uint8_t out[SHA256_LEN])
{
    return hmac("SHA256", key, in, out, SHA256_LEN);
}

bool secret_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.p, b.p, a.len) == 0);
}

void secret_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}

uint32_t crc32_iso(struct slice in)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < in.len; i++) {
        crc ^= in.p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
        }
    }
    return ~crc;
}
