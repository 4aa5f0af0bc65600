/* Deadlines in a binary heap. */
#include "lib/base/timerq.h"

#include <assert.h>
#include <stdlib.h>

int timerq_init(struct timerq *q, size_t cap)
{
    *q = (struct timerq){.cap = cap};
    q->heap = calloc(cap ? cap : 1, sizeof *q->heap);
    return q->heap ? OK : ERR_NOMEM;
}

void timerq_done(struct timerq *q)
{
    free(q->heap);
    *q = (struct timerq){0};
}

static void put(struct timerq *q, size_t i, struct timer *t)
{
    q->heap[i] = t;
    t->place = i + 1;
}

static void sift(struct timerq *q, size_t i, struct timer *t)
{
    while (i > 0 && q->heap[(i - 1) / 2]->at_ms > t->at_ms) {
        put(q, i, q->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < q->n && q->heap[child + 1]->at_ms < q->heap[child]->at_ms) {
            child++;
        }
        if (child >= q->n || q->heap[child]->at_ms >= t->at_ms) {
            break;
        }
        put(q, i, q->heap[child]);
        i = child;
    }
    put(q, i, t);
}

void timerq_set(struct timerq *q, struct timer *t, uint64_t at_ms)
{
    t->at_ms = at_ms;
    if (t->place == 0) {
        assert(q->n < q->cap);
        q->n++;
        t->place = q->n;
    }
    sift(q, t->place - 1, t);
}

void timerq_clear(struct timerq *q, struct timer *t)
{
    if (t->place == 0) {
        return;
    }
    size_t i = t->place - 1;
    struct timer *last = q->heap[--q->n];
    t->place = 0;
    if (last != t) {
        sift(q, i, last);
    }
}

struct timer *timerq_due(struct timerq *q, uint64_t now_ms)
{
    if (q->n == 0 || q->heap[0]->at_ms > now_ms) {
        return NULL;
    }
    struct timer *t = q->heap[0];
    timerq_clear(q, t);
    return t;
}

uint64_t timerq_next_ms(const struct timerq *q)
{
    return q->n ? q->heap[0]->at_ms : TIMER_NEVER;
}
