/* a=candidate lines. */
#include "lib/sdp/sdp.h"

#include "tests/unit.h"

static int parse_cand(const char *text, struct ice_cand *out)
{
    struct sdp_line l;
    struct slice s = exact(text, strlen(text));
    struct rd r = rd_over(s);
    assert_true(sdp_next(&r, &l));
    int err = sdp_read_candidate(&l, out);
    exact_free(s);
    return err;
}

static void reads_microsofts_spelling(void **state)
{
    (void)state;
    struct ice_cand c;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(parse_cand("a=candidate:4 2 TCP-ACT 7076863 198.51.100.30 53577 typ relay "
                                "raddr 10.1.1.20 rport 50042",
                                &c),
                     OK);
    assert_string_equal(c.foundation, "4");
    assert_int_equal(c.component, 2);
    assert_int_equal(c.tcp, ICE_ACTIVE);
    assert_int_equal(c.priority, 7076863);
    assert_int_equal(c.type, ICE_RELAY);
    assert_string_equal(addr_text(&c.addr, text), "198.51.100.30:53577");
    assert_string_equal(addr_text(&c.base, text), "10.1.1.20:50042");
    /* pidgin-sipe leaves a space at the end; case does not count */
    assert_int_equal(parse_cand("a=candidate:1 1 tcp-pass 5 10.0.0.1 7 TYP Host ", &c), OK);
    assert_int_equal(c.tcp, ICE_PASSIVE);
    assert_int_equal(c.type, ICE_HOST);
    assert_string_equal(addr_text(&c.base, text), "10.0.0.1:7");
}

static void reads_rfc6544_spelling(void **state)
{
    (void)state;
    struct ice_cand c;
    assert_int_equal(parse_cand("a=candidate:1 1 TCP 9 2001:db8::1 9 typ srflx raddr ::1 "
                                "rport 3 tcptype active generation 0",
                                &c),
                     OK);
    assert_int_equal(c.tcp, ICE_ACTIVE);
    assert_int_equal(c.addr.family, ADDR_IP6);
    assert_int_equal(parse_cand("a=candidate:1 1 TCP 9 10.0.0.1 9 typ host", &c),
                     ERR_MALFORMED);
    assert_int_equal(parse_cand("a=candidate:1 1 TCP-ACT 9 10.0.0.1 9 typ host tcptype so", &c),
                     ERR_MALFORMED);
    assert_int_equal(parse_cand("a=candidate:1 1 TCP 9 10.0.0.1 9 typ host tcptype up", &c),
                     ERR_UNSUPPORTED);
}

static void refuses_what_it_cannot_use(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int err;
    } row[] = {
        {"a=candidate:1 1 UDP 9 10.0.0.1 9 typ host",                                      ERR_UNSUPPORTED},
        {"a=candidate:1 1 TCP-PASS 9 host.example 9 typ host",                             ERR_UNSUPPORTED},
        {"a=candidate:1 1 TCP-PASS 9 10.0.0.1:5 9 typ host",                               ERR_UNSUPPORTED},
        {"a=candidate:1 1 TCP-PASS 9 0.0.0.0 9 typ host",                                  ERR_UNSUPPORTED},
        {"a=candidate:1 1 TCP-PASS 9 10.0.0.1 9 typ magic",                                ERR_UNSUPPORTED},
        {"a=candidate:1 1 TCP-PASS 9 10.0.0.1 0 typ host",                                 ERR_MALFORMED  },
        {"a=candidate:1 1 TCP-PASS 9 10.0.0.1 65536 typ host",                             ERR_MALFORMED  },
        {"a=candidate:1 1 TCP-PASS 4294967296 10.0.0.1 9 typ host",                        ERR_MALFORMED  },
        {"a=candidate:1 1 TCP-PASS 0 10.0.0.1 9 typ host",                                 ERR_MALFORMED  },
        {"a=candidate:1 0 TCP-PASS 9 10.0.0.1 9 typ host",                                 ERR_MALFORMED  },
        {"a=candidate:1 256 TCP-PASS 9 10.0.0.1 9 typ host",                               ERR_MALFORMED  },
        {"a=candidate:012345678901234567890123456789012 1 TCP-PASS 9 10.0.0.1 9 typ host",
         ERR_MALFORMED                                                                                    },
        {"a=candidate:1 1 TCP-PASS 9 10.0.0.1 9 host typ",                                 ERR_MALFORMED  },
        {"a=candidate:QUJD 1 UEFTUw UDP 0.900 10.0.0.1 4000",                              ERR_MALFORMED  },
        {"a=candidate:",                                                                   ERR_MALFORMED  },
        {"a=candidates:1 1 TCP-PASS 9 10.0.0.1 9 typ host",                                ERR_MALFORMED  },
    };
    struct ice_cand c;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (parse_cand(row[i].line, &c) != row[i].err) {
            fail_msg("%s", row[i].line);
        }
    }
}

static void every_cut_line_is_refused_or_whole(void **state)
{
    (void)state;
    static const char line[] = "a=candidate:4 1 TCP-PASS 65 198.51.100.30 53577 typ relay";
    struct ice_cand c;
    char cut[sizeof line];
    for (size_t n = 2; n + 1 < sizeof line; n++) {
        memcpy(cut, line, n);
        cut[n] = '\0';
        assert_int_not_equal(parse_cand(cut, &c), OK);
    }
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    static const char *const line[] = {
        "a=candidate:1 1 TCP-PASS 2120613887 10.48.54.230 41001 typ host\r\n",
        "a=candidate:2 2 TCP-ACT 6556159 2001:db8::24 24000 typ relay raddr 10.48.54.230 rport "
        "44342\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        struct ice_cand c;
        assert_int_equal(parse_cand(line[i], &c), OK);
        for (size_t cap = 0; cap < strlen(line[i]) + 2; cap++) {
            uint8_t *buf = malloc(cap + 1);
            struct wr w = wr_over(buf, cap);
            sdp_put_candidate(&w, &c, c.component);
            assert_true(w.err ? cap <= strlen(line[i])
                              : slice_eq(wr_done(&w), slice_str(line[i])));
            free(buf);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_microsofts_spelling),
        cmocka_unit_test(reads_rfc6544_spelling),
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(every_cut_line_is_refused_or_whole),
        cmocka_unit_test(writes_what_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
