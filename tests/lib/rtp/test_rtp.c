/* RTP headers and RFC 4571 frames. */
#include "lib/rtp/rtp.h"

#include "tests/unit.h"

/* An X.224 connection request in RTP: version 2, type 127, and nothing special. */
static const uint8_t plain[] = {
    0x80, 0x7f, 0x10, 0x01, 0x00, 0x01, 0x5f, 0x90, 0x11, 0x22, 0x33,
    0x44, 0x03, 0x00, 0x00, 0x13, 0x0e, 0xe0, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00,
};

/* One CSRC, an extension of one word, three bytes of payload, two of padding. */
static const uint8_t loaded[] = {
    0xb1, 0xff, 0xff, 0xff, 0, 0, 0, 1, 9, 9,   9,   9,   1, 2, 3,
    4,    0xbe, 0xde, 0,    1, 5, 6, 7, 8, 'a', 'b', 'c', 0, 2,
};

static void reads_plain_packet(void **state)
{
    (void)state;
    struct rtp_view v;
    assert_int_equal(rtp_parse(&v, slice_of(plain, sizeof plain)), OK);
    assert_int_equal(v.payload_type, 127);
    assert_false(v.marker);
    assert_int_equal(v.seq, 0x1001);
    assert_int_equal(v.timestamp, 90000);
    assert_int_equal(v.ssrc, 0x11223344);
    assert_int_equal(v.payload.len, 19);
    assert_ptr_equal(v.payload.p, plain + 12);
}

static void skips_csrc_extension_padding(void **state)
{
    (void)state;
    struct rtp_view v;
    assert_int_equal(rtp_parse(&v, slice_of(loaded, sizeof loaded)), OK);
    assert_true(v.marker);
    assert_true(slice_eq(v.payload, slice_str("abc")));
}

static void refuses_every_cut_header(void **state)
{
    (void)state;
    for (size_t n = 0; n < 24; n++) {
        struct rtp_view v;
        struct slice s = exact(loaded, n);
        assert_int_equal(rtp_parse(&v, s), ERR_SHORT);
        assert_int_equal(v.payload.len, 0);
        exact_free(s);
    }
}

static void refuses_bad_version_and_padding(void **state)
{
    (void)state;
    struct rtp_view v;
    uint8_t b[sizeof loaded];
    memcpy(b, loaded, sizeof b);
    b[0] = 0x71;
    assert_int_equal(rtp_parse(&v, slice_of(b, sizeof b)), ERR_MALFORMED);
    b[0] = 0xb1;
    b[sizeof b - 1] = 0;
    assert_int_equal(rtp_parse(&v, slice_of(b, sizeof b)), ERR_MALFORMED);
    b[sizeof b - 1] = 6; /* one more than there is after the header */
    assert_int_equal(rtp_parse(&v, slice_of(b, sizeof b)), ERR_MALFORMED);
    assert_int_equal(rtp_parse(&v, slice_of(b, 24)), ERR_MALFORMED); /* P set, nothing there */
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    struct rtp_view v;
    assert_int_equal(rtp_parse(&v, slice_of(plain, sizeof plain)), OK);
    for (size_t cap = 0; cap <= sizeof plain; cap++) {
        uint8_t *buf = malloc(cap ? cap : 1);
        assert_non_null(buf);
        struct wr w = wr_over(buf, cap);
        rtp_put(&w, &v);
        assert_int_equal(w.err, cap < sizeof plain ? ERR_NOSPACE : OK);
        if (cap == sizeof plain) {
            assert_true(slice_eq(wr_done(&w), slice_of(plain, sizeof plain)));
        }
        free(buf);
    }
}

static void frames_need_all_their_bytes(void **state)
{
    (void)state;
    static const uint8_t two[] = {0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd'};
    struct slice frame;
    size_t used;
    for (size_t n = 0; n < 5; n++) {
        struct slice s = exact(two, n);
        assert_int_equal(rtp_frame_next(s, &frame, &used), PARSE_MORE);
        exact_free(s);
    }
    struct slice in = slice_of(two, sizeof two);
    assert_int_equal(rtp_frame_next(in, &frame, &used), PARSE_OK);
    assert_true(slice_eq(frame, slice_str("abc")));
    assert_int_equal(used, 5);
    in = slice_from(in, used);
    assert_int_equal(rtp_frame_next(in, &frame, &used), PARSE_OK);
    assert_int_equal(frame.len, 0);
    assert_int_equal(used, 2);
    in = slice_from(in, used);
    assert_int_equal(rtp_frame_next(in, &frame, &used), PARSE_OK);
    assert_true(slice_eq(frame, slice_str("d")));
}

static void frame_length_is_bounded(void **state)
{
    (void)state;
    static uint8_t big[RTP_FRAME_MAX + 1], out[RTP_FRAME_MAX + 8];
    struct wr w = wr_over(out, sizeof out);
    rtp_put_frame(&w, slice_of(big, RTP_FRAME_MAX));
    assert_int_equal(w.err, OK);
    assert_int_equal(w.len, RTP_FRAME_MAX + 2);
    assert_int_equal(out[0] << 8 | out[1], RTP_FRAME_MAX);
    w = wr_over(out, sizeof out);
    rtp_put_frame(&w, slice_of(big, sizeof big));
    assert_int_equal(w.err, ERR_NOSPACE);
}

static void tells_kinds_apart(void **state)
{
    (void)state;
    static const struct {
        uint8_t b[2];
        enum rtp_kind kind;
    } row[] = {
        {{0x00, 0x01}, RTP_IS_STUN },
        {{0x03, 0xff}, RTP_IS_STUN },
        {{0x04, 0x00}, RTP_IS_OTHER},
        {{0x16, 0x03}, RTP_IS_OTHER},
        {{0x7f, 0x00}, RTP_IS_OTHER},
        {{0x80, 0x7f}, RTP_IS_RTP  },
        {{0x80, 0xff}, RTP_IS_RTP  },
        {{0x80, 191},  RTP_IS_RTP  },
        {{0x80, 192},  RTP_IS_RTCP },
        {{0xbf, 223},  RTP_IS_RTCP },
        {{0x80, 224},  RTP_IS_RTP  },
        {{0xc0, 200},  RTP_IS_OTHER},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        assert_int_equal(rtp_kind_of(slice_of(row[i].b, 2)), row[i].kind);
    }
    assert_int_equal(rtp_kind_of(slice_of(NULL, 0)), RTP_IS_OTHER);
    assert_int_equal(rtp_kind_of(slice_of("\x80", 1)), RTP_IS_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain_packet),
        cmocka_unit_test(skips_csrc_extension_padding),
        cmocka_unit_test(refuses_every_cut_header),
        cmocka_unit_test(refuses_bad_version_and_padding),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(frames_need_all_their_bytes),
        cmocka_unit_test(frame_length_is_bounded),
        cmocka_unit_test(tells_kinds_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
