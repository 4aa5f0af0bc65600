/* Which door a TCP connection's first bytes lead to: every protocol's, cut everywhere, and
 * those that could be taken for another's. */
#include "run/turn_run_impl.h"

#include "tests/unit.h"

#define BYTES(s)  slice_of("" s, sizeof(s) - 1)
#define STUN_REST "\0\0\x21\x12\xA4\x42"

/* As soon as it can be told it stays told. Before that nothing is guessed. */
static void leads_to(unsigned at, struct slice bytes, const char *want, size_t told_after)
{
    for (size_t n = 0; n <= bytes.len; n++) {
        const char *name;
        enum parse got = door_of(at, slice_of(bytes.p, n), &name);
        if (n < told_after) {
            assert_int_equal(got, PARSE_MORE);
            assert_null(name);
        } else if (want) {
            assert_int_equal(got, PARSE_OK);
            assert_string_equal(name, want);
        } else {
            assert_int_equal(got, PARSE_BAD);
        }
    }
}

static void each_protocol_finds_its_door(void **state)
{
    (void)state;
    leads_to(DOOR_OUTSIDE, BYTES("\0\1" STUN_REST), "STUN", 1);   /* Binding */
    leads_to(DOOR_OUTSIDE, BYTES("\0\3" STUN_REST), "STUN", 1);   /* Allocate */
    leads_to(DOOR_OUTSIDE, BYTES("\0\x0B" STUN_REST), "STUN", 1); /* ConnectionBind */
    leads_to(DOOR_OUTSIDE, BYTES("\x16\3\1\2\0\1"), "TLS", 2);
    leads_to(DOOR_OUTSIDE, BYTES("\x16\3\3\2\0\1"), "TLS", 2);
    leads_to(DOOR_OUTSIDE, BYTES("GET / HTTP/1.1"), "HTTP", 4);
    leads_to(DOOR_OUTSIDE, BYTES("POST / HTTP/1.1"), "HTTP", 5);
    leads_to(DOOR_OUTSIDE, BYTES("PUT / HTTP/1.1"), "HTTP", 4);
    leads_to(DOOR_OUTSIDE, BYTES("PATCH / HTTP/1.1"), "HTTP", 6);
    leads_to(DOOR_OUTSIDE, BYTES("PRI * HTTP/2.0\r\n\r\n"), "HTTP", 16);
    leads_to(DOOR_OUTSIDE, BYTES("PROXY TCP4 "), "PROXY", 6);
    leads_to(DOOR_OUTSIDE, BYTES("\r\n\r\n\0\r\nQUIT\n\x21"), "PROXY", 12);
}

static void what_only_begins_alike_is_told_apart(void **state)
{
    (void)state;
    leads_to(DOOR_OUTSIDE, BYTES("\x16\4\1\2\0"), "STUN", 2); /* no TLS there is; nor STUN */
    leads_to(DOOR_OUTSIDE, BYTES("\r\n\r\n\r\n"), "STUN",
             5); /* nor this: the splitter says so */
    leads_to(DOOR_OUTSIDE, BYTES("\r\1"), "STUN", 2);
    leads_to(DOOR_OUTSIDE, BYTES("PROXIMA"), NULL, 5);
    leads_to(DOOR_OUTSIDE, BYTES("\x40\0\0\4abcd"), NULL, 1); /* ChannelData */
    leads_to(DOOR_OUTSIDE, BYTES("GE\0\4abcd"), NULL, 3);     /* the same */
    leads_to(DOOR_OUTSIDE, BYTES("GETTER"), NULL, 4);
    leads_to(DOOR_OUTSIDE, BYTES("SSH-2.0-"), NULL, 1);
    leads_to(DOOR_OUTSIDE, BYTES("\x80\x2E\1\3\1"), NULL, 1); /* SSL 2 */
    leads_to(DOOR_OUTSIDE, BYTES("\xFF\xFF"), NULL, 1);
}

static void within_tls_there_is_only_stun(void **state)
{
    (void)state;
    leads_to(DOOR_IN_TLS, BYTES("\0\3" STUN_REST), "STUN", 1);
    leads_to(DOOR_IN_TLS, BYTES("PROXY TCP4"), NULL, 1);
    leads_to(DOOR_IN_TLS, BYTES("GET / HTTP"), NULL, 1);
    leads_to(DOOR_IN_TLS, BYTES("\x16\3\1\2\0\1"), "STUN", 1); /* the splitter refuses it */
    leads_to(DOOR_BEHIND_PROXY, BYTES("\x16\3\1\2\0\1"), "TLS", 2);
    leads_to(DOOR_BEHIND_PROXY, BYTES("\0\3" STUN_REST), "STUN", 1);
    leads_to(DOOR_BEHIND_PROXY, BYTES("PROXY TCP4 "), "PROXY", 6); /* which refuses it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_protocol_finds_its_door),
        cmocka_unit_test(what_only_begins_alike_is_told_apart),
        cmocka_unit_test(within_tls_there_is_only_stun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
