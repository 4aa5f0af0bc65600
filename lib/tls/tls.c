/* TLS over OpenSSL's memory BIOs. */
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/tls/tls_impl.h"

enum {
    WAIT_MAX = 64 * 1024,      /* plain text that waits for the handshake */
    HANDSHAKE_MAX = 64 * 1024, /* wire bytes of the peer's until it is done */
    NAME_MAX_LEN = 253
};

struct tls {
    SSL *ssl;
    BIO *in, *out;      /* of `ssl` */
    struct alpn alpn;   /* the context's, which may go first */
    size_t n_handshake; /* wire bytes until `up` */
    uint8_t *wait;
    size_t n_wait;
    bool up, peer_closed, failed;
    char why[160];
};

const char *tls_ssl_words(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *words = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return words ? words : "no reason given";
}

static int cannot(char *why, const char *what, const char *file)
{
    int n = snprintf(why, TLS_WHY_MAX, "cannot use %s %s: %s", what, file, tls_ssl_words());
    if (n >= TLS_WHY_MAX) {
        memcpy(why + TLS_WHY_MAX - 4, "...", 4);
    }
    return ERR_SYSTEM;
}

static int load(SSL_CTX *c, const struct tls_config *cfg, char *why)
{
    if (cfg->cert_file && SSL_CTX_use_certificate_chain_file(c, cfg->cert_file) != 1) {
        return cannot(why, "the certificate", cfg->cert_file);
    }
    if (cfg->key_file && SSL_CTX_use_PrivateKey_file(c, cfg->key_file, SSL_FILETYPE_PEM) != 1) {
        return cannot(why, "the key", cfg->key_file);
    }
    if (cfg->key_file && SSL_CTX_check_private_key(c) != 1) {
        return cannot(why, "with this certificate the key", cfg->key_file);
    }
    if (cfg->ca_file ? SSL_CTX_load_verify_locations(c, cfg->ca_file, NULL) != 1
                     : SSL_CTX_set_default_verify_paths(c) != 1) {
        return cannot(why, "the CA file", cfg->ca_file ? cfg->ca_file : "of the system");
    }
    return OK;
}

