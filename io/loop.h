/* The event loop: libuv behind one header. One loop belongs to one thread. */
#pragma once

#include "lib/base/wire.h"

struct loop;

/* Ignores SIGPIPE from here on, for the whole process. */
MUST_USE int loop_new(struct loop **out);
void loop_free(struct loop *l); /* NULL is fine; everything made on it must be closed before */
/* Until loop_stop, or until nothing is left to wait for. */
void loop_run(struct loop *l);
/* The same, for `ms` at most: to let go what was closed in good order. */
void loop_run_at_most(struct loop *l, uint64_t ms);
void loop_stop(struct loop *l);

/* Monotonic, never goes back. Read from the clock, not cached. */
uint64_t loop_now_ms(const struct loop *l);
/* Wall clock. */
uint64_t loop_unix_s(void);
/* The uv_loop_t, for a library that brings its own libuv binding. */
void *loop_uv(struct loop *l);

/* Random bytes of the kernel; aborts when there are none, never returns weak ones. */
void io_random(void *out, size_t len);
/* The same, as the cores' environments want it. */
void io_random_env(void *out, size_t len, void *ctx);

/* Raises the process's limit of descriptors as far as it may go; gives what it then is. */
uint64_t io_raise_descriptors(void);

struct loop_timer;
MUST_USE int loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *ctx),
                            void *ctx);
/* Moves the timer; UINT64_MAX stops it. Fires once, and may set itself again. */
void loop_timer_at(struct loop_timer *t, uint64_t at_ms);
void loop_timer_free(struct loop_timer *t); /* NULL is fine; allowed inside its own fn */

/* Runs `fn` once before the loop waits again: to flush what an event left behind. */
struct loop_idle;
MUST_USE int loop_idle_new(struct loop_idle **out, struct loop *l, void (*fn)(void *ctx),
                           void *ctx);
void loop_idle_arm(struct loop_idle *i); /* further calls before it ran change nothing */
void loop_idle_free(struct loop_idle *i);

MUST_USE int loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *ctx),
                            void *ctx);

/* Readiness of a descriptor that somebody else made. */
struct loop_fd;
enum {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    LOOP_ERROR = 4 /* unasked for, and with all that is wanted: try, and learn what is wrong */
};
MUST_USE int loop_fd_new(struct loop_fd **out, struct loop *l, int fd,
                         void (*fn)(int events, void *ctx), void *ctx);
void loop_fd_want(struct loop_fd *f, int events); /* 0: none */
void loop_fd_free(struct loop_fd *f);             /* leaves the descriptor open */
