/* What the tests of io/ share: a loop, a deadline, loopback addresses. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/addr.h"

#include "io/loop.h"

#include "tests/unit.h"

static inline void io_test_late(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for 20 s");
}

/* Runs until loop_stop; fails the test when that takes too long. */
static inline void io_test_run(struct loop *l)
{
    struct loop_timer *late;
    assert_int_equal(loop_timer_new(&late, l, io_test_late, NULL), OK);
    loop_timer_at(late, loop_now_ms(l) + 20000);
    loop_run(l);
    loop_timer_free(late);
}

static inline void io_test_stop(void *ctx)
{
    loop_stop(ctx);
}

/* Runs for `ms`: for what must not happen. */
static inline void io_test_run_for(struct loop *l, uint64_t ms)
{
    struct loop_timer *t;
    assert_int_equal(loop_timer_new(&t, l, io_test_stop, l), OK);
    loop_timer_at(t, loop_now_ms(l) + ms);
    loop_run(l);
    loop_timer_free(t);
}

static inline struct addr io_test_addr(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), OK);
    return a;
}

static inline int io_test_loop(void **state)
{
    struct loop *l;
    int err = loop_new(&l);
    *state = l;
    return err;
}

static inline int io_test_loop_free(void **state)
{
    loop_free(*state);
    return 0;
}

#define IO_TEST(fn) cmocka_unit_test_setup_teardown(fn, io_test_loop, io_test_loop_free)
