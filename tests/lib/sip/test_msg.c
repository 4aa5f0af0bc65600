/* The reading of SIP messages: odd but lawful ones, broken ones, and every truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/text.h"

#include "lib/sip/msg.h"

#define REQ "INVITE sip:room@meet.example;user=phone SIP/2.0\r\n"
#define TOP "Via: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKx\r\n"
#define MID "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: q\r\n"

static uint8_t *held;

static int parse(const char *text, size_t len, struct sip_msg *m)
{
    free(held);
    held = malloc(len ? len : 1);
    assert_non_null(held);
    memcpy(held, text, len);
    sip_msg_unfold(held, len);
    return sip_msg_parse(slice_of(held, len), m);
}

static void assert_text(struct slice s, const char *want)
{
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.p, want, s.len);
}

static void lawful_oddities(void **state)
{
    static const char text[] =
        REQ "v:  SIP/2.0/TCP\t10.0.0.1 ;branch=z9hG4bK-1 , SIP/2.0/UDP h;branch=b\r\n"
            "f: \"A, \\\"B\\\" <x>;tag=no\" <sip:a@b;tag=no>\r\n ;epid=0123; tag = yes\r\n"
            "t : sip:c@d;tag=t2\r\nI: call@id\r\nCSEQ: 7   INVITE\r\n"
            "m: <sip:[2001:db8::1]:5061;transport=tls>\r\nc: application/sdp\r\nL: 3\r\n"
            "X-Empty:\r\n\r\nabcdef";
    struct sip_msg m;
    struct slice list, v, user, host;
    (void)state;
    assert_int_equal(parse(text, sizeof text - 1, &m), OK);
    assert_text(m.method, "INVITE");
    assert_text(m.branch, "z9hG4bK-1");
    assert_text(m.from_tag, "yes");
    assert_text(m.to_tag, "t2");
    assert_text(m.call_id, "call@id");
    assert_text(m.body, "abc"); /* what is beyond the length is not the message's */
    assert_int_equal(m.cseq, 7);
    assert_text(sip_addr_uri(m.from), "sip:a@b;tag=no");
    assert_text(sip_addr_uri(m.to), "sip:c@d");
    list = sip_msg_find(&m, SIP_H_VIA);
    assert_true(sip_value_next(&list, &v));
    assert_true(sip_value_next(&list, &v));
    assert_text(v, "SIP/2.0/UDP h;branch=b");
    assert_false(sip_value_next(&list, &v));
    assert_int_equal(sip_uri_split(sip_addr_uri(sip_msg_find(&m, SIP_H_CONTACT)), &user, &host),
                     OK);
    assert_text(host, "[2001:db8::1]");
    assert_int_equal(sip_uri_split(m.uri, &user, &host), OK);
    assert_text(user, "room");
    assert_text(host, "meet.example");
}

static void broken(void **state)
{
    static const struct {
        const char *text;
        bool answerable;
    } bad[] = {
        {REQ TOP MID "CSeq: 1 BYE\r\n\r\n",                                            true },
        {REQ TOP MID "CSeq: 2147483648 INVITE\r\n\r\n",                                true },
        {REQ TOP MID "CSeq: x INVITE\r\n\r\n",                                         true },
        {REQ TOP MID "CSeq: 1 INVITE\r\nno colon here\r\n\r\n",                        true },
        {REQ TOP MID "CSeq: 1 INVITE\r\nBad Name: x\r\n\r\n",                          true },
        {REQ TOP MID "CSeq: 1 INVITE\r\nTo: <sip:e@f>\r\n\r\n",                        true },
        {REQ TOP MID "CSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nabc",                 true },
        {REQ TOP MID "CSeq: 1 INVITE\r\nContent-Length: 18446744073709551617\r\n\r\n", true },
        {REQ TOP MID "CSeq: 1 INVITE\r\nX: a\rSIP/2.0 200\r\n\r\n",                    true },
        {REQ TOP "From: <sip:a@b\r\nTo: <x>\r\nCall-ID: q\r\nCSeq: 1 INVITE\r\n\r\n",  true },
        {REQ TOP "From: \"open <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: q\r\n"
                 "CSeq: 1 INVITE\r\n\r\n",                                    true },
        {"INVITE  sip:a@b SIP/2.0\r\n" TOP MID "CSeq: 1 INVITE\r\n\r\n",               true },
        {"INVITE sip:a b SIP/2.0\r\n" TOP MID "CSeq: 1 INVITE\r\n\r\n",                true },
        {"INVITE <sip:a@b> SIP/2.0\r\n" TOP MID "CSeq: 1 INVITE\r\n\r\n",              true },
        {"SIP/2.0 99 x\r\n" TOP MID "CSeq: 1 INVITE\r\n\r\n",                          true },
        {"SIP/2.0 4294967496 x\r\n" TOP MID "CSeq: 1 INVITE\r\n\r\n",                  true },
        {REQ MID "CSeq: 1 INVITE\r\n\r\n",                                             false},
        {REQ TOP "CSeq: 1 INVITE\r\n\r\n",                                             false},
        {REQ "Via: ,,, ,\r\n" MID "CSeq: 1 INVITE\r\n\r\n",                            false},
        {"\r\n\r\n",                                                                   false},
        {"",                                                                           false},
    };
    struct sip_msg m;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i].text, strlen(bad[i].text), &m), ERR_MALFORMED);
        assert_non_null(m.fault);
        assert_int_equal(m.has_essentials, bad[i].answerable);
    }
}

