/* TLS as bytes in and bytes out, on OpenSSL's memory BIOs. No sockets. */
#pragma once

#include "lib/base/wire.h"

struct tls_context; /* certificates and policy; shared by many sessions */
struct tls;         /* one connection */

struct tls_config {
    const char *cert_file, *key_file; /* PEM; NULL: none (a client) */
    const char *ca_file;              /* whom to trust; NULL: the system's store */
    bool require_peer_cert;           /* server: ask for one and refuse without */
    bool insecure;                    /* client: do not check (labs); logged by the caller */
    /* What is spoken inside (RFC 7301), names separated by commas, the best first: a client
     * offers them, a server takes the first that the client offers too, refuses who offers only
     * other things, and takes who offers nothing. NULL: no ALPN. */
    const char *alpn;
};

enum {
    TLS_WHY_MAX = 512 /* a path of usual length and a sentence */
};

/* TLS 1.2 and up. ERR_SYSTEM when a file cannot be used: `why` (TLS_WHY_MAX bytes) says which
 * and why.
 */
MUST_USE int tls_context_new(struct tls_context **out, const struct tls_config *cfg, char *why);
void tls_context_free(struct tls_context *c); /* its sessions live on */

/* `name`: the peer's host name to check and to send as SNI (clients); NULL for servers. */
MUST_USE int tls_new(struct tls **out, struct tls_context *c, bool is_server, const char *name);
void tls_free(struct tls *t); /* NULL is fine */

/* Bytes off the wire, at most 64 KiB before the handshake is done. ERR_MALFORMED or ERR_AUTH:
 * give up, after sending what tls_out has. */
MUST_USE int tls_in(struct tls *t, struct slice wire);
/* Decrypted bytes: up to `cap`, 0 when there are none now. */
size_t tls_read(struct tls *t, uint8_t *out, size_t cap);
/* Encrypts; before the handshake is done it waits inside, at most 64 KiB (ERR_LIMIT). */
MUST_USE int tls_write(struct tls *t, struct slice plain);
void tls_shutdown(struct tls *t);
/* Bytes for the wire; they are the caller's to send, `tls_out_done` says how many were. */
struct slice tls_out(struct tls *t);
void tls_out_done(struct tls *t, size_t n);
bool tls_is_up(const struct tls *t);
bool tls_peer_closed(const struct tls *t);
/* What was agreed on; empty: nothing. Lives as long as `t`. */
struct slice tls_alpn(const struct tls *t);
/* The name the client asked for (SNI), as it wrote it; NULL: none. Lives as long as `t`. */
const char *tls_server_name(const struct tls *t);
/* A sentence on the last failure; never NULL. */
const char *tls_why(const struct tls *t);
