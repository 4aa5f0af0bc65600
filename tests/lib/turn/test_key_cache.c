/* What is remembered of users and strangers, and when it is forgotten. */
#include "lib/turn/key_cache.h"

#include "tests/unit.h"

static const uint8_t secret[16] = {1};
static const struct stun_key key_a = {.b = "a", .len = 16}, key_b = {.b = "b", .len = 16};

static enum key_cache_result find(const struct key_cache *c, uint64_t now_ms, const char *name)
{
    struct stun_key key;
    uint64_t until_ms;
    return key_cache_find(c, now_ms, slice_str(name), &key, &until_ms);
}

static void remembers_until_its_time(void **state)
{
    (void)state;
    struct key_cache c;
    struct stun_key key;
    uint64_t until_ms = 0;
    assert_int_equal(key_cache_init(&c, 64, secret), OK);
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_NOTHING);
    assert_int_equal(find(&c, 0, ""), KEY_CACHE_NOTHING);
    key_cache_put(&c, 100, slice_str("alice"), &key_a);
    key_cache_put(&c, 50, slice_str("mallory"), NULL);
    assert_int_equal(key_cache_find(&c, 99, slice_str("alice"), &key, &until_ms),
                     KEY_CACHE_USER);
    assert_memory_equal(&key, &key_a, sizeof key);
    assert_int_equal(until_ms, 100);
    assert_int_equal(find(&c, 49, "mallory"), KEY_CACHE_STRANGER);
    assert_int_equal(find(&c, 50, "mallory"), KEY_CACHE_NOTHING);
    assert_int_equal(find(&c, 100, "alice"), KEY_CACHE_NOTHING);
    assert_int_equal(find(&c, 0, "alic"), KEY_CACHE_NOTHING);
    assert_int_equal(find(&c, 0, "alice2"), KEY_CACHE_NOTHING);
    key_cache_drop(&c);
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_NOTHING);
    assert_int_equal(find(&c, 0, "mallory"), KEY_CACHE_NOTHING);
    key_cache_done(&c);
}

static void one_place_holds_one_name(void **state)
{
    (void)state;
    struct key_cache c;
    struct stun_key key;
    uint64_t until_ms;
    assert_int_equal(key_cache_init(&c, 1, secret), OK);
    key_cache_put(&c, 100, slice_str("alice"), &key_a);
    /* Made-up names do not push her out, however many. */
    for (int i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%d", i);
        key_cache_put(&c, 100, slice_str(name), NULL);
    }
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_USER);
    key_cache_put(&c, 100, slice_str("bob"), &key_b);
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_NOTHING);
    assert_int_equal(key_cache_find(&c, 0, slice_str("bob"), &key, &until_ms), KEY_CACHE_USER);
    assert_memory_equal(&key, &key_b, sizeof key);
    /* Who is gone is not a user any more. */
    key_cache_put(&c, 100, slice_str("bob"), NULL);
    assert_int_equal(find(&c, 0, "bob"), KEY_CACHE_STRANGER);
    key_cache_done(&c);
}

static void names_that_are_too_long_are_not_kept(void **state)
{
    (void)state;
    struct key_cache c;
    char name[KEY_CACHE_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[KEY_CACHE_NAME_MAX + 1] = 0;
    assert_int_equal(key_cache_init(&c, 1, secret), OK);
    key_cache_put(&c, 100, slice_str(name), &key_a);
    assert_int_equal(find(&c, 0, name), KEY_CACHE_NOTHING);
    name[KEY_CACHE_NAME_MAX] = 0;
    key_cache_put(&c, 100, slice_str(name), &key_a);
    assert_int_equal(find(&c, 0, name), KEY_CACHE_USER);
    key_cache_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_until_its_time),
        cmocka_unit_test(one_place_holds_one_name),
        cmocka_unit_test(names_that_are_too_long_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
