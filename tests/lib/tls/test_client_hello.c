/* ClientHellos: one of OpenSSL's, cut and cut up everywhere; some made by hand, with faults. */
#include <stdlib.h>

#include "lib/tls/client_hello.h"
#include "lib/tls/tls.h"

#include "tests/unit.h"

/* On a buffer of just that size. */
static enum parse read_exact(struct slice in, struct client_hello *h)
{
    uint8_t *copy = malloc(in.len ? in.len : 1);
    assert_non_null(copy);
    if (in.len) {
        memcpy(copy, in.p, in.len);
    }
    enum parse got = client_hello_read(slice_of(copy, in.len), h);
    free(copy); /* the result must not need it */
    return got;
}

/* A client's first bytes, as OpenSSL writes them. */
static size_t openssl_hello(uint8_t *out, size_t cap, const char *name, const char *alpn)
{
    const struct tls_config cfg = {.insecure = true, .alpn = alpn};
    char why[TLS_WHY_MAX];
    struct tls_context *c;
    struct tls *t;
    assert_int_equal(tls_context_new(&c, &cfg, why), OK);
    assert_int_equal(tls_new(&t, c, false, name), OK);
    struct slice wire = tls_out(t);
    assert_in_range(wire.len, 1, cap);
    memcpy(out, wire.p, wire.len);
    tls_free(t);
    tls_context_free(c);
    return wire.len;
}

static void a_real_one_is_read(void **state)
{
    uint8_t wire[4096];
    struct client_hello h;
    (void)state;
    size_t len = openssl_hello(wire, sizeof wire, "turn.example.com", "stun.turn");
    assert_int_equal(read_exact(slice_of(wire, len), &h), PARSE_OK);
    assert_true(slice_eq(h.server_name, slice_str("turn.example.com")));
    assert_true(client_hello_offers(&h, "stun.turn"));
    assert_false(client_hello_offers(&h, "stun.tur") || client_hello_offers(&h, "h2"));
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(read_exact(slice_of(wire, n), &h), PARSE_MORE);
        assert_int_equal(h.server_name.len, 0);
    }
    len = openssl_hello(wire, sizeof wire, NULL, NULL);
    assert_int_equal(read_exact(slice_of(wire, len), &h), PARSE_OK);
    assert_true(h.server_name.len == 0 && h.alpn.len == 0);
    assert_false(client_hello_offers(&h, "stun.turn") || client_hello_offers(&h, ""));
}

/* The message in records of `size` bytes each. */
static size_t cut_up(uint8_t *out, struct slice message, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < message.len; i += size) {
        size_t n = message.len - i < size ? message.len - i : size;
        const uint8_t head[] = {22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n};
        memcpy(out + at, head, sizeof head);
        memcpy(out + at + sizeof head, message.p + i, n);
        at += sizeof head + n;
    }
    return at;
}

static void records_are_put_together(void **state)
{
    uint8_t wire[4096], cut[6 * 4096];
    struct client_hello h;
    (void)state;
    size_t len = openssl_hello(wire, sizeof wire, "a.example", "h2") - 5;
    for (size_t size = 1; size < len; size++) {
        size_t n = cut_up(cut, slice_of(wire + 5, len), size);
        assert_int_equal(read_exact(slice_of(cut, n), &h), PARSE_OK);
        assert_true(slice_eq(h.server_name, slice_str("a.example")));
        assert_int_equal(read_exact(slice_of(cut, n - 1), &h), PARSE_MORE);
    }
    /* Nothing else between, and no record that brings nothing: it could go on for ever. */
    size_t n = cut_up(cut, slice_of(wire + 5, len), 50);
    cut[55] = 23;
    assert_int_equal(read_exact(slice_of(cut, n), &h), PARSE_BAD);
    const uint8_t empty[] = {22, 3, 1, 0, 0, 22, 3, 1};
    assert_int_equal(read_exact(slice_of(empty, sizeof empty), &h), PARSE_BAD);
    assert_int_equal(read_exact(slice_of(empty, 5), &h), PARSE_BAD);
}

