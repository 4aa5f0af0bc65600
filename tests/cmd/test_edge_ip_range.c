/* Ranges of addresses against a plain set of 2^8 addresses, and by hand at the ends. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/edge/ip_range.h"

#include "tests/unit.h"

static struct ip_range range(const char *text)
{
    struct ip_range r;
    assert_true(ip_range_parse(slice_str(text), &r));
    return r;
}

static void check_nets(const char *text, const char *want)
{
    struct ip_range r = range(text);
    struct addr_net net;
    char got[4096] = "", ip[ADDR_TEXT_MAX];
    while (ip_range_next_net(&r, &net)) {
        size_t len = strlen(got);
        (void)snprintf(got + len, sizeof got - len, "%s%s/%u", len ? " " : "",
                       addr_ip_text(&net.base, ip), net.bits);
    }
    assert_string_equal(got, want);
}

static void ranges_become_networks(void **state)
{
    (void)state;
    check_nets("192.0.2.1", "192.0.2.1/32");
    check_nets("10.0.0.0-10.255.255.255", "10.0.0.0/8");
    check_nets("10.0.0.0/8", "10.0.0.0/8");
    check_nets("192.0.2.7 - 192.0.2.16", "192.0.2.7/32 192.0.2.8/29 192.0.2.16/32");
    check_nets("0.0.0.0-255.255.255.255", "0.0.0.0/0");
    check_nets("255.255.255.254-255.255.255.255", "255.255.255.254/31");
    check_nets("0.0.0.0-0.0.0.0", "0.0.0.0/32");
    check_nets("255.255.255.255", "255.255.255.255/32");
    check_nets("fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::/10");
    check_nets("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0");
    check_nets("2001:db8::1-2001:db8::2", "2001:db8::1/128 2001:db8::2/128");
}

static void what_is_no_range_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "-",          "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "example.com",
        "10.0.0.1/8", "10.0.0.1-x", "x-10.0.0.1",        "10.0.0.0/33"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ip_range r;
        if (ip_range_parse(slice_str(bad[i]), &r)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

/* Random sets of the last byte of an address: those that are in it, counted by hand. */
static void removing_is_set_difference(void **state)
{
    (void)state;
    struct ip_set *s = calloc(1, sizeof *s);
    assert_non_null(s);
    srand(7);
    for (int round = 0; round < 500; round++) {
        bool want[256] = {false}, got[256] = {false};
        s->n = 0;
        for (int step = 0; step < 12; step++) {
            int a = rand() % 256, b = a + rand() % (256 - a);
            bool add = step < 5;
            char text[64];
            (void)snprintf(text, sizeof text, "203.0.113.%d-203.0.113.%d", a, b);
            struct ip_range r = range(text);
            assert_int_equal(add ? ip_set_add(s, &r) : ip_set_remove(s, &r), OK);
            for (int i = a; i <= b; i++) {
                want[i] = add;
            }
        }
        for (size_t i = 0; i < s->n; i++) {
            struct ip_range r = s->r[i];
            struct addr_net net;
            while (ip_range_next_net(&r, &net)) {
                for (unsigned k = 0; k < 1u << (32 - net.bits); k++) {
                    got[net.base.ip[3] + k] = true;
                }
            }
        }
        assert_memory_equal(got, want, sizeof want);
    }
    free(s);
}

static void families_are_apart(void **state)
{
    (void)state;
    struct ip_set *s = calloc(1, sizeof *s);
    assert_non_null(s);
    struct ip_range all4 = range("0.0.0.0/0"), all6 = range("::/0");
    assert_int_equal(ip_set_add(s, &all4), OK);
    assert_int_equal(ip_set_remove(s, &all6), OK);
    assert_int_equal(s->n, 1);
    assert_int_equal(ip_set_remove(s, &all4), OK);
    assert_int_equal(s->n, 0);
    for (size_t i = 0; i < IP_RANGES_MAX; i++) {
        assert_int_equal(ip_set_add(s, &all4), OK);
    }
    assert_int_equal(ip_set_add(s, &all4), ERR_LIMIT);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_become_networks),
        cmocka_unit_test(what_is_no_range_is_refused),
        cmocka_unit_test(removing_is_set_difference),
        cmocka_unit_test(families_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
