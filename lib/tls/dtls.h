/* One DTLS association as datagrams in and datagrams out, on OpenSSL. No sockets, and no clock:
 * a lost flight is sent again when the caller says that the time has come. DTLS 1.2 only. */
#pragma once

#include "lib/tls/tls.h"

struct dtls;

enum {
    DTLS_MTU = 1200,          /* of a handshake's datagrams, without IP and UDP */
    DTLS_PLAIN_MAX = 16384,   /* of one record (RFC 6347 4.1) */
    DTLS_RECORD_HEAD_MAX = 64 /* what a record adds to it at most */
};

/* As tls_context_new, for associations; ended by tls_context_free(). */
MUST_USE int dtls_context_new(struct tls_context **out, const struct tls_config *cfg,
                              char *why);

/* A server's end: `hello` is the datagram that dtls_door_knock() found proven, and `first_len`
 * its first record's length. When it fails with a `*out`, dtls_out() has an alert to send. */
MUST_USE int dtls_accept(struct dtls **out, struct tls_context *c, uint64_t now_ms,
                         struct slice hello, size_t first_len);
/* A client's end, which has its first datagram ready. `name`: as tls_new. */
MUST_USE int dtls_connect(struct dtls **out, struct tls_context *c, uint64_t now_ms,
                          const char *name);
void dtls_free(struct dtls *d); /* NULL is fine */

/* Not OK: it is over, after what dtls_out() has. What is forged or comes twice is dropped
 * inside, and changes nothing. */
MUST_USE int dtls_in(struct dtls *d, uint64_t now_ms, struct slice datagram);
/* The plain text of one record: again until false, after each dtls_in(), whose datagram must
 * last until then. */
bool dtls_read(struct dtls *d, uint8_t *out, size_t cap, size_t *len);
/* One record. ERR_LIMIT: longer than one may be. ERR_BADSTATE: not up. */
MUST_USE int dtls_write(struct dtls *d, struct slice plain);
void dtls_shutdown(struct dtls *d);
/* The next datagram for the wire: again until false, after each of the above. Good until the
 * next call. */
bool dtls_out(struct dtls *d, struct slice *datagram);
/* When dtls_tick() wants to be called; UINT64_MAX: not now. */
uint64_t dtls_deadline_ms(const struct dtls *d);
/* The last flight is lost, it seems: dtls_out() has it again (RFC 6347 4.2.4). */
void dtls_tick(struct dtls *d, uint64_t now_ms);

bool dtls_is_up(const struct dtls *d);
bool dtls_peer_closed(const struct dtls *d);
struct slice dtls_alpn(const struct dtls *d);       /* as tls_alpn */
const char *dtls_server_name(const struct dtls *d); /* as tls_server_name */
const char *dtls_why(const struct dtls *d);         /* as tls_why */
