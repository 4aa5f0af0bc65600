/* m=applicationsharing: offers read, answers written. */
#include "lib/sdp/sdp.h"

#include "tests/unit.h"

#define SESSION "v=0\r\no=- 0 1 IN IP4 198.51.100.30\r\ns=session\r\n"
#define ICE     "a=ice-ufrag:Sk4B\r\na=ice-pwd:oV3m8kqN1fJcY7tRz2Lw5xGd\r\n"

/* A Skype client that offers its screen beside refused video. */
static const char offer_text[] = SESSION
    "c=IN IP4 198.51.100.30\r\nb=CT:99980\r\nt=0 0\r\n"
    "m=audio 50000 RTP/AVP 0 8\r\n"
    "a=ice-ufrag:Aud1\r\na=candidate:9 1 UDP 5 10.1.1.20 50000 typ host\r\n"
    "m=applicationsharing 53577 TCP/RTP/SAVP 127\r\n" ICE
    "a=candidate:1 1 TCP-PASS 2120613887 10.1.1.20 50041 typ host\r\n"
    "a=candidate:1 2 TCP-PASS 2120613887 10.1.1.20 50041 typ host\r\n"
    "a=candidate:1 1 TCP-PASS 2120613887 10.1.1.20 50041 typ host\r\n"
    "a=candidate:2 1 UDP 2120613887 10.1.1.20 50041 typ host\r\n"
    "a=candidate:4 1 TCP-ACT 7076863 198.51.100.30 53577 typ relay raddr 10.1.1.20 rport 5\r\n"
    "a=x-candidate-info:1 network-type=wired\r\n"
    "a=cryptoscale:1 client AES_CM_128_HMAC_SHA1_80 inline:x|2^31|1:1\r\n"
    "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:x|2^31\r\n"
    "a=rtcp:53577\r\na=rtpmap:127 X-DATA/90000\r\na=mid:1\r\na=setup:active\r\n"
    "a=connection:new\r\na=x-applicationsharing-session-id:1\r\n"
    "a=x-applicationsharing-role:sharer\r\na=x-applicationsharing-media-type:rdp\r\n"
    "a=x-applicationsharing-contentflow:sendonly\r\n"
    "m=video 0 RTP/SAVP 122\r\na=label:applicationsharing-video\r\n";

static bool is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

static int read_text(const char *text, struct sdp_offer *o, const char **why)
{
    return sdp_read(slice_str(text), o, why);
}

static void reads_a_skype_offer(void **state)
{
    (void)state;
    struct sdp_offer o;
    const char *why;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(read_text(offer_text, &o, &why), OK);
    assert_null(why);
    assert_int_equal(o.n_media, 3);
    assert_int_equal(o.share_at, 1);
    const struct sdp_share *s = &o.share;
    assert_string_equal(addr_text(&s->at, text), "198.51.100.30:53577");
    assert_true(is(s->ufrag, "Sk4B") && is(s->pwd, "oV3m8kqN1fJcY7tRz2Lw5xGd"));
    assert_true(is(s->session_id, "1") && is(s->mid, "1") && is(s->contentflow, "sendonly"));
    assert_true(is(s->rtpmap, "X-DATA/90000"));
    assert_int_equal(s->n_cand, 2); /* no second component, no copies */
    assert_int_equal(s->n_skipped, 1);
    assert_int_equal(s->cand[1].tcp, ICE_ACTIVE);
    assert_int_equal(s->role, SDP_SHARER);
    assert_int_equal(s->payload_type, 127);
    assert_true(s->is_secure && s->has_crypto && s->setup_active);
    assert_false(s->connection_existing);
    assert_int_equal(s->remote_cand.family, ADDR_NONE);
}

