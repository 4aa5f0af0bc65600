/* turn: and stun: URIs, right and wrong. */
#include "lib/base/text.h"

#include "lib/turn/uri.h"

#include "tests/unit.h"

static int parse(const char *text, struct turn_uri *u, const char **why)
{
    struct slice s = exact(text, strlen(text));
    int err = turn_uri_parse(u, s, why);
    exact_free(s);
    return err;
}

struct good {
    const char *text, *host;
    bool is_stun, is_secure;
    uint8_t family;
    uint16_t port, port_used;
    enum turn_way way;
};

/* The first nine are RFC 7065's and RFC 7064's own examples (appendix B of each). */
static const struct good goods[] = {
    {"turn:example.org",                "example.org",            0, 0, ADDR_NONE, 0,     3478,  TURN_WAY_NONE},
    {"turns:example.org",               "example.org",            0, 1, ADDR_NONE, 0,     5349,  TURN_WAY_NONE},
    {"turn:example.org:8000",           "example.org",            0, 0, ADDR_NONE, 8000,  8000,  TURN_WAY_NONE},
    {"turn:example.org?transport=udp",  "example.org",            0, 0, ADDR_NONE, 0,     3478,  TURN_WAY_UDP },
    {"turn:example.org?transport=tcp",  "example.org",            0, 0, ADDR_NONE, 0,     3478,  TURN_WAY_TCP },
    {"turns:example.org?transport=tcp", "example.org",            0, 1, ADDR_NONE, 0,     5349,  TURN_WAY_TLS },
    {"stun:example.org",                "example.org",            1, 0, ADDR_NONE, 0,     3478,  TURN_WAY_NONE},
    {"stuns:example.org",               "example.org",            1, 1, ADDR_NONE, 0,     5349,  TURN_WAY_NONE},
    {"stun:example.org:8000",           "example.org",            1, 0, ADDR_NONE, 8000,  8000,  TURN_WAY_NONE},
    {"TURNS:Example.ORG?Transport=UDP", "example.org",            0, 1, ADDR_NONE, 0,     5349,  TURN_WAY_DTLS},
    {"turn:192.0.2.1:65535",            "192.0.2.1",              0, 0, ADDR_IP4,  65535, 65535, TURN_WAY_NONE},
    {"turn:[2001:db8::1]",              "2001:db8::1",            0, 0, ADDR_IP6,  0,     3478,  TURN_WAY_NONE},
    {"turns:[::1]:1?transport=tcp",     "::1",                    0, 1, ADDR_IP6,  1,     1,     TURN_WAY_TLS },
    {"turn:example.org.",               "example.org.",           0, 0, ADDR_NONE, 0,     3478,  TURN_WAY_NONE},
    {"turn:example.org:",               "example.org",            0, 0, ADDR_NONE, 0,     3478,  TURN_WAY_NONE},
    {"turn:a_b-c.xn--bcher-kva.ch",     "a_b-c.xn--bcher-kva.ch", 0, 0, ADDR_NONE, 0,     3478,
     TURN_WAY_NONE                                                                                            },
    {"turn:localhost",                  "localhost",              0, 0, ADDR_NONE, 0,     3478,  TURN_WAY_NONE},
};

