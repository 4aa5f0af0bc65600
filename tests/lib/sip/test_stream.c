/* Where messages end on a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/sip/stream.h"

#define HEAD "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"

/* In a buffer of exactly its size, so that one byte too far is seen. */
static enum parse next(const char *text, size_t len, size_t *used, size_t *message)
{
    uint8_t *exact = malloc(len ? len : 1);
    struct slice m;
    assert_non_null(exact);
    memcpy(exact, text, len);
    enum parse p = sip_stream_next(slice_of(exact, len), &m, used);
    *message = m.len;
    free(exact);
    return p;
}

static void whole_and_cut(void **state)
{
    static const char text[] = HEAD "l : 5\r\n\r\nhelloSIP/2.0 200";
    size_t used, message, whole = sizeof HEAD - 1 + 9 + 5 - 0;
    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        enum parse p = next(text, n, &used, &message);
        if (n < whole) {
            assert_int_equal(p, PARSE_MORE);
        } else {
            assert_int_equal(p, PARSE_OK);
            assert_int_equal(used, whole);
            assert_int_equal(message, whole);
        }
    }
}

static void keep_alives(void **state)
{
    size_t used, message;
    (void)state;
    assert_int_equal(next("\r\n", 2, &used, &message), PARSE_MORE);
    assert_int_equal(next("\r\n\r\n", 4, &used, &message), PARSE_OK);
    assert_int_equal(used, 4);
    assert_int_equal(message, 0);
    assert_int_equal(next("\r\nINVITE", 8, &used, &message), PARSE_OK);
    assert_int_equal(used, 2);
    assert_int_equal(next("\rX", 2, &used, &message), PARSE_BAD);
}

static void never_whole(void **state)
{
    static const char *const bad[] = {
        HEAD "\r\n",                                            /* no Content-Length */
        HEAD "Content-Length: -1\r\n\r\n",                      /* */
        HEAD "Content-Length: 49153\r\n\r\n",                   /* more than SIP_BODY_MAX */
        HEAD "Content-Length: 99999999999999999999999\r\n\r\n", /* more than any number */
        HEAD "Content-Length: 3\r\nl: 4\r\n\r\nabcd",           /* two opinions */
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x01", /* a TLS client that took the wrong port */
    };
    size_t used, message;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(next(bad[i], strlen(bad[i]), &used, &message), PARSE_BAD);
    }
}

static void endless_head(void **state)
{
    char *text = malloc(SIP_HEAD_MAX);
    size_t used, message;
    (void)state;
    assert_non_null(text);
    memset(text, 'a', SIP_HEAD_MAX);
    memcpy(text, HEAD, sizeof HEAD - 1);
    assert_int_equal(next(text, SIP_HEAD_MAX - 1, &used, &message), PARSE_MORE);
    assert_int_equal(next(text, SIP_HEAD_MAX, &used, &message), PARSE_BAD);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_and_cut),
        cmocka_unit_test(keep_alives),
        cmocka_unit_test(never_whole),
        cmocka_unit_test(endless_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
