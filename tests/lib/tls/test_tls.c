/* TLS between two sessions in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/tls/tls.h"

#include "tests/lib/tls/make_certs.h"

static struct certs certs;
static struct tls_context *server_ctx, *client_ctx;
static struct tls *server, *client;

static struct tls_context *context(const struct tls_config *cfg)
{
    struct tls_context *c = NULL;
    char why[TLS_WHY_MAX];
    int err = tls_context_new(&c, cfg, why);
    if (err) {
        fail_msg("%s", why);
    }
    return c;
}

/* Bytes over, at most `piece` at a time. */
static int carry(struct tls *from, struct tls *to, size_t piece)
{
    int err = OK;
    while (tls_out(from).len > 0 && !err) {
        struct slice s = tls_out(from);
        s.len = s.len < piece ? s.len : piece;
        uint8_t *exact = malloc(s.len);
        assert_non_null(exact);
        memcpy(exact, s.p, s.len);
        err = tls_in(to, slice_of(exact, s.len));
        free(exact);
        tls_out_done(from, s.len);
    }
    return err;
}

static int settle(size_t piece)
{
    int err = OK;
    while (!err && (tls_out(client).len > 0 || tls_out(server).len > 0)) {
        err = carry(client, server, piece);
        int err2 = carry(server, client, piece);
        err = err ? err : err2;
    }
    return err;
}

static void begin(const struct tls_config *s, const struct tls_config *c, const char *name)
{
    server_ctx = context(s);
    client_ctx = context(c);
    assert_int_equal(tls_new(&server, server_ctx, true, NULL), OK);
    assert_int_equal(tls_new(&client, client_ctx, false, name), OK);
}

static struct tls_config good_server(void)
{
    return (struct tls_config){.cert_file = certs.cert, .key_file = certs.key};
}

static void says(struct tls *from, struct tls *to, const char *text)
{
    uint8_t got[64];
    assert_int_equal(tls_write(from, slice_str(text)), OK);
    assert_int_equal(settle(SIZE_MAX), OK);
    size_t n = tls_read(to, got, sizeof got);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
    assert_int_equal(tls_read(to, got, sizeof got), 0);
}

static void talks_byte_by_byte(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.ca_file = certs.cert};
    begin(&s, &c, "localhost");
    assert_int_equal(tls_write(client, slice_str("early")), OK); /* waits inside */
    assert_false(tls_is_up(client));
    assert_int_equal(settle(1), OK);
    assert_true(tls_is_up(client) && tls_is_up(server));
    uint8_t got[16];
    assert_int_equal(tls_read(server, got, sizeof got), 5);
    says(server, client, "answer");
    says(client, server, "question");
    assert_false(tls_peer_closed(server));
    tls_shutdown(client);
    assert_int_equal(settle(SIZE_MAX), OK);
    assert_true(tls_peer_closed(server));
    assert_false(tls_peer_closed(client));
}

static void an_address_is_a_name_too(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.ca_file = certs.cert};
    begin(&s, &c, "127.0.0.1");
    assert_int_equal(settle(SIZE_MAX), OK);
    says(client, server, "x");
}

static void refuses_with_a_sentence(const struct tls_config *c, const char *name,
                                    const char *words)
{
    struct tls_config s = good_server();
    begin(&s, c, name);
    assert_int_equal(settle(SIZE_MAX), ERR_AUTH);
    assert_false(tls_is_up(client));
    assert_non_null(strstr(tls_why(client), words));
    assert_true(tls_out(client).len > 0); /* the alert, for the peer */
    assert_int_equal(carry(client, server, SIZE_MAX), ERR_MALFORMED);
    assert_int_equal(tls_write(client, slice_str("x")), ERR_BADSTATE);
}

static void wrong_ca(void **state)
{
    (void)state;
    struct tls_config c = {.ca_file = certs.other};
    refuses_with_a_sentence(&c, "localhost", "self-signed");
}

