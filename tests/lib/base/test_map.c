/* The hash table and its keyed hash. */
#include "lib/base/map.h"

#include "tests/unit.h"

struct item {
    uint32_t value;
    struct map_link link;
    uint8_t key[6];
};

static void siphash_matches_its_reference(void **state)
{
    (void)state;
    /* The vectors published with SipHash-2-4: key 00..0f, input 00, 01, ... */
    static const struct {
        size_t len;
        uint64_t hash;
    } v[] = {
        {0,  0x726fdb47dd0e0e31},
        {1,  0x74f839c593dc67fd},
        {15, 0xa129ca6149be45e5}
    };
    uint8_t bytes[16];
    for (uint8_t i = 0; i < 16; i++) {
        bytes[i] = i;
    }
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct slice in = exact(bytes, v[i].len);
        assert_true(siphash(bytes, in) == v[i].hash);
        exact_free(in);
    }
}

static void set_key(struct item *it, uint32_t i)
{
    it->value = i;
    memset(it->key, 0, sizeof it->key);
    memcpy(it->key, &i, sizeof i);
}

static void entries_come_and_go(void **state)
{
    (void)state;
    enum {
        N = 500
    };
    static struct item items[N];
    struct map m;
    uint8_t secret[16] = {1, 2, 3};
    /* Sized far too small: chains must work as well. */
    assert_int_equal(map_init(&m, 4, MAP_KEY(struct item, link, key), 6, secret), OK);
    assert_null(map_find(&m, items[0].key));
    for (uint32_t i = 0; i < N; i++) {
        set_key(&items[i], i);
        map_add(&m, &items[i].link);
    }
    assert_int_equal(m.n, N);
    for (uint32_t i = 0; i < N; i += 2) {
        map_remove(&m, &items[i].link);
        map_remove(&m, &items[i].link);
    }
    assert_int_equal(m.n, N / 2);
    for (uint32_t i = 0; i < N; i++) {
        struct item *found = MAP_ENTRY(map_find(&m, items[i].key), struct item, link);
        assert_ptr_equal(found, i % 2 ? &items[i] : NULL);
    }
    map_done(&m);
}

static void the_secret_decides_the_place(void **state)
{
    (void)state;
    uint8_t a[16] = {0}, b[16] = {1};
    assert_true(siphash(a, slice_str("key")) != siphash(b, slice_str("key")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_matches_its_reference),
        cmocka_unit_test(entries_come_and_go),
        cmocka_unit_test(the_secret_decides_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
