/* What TLS and DTLS share: certificates, and the names of what is spoken inside. */
#pragma once

#include <openssl/ssl.h>

#include "lib/tls/tls.h"

enum {
    ALPN_MAX_LEN = 255 /* of a list on the wire: far more than the names there are */
};

struct alpn { /* names, each after its length (RFC 7301 3.1) */
    uint8_t wire[ALPN_MAX_LEN];
    unsigned len; /* 0: none */
};

struct tls_context {
    SSL_CTX *ssl;
    struct alpn alpn;
};

/* The library's newest complaint, in its words; the others are forgotten. */
const char *tls_ssl_words(void);
/* For either method; tls_context_free() ends it. */
MUST_USE int tls_context_make(struct tls_context **out, const SSL_METHOD *method,
                              const struct tls_config *cfg, char *why);
/* `alpn` lives as long as `ssl`. */
MUST_USE int tls_ssl_alpn(SSL *ssl, struct alpn *alpn);
