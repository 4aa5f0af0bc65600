/* What is heard of a connection, however its bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/text.h"

#include "lib/rtp/rtp.h"

#include "cmd/causeway/hear.h"

enum {
    STREAM_MAX = 8192
};

static const struct stun_tid tid = {
    .b = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
      .len = 12
};

static void put_stun(struct wr *w, struct stun_writer *s)
{
    struct slice out;
    assert_int_equal(stun_end(s, &out), 0);
    wr_bytes(w, out);
}

static void put_allocate_error(struct wr *w)
{
    uint8_t buf[256];
    struct stun_writer s;
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_ERROR, STUN_ALLOCATE, &tid);
    stun_put_bytes(&s, STUN_REALM, slice_str("TANDBERG"));
    stun_put_error(&s, 401, "Unauthorized");
    put_stun(w, &s);
}

static void put_attempt(struct wr *w)
{
    uint8_t buf[256];
    struct stun_writer s;
    struct addr peer;
    assert_int_equal(addr_parse(slice_str("192.168.1.252:53577"), &peer), 0);
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION,
               STUN_CONNECTION_ATTEMPT, &tid);
    stun_put_u32(&s, STUN_CONNECTION_ID, 7);
    stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, &peer);
    put_stun(w, &s);
}

static void put_framed_check(struct wr *w, enum stun_class cls, bool nominates)
{
    uint8_t buf[256];
    struct stun_writer s;
    struct slice out;
    stun_begin(&s, buf, sizeof buf, &stun_wire_ms_ice2, cls, STUN_BINDING, &tid);
    if (nominates) {
        stun_put_flag(&s, STUN_USE_CANDIDATE);
    }
    assert_int_equal(stun_end(&s, &out), 0);
    rtp_put_frame(w, out);
}

static void put_rtp(struct wr *w, const char *payload)
{
    uint8_t buf[256];
    struct wr p = wr_over(buf, sizeof buf);
    struct rtp_view v = {.payload = slice_str(payload), .payload_type = 127};
    rtp_put(&p, &v);
    rtp_put_frame(w, wr_done(&p));
}

/* Gives the stream in pieces of `piece` bytes; what is heard, a line each. */
static void listen_to(struct slice stream, size_t piece, char *out, size_t cap)
{
    struct ear ear = {0};
    struct heard h;
    struct wr w = wr_over((uint8_t *)out, cap - 1);
    while (stream.len > 0) {
        size_t n = piece < stream.len ? piece : stream.len;
        uint8_t *exact = malloc(n);
        memcpy(exact, stream.p, n);
        struct slice part = slice_of(exact, n);
        stream = slice_from(stream, n);
        while (part.len > 0) {
            assert_int_equal(ear_take(&ear, &part), 0);
            while (ear_next(&ear, &h)) {
                wr_text(&w, "%d %s\n", (int)h.what, h.text);
            }
        }
        free(exact);
    }
    assert_int_equal(w.err, 0);
    out[w.len] = '\0';
    ear_done(&ear);
}

static void expect(struct slice stream, const char *want)
{
    static const size_t pieces[] = {1, 2, 3, 7, 19, 100, STREAM_MAX};
    char got[1024];
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        listen_to(stream, pieces[i], got, sizeof got);
        assert_string_equal(got, want);
    }
}

