/* Message boundaries on a TCP stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/stun/stream.h"

static const uint8_t binding[20] = {0x00, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2};

static void finds_a_message_only_when_it_is_whole(void **state)
{
    (void)state;
    for (size_t n = 0; n <= sizeof binding; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, binding, n);
        struct slice frame;
        size_t used;
        enum parse got = stun_stream_next(slice_of(exact, n), &frame, &used);
        assert_int_equal(got, n < sizeof binding ? PARSE_MORE : PARSE_OK);
        free(exact);
    }
}

static void channel_data_is_padded_on_a_stream(void **state)
{
    (void)state;
    uint8_t in[] = {0x40, 0x01, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 0x40};
    struct slice frame, data;
    size_t used;
    uint16_t channel;
    assert_int_equal(stun_stream_next(slice_of(in, 11), &frame, &used), PARSE_MORE);
    assert_int_equal(used, 12);
    assert_int_equal(stun_stream_next(slice_of(in, 13), &frame, &used), PARSE_OK);
    assert_int_equal(used, 12);
    assert_int_equal(frame.len, 9);
    assert_int_equal(channel_data_parse(frame, &channel, &data), OK);
    assert_int_equal(channel, 0x4001);
    assert_true(slice_eq(data, slice_str("hello")));
    assert_int_equal(channel_data_parse(slice_of(in, 8), &channel, &data), ERR_SHORT);
}

static void other_protocols_are_refused_at_once(void **state)
{
    (void)state;
    struct slice frame;
    size_t used;
    uint8_t rtp[] = {0x80};
    uint8_t odd[] = {0x00, 0x01, 0x00, 0x03}, cookie[] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x43};
    assert_int_equal(stun_stream_next(slice_of(rtp, 1), &frame, &used), PARSE_BAD);
    assert_int_equal(stun_stream_next(slice_of(odd, 4), &frame, &used), PARSE_BAD);
    assert_int_equal(stun_stream_next(slice_of(cookie, 8), &frame, &used), PARSE_BAD);
    assert_int_equal(stun_stream_next(slice_str("\x16\x03\x01\x02"), &frame, &used), PARSE_BAD);
    uint8_t channel[] = {0x80, 0x00, 0, 0};
    assert_int_equal(stun_stream_next(slice_of(channel, 4), &frame, &used), PARSE_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_message_only_when_it_is_whole),
        cmocka_unit_test(channel_data_is_padded_on_a_stream),
        cmocka_unit_test(other_protocols_are_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
