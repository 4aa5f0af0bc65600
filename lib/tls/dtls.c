/* DTLS over a BIO that knows datagrams. OpenSSL's own timers read the clock, so they are told
 * to wait for ever, and a flight is sent again from here: the same datagrams, as a network may
 * duplicate them. Who has one drops it; who misses one takes it. */
#include "lib/tls/dtls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/crypto.h"

#include "lib/tls/tls_impl.h"

enum {
    OUT_MAX = 40 * 1024, /* a flight: the certificate chain and 50 records; or one big record */
    OUT_FIRST = 2048,
    RETRY_MS = 1000, /* RFC 6347 4.2.4.1: then twice as long, and so on */
    RETRY_MAX_MS = 60000,
    /* A client's without certificates. OpenSSL takes memory for up to ten messages as soon as
     * they are announced; below what one record may hold this changes nothing. */
    MESSAGE_MAX = 16384,
    NEVER_US = 2000000000 /* half an hour: handshakes end before */
};

struct dtls {
    SSL *ssl;
    BIO_METHOD *kind;
    struct alpn alpn;
    struct slice in; /* the datagram at hand, until it is read */
    uint8_t *out;    /* datagrams, each after its length in 2 bytes */
    size_t out_len, out_cap, out_at;
    bool out_is_old; /* all of it was sent: the next datagram begins anew */
    uint64_t retry_at_ms, retry_ms;
    bool up, peer_closed, failed;
    bool heard; /* a record of the peer's, or sent one: the last flight has arrived */
    char why[160];
};

static bool out_reserve(struct dtls *d, size_t n)
{
    size_t cap = d->out_cap ? d->out_cap : OUT_FIRST;
    while (cap < d->out_len + n) {
        cap *= 2;
    }
    if (cap == d->out_cap) {
        return true;
    }
    uint8_t *grown = realloc(d->out, cap);
    if (grown) {
        d->out = grown;
        d->out_cap = cap;
    }
    return grown != NULL;
}

static int bio_write(BIO *b, const char *p, int len)
{
    struct dtls *d = BIO_get_data(b);
    if (d->out_is_old) {
        d->out_is_old = false;
        d->out_len = d->out_at = 0;
    }
    size_t n = len > 0 ? (size_t)len : 0;
    if (n > UINT16_MAX || d->out_len + n + 2 > OUT_MAX || !out_reserve(d, n + 2)) {
        return -1;
    }
    struct wr w = wr_over(d->out + d->out_len, n + 2);
    wr_u16(&w, (uint16_t)n);
    wr_bytes(&w, slice_of(p, n));
    d->out_len += w.len;
    return len;
}

/* A datagram at a time; what does not fit is gone, as with a socket. */
static int bio_read(BIO *b, char *out, int cap)
{
    struct dtls *d = BIO_get_data(b);
    size_t n = d->in.len;
    BIO_clear_retry_flags(b);
    if (n == 0 || cap <= 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    n = n < (size_t)cap ? n : (size_t)cap;
    memcpy(out, d->in.p, n);
    d->in = slice_of(NULL, 0);
    return (int)n;
}

static long bio_ctrl(BIO *b, int what, long arg, void *p)
{
    (void)b;
    (void)arg;
    (void)p;
    switch (what) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU: return DTLS_MTU;
    default: return 0;
    }
}

static unsigned never(SSL *ssl, unsigned last_us)
{
    (void)ssl;
    (void)last_us;
    return NEVER_US;
}

/* dtls_door_knock() has checked it, and nothing else comes to this point. */
static int cookie_is_fine(SSL *ssl, const unsigned char *cookie, unsigned len)
{
    (void)ssl;
    (void)cookie;
    return len > 0;
}

int dtls_context_new(struct tls_context **out, const struct tls_config *cfg, char *why)
{
    int err = tls_context_make(out, DTLS_method(), cfg, why);
    if (err) {
        return err;
    }
    SSL_CTX *ssl = (*out)->ssl;
    SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ssl, DTLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_cookie_verify_cb(ssl, cookie_is_fine);
    return OK;
}

static int make_bio(struct dtls *d)
{
    d->kind = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "datagrams");
    if (!d->kind || !BIO_meth_set_write(d->kind, bio_write) ||
        !BIO_meth_set_read(d->kind, bio_read) || !BIO_meth_set_ctrl(d->kind, bio_ctrl)) {
        return ERR_NOMEM;
    }
    BIO *bio = BIO_new(d->kind);
    if (!bio) {
        return ERR_NOMEM;
    }
    BIO_set_data(bio, d);
    BIO_set_init(bio, 1);
    SSL_set_bio(d->ssl, bio, bio);
    return OK;
}