static void line_feeds_alone_and_the_other_contentflow(void **state)
{
    (void)state;
    struct sdp_offer o;
    const char *why;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(read_text("v=0\nm=applicationsharing 9 TCP/RTP/AVP 126 127\n"
                               "c=IN IP6 2001:db8::5\na=ice-ufrag:abcd\n"
                               "a=ice-pwd:0123456789012345678901\na=rtpmap:127 x-data/90000\n"
                               "a=x-application-contentflow:recvonly\na=connection:existing\n"
                               "a=remote-candidates:2 192.0.2.9 1 1 192.0.2.24 24000\n",
                               &o, &why),
                     OK);
    assert_true(is(o.share.contentflow, "recvonly"));
    assert_int_equal(o.share.payload_type, 127);
    assert_false(o.share.is_secure);
    assert_true(o.share.connection_existing);
    assert_string_equal(addr_text(&o.share.at, text), "[2001:db8::5]:9");
    assert_string_equal(addr_text(&o.share.remote_cand, text), "192.0.2.24:24000");
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } row[] = {
        {"",                                                             "v=0"      },
        {"o=x\r\n",                                                      "v=0"      },
        {"v=0\r\n",                                                      "no m="    },
        {"v=0\r\nm=audio\r\n",                                           "broken"   },
        {"v=0\r\nm=applicationsharing 5 X rdp\r\n",                      "payload"  },
        {"v=0\r\nm=applicationsharing 5 X 127\r\n" ICE,                  "c= line"  },
        {"v=0\r\nc=IN IP4 10.0.0.1\r\nm=applicationsharing 5 X 127\r\n", "ice-ufrag"},
        {"v=0\r\nc=IN IP4 10.0.0.1\r\nm=applicationsharing 5 X 127\r\na=ice-ufrag:abcd\r\n"
         "a=ice-pwd:short\r\n",                                 "ice-pwd"  },
        {"v=0\r\nc=IN IP4 10.0.0.1\r\nm=applicationsharing 5 X 127\r\n" ICE
         "a=x-applicationsharing-media-type:vnc\r\n",           "not rdp"  },
    };
    struct sdp_offer o;
    const char *why;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        assert_int_equal(read_text(row[i].text, &o, &why), ERR_MALFORMED);
        if (!strstr(why, row[i].word)) {
            fail_msg("row %zu says: %s", i, why);
        }
    }
    /* a share that is refused, or none, is no fault */
    assert_int_equal(read_text("v=0\r\nm=applicationsharing 0 X 127\r\n", &o, &why), OK);
    assert_int_equal(o.share_at, 1);
}

static void growth_is_capped(void **state)
{
    (void)state;
    static uint8_t buf[64 * 1024];
    struct sdp_offer o;
    const char *why;
    struct wr w = wr_over(buf, sizeof buf);
    wr_bytes(&w,
             slice_str("v=0\r\nc=IN IP4 h.example\r\nm=applicationsharing 5 X 127\r\n" ICE));
    for (int i = 0; i < 40; i++) {
        char line[80];
        int n = snprintf(line, sizeof line, "a=candidate:1 1 TCP-PASS 9 10.0.0.%d 9 typ host\n",
                         i + 1);
        wr_bytes(&w, slice_of(line, (size_t)n));
    }
    assert_int_equal(sdp_read(wr_done(&w), &o, &why), OK);
    assert_int_equal(o.share.n_cand, SDP_SHARE_CANDS);
    assert_int_equal(o.share.n_skipped, 40 - SDP_SHARE_CANDS);
    assert_int_equal(o.share.at.family, ADDR_NONE); /* a name in c= */
    for (int i = 0; i < SDP_MEDIA_MAX; i++) {
        wr_bytes(&w, slice_str("m=audio 0 X 1\n"));
    }
    assert_int_equal(sdp_read(wr_done(&w), &o, &why), ERR_MALFORMED);
    assert_non_null(strstr(why, "16"));
}

static void every_cut_is_survived(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof offer_text; n++) {
        struct slice s = exact(offer_text, n);
        struct sdp_offer o;
        const char *why;
        int err = sdp_read(s, &o, &why);
        assert_true((err == OK) == (why == NULL));
        assert_true(o.share_at <= o.n_media);
        exact_free(s);
    }
}

static struct ice_cand cand(const char *foundation, enum ice_tcp_type tcp,
                            enum ice_cand_type type, const char *addr)
{
    struct ice_cand c = {.component = 1, .priority = 6556159, .type = type, .tcp = tcp};
    strcpy(c.foundation, foundation);
    assert_int_equal(addr_parse(slice_str(addr), &c.addr), OK);
    assert_int_equal(addr_parse(slice_str("10.48.54.230:44342"), &c.base), OK);
    return c;
}

