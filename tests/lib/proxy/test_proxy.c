/* PROXY headers: the examples of the specification, every cut, and what must not pass. */
#include <stdlib.h>

#include "lib/proxy/proxy.h"

#include "tests/unit.h"

#define SIG      "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(s) slice_of("" s, sizeof(s) - 1)

/* On a buffer of just that size, with no byte to spare behind it. */
static enum parse read_exact(struct slice in, struct proxy_header *h, size_t *used)
{
    uint8_t *copy = malloc(in.len ? in.len : 1);
    assert_non_null(copy);
    if (in.len) {
        memcpy(copy, in.p, in.len);
    }
    enum parse got = proxy_read(slice_of(copy, in.len), h, used);
    free(copy);
    return got;
}

/* `header` is whole and says these two; behind it may be anything, and no part of it will do.
 */
static void says(struct slice header, const char *client, const char *server)
{
    struct proxy_header h;
    char text[ADDR_TEXT_MAX];
    uint8_t with_more[PROXY_MAX + 3];
    size_t used;
    memcpy(with_more, header.p, header.len);
    memset(with_more + header.len, 0x16, 3);
    for (size_t more = 0; more <= 3; more++) {
        assert_int_equal(read_exact(slice_of(with_more, header.len + more), &h, &used),
                         PARSE_OK);
        assert_int_equal(used, header.len);
        assert_string_equal(h.client.family ? addr_text(&h.client, text) : "", client);
        assert_string_equal(h.server.family ? addr_text(&h.server, text) : "", server);
    }
    for (size_t n = 0; n < header.len; n++) {
        assert_int_equal(read_exact(slice_of(header.p, n), &h, &used), PARSE_MORE);
        assert_int_equal(used, 0);
        assert_int_equal(h.client.family, ADDR_NONE);
        assert_true(proxy_begins(slice_of(header.p, n)) != PARSE_BAD);
    }
}

static void refuses(struct slice header)
{
    struct proxy_header h;
    size_t used;
    assert_int_equal(read_exact(header, &h, &used), PARSE_BAD);
    assert_int_equal(h.client.family, ADDR_NONE);
}

static void version_1_is_read(void **state)
{
    (void)state;
    says(BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), "192.168.0.1:56324",
         "192.168.0.11:443");
    says(BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
         "255.255.255.255:65535", "255.255.255.255:65535");
    says(BYTES("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 0\r\n"), "[2001:db8::1]:1",
         "2001:db8::2");
    says(BYTES("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1024 443\r\n"), "192.0.2.1:1024",
         "[2001:db8::2]:443");
}

static void unknown_is_no_address(void **state)
{
    (void)state;
    says(BYTES("PROXY UNKNOWN\r\n"), "", "");
    says(BYTES("PROXY UNKNOWN ffff::1 \0 what \xff ever\r\n"), "", "");
    /* The longest there may be has 107 bytes. */
    char line[110] = "PROXY UNKNOWN";
    memset(line + 13, ' ', sizeof line - 13);
    memcpy(line + 105, "\r\n", 2);
    says(slice_of(line, 107), "", "");
    memset(line + 105, ' ', 2);
    memcpy(line + 106, "\r\n", 2);
    refuses(slice_of(line, 108));
    refuses(slice_of(line, 107));
}

static void version_1_is_read_strictly(void **state)
{
    static const char *const wrong[] = {
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r \n",
        "PROXY TCP4 192.168.0.1\r192.168.0.11 56324 443\r\n",
        "PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324  443\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 065 443\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 -1 443\r\n",
        "PROXY TCP4 192.168.00.1 192.168.0.11 1 443\r\n",
        "PROXY TCP4 192.168.0 192.168.0.11 1 443\r\n",
        "PROXY TCP4 192.168.0.1:5 192.168.0.11 1 443\r\n",
        "PROXY TCP4 ::1 ::1 1 443\r\n",
        "PROXY TCP6 192.168.0.1 192.168.0.11 1 443\r\n",
        "PROXY TCP6 [::1] ::1 1 443\r\n",
        "PROXY TCP6 ::1 1::1::1 1 443\r\n",
        "PROXY UDP4 192.168.0.1 192.168.0.11 1 443\r\n",
        "PROXY tcp4 192.168.0.1 192.168.0.11 1 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "proxy UNKNOWN\r\n",
        "PROXY\tUNKNOWN\r\n",
        "GET / HTTP/1.1\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        refuses(slice_str(wrong[i]));
    }
}