/* A hello by hand, with these extensions, as one record. */
static size_t hello_with(uint8_t *out, size_t cap, struct slice extensions)
{
    struct wr w = wr_over(out, cap);
    size_t body = 2 + 32 + 1 + 2 + 2 + 2 + 2 + extensions.len;
    wr_bytes(&w, slice_of("\x16\3\1", 3));
    wr_u16(&w, (uint16_t)(body + 4));
    wr_uint(&w, 1u << 24 | body, 4);
    wr_u16(&w, 0x0303);
    (void)wr_room(&w, 32 + 1);
    wr_bytes(&w, slice_of("\0\2\x13\1\1\0", 6));
    wr_u16(&w, (uint16_t)extensions.len);
    wr_bytes(&w, extensions);
    assert_int_equal(w.err, OK);
    return w.len;
}

static enum parse read_with(struct slice extensions, struct client_hello *h)
{
    uint8_t wire[512];
    return read_exact(slice_of(wire, hello_with(wire, sizeof wire, extensions)), h);
}

#define BYTES(s) slice_of("" s, sizeof(s) - 1)
#define SNI      "\0\0\0\6\0\4\0\0\1a"
#define ALPN     "\0\x10\0\5\0\3\2h2"

static void faults_in_extensions_are_found(void **state)
{
    static const struct {
        struct slice bytes;
        enum parse want;
    } cases[] = {
        {{(const uint8_t *)SNI, 10},                              PARSE_OK },
        {{(const uint8_t *)SNI ALPN, 19},                         PARSE_OK },
        {{(const uint8_t *)"\x33\x33\0\2ab" SNI, 16},             PARSE_OK },
        {{(const uint8_t *)SNI SNI, 20},                          PARSE_BAD}, /* twice */
        {{(const uint8_t *)ALPN ALPN, 18},                        PARSE_BAD},
        {{(const uint8_t *)"\0\0\0\0", 4},                        PARSE_BAD}, /* nothing */
        {{(const uint8_t *)"\0\0\0\2\0\0", 6},                    PARSE_BAD},
        {{(const uint8_t *)"\0\0\0\5\0\3\0\0\0", 9},              PARSE_BAD}, /* no name */
        {{(const uint8_t *)"\0\0\0\6\0\5\0\0\1a", 10},            PARSE_BAD}, /* lengths */
        {{(const uint8_t *)"\0\0\0\6\0\3\0\0\1a", 10},            PARSE_BAD},
        {{(const uint8_t *)"\0\0\0\6\0\4\0\0\2a", 10},            PARSE_BAD},
        {{(const uint8_t *)"\0\0\0\7\0\4\0\0\1a", 10},            PARSE_BAD},
        {{(const uint8_t *)"\0\0\0\6\0\4\0\0\1\0", 10},           PARSE_BAD}, /* NUL */
        {{(const uint8_t *)"\0\0\0\x0A\0\x08\0\0\1a\0\0\1b", 14}, PARSE_BAD}, /* two */
        {{(const uint8_t *)"\0\0\0\x0A\0\x08\7\0\1a\0\0\1b", 14}, PARSE_OK },
        {{(const uint8_t *)"\0\x10\0\5\0\3\3h2", 9},              PARSE_BAD},
        {{(const uint8_t *)"\0\x10\0\5\0\3\0h2", 9},              PARSE_BAD},
        {{(const uint8_t *)"\0\x10\0\2\0\0", 6},                  PARSE_BAD},
        {{(const uint8_t *)"\0", 1},                              PARSE_BAD},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_hello h;
        assert_int_equal(read_with(cases[i].bytes, &h), cases[i].want);
    }
}

