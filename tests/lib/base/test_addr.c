/* Addresses: reading, writing, networks, and every way to hide one address in another. */
#include "lib/base/addr.h"

#include "tests/unit.h"

static struct addr parse(const char *text)
{
    struct addr a;
    struct slice s = exact(text, strlen(text));
    if (addr_parse(s, &a)) {
        fail_msg("%s is refused", text);
    }
    exact_free(s);
    return a;
}

static void what_is_read_is_written_the_same(void **state)
{
    (void)state;
    static const char *const same[] = {"192.0.2.1",
                                       "192.0.2.1:3478",
                                       "0.0.0.0:1",
                                       "255.255.255.255:65535",
                                       "2001:db8::1",
                                       "[2001:db8::1]:3478",
                                       "::",
                                       "::1",
                                       "[::]:80",
                                       "1::",
                                       "1:2:3:4:5:6:7:8",
                                       "::ffff:192.0.2.1",
                                       "2001:db8:0:1:1:1:1:1",
                                       "2001:0:0:1::1",
                                       "1::8:0:0:0"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char text[ADDR_TEXT_MAX];
        struct addr a = parse(same[i]);
        bool tie = i >= 13; /* written otherwise (RFC 5952 4.2.3), but the same address */
        struct addr b = parse(addr_text(&a, text));
        assert_true(addr_eq(&a, &b));
        if (!tie) {
            assert_string_equal(text, same[i]);
        }
    }
    char text[ADDR_TEXT_MAX];
    struct addr a = parse("2001:0:0:1:0:0:0:1"), b = parse("1:2:3:4:5:6:1.2.3.4");
    assert_string_equal(addr_text(&a, text), "2001:0:0:1::1");
    assert_int_equal(b.ip[15], 4);
    b.port = 7;
    assert_string_equal(addr_ip_text(&b, text), "1:2:3:4:5:6:102:304");
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ".",
                                      "1.2.3",
                                      "1.2.3.4.",
                                      "1.2.3.4.5",
                                      "256.1.1.1",
                                      "01.2.3.4",
                                      "1.2.3.4:",
                                      "1.2.3.4:65536",
                                      "1.2.3.4:x",
                                      " 1.2.3.4",
                                      "1.2.3.4 ",
                                      "1..2.3",
                                      "a.b.c.d",
                                      ":",
                                      ":::",
                                      "1:2:3:4:5:6:7",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1::2::3",
                                      "12345::",
                                      "g::",
                                      "[::1",
                                      "[::1]x",
                                      "[::1]:",
                                      "[::1]:65536",
                                      "[1.2.3.4]:5",
                                      "[1.2.3.4]",
                                      "::1.2.3",
                                      "::1.2.3.4.5",
                                      "1:2:3:4:5:6:7:1.2.3.4",
                                      "1.2.3.4::",
                                      "::1%eth0",
                                      "1:2:3:4:5:6:7::8",
                                      ":1::",
                                      "::1:",
                                      "localhost",
                                      "0x7f.1.1.1",
                                      "127.1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct addr a;
        struct slice s = exact(bad[i], strlen(bad[i]));
        if (addr_parse(s, &a) != ERR_MALFORMED) {
            fail_msg("\"%s\" is taken", bad[i]);
        }
        assert_int_equal(a.family, ADDR_NONE);
        exact_free(s);
    }
}

static struct addr_net net(const char *text)
{
    struct addr_net n;
    if (addr_net_parse(slice_str(text), &n)) {
        fail_msg("%s is refused", text);
    }
    return n;
}

static void networks_hold_their_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *net, *in, *out;
    } cases[] = {
        {"10.0.0.0/8",    "10.255.255.255",  "11.0.0.0"       },
        {"172.16.0.0/12", "172.31.255.255",  "172.32.0.0"     },
        {"192.0.2.1",     "192.0.2.1",       "192.0.2.0"      },
        {"192.0.2.0/31",  "192.0.2.1",       "192.0.2.2"      },
        {"0.0.0.0/0",     "255.1.2.3",       "::1"            },
        {"::/0",          "2001::1",         "1.2.3.4"        },
        {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        {"::1/128",       "::1",             "::2"            },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct addr_net n = net(cases[i].net);
        struct addr in = parse(cases[i].in), out = parse(cases[i].out);
        assert_true(addr_net_has(&n, &in));
        assert_false(addr_net_has(&n, &out));
    }
    static const char *const bad[] = {"10.0.0.1/8",  "1.2.3.4/33",   "1.2.3.4/",
                                      "/8",          "::1/127",      "::/129",
                                      "1.2.3.4:5/8", "10.0.0.0/8/8", "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct addr_net n;
        assert_int_equal(addr_net_parse(slice_str(bad[i]), &n), ERR_MALFORMED);
    }
}