#define V4_ADDRESSES "\xC0\0\2\1\xC6\x33\x64\2\x30\x39\x01\xBB"
#define V6_ADDRESSES                                                                       \
    "\x20\1\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\2\x30\x39" \
    "\x01\xBB"

static void version_2_is_read(void **state)
{
    (void)state;
    says(BYTES(SIG "\x21\x11\0\x0C" V4_ADDRESSES), "192.0.2.1:12345", "198.51.100.2:443");
    says(BYTES(SIG "\x21\x21\0\x24" V6_ADDRESSES), "[2001:db8::1]:12345", "[2001:db8::2]:443");
    says(BYTES(SIG "\x21\x11\0\x12" V4_ADDRESSES "\4\0\0\xE0\0\0"), "192.0.2.1:12345",
         "198.51.100.2:443");
}

static void what_is_no_tcp_client_is_no_address(void **state)
{
    (void)state;
    says(BYTES(SIG "\x20\0\0\0"), "", "");
    says(BYTES(SIG "\x20\x11\0\x0C" V4_ADDRESSES), "", ""); /* LOCAL */
    says(BYTES(SIG "\x20\xFF\0\3\4\xFF\xFF"), "", "");
    says(BYTES(SIG "\x21\0\0\3\1\2\3"), "", "");
    says(BYTES(SIG "\x21\x12\0\x0C" V4_ADDRESSES), "", "");
    says(BYTES(SIG "\x21\x22\0\x24" V6_ADDRESSES), "", "");
    uint8_t unix_stream[16 + 216] = SIG "\x21\x31\0\xD8";
    says(slice_of(unix_stream, sizeof unix_stream), "", "");
}

static void version_2_is_read_strictly(void **state)
{
    (void)state;
    refuses(BYTES(SIG "\x11\x11\0\x0C" V4_ADDRESSES));            /* the version */
    refuses(BYTES(SIG "\x22\x11\0\x0C" V4_ADDRESSES));            /* the command */
    refuses(BYTES(SIG "\x21\x41\0\x0C" V4_ADDRESSES));            /* the family */
    refuses(BYTES(SIG "\x21\x13\0\x0C" V4_ADDRESSES));            /* the transport */
    refuses(BYTES(SIG "\x21\x11\0\x0B" V4_ADDRESSES));            /* too short for it */
    refuses(BYTES(SIG "\x21\x21\0\x0C" V4_ADDRESSES));            /* the same */
    refuses(BYTES(SIG "\x21\x11\0\x0E" V4_ADDRESSES "\4\0"));     /* half a TLV */
    refuses(BYTES(SIG "\x21\x11\0\x0F" V4_ADDRESSES "\4\0\1"));   /* a TLV without its value */
    refuses(BYTES(SIG "\x21\x11\0\x10" V4_ADDRESSES "\3\0\1\0")); /* no checksum's length */
    refuses(BYTES("\r\n\r\n\0\r\nQUIT\r"));
}

/* RFC 3720 B.4 has vectors of the CRC; this one's is from another implementation of it. */
static void a_checksum_is_compared(void **state)
{
    uint8_t h[] = SIG "\x21\x11\0\x13" V4_ADDRESSES "\3\0\4\0\0\0\0";
    uint32_t crc = UINT32_MAX;
    (void)state;
    for (size_t i = 0; i < sizeof h - 1; i++) { /* by polynomial division, bits reversed */
        for (int bit = 0; bit < 8; bit++) {
            uint32_t top = crc >> 31 ^ ((uint32_t)h[i] >> bit & 1u);
            crc = crc << 1 ^ (top ? 0x1EDC6F41u : 0);
        }
    }
    uint32_t want = 0;
    for (int bit = 0; bit < 32; bit++) {
        want |= (~crc >> bit & 1u) << (31 - bit);
    }
    for (int i = 0; i < 4; i++) {
        h[sizeof h - 5 + (size_t)i] = (uint8_t)(want >> (24 - 8 * i));
    }
    says(slice_of(h, sizeof h - 1), "192.0.2.1:12345", "198.51.100.2:443");
    for (size_t i = 16; i < sizeof h - 1; i++) {
        h[i] ^= 4;
        if (i < 28 || i > 30) { /* there the TLV is no checksum any more, or too long */
            refuses(slice_of(h, sizeof h - 1));
        }
        h[i] ^= 4;
    }
}