static void names_and_protocols_come_out(void **state)
{
    struct client_hello h;
    (void)state;
    assert_int_equal(read_with(BYTES("\0\0\0\x0A\0\x08\7\0\1a\0\0\1b" ALPN), &h), PARSE_OK);
    assert_true(slice_eq(h.server_name, slice_str("b")));
    assert_true(client_hello_offers(&h, "h2"));
    assert_true(slice_eq(h.alpn, BYTES("\2h2")));
}

static void other_faults_are_found(void **state)
{
    uint8_t wire[512];
    struct client_hello h;
    size_t len = hello_with(wire, sizeof wire, BYTES(SNI));
    static const struct {
        size_t at;
        uint8_t byte;
    } faults[] = {
        {5,  2   }, /* another message */
        {6,  1   }, /* 64 KiB of it */
        {43, 33  }, /* a long session id */
        {45, 1   }, /* half a cipher suite */
        {48, 0   }, /* no compression method */
        {51, 0x0B}, /* the extensions' length */
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint8_t was = wire[faults[i].at];
        wire[faults[i].at] = faults[i].byte;
        assert_int_equal(read_exact(slice_of(wire, len), &h), PARSE_BAD);
        wire[faults[i].at] = was;
    }
    assert_int_equal(read_exact(slice_of(wire, len), &h), PARSE_OK);
    /* Without extensions at all, as TLS 1.2 permits. */
    wire[4] = (uint8_t)(wire[4] - 12);
    wire[8] = (uint8_t)(wire[8] - 12);
    assert_int_equal(read_exact(slice_of(wire, len - 12), &h), PARSE_OK);
    assert_int_equal(h.server_name.len, 0);
}

static void a_long_one_is_refused_at_its_head(void **state)
{
    struct client_hello h;
    static uint8_t drip[CLIENT_HELLO_WIRE_MAX + 8];
    (void)state;
    assert_int_equal(read_exact(BYTES("\x16\3\1\x40\0\1\0\x3F\xFC"), &h), PARSE_MORE);
    assert_int_equal(read_exact(BYTES("\x16\3\1\x40\0\1\0\x3F\xFD"), &h), PARSE_BAD);
    assert_int_equal(read_exact(BYTES("\x16\3\1\x40\1\1"), &h), PARSE_BAD);
    /* A byte a record. */
    for (size_t i = 0; i + 6 <= sizeof drip; i += 6) {
        memcpy(drip + i, "\x16\3\1\0\1\0", 6);
    }
    drip[5] = 1;
    drip[3 * 6 - 1] = 0x30;
    assert_int_equal(read_exact(slice_of(drip, CLIENT_HELLO_WIRE_MAX), &h), PARSE_MORE);
    assert_int_equal(read_exact(slice_of(drip, CLIENT_HELLO_WIRE_MAX + 1), &h), PARSE_BAD);
}

static void the_first_two_bytes_tell_tls(void **state)
{
    (void)state;
    assert_int_equal(client_hello_begins(BYTES("")), PARSE_MORE);
    assert_int_equal(client_hello_begins(BYTES("\x16")), PARSE_MORE);
    assert_int_equal(client_hello_begins(BYTES("\x16\3")), PARSE_OK);
    assert_int_equal(client_hello_begins(BYTES("\x16\4")), PARSE_BAD);
    assert_int_equal(client_hello_begins(BYTES("\x16\xFE\xFD")), PARSE_BAD);   /* DTLS */
    assert_int_equal(client_hello_begins(BYTES("\x80\x2E\1\3\1")), PARSE_BAD); /* SSL 2 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_one_is_read),
        cmocka_unit_test(records_are_put_together),
        cmocka_unit_test(faults_in_extensions_are_found),
        cmocka_unit_test(names_and_protocols_come_out),
        cmocka_unit_test(other_faults_are_found),
        cmocka_unit_test(a_long_one_is_refused_at_its_head),
        cmocka_unit_test(the_first_two_bytes_tell_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