static int make(struct dtls **out, struct tls_context *c)
{
    struct dtls *d = calloc(1, sizeof *d);
    if (!d) {
        return ERR_NOMEM;
    }
    ERR_clear_error();
    d->retry_at_ms = UINT64_MAX;
    d->alpn = c->alpn;
    d->ssl = SSL_new(c->ssl);
    if (!d->ssl || tls_ssl_alpn(d->ssl, &d->alpn) || make_bio(d)) {
        ERR_clear_error();
        dtls_free(d);
        return ERR_NOMEM;
    }
    (void)SSL_set_mtu(d->ssl, DTLS_MTU);
    DTLS_set_timer_cb(d->ssl, never);
    *out = d;
    return OK;
}

void dtls_free(struct dtls *d)
{
    if (d) {
        SSL_free(d->ssl); /* and the BIO */
        BIO_meth_free(d->kind);
        free(d->out);
        free(d);
    }
}

static int fail(struct dtls *d)
{
    d->failed = true;
    d->retry_at_ms = UINT64_MAX;
    long verdict = SSL_get_verify_result(d->ssl);
    if (verdict != X509_V_OK && SSL_get_verify_mode(d->ssl) != SSL_VERIFY_NONE) {
        ERR_clear_error();
        snprintf(d->why, sizeof d->why, "the peer's certificate was refused: %.100s",
                 X509_verify_cert_error_string(verdict));
        return ERR_AUTH;
    }
    snprintf(d->why, sizeof d->why, "DTLS failed: %.120s", tls_ssl_words());
    return ERR_MALFORMED;
}

/* What is sent from here on is a new flight. */
static void turn_page(struct dtls *d)
{
    d->out_is_old = d->out_is_old || d->out_at == d->out_len;
}

static void set_retry(struct dtls *d, uint64_t now_ms, uint64_t in_ms)
{
    d->retry_ms = in_ms < RETRY_MAX_MS ? in_ms : RETRY_MAX_MS;
    d->retry_at_ms = d->up || d->failed ? UINT64_MAX : now_ms + d->retry_ms;
}

/* Takes the handshake as far as the datagram at hand allows. */
static int advance(struct dtls *d, uint64_t now_ms)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(d->ssl);
    int e = ret == 1 ? SSL_ERROR_NONE : SSL_get_error(d->ssl, ret);
    if (e != SSL_ERROR_NONE && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) {
        return fail(d);
    }
    ERR_clear_error();
    d->up = ret == 1;
    /* Nothing new was sent while the last flight still counts: its timer runs on. */
    if (d->up || !d->out_is_old || d->retry_at_ms == UINT64_MAX) {
        set_retry(d, now_ms, RETRY_MS);
    }
    return OK;
}

int dtls_accept(struct dtls **out, struct tls_context *c, uint64_t now_ms, struct slice hello,
                size_t first_len)
{
    *out = NULL;
    struct dtls *d = NULL;
    BIO_ADDR *nobody = BIO_ADDR_new();
    int err = nobody ? make(&d, c) : ERR_NOMEM;
    if (err) {
        BIO_ADDR_free(nobody);
        return err;
    }
    int mode = SSL_get_verify_mode(d->ssl);
    bool required = mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_set_verify(d->ssl, required ? mode : SSL_VERIFY_NONE, NULL);
    if (!required) {
        SSL_set_max_cert_list(d->ssl, MESSAGE_MAX);
    }
    SSL_set_accept_state(d->ssl);
    d->in = slice_of(hello.p, first_len < hello.len ? first_len : hello.len);
    /* Begins at the second ClientHello, as if this end had sent its HelloVerifyRequest. */
    if (DTLSv1_listen(d->ssl, nobody) != 1) {
        ERR_clear_error();
        BIO_ADDR_free(nobody);
        dtls_free(d);
        return ERR_MALFORMED;
    }
    BIO_ADDR_free(nobody);
    *out = d;
    err = advance(d, now_ms);
    struct slice more = slice_from(hello, first_len);
    return err || more.len == 0 ? err : dtls_in(d, now_ms, more);
}

/* The name or address the server's certificate must carry. */
static int expect_name(SSL *ssl, const char *name)
{
    bool ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 ||
              (SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1);
    ERR_clear_error();
    return ok ? OK : ERR_MALFORMED;
}