static struct sdp_share answer(void)
{
    struct sdp_share s = {.ufrag = slice_str("cmsX"),
                          .pwd = slice_str("h0Qe6uTb9sVr4KyW2iPzA7nM"),
                          .session_id = slice_str("1"),
                          .mid = slice_str("1"),
                          .contentflow = slice_str("recvonly"),
                          .n_cand = 3,
                          .role = SDP_VIEWER,
                          .payload_type = 127};
    s.cand[0] = cand("1", ICE_PASSIVE, ICE_HOST, "10.48.54.230:41001");
    s.cand[1] = cand("2", ICE_PASSIVE, ICE_RELAY, "192.0.2.24:24000");
    s.cand[2] = s.cand[0];
    s.at = s.cand[1].addr;
    return s;
}

static const char answer_text[] =
    "v=0\r\no=- 77 2 IN IP4 192.0.2.24\r\ns=session\r\nc=IN IP4 192.0.2.24\r\nb=CT:99980\r\n"
    "t=0 0\r\nm=audio 0 RTP/AVP 0 8\r\n"
    "m=applicationsharing 24000 TCP/RTP/AVP 127\r\n"
    "a=ice-ufrag:cmsX\r\na=ice-pwd:h0Qe6uTb9sVr4KyW2iPzA7nM\r\n"
    "a=candidate:1 1 TCP-PASS 6556159 10.48.54.230 41001 typ host\r\n"
    "a=candidate:1 2 TCP-PASS 6556159 10.48.54.230 41001 typ host\r\n"
    "a=candidate:2 1 TCP-PASS 6556159 192.0.2.24 24000 typ relay raddr 10.48.54.230 rport "
    "44342\r\n"
    "a=candidate:2 2 TCP-PASS 6556159 192.0.2.24 24000 typ relay raddr 10.48.54.230 rport "
    "44342\r\n"
    "a=rtcp:24000\r\na=rtpmap:127 x-data/90000\r\na=mid:1\r\na=setup:passive\r\n"
    "a=connection:new\r\na=x-applicationsharing-session-id:1\r\n"
    "a=x-applicationsharing-role:viewer\r\na=x-applicationsharing-media-type:rdp\r\n"
    "a=x-applicationsharing-contentflow:recvonly\r\n"
    "m=video 0 RTP/SAVP 122\r\n";

static void answers_keep_every_line_in_place(void **state)
{
    (void)state;
    struct sdp_offer o;
    const char *why;
    assert_int_equal(read_text(offer_text, &o, &why), OK);
    struct sdp_share s = answer();
    for (size_t cap = 0; cap < sizeof answer_text + 1; cap++) {
        uint8_t *buf = malloc(cap + 1);
        struct wr w = wr_over(buf, cap);
        sdp_put(&w, 77, 2, &s, &o);
        if (w.err) {
            assert_true(cap < sizeof answer_text);
        } else {
            assert_true(slice_eq(wr_done(&w), slice_of(answer_text, sizeof answer_text - 1)));
        }
        free(buf);
    }
}

static void second_answer_names_the_pair(void **state)
{
    (void)state;
    uint8_t buf[4096];
    struct sdp_share s = answer();
    struct sdp_offer o;
    const char *why;
    s.cand[0] = s.cand[1];
    s.n_cand = 1;
    s.connection_existing = s.setup_active = s.is_secure = true;
    assert_int_equal(addr_parse(slice_str("198.51.100.30:53577"), &s.remote_cand), OK);
    struct wr w = wr_over(buf, sizeof buf - 1);
    sdp_put(&w, 77, 3, &s, NULL);
    assert_int_equal(w.err, OK);
    buf[w.len] = '\0';
    assert_non_null(strstr((char *)buf, "\r\na=remote-candidates:1 198.51.100.30 53577 2 "
                                        "198.51.100.30 53577\r\n"));
    assert_int_equal(sdp_read(wr_done(&w), &o, &why), OK);
    assert_true(o.share.connection_existing && o.share.setup_active && o.share.is_secure);
    assert_int_equal(o.share.n_cand, 1);
    assert_true(addr_eq(&o.share.remote_cand, &s.remote_cand));
    assert_true(addr_eq(&o.share.cand[0].base, &s.cand[0].base));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_skype_offer),
        cmocka_unit_test(line_feeds_alone_and_the_other_contentflow),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(growth_is_capped),
        cmocka_unit_test(every_cut_is_survived),
        cmocka_unit_test(answers_keep_every_line_in_place),
        cmocka_unit_test(second_answer_names_the_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
