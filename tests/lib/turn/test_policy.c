/* Who may be a peer: one answer for an address, however it is spelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/turn/policy.h"

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), OK);
    return a;
}

static struct addr_net net_of(const char *text)
{
    struct addr_net n;
    assert_int_equal(addr_net_parse(slice_str(text), &n), OK);
    return n;
}

/* Every IPv6 spelling of an IPv4 address; `flip` for Teredo, which inverts it. */
static const struct {
    const char *prefix;
    uint8_t at, flip;
} spellings[] = {
    {"::ffff:0:0",         12, 0   },
    {"::",                 12, 0   },
    {"::ffff:0:0:0",       12, 0   },
    {"64:ff9b::",          12, 0   },
    {"2002::",             2,  0   },
    {"2001::",             12, 0xff},
    {"2a00::5efe:0:0",     12, 0   },
    {"2a00::200:5efe:0:0", 12, 0   },
};

static struct addr spell(size_t i, const struct addr *ip4)
{
    struct addr a = addr_of(spellings[i].prefix);
    for (size_t k = 0; k < 4; k++) {
        a.ip[spellings[i].at + k] = ip4->ip[k] ^ spellings[i].flip;
    }
    return a;
}

/* Refused as IPv4 means refused in every spelling: over each special block's addresses, with
 * and without rules of the operator. */
static void no_spelling_gets_past(void **state)
{
    (void)state;
    struct turn_policy open = {.n_allow = 1, .n_deny = 1, .n_own = 1};
    open.allow[0] = net_of("::/0");
    open.deny[0] = net_of("8.8.8.0/24");
    open.own[0] = addr_of("9.9.9.9");
    const struct turn_policy none = {.n_own = 0};
    uint32_t rnd = 1;
    size_t n_refused = 0;
    for (uint32_t i = 0; i < 65536; i++) {
        rnd = rnd * 1664525 + 1013904223;
        struct addr a = {
            .family = ADDR_IP4, .ip = {(uint8_t)(i >> 8), (uint8_t)i}
        };
        a.ip[2] = (uint8_t)(rnd >> 16);
        a.ip[3] = (uint8_t)(rnd >> 24);
        if (i >> 8 == 8 || i >> 8 == 9) {
            a = addr_of(i >> 8 == 8 ? "8.8.8.1" : "9.9.9.9");
        }
        for (size_t p = 0; p < 2; p++) {
            const struct turn_policy *policy = p ? &open : &none;
            if (!turn_policy_refuses(policy, &a)) {
                continue;
            }
            n_refused++;
            for (size_t k = 0; k < sizeof spellings / sizeof *spellings; k++) {
                struct addr b = spell(k, &a);
                char text[ADDR_TEXT_MAX];
                if (!turn_policy_refuses(policy, &b)) {
                    fail_msg("%s is let through", addr_text(&b, text));
                }
            }
        }
    }
    assert_true(n_refused > 1000);
}

static void special_ones_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"127.0.0.1",        "loopback"    },
        {"0.1.2.3",          "unspecified" },
        {"10.1.2.3",         "private"     },
        {"172.31.0.1",       "private"     },
        {"192.168.0.1",      "private"     },
        {"169.254.169.254",  "link-local"  },
        {"100.64.0.1",       "shared"      },
        {"239.1.1.1",        "multicast"   },
        {"::1",              "loopback"    },
        {"fe80::1",          "link-local"  },
        {"fd00::1",          "unique-local"},
        {"ff02::1",          "multicast"   },
        {"::ffff:127.0.0.1", "loopback"    },
    };
    const struct turn_policy none = {.n_own = 0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct addr a = addr_of(rows[i][0]);
        const char *why = turn_policy_refuses(&none, &a);
        assert_non_null(why);
        assert_string_equal(why, rows[i][1]);
    }
    struct addr fine = addr_of("8.8.8.8"), fine6 = addr_of("2a00:1450::1");
    assert_null(turn_policy_refuses(&none, &fine));
    assert_null(turn_policy_refuses(&none, &fine6));
}

