/* What stands in a nonce, and what is made of it when it comes back. */
#include "lib/stun/security.h"

#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static struct slice nonce_of(struct bench *b, const struct turn_conn *c)
{
    struct ask a;
    struct slice nonce;
    ask_begin(b, &a, STUN_ALLOCATE);
    assert_int_equal(ask_end(b, &a, c, NULL), 401);
    struct stun_msg m;
    assert_int_equal(stun_parse(&m, slice_of(b->sent, b->sent_len), &stun_wire_rfc8489), OK);
    assert_int_equal(stun_get_bytes(&m, STUN_NONCE, &nonce), OK);
    memcpy(b->nonce, nonce.p, nonce.len);
    b->nonce_len = nonce.len;
    return slice_of(b->nonce, b->nonce_len);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    bench_start(b, NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static void with_everything(struct turn_config *cfg)
{
    cfg->algorithms[0] = STUN_ALGORITHM_SHA256;
    cfg->n_algorithms = 1;
    cfg->anonymity = true;
}

static void it_says_what_the_server_can_do(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    struct slice nonce = nonce_of(b, &c);
    assert_int_equal(nonce.len, 52);
    assert_memory_equal(nonce.p, "obMatJos2AAAA", 13);
    bench_stop(b);
    bench_start(b, with_everything);
    assert_memory_equal(nonce_of(b, &c).p, "obMatJos2wAAA", 13);
}

/* RFC 8489 9.2.4: not the same one to two sources; but it is good from another port. */
static void each_source_gets_its_own(void **state)
{
    struct bench *b = *state;
    struct turn_conn one = bench_tcp(1), two = bench_tcp(2);
    uint8_t first[64];
    memcpy(first, nonce_of(b, &one).p, 52);
    assert_memory_equal(nonce_of(b, &one).p, first, 52);
    assert_memory_not_equal(nonce_of(b, &two).p, first, 52);
    memcpy(b->nonce, first, 52);
    assert_int_equal(bench_allocate(b, &two, TURN_TCP), 0);
}

static void a_short_one_is_as_good(void **state)
{
    struct bench *b = *state;
    struct turn_conn udp = bench_udp("192.0.2.7:1");
    assert_int_equal(nonce_of(b, &udp).len, 40);
    assert_int_equal(bench_allocate(b, &udp, TURN_UDP), 0);
    for (b->nonce_len = 1; b->nonce_len < 40; b->nonce_len++) {
        assert_int_equal(bench_refresh(b, &udp, 600), 438);
    }
}

static void any_other_byte_makes_it_stale(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1);
    (void)nonce_of(b, &c);
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
    for (size_t i = 0; i < b->nonce_len; i++) {
        b->nonce[i] ^= 1;
        assert_int_equal(bench_refresh(b, &c, 600), 438);
        b->nonce[i] ^= 1;
    }
    assert_int_equal(bench_refresh(b, &c, 600), 0);
    b->unix_s += 3600;
    assert_int_equal(bench_refresh(b, &c, 600), 0);
    b->unix_s += 1;
    assert_int_equal(bench_refresh(b, &c, 600), 438);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_says_what_the_server_can_do, setup, teardown),
        cmocka_unit_test_setup_teardown(each_source_gets_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_short_one_is_as_good, setup, teardown),
        cmocka_unit_test_setup_teardown(any_other_byte_makes_it_stale, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
