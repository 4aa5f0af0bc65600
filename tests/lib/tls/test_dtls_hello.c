/* ClientHellos cut, bent and answered. */
#include "lib/tls/dtls_hello.h"

#include "tests/unit.h"

enum {
    BODY_AT = 13 + 12,
    COOKIE_AT = BODY_AT + 2 + 32 + 1 + 4, /* of a hello with four bytes of session */
    HELLO_MAX = 256
};

struct fake {
    uint8_t b[HELLO_MAX];
    size_t len;
};

/* A whole ClientHello, as RFC 6347 4.2.2 and 4.3.2 lay it out. */
static struct fake hello(uint16_t message_seq, struct slice cookie)
{
    struct fake f;
    struct wr w = wr_over(f.b, sizeof f.b);
    size_t body = 2 + 32 + 1 + 4 + 1 + cookie.len + 2 + 4 + 2;
    wr_u8(&w, 22);
    wr_u16(&w, 0xfefd);
    wr_u64(&w, 7);
    wr_u16(&w, (uint16_t)(12 + body));
    wr_u8(&w, 1);
    wr_uint(&w, body, 3);
    wr_u16(&w, message_seq);
    wr_uint(&w, 0, 3);
    wr_uint(&w, body, 3);
    wr_u16(&w, 0xfefd);
    for (uint8_t i = 0; i < 32; i++) {
        wr_u8(&w, (uint8_t)(i + 100));
    }
    wr_u8(&w, 4);
    wr_u32(&w, 0xaabbccdd);
    wr_u8(&w, (uint8_t)cookie.len);
    wr_bytes(&w, cookie);
    wr_u16(&w, 4);
    wr_u32(&w, 0xc02bc02f);
    wr_u16(&w, 0x0100); /* null compression */
    assert_int_equal(w.err, OK);
    f.len = w.len;
    return f;
}

static const uint8_t secret[32] = {1, 2, 3};

static struct addr at(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), OK);
    return a;
}

static struct dtls_door door(void)
{
    return (struct dtls_door){.secret = secret,
                              .client = at("192.0.2.1:5000"),
                              .local = at("198.51.100.1:3478"),
                              .now_ms = 1000000};
}

static enum dtls_knock knock(const struct dtls_door *d, const struct fake *f,
                             uint8_t out[DTLS_VERIFY_LEN])
{
    struct dtls_hello h;
    struct slice in = exact(f->b, f->len);
    enum dtls_knock k = dtls_door_knock(d, in, &h, out);
    exact_free(in);
    return k;
}

/* What a client that gets the HelloVerifyRequest says next. */
static struct fake second(const struct dtls_door *d)
{
    uint8_t out[DTLS_VERIFY_LEN];
    struct fake f = hello(0, slice_of(NULL, 0));
    assert_int_equal(knock(d, &f, out), DTLS_VERIFY);
    return hello(1, slice_of(out + DTLS_VERIFY_LEN - DTLS_COOKIE_LEN, DTLS_COOKIE_LEN));
}

static void the_request_is_as_the_rfc_says_and_short(void **state)
{
    (void)state;
    struct dtls_door d = door();
    struct fake f = hello(0, slice_of(NULL, 0));
    uint8_t out[DTLS_VERIFY_LEN];
    static const uint8_t head[] = {22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,  0,    35,   3,
                                   0,  0,    23,   0, 0, 0, 0, 0, 0, 0, 23, 0xfe, 0xff, 20};
    assert_int_equal(knock(&d, &f, out), DTLS_VERIFY);
    assert_memory_equal(out, head, sizeof head);
    assert_int_equal(sizeof head + DTLS_COOKIE_LEN, DTLS_VERIFY_LEN);
    assert_true(DTLS_VERIFY_LEN < f.len);
}

static void a_cookie_is_good_for_its_address_its_hello_and_a_while(void **state)
{
    (void)state;
    struct dtls_door d = door(), other = d;
    struct fake f = second(&d);
    uint8_t out[DTLS_VERIFY_LEN];
    assert_int_equal(knock(&d, &f, out), DTLS_PROVEN);
    other.client = at("192.0.2.1:5001");
    assert_int_equal(knock(&other, &f, out), DTLS_STRAY);
    other.client = at("192.0.2.2:5000");
    assert_int_equal(knock(&other, &f, out), DTLS_STRAY);
    other = d;
    other.local = at("198.51.100.2:3478");
    assert_int_equal(knock(&other, &f, out), DTLS_STRAY);
    other = d;
    other.secret = (const uint8_t[32]){1, 2, 4};
    assert_int_equal(knock(&other, &f, out), DTLS_STRAY);
    other = d;
    other.now_ms += 1000ull * DTLS_COOKIE_S;
    assert_int_equal(knock(&other, &f, out), DTLS_PROVEN);
    other.now_ms += 1000ull * DTLS_COOKIE_S;
    assert_int_equal(knock(&other, &f, out), DTLS_STRAY);
    f.b[BODY_AT + 2] ^= 1; /* the random */
    assert_int_equal(knock(&d, &f, out), DTLS_STRAY);
}