static void a_control_connection(void **state)
{
    (void)state;
    uint8_t buf[STREAM_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    put_allocate_error(&w);
    put_attempt(&w);
    expect(wr_done(&w), "1 Allocate error 401 realm TANDBERG\n"
                        "1 ConnectionAttempt indication 192.168.1.252:53577\n");
}

static void a_data_connection(void **state)
{
    (void)state;
    uint8_t buf[STREAM_MAX], bind[64];
    struct wr w = wr_over(buf, sizeof buf);
    struct stun_writer s;
    stun_begin(&s, bind, sizeof bind, &stun_wire_rfc8489, STUN_SUCCESS, STUN_CONNECTION_BIND,
               &tid);
    put_stun(&w, &s);
    put_framed_check(&w, STUN_REQUEST, false);
    put_framed_check(&w, STUN_REQUEST, true);
    put_framed_check(&w, STUN_SUCCESS, false);
    put_rtp(&w, "\x03 some RDP");
    put_rtp(&w, "more of it, not told again");
    put_framed_check(&w, STUN_INDICATION, false);
    expect(wr_done(&w), "1 ConnectionBind success\n"
                        "2 ICE check\n"
                        "2 ICE check, nominates\n"
                        "2 ICE answer\n"
                        "3 RDP, in RTP\n"
                        "2 ICE keep-alive\n");
}

#define BODY                                                                                 \
    "v=0\r\nm=applicationsharing 24000 TCP/RTP/AVP 127\r\na=candidate:2 1 TCP-PASS 6556159 " \
    "10.48.54.229 24000 typ relay raddr 0.0.0.0 rport 1\r\n"

static void a_sip_connection(void **state)
{
    (void)state;
    uint8_t buf[STREAM_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    wr_text(&w, "INVITE sip:demo@meet.example SIP/2.0\r\nCSeq: 1 INVITE\r\n"
                "Content-Length: 5\r\n\r\nv=0\r\n\r\n\r\n");
    wr_text(&w, "SIP/2.0 200 OK\r\ncseq: 1   INVITE\r\nContent-Length: %d\r\n\r\n%s",
            (int)strlen(BODY), BODY);
    wr_text(&w, "ACK sip:demo@meet.example;transport=tcp SIP/2.0\r\nCSeq: 1 ACK\r\n"
                "Content-Length: 0\r\n\r\n");
    expect(wr_done(&w), "0 INVITE sip:demo@meet.example\n"
                        "0 200 OK (INVITE), share, relay\n"
                        "0 ACK sip:demo@meet.example\n");
}

static void what_it_does_not_know_is_told_once(void **state)
{
    (void)state;
    expect(slice_str("nothing of ours, and a lot of it"),
           "4 (bytes this program does not read)\n");
}

/* Text from the wire goes to a terminal. */
static void control_characters_do_not_pass(void **state)
{
    (void)state;
    expect(slice_str("INVITE sip:\033[31mx SIP/2.0\r\nCSeq: 1 INVITE\r\n"
                     "Content-Length: 0\r\n\r\n"),
           "0 INVITE sip:?[31mx\n");
}

static void after_a_gap_nothing_is_guessed(void **state)
{
    (void)state;
    uint8_t buf[STREAM_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    struct ear ear = {0};
    struct heard h;
    put_attempt(&w);
    ear_lost(&ear);
    struct slice in = wr_done(&w);
    assert_int_equal(ear_take(&ear, &in), 0);
    assert_int_equal(in.len, 0);
    assert_false(ear_next(&ear, &h));
    ear_done(&ear);
}

/* The longest text a message can bring about is cut, and ends. */
static void a_long_text_is_cut(void **state)
{
    (void)state;
    uint8_t buf[STREAM_MAX], stun[1024];
    char name[300], got[1024];
    struct wr w = wr_over(buf, sizeof buf);
    struct stun_writer s;
    memset(name, 'n', sizeof name);
    stun_begin(&s, stun, sizeof stun, &stun_wire_rfc8489, STUN_REQUEST, STUN_ALLOCATE, &tid);
    stun_put_bytes(&s, STUN_USERNAME, slice_of(name, sizeof name));
    put_stun(&w, &s);
    listen_to(wr_done(&w), 50, got, sizeof got);
    assert_true(strlen(got) <= 2 + HEARD_TEXT_MAX);
    assert_memory_equal(got, "1 Allocate request", 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_control_connection),
        cmocka_unit_test(a_data_connection),
        cmocka_unit_test(a_sip_connection),
        cmocka_unit_test(what_it_does_not_know_is_told_once),
        cmocka_unit_test(control_characters_do_not_pass),
        cmocka_unit_test(after_a_gap_nothing_is_guessed),
        cmocka_unit_test(a_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