static void every_spelling_of_an_ip4_address_is_seen(void **state)
{
    (void)state;
    static const char *const hidden[] = {
        "::ffff:10.1.2.3",     "::ffff:0:10.1.2.3",
        "64:ff9b::10.1.2.3",   "64:ff9b:1::10.1.2.3",
        "2002:a01:203::1",     "2001:0:4136:e378:8000:63bf:f5fe:fdfc",
        "2a00::5efe:10.1.2.3", "2a00::200:5efe:10.1.2.3",
        "fe80::5efe:10.1.2.3", "::10.1.2.3"};
    struct addr want = parse("10.1.2.3:77"), out;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        struct addr a = parse(hidden[i]);
        a.port = 77;
        if (!addr_embedded_ip4(&a, &out) || !addr_eq(&out, &want)) {
            fail_msg("%s hides 10.1.2.3", hidden[i]);
        }
        assert_non_null(addr_special(&a));
    }
    static const char *const plain[] = {"::", "::1", "2001:db8::1", "10.1.2.3", "2a00::1"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct addr a = parse(plain[i]);
        assert_false(addr_embedded_ip4(&a, &out));
        assert_true(addr_eq(&a, &out));
    }
}

static void special_blocks_have_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *addr, *name;
    } cases[] = {
        {"0.0.0.0",                "unspecified"         },
        {"0.1.2.3",                "unspecified"         },
        {"10.0.0.0",               "private"             },
        {"100.64.0.1",             "shared"              },
        {"100.128.0.0",            NULL                  },
        {"127.0.0.1",              "loopback"            },
        {"127.255.255.255",        "loopback"            },
        {"169.254.169.254",        "link-local"          },
        {"172.15.255.255",         NULL                  },
        {"172.16.0.0",             "private"             },
        {"172.32.0.0",             NULL                  },
        {"192.0.0.8",              "protocol-assignments"},
        {"192.0.2.1",              "documentation"       },
        {"192.88.99.1",            "6to4-relay"          },
        {"192.168.255.255",        "private"             },
        {"198.19.255.255",         "benchmarking"        },
        {"198.51.100.1",           "documentation"       },
        {"203.0.113.1",            "documentation"       },
        {"224.0.0.1",              "multicast"           },
        {"240.0.0.1",              "reserved"            },
        {"255.255.255.255",        "reserved"            },
        {"8.8.8.8",                NULL                  },
        {"::",                     "unspecified"         },
        {"::1",                    "loopback"            },
        {"::ffff:127.0.0.1",       "loopback"            },
        {"::ffff:8.8.8.8",         NULL                  },
        {"::127.0.0.1",            "loopback"            },
        {"64:ff9b::7f00:1",        "loopback"            },
        {"64:ff9b::808:808",       NULL                  },
        {"64:ff9b:1::808:808",     "local-nat64"         },
        {"2002:7f00:1::",          "loopback"            },
        {"2002:808:808::",         NULL                  },
        {"2001::f7f7:f7f7",        NULL                  },
        {"2001::80ff:fffe",        "loopback"            },
        {"2001:10::1",             "protocol-assignments"},
        {"2001:db8::1",            "documentation"       },
        {"2001:db8::5efe:8.8.8.8", "documentation"       },
        {"3fff::1",                "documentation"       },
        {"100::1",                 "discard"             },
        {"fc00::1",                "unique-local"        },
        {"fdff::1",                "unique-local"        },
        {"fe80::1",                "link-local"          },
        {"febf::1",                "link-local"          },
        {"fec0::1",                "site-local"          },
        {"ff02::1",                "multicast"           },
        {"4000::1",                "reserved"            },
        {"2a00::1",                NULL                  },
        {"2a00::5efe:8.8.8.8",     NULL                  },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct addr a = parse(cases[i].addr);
        const char *got = addr_special(&a);
        if (strcmp(got ? got : "public", cases[i].name ? cases[i].name : "public") != 0) {
            fail_msg("%s is %s", cases[i].addr, got ? got : "public");
        }
    }
    struct addr none = {0};
    assert_non_null(addr_special(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written_the_same),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(networks_hold_their_addresses),
        cmocka_unit_test(every_spelling_of_an_ip4_address_is_seen),
        cmocka_unit_test(special_blocks_have_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