static void every_truncation(void **state)
{
    static const char text[] = REQ TOP MID "CSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody";
    struct sip_msg m;
    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        assert_int_equal(parse(text, n, &m), ERR_MALFORMED);
    }
    assert_int_equal(parse(text, sizeof text - 1, &m), OK);
}

static void too_many_headers(void **state)
{
    uint8_t text[4096];
    struct wr w = wr_over(text, sizeof text);
    struct sip_msg m;
    (void)state;
    wr_text(&w, REQ TOP MID "CSeq: 1 INVITE\r\n");
    for (int i = 0; i < SIP_HEADERS_MAX; i++) {
        wr_text(&w, "X: y\r\n");
    }
    wr_text(&w, "\r\n");
    assert_int_equal(w.err, OK);
    assert_int_equal(parse((char *)text, w.len, &m), ERR_MALFORMED);
    assert_true(m.has_essentials);
}

static void uris(void **state)
{
    struct slice user, host;
    (void)state;
    assert_int_equal(sip_uri_split(slice_str("sips:u:secret@h:1?x=y"), &user, &host), OK);
    assert_text(user, "u");
    assert_text(host, "h");
    assert_int_equal(sip_uri_split(slice_str("tel:+1"), &user, &host), ERR_UNSUPPORTED);
    assert_int_equal(sip_uri_split(slice_str("sip:"), &user, &host), ERR_MALFORMED);
    assert_int_equal(sip_uri_split(slice_str("sip:u@"), &user, &host), ERR_MALFORMED);
    assert_int_equal(sip_uri_split(slice_str("sip:a@b\r\nX: y"), &user, &host), ERR_MALFORMED);
}

static void escapes(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: malformed */
    } c[] = {
        {"demo",      "demo" },
        {"d%65mo%2E", "demo."},
        {"%2b%2B",    "++"   },
        {"",          ""     },
        {"a%",        NULL   },
        {"a%4",       NULL   },
        {"%g0",       NULL   },
        {"%0g",       NULL   },
        {"%%41",      NULL   },
    };
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        size_t len = c[i].out ? strlen(c[i].out) : 16;
        uint8_t *room = malloc(len + 1);
        assert_non_null(room);
        struct wr w = wr_over(room, len);
        int err = sip_unescape(slice_str(c[i].in), &w);
        assert_int_equal(err, c[i].out ? OK : ERR_MALFORMED);
        if (c[i].out) {
            assert_text(wr_done(&w), c[i].out);
        }
        free(room);
    }
    uint8_t small[3];
    struct wr w = wr_over(small, sizeof small);
    assert_int_equal(sip_unescape(slice_str("%64emo"), &w), ERR_NOSPACE);
}

static int release(void **state)
{
    (void)state;
    free(held);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lawful_oddities),
        cmocka_unit_test(broken),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(too_many_headers),
        cmocka_unit_test(uris),
        cmocka_unit_test(escapes),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
