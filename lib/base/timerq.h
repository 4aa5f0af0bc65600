/* Deadlines in a binary heap. Timers sit in the caller's structs and know their place. */
#pragma once

#include "lib/base/wire.h"

#define TIMER_NEVER UINT64_MAX

struct timer {
    uint64_t at_ms;
    size_t place;  /* index in the heap plus one; 0: not set */
    uint32_t kind; /* the owner's: what falls due */
};

struct timerq {
    struct timer **heap;
    size_t n, cap;
};

/* Room for `cap` timers is made at once, so that setting one cannot fail. */
MUST_USE int timerq_init(struct timerq *q, size_t cap);
void timerq_done(struct timerq *q);

/* Sets or moves `t`. More timers than `cap` is the caller's bug (assert). */
void timerq_set(struct timerq *q, struct timer *t, uint64_t at_ms);
void timerq_clear(struct timerq *q, struct timer *t); /* not set: nothing happens */

/* Takes one timer that is due at `now_ms`, or NULL. */
struct timer *timerq_due(struct timerq *q, uint64_t now_ms);
/* The earliest, or TIMER_NEVER. */
uint64_t timerq_next_ms(const struct timerq *q);

#define TIMER_OWNER(timer, type, member) \
    ((type *)(void *)((char *)(timer)-offsetof(type, member)))