static void wrong_name(void **state)
{
    (void)state;
    struct tls_config c = {.ca_file = certs.cert};
    refuses_with_a_sentence(&c, "elsewhere.example", "ostname mismatch");
}

static void wrong_address(void **state)
{
    (void)state;
    struct tls_config c = {.ca_file = certs.cert};
    refuses_with_a_sentence(&c, "127.0.0.2", "IP address mismatch");
}

static void insecure_takes_anybody(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.ca_file = certs.other, .insecure = true};
    begin(&s, &c, "elsewhere.example");
    assert_int_equal(settle(SIZE_MAX), OK);
    says(client, server, "x");
}

static void a_server_can_ask_for_a_certificate(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.ca_file = certs.cert};
    s.require_peer_cert = true;
    s.ca_file = certs.other;
    begin(&s, &c, "localhost");
    assert_int_not_equal(settle(SIZE_MAX), OK);
    assert_false(tls_is_up(server));
}

static void a_client_shows_its_certificate(void **state)
{
    (void)state;
    struct tls_config s = good_server();
    struct tls_config c = {
        .ca_file = certs.cert, .cert_file = certs.other, .key_file = certs.other_key};
    s.require_peer_cert = true;
    s.ca_file = certs.other;
    begin(&s, &c, "localhost");
    assert_int_equal(settle(SIZE_MAX), OK);
    says(client, server, "x");
}

static void noise_and_damage(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.ca_file = certs.cert};
    begin(&s, &c, "localhost");
    assert_int_equal(settle(SIZE_MAX), OK);
    assert_int_equal(tls_write(client, slice_str("hello")), OK);
    uint8_t record[256];
    struct slice out = tls_out(client);
    assert_true(out.len < sizeof record);
    memcpy(record, out.p, out.len);
    for (size_t n = 0; n < out.len - 1; n++) { /* cut short: nothing comes of it */
        assert_int_equal(tls_in(server, slice_of(record + n, 1)), OK);
        assert_int_equal(tls_read(server, (uint8_t[1]){0}, 1), 0);
    }
    record[out.len - 1] ^= 1;
    assert_int_equal(tls_in(server, slice_of(record + out.len - 1, 1)), ERR_MALFORMED);
    assert_false(tls_is_up(server));
    assert_int_equal(tls_in(server, slice_str("more")), ERR_BADSTATE);
}

static void plain_text_is_no_tls(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.insecure = true};
    begin(&s, &c, NULL);
    assert_int_equal(tls_in(server, slice_str("OPTIONS sip:a SIP/2.0\r\n\r\n")), ERR_MALFORMED);
    assert_true(strlen(tls_why(server)) > 10);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    static uint8_t chunk[32 * 1024];
    struct tls_config s = good_server(), c = {.insecure = true};
    begin(&s, &c, NULL);
    assert_int_equal(tls_write(client, slice_of(chunk, sizeof chunk)), OK);
    assert_int_equal(tls_write(client, slice_of(chunk, sizeof chunk)), OK);
    assert_int_equal(tls_write(client, slice_of(chunk, 1)), ERR_LIMIT);
    assert_int_equal(settle(SIZE_MAX), OK);
    size_t n, total = 0;
    while ((n = tls_read(server, chunk, sizeof chunk)) > 0) {
        total += n;
    }
    assert_int_equal(total, 2 * sizeof chunk);
}

static void bad_files_say_which(void **state)
{
    struct tls_context *c;
    char why[TLS_WHY_MAX];
    (void)state;
    struct tls_config missing = {.cert_file = "/nonexistent.pem", .key_file = certs.key};
    assert_int_equal(tls_context_new(&c, &missing, why), ERR_SYSTEM);
    assert_non_null(strstr(why, "/nonexistent.pem"));
    struct tls_config mixed = {.cert_file = certs.cert, .key_file = certs.other_key};
    assert_int_equal(tls_context_new(&c, &mixed, why), ERR_SYSTEM);
    assert_non_null(strstr(why, "other-key.pem"));
    assert_null(c);
}

