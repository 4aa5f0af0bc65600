/* The loop: timers, tasks before it waits, signals, descriptors. */
#include <signal.h>
#include <unistd.h>

#include "io/shm.h"

#include "tests/io/io_test.h"

struct ticks {
    struct loop *loop;
    struct loop_timer *t;
    struct loop_idle *idle;
    int n, stop_at;
    uint64_t at;
};

static void tick_to_the_past(void *ctx)
{
    struct ticks *k = ctx;
    k->n++;
    loop_timer_at(k->t, 0);
}

static void a_timer_set_to_the_past_does_not_starve_others(void **state)
{
    struct ticks k = {.loop = *state};
    assert_int_equal(loop_timer_new(&k.t, *state, tick_to_the_past, &k), OK);
    loop_timer_at(k.t, 0);
    io_test_run_for(*state, 20);
    assert_true(k.n > 1 && k.n < 40);
    loop_timer_free(k.t);
}

static void tick_once(void *ctx)
{
    struct ticks *k = ctx;
    k->n++;
    k->at = loop_now_ms(k->loop);
    loop_timer_free(k->t);
    k->t = NULL;
}

static void a_timer_fires_once_and_not_early(void **state)
{
    struct ticks k = {.loop = *state};
    uint64_t due = loop_now_ms(*state) + 30;
    assert_int_equal(loop_timer_new(&k.t, *state, tick_once, &k), OK);
    loop_timer_at(k.t, due);
    loop_run(*state); /* ends by itself: nothing is left */
    assert_int_equal(k.n, 1);
    assert_true(k.at >= due);
}

static void again_and_again(void *ctx)
{
    struct ticks *k = ctx;
    if (++k->n == k->stop_at) {
        loop_stop(k->loop);
        return;
    }
    loop_idle_arm(k->idle);
}

static void an_idle_runs_before_the_loop_waits(void **state)
{
    struct ticks k = {.loop = *state, .stop_at = 50};
    assert_int_equal(loop_idle_new(&k.idle, *state, again_and_again, &k), OK);
    loop_idle_arm(k.idle);
    loop_idle_arm(k.idle);
    uint64_t before = loop_now_ms(*state);
    io_test_run(*state);
    assert_int_equal(k.n, 50);
    assert_true(loop_now_ms(*state) - before < 5000);
    loop_idle_free(k.idle);
}

static void on_signal(int signo, void *ctx)
{
    struct ticks *k = ctx;
    k->n = signo;
    loop_stop(k->loop);
}

static void a_signal_arrives_on_the_loop(void **state)
{
    struct ticks k = {.loop = *state};
    assert_int_equal(loop_on_signal(*state, SIGUSR1, on_signal, &k), OK);
    assert_int_equal(raise(SIGUSR1), 0);
    io_test_run(*state);
    assert_int_equal(k.n, SIGUSR1);
}

struct watch {
    struct loop *loop;
    struct loop_fd *f;
    int fd, n, events;
};

static void on_ready(int events, void *ctx)
{
    struct watch *w = ctx;
    w->events = events;
    if (++w->n == 3) {
        loop_fd_free(w->f);
        loop_stop(w->loop);
    }
}

static void a_descriptor_tells_when_it_is_ready(void **state)
{
    struct watch w = {.loop = *state};
    int fd[2];
    assert_int_equal(io_message_pair(fd), OK);
    assert_int_equal(loop_fd_new(&w.f, *state, fd[0], on_ready, &w), OK);
    loop_fd_want(w.f, LOOP_READ);
    io_test_run_for(*state, 10);
    assert_int_equal(w.n, 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    loop_fd_want(w.f, 0);
    io_test_run_for(*state, 10);
    assert_int_equal(w.n, 0);
    loop_fd_want(w.f, LOOP_READ);
    io_test_run(*state);
    assert_int_equal(w.events, LOOP_READ);
    assert_true(close(fd[0]) == 0 && close(fd[1]) == 0);
}

static void shared_memory_is_shared_and_sealed(void **state)
{
    (void)state;
    int fd;
    void *a, *b;
    assert_int_equal(shm_new(&fd, 8192), OK);
    assert_int_equal(shm_map(&a, fd, 8192, true), OK);
    assert_int_equal(shm_map(&b, fd, 8192, false), OK);
    memcpy(a, "hello", 6);
    assert_string_equal(b, "hello");
    assert_int_equal(ftruncate(fd, 4096), -1);
    assert_int_equal(ftruncate(fd, 16384), -1);
    shm_unmap(a, 8192);
    shm_unmap(b, 8192);
    assert_int_equal(close(fd), 0);
}

static void on_never(void *ctx)
{
    (void)ctx;
}

static void a_bounded_run_ends_with_its_work_or_its_time(void **state)
{
    struct loop *l = *state;
    struct loop_timer *t;
    uint64_t began = loop_now_ms(l);
    loop_run_at_most(l, 10000); /* nothing to wait for */
    assert_true(loop_now_ms(l) - began < 5000);
    assert_int_equal(loop_timer_new(&t, l, on_never, NULL), OK);
    loop_timer_at(t, began + 60000);
    loop_run_at_most(l, 30);
    assert_true(loop_now_ms(l) - began >= 30);
    loop_timer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_timer_set_to_the_past_does_not_starve_others),
        IO_TEST(a_timer_fires_once_and_not_early),
        IO_TEST(a_bounded_run_ends_with_its_work_or_its_time),
        IO_TEST(an_idle_runs_before_the_loop_waits),
        IO_TEST(a_signal_arrives_on_the_loop),
        IO_TEST(a_descriptor_tells_when_it_is_ready),
        IO_TEST(shared_memory_is_shared_and_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