static void own_goes_before_deny_before_allow(void **state)
{
    (void)state;
    struct turn_policy p = {.n_allow = 2, .n_deny = 1, .n_own = 2};
    p.allow[0] = net_of("10.0.0.0/8");
    p.allow[1] = net_of("0.0.0.0/0");
    p.deny[0] = net_of("10.9.0.0/16");
    p.own[0] = addr_of("10.0.0.1:3478");
    p.own[1] = addr_of("::ffff:10.0.0.2");
    struct addr own = addr_of("10.0.0.1:80"), own2 = addr_of("10.0.0.2");
    struct addr denied = addr_of("10.9.0.1"), allowed = addr_of("10.1.0.1");
    assert_string_equal(turn_policy_refuses(&p, &own), "own-address");
    assert_string_equal(turn_policy_refuses(&p, &own2), "own-address");
    assert_string_equal(turn_policy_refuses(&p, &denied), "denied");
    assert_null(turn_policy_refuses(&p, &allowed));
}

/* To connect to 0.0.0.0 or :: is to connect to oneself. */
static void the_unspecified_address_is_always_our_own(void **state)
{
    (void)state;
    struct turn_policy p = {.n_allow = 3};
    p.allow[0] = net_of("0.0.0.0/0");
    p.allow[1] = net_of("::/0");
    p.allow[2] = net_of("0.0.0.0/32");
    static const char *const texts[] = {"0.0.0.0:80", "::", "::ffff:0.0.0.0", "64:ff9b::"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct addr a = addr_of(texts[i]);
        const char *why = turn_policy_refuses(&p, &a);
        assert_non_null(why);
        assert_string_equal(why, "own-address");
    }
    struct addr other = addr_of("10.0.0.1");
    assert_null(turn_policy_refuses(&p, &other));
}

static void a_wildcard_listeners_loopback_is_our_own(void **state)
{
    (void)state;
    struct turn_policy p = {.n_allow = 1, .own_loopback = true};
    p.allow[0] = net_of("127.0.0.0/8");
    struct addr a = addr_of("127.9.9.9:3478"), mapped = addr_of("::ffff:127.0.0.9");
    assert_string_equal(turn_policy_refuses(&p, &a), "own-address");
    assert_string_equal(turn_policy_refuses(&p, &mapped), "own-address");
    p.own_loopback = false;
    assert_null(turn_policy_refuses(&p, &a));
}

static void own_relays_may_be_peers_by_port_only_if_set(void **state)
{
    (void)state;
    struct turn_policy p = {.n_own = 1, .relay_first = 24000, .relay_last = 24999};
    p.own[0] = addr_of("8.8.8.8");
    p.relay[0] = addr_of("8.8.8.8");
    struct addr relay = addr_of("8.8.8.8:24000"), last = addr_of("8.8.8.8:24999");
    struct addr below = addr_of("8.8.8.8:23999"), listener = addr_of("8.8.8.8:3478");
    assert_null(turn_policy_refuses(&p, &relay));
    assert_null(turn_policy_refuses(&p, &last));
    assert_string_equal(turn_policy_refuses(&p, &below), "own-address");
    assert_string_equal(turn_policy_refuses(&p, &listener), "own-address");
    p.relay_first = 0;
    assert_string_equal(turn_policy_refuses(&p, &relay), "own-address");
}

/* A pool is accepted by its own spelling only, and what is refused is refused before. */
static void a_pool_may_connect_without_a_permission(void **state)
{
    (void)state;
    struct turn_policy p = {.n_accept = 1};
    p.accept[0] = net_of("10.1.0.0/16");
    struct addr in = addr_of("10.1.2.3:4"), out = addr_of("10.2.0.1:4");
    struct addr mapped = addr_of("[::ffff:10.1.2.3]:4");
    assert_true(turn_policy_accepts(&p, &in));
    assert_false(turn_policy_accepts(&p, &out));
    assert_false(turn_policy_accepts(&p, &mapped));
    assert_string_equal(turn_policy_refuses(&p, &in), "private"); /* it allows nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_spelling_gets_past),
        cmocka_unit_test(special_ones_are_refused_by_name),
        cmocka_unit_test(own_goes_before_deny_before_allow),
        cmocka_unit_test(the_unspecified_address_is_always_our_own),
        cmocka_unit_test(a_wildcard_listeners_loopback_is_our_own),
        cmocka_unit_test(a_pool_may_connect_without_a_permission),
        cmocka_unit_test(own_relays_may_be_peers_by_port_only_if_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