int dtls_connect(struct dtls **out, struct tls_context *c, uint64_t now_ms, const char *name)
{
    struct dtls *d = NULL;
    *out = NULL;
    int err = make(&d, c);
    if (err) {
        return err;
    }
    SSL_set_connect_state(d->ssl);
    err = name ? expect_name(d->ssl, name) : OK;
    err = err ? err : advance(d, now_ms);
    if (err) {
        dtls_free(d);
        return err;
    }
    *out = d;
    return OK;
}

/* RFC 6347 4.2.4: a peer that still shakes hands misses our last flight. OpenSSL sees that when
 * the peer numbers its records anew, and not when it sends the same again, as we do. Anybody
 * can send such bytes: what they lead to is no longer than they are. */
static void repeat_last(struct dtls *d, struct slice datagram)
{
    bool shakes_hands = datagram.len > 0 && (datagram.p[0] == 20 || datagram.p[0] == 22);
    if (SSL_is_server(d->ssl) && !d->heard && shakes_hands && d->out_is_old &&
        d->out_len <= datagram.len) {
        d->out_at = 0;
        d->out_is_old = false;
    }
}

int dtls_in(struct dtls *d, uint64_t now_ms, struct slice datagram)
{
    if (d->failed) {
        return ERR_BADSTATE;
    }
    turn_page(d);
    d->in = datagram;
    bool was_up = d->up;
    int err = d->up ? OK : advance(d, now_ms);
    if (err || !d->up) {
        return err;
    }
    /* A look without taking: the peer's end shows here already, and what came with it. */
    uint8_t byte;
    size_t n;
    ERR_clear_error();
    int ret = SSL_peek_ex(d->ssl, &byte, 1, &n);
    int e = ret == 1 ? SSL_ERROR_NONE : SSL_get_error(d->ssl, ret);
    d->peer_closed = d->peer_closed || e == SSL_ERROR_ZERO_RETURN;
    if (e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL) {
        return fail(d);
    }
    if (was_up) {
        repeat_last(d, datagram);
    }
    return OK;
}

bool dtls_read(struct dtls *d, uint8_t *out, size_t cap, size_t *len)
{
    *len = 0;
    if (!d->up || d->failed) {
        return false;
    }
    ERR_clear_error();
    int ret = SSL_read_ex(d->ssl, out, cap, len);
    if (ret == 1) {
        d->heard = true;
        return true;
    }
    int e = SSL_get_error(d->ssl, ret);
    d->peer_closed = d->peer_closed || e == SSL_ERROR_ZERO_RETURN;
    if (e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL) {
        (void)!fail(d); /* dtls_in says so next time */
    }
    ERR_clear_error();
    return false;
}

int dtls_write(struct dtls *d, struct slice plain)
{
    size_t done;
    if (!d->up || d->failed) {
        return ERR_BADSTATE;
    }
    if (plain.len > DTLS_PLAIN_MAX) {
        return ERR_LIMIT;
    }
    if (plain.len == 0) {
        return OK;
    }
    turn_page(d);
    d->heard = true;
    ERR_clear_error();
    return SSL_write_ex(d->ssl, plain.p, plain.len, &done) == 1 ? OK : fail(d);
}

void dtls_shutdown(struct dtls *d)
{
    if (d->up && !d->failed) {
        turn_page(d);
        ERR_clear_error();
        (void)SSL_shutdown(d->ssl); /* close_notify; the peer's is not waited for */
        ERR_clear_error();
    }
}

bool dtls_out(struct dtls *d, struct slice *datagram)
{
    if (d->out_is_old || d->out_at == d->out_len) {
        return false;
    }
    struct rd r = rd_over(slice_of(d->out + d->out_at, d->out_len - d->out_at));
    *datagram = rd_take(&r, rd_u16(&r));
    d->out_at += r.at;
    return r.err == OK;
}

uint64_t dtls_deadline_ms(const struct dtls *d)
{
    return d->retry_at_ms;
}

void dtls_tick(struct dtls *d, uint64_t now_ms)
{
    if (now_ms < d->retry_at_ms) {
        return;
    }
    d->out_at = 0;
    d->out_is_old = false;
    set_retry(d, now_ms, 2 * d->retry_ms);
}

bool dtls_is_up(const struct dtls *d)
{
    return d->up && !d->failed;
}

bool dtls_peer_closed(const struct dtls *d)
{
    return d->peer_closed;
}

struct slice dtls_alpn(const struct dtls *d)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(d->ssl, &name, &len);
    return slice_of(name, len);
}

const char *dtls_server_name(const struct dtls *d)
{
    return SSL_get_servername(d->ssl, TLSEXT_NAMETYPE_host_name);
}

const char *dtls_why(const struct dtls *d)
{
    return d->why[0] ? d->why : "no failure";
}