static void speaks_alpn(const char *server_has, const char *client_has, const char *agreed)
{
    struct tls_config s = good_server(), c = {.insecure = true};
    s.alpn = server_has;
    c.alpn = client_has;
    begin(&s, &c, "turn.example.org");
    int err = settle(SIZE_MAX);
    assert_int_equal(tls_is_up(server), agreed != NULL);
    assert_int_equal(err == OK, agreed != NULL);
    if (agreed) {
        assert_true(slice_eq(tls_alpn(server), slice_str(agreed)));
        assert_true(slice_eq(tls_alpn(client), slice_str(agreed)));
        assert_string_equal(tls_server_name(server), "turn.example.org");
    }
    tls_free(server);
    tls_free(client);
    tls_context_free(server_ctx);
    tls_context_free(client_ctx);
    server = client = NULL;
    server_ctx = client_ctx = NULL;
}

static void alpn_is_taken_but_not_asked_for(void **state)
{
    (void)state;
    speaks_alpn("stun.turn", "stun.turn", "stun.turn");
    speaks_alpn("stun.turn", NULL, "");
    speaks_alpn(NULL, "stun.turn", "");
    speaks_alpn("stun.turn", "http/1.1", NULL);
    struct tls_config nameless = {.alpn = ""};
    struct tls_context *c;
    char why[TLS_WHY_MAX];
    assert_int_equal(tls_context_new(&c, &nameless, why), ERR_MALFORMED);
}

static void a_session_outlives_its_context(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.insecure = true};
    s.alpn = c.alpn = "stun.turn";
    begin(&s, &c, NULL);
    tls_context_free(server_ctx);
    tls_context_free(client_ctx);
    server_ctx = client_ctx = NULL;
    assert_int_equal(settle(SIZE_MAX), OK);
    assert_null(tls_server_name(server));
    says(client, server, "x");
}

/* Message fragments of a hello that promises to be as long as OpenSSL would wait for. */
static void an_endless_handshake_is_given_up(void **state)
{
    (void)state;
    struct tls_config s = good_server(), c = {.insecure = true};
    begin(&s, &c, NULL);
    uint8_t record[5 + 1024] = {0x16, 0x03, 0x01, 0x04, 0x00, 0x01, 0x01, 0xff, 0xff};
    int err = OK;
    size_t total = 0;
    while (!err && total < 128 * 1024) {
        err = tls_in(server, slice_of(record, sizeof record));
        total += sizeof record;
        memset(record + 5, 0, 4); /* the message's head comes once */
    }
    assert_int_equal(err, ERR_MALFORMED);
    assert_in_range(total, 64 * 1024, 66 * 1024);
    assert_non_null(strstr(tls_why(server), "65536"));
}

static int reset(void **state)
{
    (void)state;
    tls_free(server);
    tls_free(client);
    tls_context_free(server_ctx);
    tls_context_free(client_ctx);
    server = client = NULL;
    server_ctx = client_ctx = NULL;
    return 0;
}

static int make(void **state)
{
    (void)state;
    return certs_make(&certs) ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    certs_remove(&certs);
    return 0;
}

#define T(name) cmocka_unit_test_teardown(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(talks_byte_by_byte),
        T(an_address_is_a_name_too),
        T(wrong_ca),
        T(wrong_name),
        T(wrong_address),
        T(insecure_takes_anybody),
        T(a_server_can_ask_for_a_certificate),
        T(a_client_shows_its_certificate),
        T(noise_and_damage),
        T(plain_text_is_no_tls),
        T(what_waits_is_bounded),
        T(bad_files_say_which),
        T(alpn_is_taken_but_not_asked_for),
        T(a_session_outlives_its_context),
        T(an_endless_handshake_is_given_up),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