static void a_long_one_is_refused_before_it_is_here(void **state)
{
    uint8_t h[PROXY_MAX] = SIG "\x21\x11\x0F\xF0" V4_ADDRESSES "\4\x0F\xE1";
    (void)state;
    says(slice_of(h, sizeof h), "192.0.2.1:12345", "198.51.100.2:443");
    refuses(BYTES(SIG "\x21\x11\x0F\xF1"));
    refuses(BYTES(SIG "\x20\0\xFF\xFF"));
}

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), OK);
    return a;
}

static void what_is_written_can_be_read(void **state)
{
    static const char *const pairs[][2] = {
        {"192.0.2.1:5",     "198.51.100.1:443" },
        {"[2001:db8::1]:5", "[2001:db8::2]:443"},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint8_t out[PROXY_V2_LEN];
        struct proxy_header h = {.client = addr_of(pairs[i][0]),
                                 .server = addr_of(pairs[i][1])};
        struct wr w = wr_over(out, sizeof out);
        proxy_write(&w, &h);
        assert_int_equal(w.err, OK);
        says(wr_done(&w), pairs[i][0], pairs[i][1]);
        for (size_t cap = 0; cap < w.len; cap++) {
            uint8_t *exact = malloc(cap ? cap : 1);
            struct wr small = wr_over(exact, cap);
            proxy_write(&small, &h);
            assert_int_equal(small.err, ERR_NOSPACE);
            free(exact);
        }
    }
}

static void two_families_are_said_to_be_local(void **state)
{
    uint8_t out[PROXY_V2_LEN];
    struct proxy_header h = {.client = addr_of("192.0.2.1:5"), .server = addr_of("::1")};
    struct wr w = wr_over(out, sizeof out);
    (void)state;
    proxy_write(&w, &h);
    assert_true(slice_eq(wr_done(&w), BYTES(SIG "\x20\0\0\0")));
}

static void other_protocols_do_not_begin_like_it(void **state)
{
    (void)state;
    assert_int_equal(proxy_begins(BYTES("")), PARSE_MORE);
    assert_int_equal(proxy_begins(BYTES("P")), PARSE_MORE);
    assert_int_equal(proxy_begins(BYTES("\r\n\r\n\0\r\nQUIT")), PARSE_MORE);
    assert_int_equal(proxy_begins(BYTES("POST / HTTP/1.1\r\n")), PARSE_BAD);
    assert_int_equal(proxy_begins(BYTES("PRI * HTTP/2.0\r\n")), PARSE_BAD);
    assert_int_equal(proxy_begins(BYTES("\0\1\0\0")), PARSE_BAD);
    assert_int_equal(proxy_begins(BYTES("\x16\3\1")), PARSE_BAD);
    assert_int_equal(proxy_begins(BYTES("\r\n\r\n\r\n")), PARSE_BAD); /* keep-alive of SIP */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_read),
        cmocka_unit_test(unknown_is_no_address),
        cmocka_unit_test(version_1_is_read_strictly),
        cmocka_unit_test(version_2_is_read),
        cmocka_unit_test(what_is_no_tcp_client_is_no_address),
        cmocka_unit_test(version_2_is_read_strictly),
        cmocka_unit_test(a_checksum_is_compared),
        cmocka_unit_test(a_long_one_is_refused_before_it_is_here),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(two_families_are_said_to_be_local),
        cmocka_unit_test(other_protocols_do_not_begin_like_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
