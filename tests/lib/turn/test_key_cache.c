/* What is remembered of users and strangers, and when it is forgotten. */
#include "lib/turn/key_cache.h"

#include "tests/unit.h"

static const uint8_t secret[16] = {1};
static const struct stun_key key_a = {.b = "a", .len = 16}, key_b = {.b = "b", .len = 16};

static struct key_cache_who who(const char *name)
{
    return (struct key_cache_who){.name = slice_str(name)};
}

static enum key_cache_result find(const struct key_cache *c, uint64_t now_ms, const char *name)
{
    struct turn_keys keys;
    struct key_cache_who w = who(name);
    return key_cache_find(c, now_ms, &w, &keys);
}

static void put(struct key_cache *c, uint64_t until_ms, const char *name,
                const struct stun_key *key)
{
    struct turn_keys keys = {.n = key ? 1 : 0, .until_ms = until_ms};
    struct key_cache_who w = who(name);
    if (key) {
        keys.key[0] = *key;
    }
    key_cache_put(c, &w, &keys);
}

/* Is it the one key that is remembered? */
static void has_key(const struct key_cache *c, uint64_t now_ms, const char *name,
                    const struct stun_key *key, uint64_t until_ms)
{
    struct turn_keys keys;
    struct key_cache_who w = who(name);
    assert_int_equal(key_cache_find(c, now_ms, &w, &keys), KEY_CACHE_USER);
    assert_int_equal(keys.n, 1);
    assert_memory_equal(&keys.key[0], key, sizeof *key);
    assert_int_equal(keys.until_ms, until_ms);
}

static void remembers_until_its_time(void **state)
{
    (void)state;
    struct key_cache c;
    assert_int_equal(key_cache_init(&c, 64, secret), OK);
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_NOTHING);
    assert_int_equal(find(&c, 0, ""), KEY_CACHE_NOTHING);
    put(&c, 100, "alice", &key_a);
    put(&c, 50, "mallory", NULL);
    has_key(&c, 99, "alice", &key_a, 100);
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
    assert_int_equal(key_cache_init(&c, 1, secret), OK);
    put(&c, 100, "alice", &key_a);
    /* Made-up names do not push her out, however many. */
    for (int i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%d", i);
        put(&c, 100, name, NULL);
    }
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_USER);
    put(&c, 100, "bob", &key_b);
    assert_int_equal(find(&c, 0, "alice"), KEY_CACHE_NOTHING);
    has_key(&c, 0, "bob", &key_b, 100);
    /* Who is gone is not a user any more. */
    put(&c, 100, "bob", NULL);
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
    put(&c, 100, name, &key_a);
    assert_int_equal(find(&c, 0, name), KEY_CACHE_NOTHING);
    name[KEY_CACHE_NAME_MAX] = 0;
    put(&c, 100, name, &key_a);
    assert_int_equal(find(&c, 0, name), KEY_CACHE_USER);
    key_cache_done(&c);
}

static void both_keys_are_kept_and_realms_told_apart(void **state)
{
    (void)state;
    struct key_cache c;
    struct turn_keys in =
                         {
                             .key = {key_a, key_b},
                               .n = 2, .until_ms = 100
    },
                     out;
    struct key_cache_who here = who("alice"), there = here;
    there.realm = 1;
    for (size_t places = 1; places < 8; places += 6) {
        assert_int_equal(key_cache_init(&c, places, secret), OK);
        key_cache_put(&c, &here, &in);
        assert_int_equal(key_cache_find(&c, 0, &here, &out), KEY_CACHE_USER);
        assert_int_equal(out.n, 2);
        assert_memory_equal(out.key, in.key, 2 * sizeof *in.key);
        assert_int_equal(key_cache_find(&c, 0, &there, &out), KEY_CACHE_NOTHING);
        /* Nobody there, which says nothing about here. */
        key_cache_put(&c, &there, &(struct turn_keys){.n = 0, .until_ms = 100});
        assert_int_equal(key_cache_find(&c, 0, &there, &out), KEY_CACHE_STRANGER);
        assert_int_equal(key_cache_find(&c, 0, &here, &out), KEY_CACHE_USER);
        key_cache_done(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_until_its_time),
        cmocka_unit_test(one_place_holds_one_name),
        cmocka_unit_test(names_that_are_too_long_are_not_kept),
        cmocka_unit_test(both_keys_are_kept_and_realms_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