/* OpenSSL calls this while it reads a client's hello. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *offer, unsigned offer_len, void *arg)
{
    const struct alpn *ours = SSL_get_app_data(ssl);
    unsigned char *chosen;
    (void)arg;
    /* Whoever offers something else means another server (RFC 7301 3.2). */
    if (SSL_select_next_proto(&chosen, out_len, ours->wire, ours->len, offer, offer_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int tls_ssl_alpn(SSL *ssl, struct alpn *alpn)
{
    return SSL_set_app_data(ssl, alpn) == 1 ? OK : ERR_NOMEM;
}

/* `names` are separated by commas. */
static int use_alpn(struct tls_context *c, const char *names)
{
    struct slice left = slice_str(names);
    struct wr w = wr_over(c->alpn.wire, sizeof c->alpn.wire);
    if (!names) {
        return OK;
    }
    do {
        struct slice name = text_split(&left, ',');
        if (name.len == 0 || name.len > UINT8_MAX) {
            return ERR_MALFORMED;
        }
        wr_u8(&w, (uint8_t)name.len);
        wr_bytes(&w, name);
    } while (left.len > 0);
    if (w.err) {
        return ERR_MALFORMED;
    }
    c->alpn.len = (unsigned)w.len;
    SSL_CTX_set_alpn_select_cb(c->ssl, choose_alpn, NULL);
    return SSL_CTX_set_alpn_protos(c->ssl, c->alpn.wire, c->alpn.len) == 0 ? OK : ERR_NOMEM;
}

int tls_context_make(struct tls_context **out, const SSL_METHOD *method,
                     const struct tls_config *cfg, char *why)
{
    *out = NULL;
    why[0] = 0;
    struct tls_context *c = calloc(1, sizeof *c);
    SSL_CTX *ssl = SSL_CTX_new(method);
    if (!c || !ssl) {
        free(c);
        SSL_CTX_free(ssl);
        return ERR_NOMEM;
    }
    /* Nothing of one session is kept for the next; renegotiation only costs us time. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ssl,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    /* A ticket that a client leaves unread when it closes becomes a reset, which can overtake
     * its last bytes. */
    SSL_CTX_set_num_tickets(ssl, 0);
    int err = load(ssl, cfg, why);
    if (err) {
        SSL_CTX_free(ssl);
        free(c);
        return err;
    }
    /* As a client the peer's certificate is always wanted; as a server only when asked for. A
     * context serves both: tls_new says which it is, and what that means for checking. */
    int mode = cfg->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    if (cfg->require_peer_cert) {
        mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(ssl, mode, NULL);
    c->ssl = ssl;
    err = use_alpn(c, cfg->alpn);
    if (err) {
        tls_context_free(c);
        return err;
    }
    *out = c;
    return OK;
}

int tls_context_new(struct tls_context **out, const struct tls_config *cfg, char *why)
{
    int err = tls_context_make(out, TLS_method(), cfg, why);
    if (!err) {
        SSL_CTX_set_min_proto_version((*out)->ssl, TLS1_2_VERSION);
        SSL_CTX_set_mode((*out)->ssl, SSL_MODE_RELEASE_BUFFERS);
    }
    return err;
}

void tls_context_free(struct tls_context *c)
{
    if (c) {
        SSL_CTX_free(c->ssl);
        free(c);
    }
}

/* The name or address the peer's certificate must carry. */
static int expect_name(struct tls *t, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1) {
        return OK; /* an address: RFC 6066 3 forbids it as SNI */
    }
    ERR_clear_error();
    if (strlen(name) > NAME_MAX_LEN || SSL_set1_host(t->ssl, name) != 1 ||
        SSL_set_tlsext_host_name(t->ssl, name) != 1) {
        ERR_clear_error();
        return ERR_MALFORMED;
    }
    return OK;
}

static int start(struct tls *t, struct tls_context *c, bool is_server, const char *name)
{
    t->ssl = SSL_new(c->ssl);
    t->alpn = c->alpn;
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    t->wait = malloc(WAIT_MAX);
    if (!t->ssl || !t->in || !t->out || !t->wait || tls_ssl_alpn(t->ssl, &t->alpn)) {
        BIO_free(t->in);
        BIO_free(t->out);
        return ERR_NOMEM;
    }
    BIO_set_mem_eof_return(t->in, -1); /* empty means "later", never the end */
    SSL_set_bio(t->ssl, t->in, t->out);
    if (is_server) {
        int mode = SSL_get_verify_mode(t->ssl);
        bool required = mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_set_verify(t->ssl, required ? mode : SSL_VERIFY_NONE, NULL);
        SSL_set_accept_state(t->ssl);
        return OK;
    }
    SSL_set_connect_state(t->ssl);
    return name ? expect_name(t, name) : OK;
}

static int fail(struct tls *t)
{
    long verdict = SSL_get_verify_result(t->ssl);
    t->failed = true;
    if (verdict != X509_V_OK && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE) {
        ERR_clear_error();
        snprintf(t->why, sizeof t->why, "the peer's certificate was refused: %.100s",
                 X509_verify_cert_error_string(verdict));
        return ERR_AUTH;
    }
    snprintf(t->why, sizeof t->why, "TLS failed: %.120s", tls_ssl_words());
    return ERR_MALFORMED;
}

static int put(struct tls *t, struct slice plain)
{
    size_t done = 0;
    ERR_clear_error();
    if (plain.len == 0) {
        return OK;
    }
    /* A memory BIO takes everything at once. */
    int ret = SSL_write_ex(t->ssl, plain.p, plain.len, &done);
    return ret == 1 && done == plain.len ? OK : fail(t);
}

/* Takes the handshake as far as the bytes at hand allow. */
static int advance(struct tls *t)
{
    if (t->up || t->failed) {
        return OK;
    }
    ERR_clear_error();
    int ret = SSL_do_handshake(t->ssl);
    if (ret != 1) {
        int e = SSL_get_error(t->ssl, ret);
        return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? OK : fail(t);
    }
    t->up = true;
    int err = put(t, slice_of(t->wait, t->n_wait));
    secret_wipe(t->wait, t->n_wait);
    free(t->wait);
    t->wait = NULL;
    t->n_wait = 0;
    return err;
}

int tls_new(struct tls **out, struct tls_context *c, bool is_server, const char *name)
{
    *out = NULL;
    struct tls *t = calloc(1, sizeof *t);
    if (!t) {
        return ERR_NOMEM;
    }
    int err = start(t, c, is_server, name);
    err = err ? err : advance(t); /* a client speaks first */
    if (err) {
        tls_free(t);
        return err;
    }
    *out = t;
    return OK;
}

void tls_free(struct tls *t)
{
    if (!t) {
        return;
    }
    SSL_free(t->ssl); /* and the BIOs */
    if (t->wait) {
        secret_wipe(t->wait, t->n_wait);
        free(t->wait);
    }
    free(t);
}

static int too_long(struct tls *t)
{
    t->failed = true;
    snprintf(t->why, sizeof t->why, "TLS failed: a handshake of more than %d bytes",
             HANDSHAKE_MAX);
    return ERR_MALFORMED;
}

int tls_in(struct tls *t, struct slice wire)
{
    size_t done = 0;
    if (t->failed) {
        return ERR_BADSTATE;
    }
    if (wire.len > 0 &&
        (BIO_write_ex(t->in, wire.p, wire.len, &done) != 1 || done != wire.len)) {
        ERR_clear_error();
        return ERR_NOMEM;
    }
    int err = advance(t);
    if (err) {
        return err;
    }
    if (!t->up) {
        t->n_handshake += wire.len;
        return t->n_handshake > HANDSHAKE_MAX ? too_long(t) : OK;
    }
    /* A look without taking: broken records and the peer's end show here already. */
    uint8_t byte;
    size_t n;
    ERR_clear_error();
    int ret = SSL_peek_ex(t->ssl, &byte, 1, &n);
    int e = ret == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, ret);
    if (e == SSL_ERROR_ZERO_RETURN) {
        t->peer_closed = true;
    } else if (e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL) {
        return fail(t);
    }
    return OK;
}

size_t tls_read(struct tls *t, uint8_t *out, size_t cap)
{
    size_t total = 0;
    while (t->up && !t->failed && total < cap) {
        size_t n = 0;
        ERR_clear_error();
        int ret = SSL_read_ex(t->ssl, out + total, cap - total, &n);
        if (ret != 1) {
            int e = SSL_get_error(t->ssl, ret);
            t->peer_closed = t->peer_closed || e == SSL_ERROR_ZERO_RETURN;
            if (e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL) {
                (void)!fail(t); /* tls_in says so next time */
            }
            break;
        }
        total += n;
    }
    return total;
}

int tls_write(struct tls *t, struct slice plain)
{
    if (t->failed) {
        return ERR_BADSTATE;
    }
    if (t->up) {
        return put(t, plain);
    }
    if (plain.len > WAIT_MAX - t->n_wait) {
        return ERR_LIMIT;
    }
    if (plain.len > 0) {
        memcpy(t->wait + t->n_wait, plain.p, plain.len);
    }
    t->n_wait += plain.len;
    return OK;
}

void tls_shutdown(struct tls *t)
{
    if (t->up && !t->failed) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl); /* close_notify; the peer's is not waited for */
        ERR_clear_error();
    }
}

struct slice tls_out(struct tls *t)
{
    char *p = NULL;
    long n = BIO_get_mem_data(t->out, &p);
    return n > 0 ? slice_of(p, (size_t)n) : slice_of(NULL, 0);
}

void tls_out_done(struct tls *t, size_t n)
{
    /* Reading moves the BIO's start; its bytes need to go nowhere. */
    uint8_t sink[4096];
    while (n > 0) {
        size_t part = n < sizeof sink ? n : sizeof sink, got = 0;
        if (BIO_read_ex(t->out, sink, part, &got) != 1 || got == 0) {
            return;
        }
        n -= got;
    }
}

bool tls_is_up(const struct tls *t)
{
    return t->up && !t->failed;
}

bool tls_peer_closed(const struct tls *t)
{
    return t->peer_closed;
}

struct slice tls_alpn(const struct tls *t)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(t->ssl, &name, &len);
    return slice_of(name, len);
}

const char *tls_server_name(const struct tls *t)
{
    return SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
}

const char *tls_why(const struct tls *t)
{
    return t->why[0] ? t->why : "no failure";
}