static void reads_what_is_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        const struct good *g = &goods[i];
        struct turn_uri u;
        const char *why;
        print_message("%s\n", g->text);
        assert_int_equal(parse(g->text, &u, &why), OK);
        assert_null(why);
        assert_string_equal(u.host, g->host);
        assert_int_equal(u.is_stun, g->is_stun);
        assert_int_equal(u.is_secure, g->is_secure);
        assert_int_equal(u.ip.family, g->family);
        assert_int_equal(u.port, g->port);
        assert_int_equal(turn_uri_port(&u), g->port_used);
        assert_int_equal(u.way, g->way);
    }
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
        const char *why; /* a word of it */
    } bads[] = {
        {"",                               ERR_MALFORMED,   "none of turn:"},
        {"turn",                           ERR_MALFORMED,   "none of turn:"},
        {"http://example.org",             ERR_MALFORMED,   "none of turn:"},
        {"turn:",                          ERR_MALFORMED,   "no host"      },
        {"turn::3478",                     ERR_MALFORMED,   "no host"      },
        {"turn:?transport=udp",            ERR_MALFORMED,   "no host"      },
        {"turn://example.org",             ERR_MALFORMED,   "without //"   },
        {"turn:user@example.org",          ERR_MALFORMED,   "neither"      },
        {"turn:example.org/path",          ERR_MALFORMED,   "neither"      },
        {"turn:example..org",              ERR_MALFORMED,   "neither"      },
        {"turn:.example.org",              ERR_MALFORMED,   "neither"      },
        {"turn:.",                         ERR_MALFORMED,   "neither"      },
        {"turn:exa mple.org",              ERR_MALFORMED,   "neither"      },
        {"turn:192.0.2.256",               ERR_MALFORMED,   "neither"      },
        {"turn:192.0.2",                   ERR_MALFORMED,   "neither"      },
        {"turn:b%C3%BCcher.ch",            ERR_UNSUPPORTED, "xn--"         },
        {"turn:2001:db8::1",               ERR_MALFORMED,   "between [ and"},
        {"turn:[192.0.2.1]",               ERR_MALFORMED,   "only an IPv6" },
        {"turn:[example.org]",             ERR_MALFORMED,   "only an IPv6" },
        {"turn:[v1.x]",                    ERR_MALFORMED,   "only an IPv6" },
        {"turn:[fe80::1%25eth0]",          ERR_MALFORMED,   "only an IPv6" },
        {"turn:[::1",                      ERR_MALFORMED,   "] is missing" },
        {"turn:[]",                        ERR_MALFORMED,   "no host"      },
        {"turn:[::1]3478",                 ERR_MALFORMED,   "only a port"  },
        {"turn:example.org:0",             ERR_MALFORMED,   "no number"    },
        {"turn:example.org:65536",         ERR_MALFORMED,   "no number"    },
        {"turn:example.org:12x",           ERR_MALFORMED,   "no number"    },
        {"turn:example.org?",              ERR_MALFORMED,   "?transport="  },
        {"turn:example.org?ttl=3",         ERR_MALFORMED,   "?transport="  },
        {"turn:example.org?transport=",    ERR_UNSUPPORTED, "neither udp"  },
        {"turn:a?transport=sctp",          ERR_UNSUPPORTED, "neither udp"  },
        {"turn:a?transport=udp&x=1",       ERR_UNSUPPORTED, "neither udp"  },
        {"stun:example.org?transport=udp", ERR_MALFORMED,   "no parameters"},
    };
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        struct turn_uri u;
        const char *why;
        print_message("%s\n", bads[i].text);
        assert_int_equal(parse(bads[i].text, &u, &why), bads[i].err);
        assert_non_null(strstr(why, bads[i].why));
        assert_int_equal(u.host[0], '\0');
    }
}

/* 63 bytes in a label and 253 in all, and not one more. */
static void keeps_to_the_lengths_of_dns(void **state)
{
    (void)state;
    struct turn_uri u;
    const char *why;
    for (size_t n = 1; n < 300; n++) {
        char one[320] = "turn:", many[320] = "turn:";
        memset(one + 5, 'a', n);
        for (size_t i = 0; i < n; i++) {
            many[5 + i] = i % 2 ? '.' : 'b';
        }
        assert_int_equal(parse(one, &u, &why), n <= 63 ? OK : ERR_MALFORMED);
        assert_int_equal(parse(many, &u, &why), n <= 253 ? OK : ERR_MALFORMED);
    }
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        uint8_t out[320];
        struct turn_uri u, again;
        const char *why;
        assert_int_equal(parse(goods[i].text, &u, &why), OK);
        struct wr w = wr_over(out, sizeof out);
        turn_uri_put(&w, &u);
        assert_int_equal(turn_uri_parse(&again, wr_done(&w), &why), OK);
        assert_string_equal(again.host, u.host);
        assert_true(again.is_stun == u.is_stun && again.is_secure == u.is_secure);
        assert_true(again.port == u.port && again.way == u.way && addr_eq(&again.ip, &u.ip));
        for (size_t cap = 0; cap < wr_done(&w).len; cap++) {
            uint8_t *less = malloc(cap ? cap : 1);
            struct wr small = wr_over(less, cap);
            turn_uri_put(&small, &u);
            assert_int_equal(small.err, ERR_NOSPACE);
            free(less);
        }
    }
}

/* Every beginning is read or refused with a reason, and reads no byte beyond its end. */
static void takes_every_beginning(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        for (size_t n = 0; n < strlen(goods[i].text); n++) {
            struct turn_uri u;
            const char *why;
            struct slice s = exact(goods[i].text, n);
            assert_true((turn_uri_parse(&u, s, &why) == OK) == (why == NULL));
            exact_free(s);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_right),         cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(keeps_to_the_lengths_of_dns), cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(takes_every_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
