/* The heap of deadlines against a plain list. */
#include "lib/base/timerq.h"

#include "tests/unit.h"

enum {
    N = 64
};

static void it_agrees_with_a_plain_list(void **state)
{
    (void)state;
    struct timerq q;
    struct timer t[N] = {{0}};
    uint64_t at[N], now = 0;
    uint32_t seed = 12345;
    assert_int_equal(timerq_init(&q, N), OK);
    memset(at, 0xff, sizeof at);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525 + 1013904223;
        size_t i = seed >> 8 & (N - 1);
        if (seed >> 30 == 0) {
            timerq_clear(&q, &t[i]);
            at[i] = TIMER_NEVER;
        } else if (seed >> 30 == 1) {
            now += seed >> 20 & 15;
        } else {
            at[i] = now + (seed >> 16 & 127);
            timerq_set(&q, &t[i], at[i]);
        }
        struct timer *due;
        uint64_t last = 0;
        while ((due = timerq_due(&q, now)) != NULL) {
            assert_true(due->at_ms <= now && due->at_ms >= last);
            assert_int_equal(due->place, 0);
            last = due->at_ms;
            at[due - t] = TIMER_NEVER;
        }
        uint64_t least = TIMER_NEVER;
        for (size_t k = 0; k < N; k++) {
            least = at[k] < least ? at[k] : least;
        }
        assert_true(timerq_next_ms(&q) == least);
        assert_true(least > now);
    }
    timerq_done(&q);
}

static void clearing_twice_does_nothing(void **state)
{
    (void)state;
    struct timerq q;
    struct timer a = {0}, b = {0};
    assert_int_equal(timerq_init(&q, 2), OK);
    assert_true(timerq_next_ms(&q) == TIMER_NEVER);
    timerq_set(&q, &a, 5);
    timerq_set(&q, &b, 5);
    timerq_clear(&q, &a);
    timerq_clear(&q, &a);
    assert_ptr_equal(timerq_due(&q, 5), &b);
    assert_null(timerq_due(&q, TIMER_NEVER - 1));
    timerq_done(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_a_plain_list),
        cmocka_unit_test(clearing_twice_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