static void every_bit_of_the_cookie_counts(void **state)
{
    (void)state;
    struct dtls_door d = door();
    struct fake f = second(&d);
    uint8_t out[DTLS_VERIFY_LEN];
    for (size_t i = 0; i < 8 * DTLS_COOKIE_LEN; i++) {
        f.b[COOKIE_AT + 1 + i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(knock(&d, &f, out), DTLS_STRAY);
        f.b[COOKIE_AT + 1 + i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(knock(&d, &f, out), DTLS_PROVEN);
}

/* OpenSSL goes on from message 1; and the first message is never let in, cookie or not. */
static void the_number_of_the_message_must_fit(void **state)
{
    (void)state;
    struct dtls_door d = door();
    struct fake f = second(&d);
    uint8_t out[DTLS_VERIFY_LEN];
    f.b[13 + 5] = 0;
    assert_int_equal(knock(&d, &f, out), DTLS_VERIFY);
    f.b[13 + 5] = 2;
    assert_int_equal(knock(&d, &f, out), DTLS_STRAY);
    struct fake empty = hello(1, slice_of(NULL, 0));
    assert_int_equal(knock(&d, &empty, out), DTLS_STRAY);
}

static void cut_hellos_are_nobodys(void **state)
{
    (void)state;
    struct dtls_door d = door();
    struct fake whole = second(&d);
    uint8_t out[DTLS_VERIFY_LEN];
    for (size_t n = 0; n < whole.len; n++) {
        struct fake f = whole;
        f.len = n;
        assert_int_equal(knock(&d, &f, out), DTLS_NO_HELLO);
        /* The record says that it is cut; then the message does. */
        if (n >= 13) {
            f.b[11] = (uint8_t)((n - 13) >> 8);
            f.b[12] = (uint8_t)(n - 13);
            assert_int_equal(knock(&d, &f, out), n > 13 ? DTLS_STRAY : DTLS_NO_HELLO);
        }
        if (n >= BODY_AT) {
            f.b[13 + 11] = (uint8_t)(n - BODY_AT);
            bool has_cookie = n >= COOKIE_AT + 1 + DTLS_COOKIE_LEN;
            assert_int_equal(knock(&d, &f, out), has_cookie ? DTLS_PROVEN : DTLS_STRAY);
        }
    }
}

static void bent_hellos_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t is;
        enum dtls_knock then;
    } rows[] = {
        {0,            23,   DTLS_NO_HELLO},
        {1,            3,    DTLS_NO_HELLO}, /* TLS */
        {4,            1,    DTLS_NO_HELLO}, /* epoch 1 */
        {13,           2,    DTLS_NO_HELLO}, /* ServerHello */
        {13 + 8,       1,    DTLS_NO_HELLO}, /* a later fragment */
        {13 + 3,       20,   DTLS_STRAY   }, /* the fragment is longer than the whole */
        {BODY_AT,      3,    DTLS_STRAY   },
        {BODY_AT + 34, 33,   DTLS_STRAY   }, /* session */
        {COOKIE_AT,    0xff, DTLS_STRAY   },
    };
    struct dtls_door d = door();
    uint8_t out[DTLS_VERIFY_LEN];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake f = second(&d);
        f.b[rows[i].at] = rows[i].is;
        assert_int_equal(knock(&d, &f, out), rows[i].then);
    }
}

static void the_first_byte_tells_dtls(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        uint8_t byte = (uint8_t)b;
        assert_int_equal(dtls_is_record(slice_of(&byte, 1)), b >= 20 && b <= 63);
    }
    assert_false(dtls_is_record(slice_of(NULL, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_is_as_the_rfc_says_and_short),
        cmocka_unit_test(a_cookie_is_good_for_its_address_its_hello_and_a_while),
        cmocka_unit_test(every_bit_of_the_cookie_counts),
        cmocka_unit_test(the_number_of_the_message_must_fit),
        cmocka_unit_test(cut_hellos_are_nobodys),
        cmocka_unit_test(bent_hellos_are_refused),
        cmocka_unit_test(the_first_byte_tells_dtls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
