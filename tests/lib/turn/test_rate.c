/* Limits a second: exact for a few keys, never too generous for many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/turn/rate.h"

static struct rates *fresh(void)
{
    struct rates *r = calloc(1, sizeof *r);
    assert_non_null(r);
    memcpy(r->secret, "sixteen bytes :)", sizeof r->secret);
    return r;
}

static struct slice key_of(const uint32_t *n)
{
    return slice_of(n, sizeof *n);
}

static void a_second_has_so_many_and_the_next_as_many_again(void **state)
{
    (void)state;
    struct rates *r = fresh();
    uint32_t a = 1, b = 2;
    for (uint64_t s = 0; s < 3; s++) {
        for (uint32_t i = 0; i < 5; i++) {
            assert_true(rates_left(r, key_of(&a), s * 1000 + i, 5));
            assert_true(rates_pass(r, key_of(&a), s * 1000 + i, 5));
        }
        assert_false(rates_left(r, key_of(&a), s * 1000 + 999, 5));
        assert_false(rates_pass(r, key_of(&a), s * 1000 + 999, 5));
        assert_true(rates_pass(r, key_of(&b), s * 1000 + 999, 5));
        assert_true(rates_pass(r, key_of(&a), s * 1000 + 999, 0)); /* 0: no limit */
    }
    free(r);
}

/* Far more keys than places: each of them gets its limit at most. A table that forgot a busy
 * key for a new one would let it start again. */
static void a_flood_of_keys_gives_nobody_more(void **state)
{
    enum {
        KEYS = 20000,
        LIMIT = 3,
        ROUNDS = 6
    };
    (void)state;
    struct rates *r = fresh();
    uint8_t *n = calloc(KEYS, 1);
    assert_non_null(n);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t k = 0; k < KEYS; k++) {
            n[k] = (uint8_t)(n[k] + rates_pass(r, key_of(&k), 7000, LIMIT));
        }
    }
    uint64_t all = 0;
    for (uint32_t k = 0; k < KEYS; k++) {
        assert_true(n[k] <= LIMIT);
        all += n[k];
    }
    assert_true(all == (uint64_t)RATE_SETS * RATE_WAYS * LIMIT);
    free(n);
    free(r);
}

/* One who floods from one network shares a set with others, and does not silence them. */
static void one_busy_key_leaves_the_others_theirs(void **state)
{
    (void)state;
    struct rates *r = fresh();
    uint32_t busy = 0;
    for (int i = 0; i < 1000; i++) {
        (void)rates_pass(r, key_of(&busy), 7000, 10);
    }
    for (uint32_t k = 1; k <= RATE_SETS; k++) {
        assert_true(rates_pass(r, key_of(&k), 7000, 10));
    }
    free(r);
}

static struct rate_key prefix_of(const char *text, uint8_t ip4, uint8_t ip6)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), OK);
    return rate_key_of(&a, (struct rate_prefix){ip4, ip6});
}

static bool is_one(const char *a, const char *b, uint8_t ip4, uint8_t ip6)
{
    struct rate_key x = prefix_of(a, ip4, ip6), y = prefix_of(b, ip4, ip6);
    return memcmp(&x, &y, sizeof x) == 0;
}

static void a_network_is_one_key(void **state)
{
    (void)state;
    assert_true(is_one("192.0.2.1:5", "192.0.2.254:6", 0, 0)); /* /24, ports do not count */
    assert_false(is_one("192.0.2.1", "192.0.3.1", 0, 0));
    assert_true(is_one("192.0.2.1", "192.0.3.1", 23, 0));
    assert_false(is_one("192.0.2.1", "192.0.2.2", 32, 0));
    assert_true(is_one("2001:db8:0:1100::1", "2001:db8:0:11ff::1", 0, 0)); /* /56 */
    assert_false(is_one("2001:db8:0:1100::1", "2001:db8:0:1200::1", 0, 0));
    assert_true(is_one("2001:db8:0:1f00::1", "2001:db8:0:1000::1", 0, 52));
    assert_false(is_one("2001:db8::1", "2001:db8::2", 0, 128));
    assert_false(is_one("32.1.13.184", "2001:db8::", 32, 32)); /* the family counts */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_has_so_many_and_the_next_as_many_again),
        cmocka_unit_test(a_flood_of_keys_gives_nobody_more),
        cmocka_unit_test(one_busy_key_leaves_the_others_theirs),
        cmocka_unit_test(a_network_is_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
