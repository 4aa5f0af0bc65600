/* Digests, HMACs and comparisons of secrets, on libcrypto. */
#include "lib/base/crypto.h"

#include <limits.h>
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

static const EVP_CIPHER *cipher_of(const struct aes_gcm *g)
{
    if (g->nonce.len != AES_GCM_NONCE_LEN) {
        return NULL;
    }
    return g->key.len == 32 ? EVP_aes_256_gcm() : g->key.len == 16 ? EVP_aes_128_gcm() : NULL;
}

int aes_gcm_open(const struct aes_gcm *g, struct slice sealed, struct wr *out)
{
    const EVP_CIPHER *cipher = cipher_of(g);
    int n, last, err = ERR_AUTH;
    uint8_t tag[AES_GCM_TAG_LEN];
    if (!cipher || sealed.len < sizeof tag || sealed.len > INT_MAX || g->aad.len > INT_MAX) {
        return ERR_MALFORMED;
    }
    size_t len = sealed.len - sizeof tag;
    memcpy(tag, sealed.p + len, sizeof tag);
    size_t begin = out->len;
    uint8_t *to = wr_room(out, len);
    EVP_CIPHER_CTX *ctx = to ? EVP_CIPHER_CTX_new() : NULL;
    if (!ctx) {
        return to ? ERR_SYSTEM : ERR_NOSPACE;
    }
    bool ok =
        EVP_DecryptInit_ex(ctx, cipher, NULL, g->key.p, g->nonce.p) == 1 &&
        (g->aad.len == 0 || EVP_DecryptUpdate(ctx, NULL, &n, g->aad.p, (int)g->aad.len) == 1) &&
        EVP_DecryptUpdate(ctx, to, &n, sealed.p, (int)len) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, sizeof tag, tag) == 1 &&
        EVP_DecryptFinal_ex(ctx, to + n, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok) {
        err = OK;
    } else {
        secret_wipe(to, len); /* what is not authentic is nobody's to see */
        out->len = begin;
    }
    return err;
}

int aes_gcm_seal(const struct aes_gcm *g, struct slice plain, struct wr *out)
{
    const EVP_CIPHER *cipher = cipher_of(g);
    int n, last;
    if (!cipher || plain.len > INT_MAX || g->aad.len > INT_MAX) {
        return ERR_MALFORMED;
    }
    uint8_t *to = wr_room(out, plain.len + AES_GCM_TAG_LEN);
    EVP_CIPHER_CTX *ctx = to ? EVP_CIPHER_CTX_new() : NULL;
    if (!ctx) {
        return to ? ERR_SYSTEM : ERR_NOSPACE;
    }
    bool ok =
        EVP_EncryptInit_ex(ctx, cipher, NULL, g->key.p, g->nonce.p) == 1 &&
        (g->aad.len == 0 || EVP_EncryptUpdate(ctx, NULL, &n, g->aad.p, (int)g->aad.len) == 1) &&
        EVP_EncryptUpdate(ctx, to, &n, plain.p, (int)plain.len) == 1 &&
        EVP_EncryptFinal_ex(ctx, to + n, &last) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, AES_GCM_TAG_LEN, to + plain.len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? OK : ERR_SYSTEM;
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
