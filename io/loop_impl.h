/* What the files of io/ share about the loop; nobody else includes this. */
#pragma once

#include <uv.h>

#include "io/loop.h"

enum {
    LOOP_SCRATCH = 65536
};

/* A call that runs once, from the loop and before it waits again. Sits in the struct it is
 * for; that struct may be freed inside the call. */
struct loop_task {
    struct loop_task *next, *prev; /* NULL: in no list */
    void (*fn)(void *ctx);
    void *ctx;
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t before_wait;
    uv_idle_t no_wait; /* active while tasks are left: then poll returns at once */
    struct loop_task armed;
    struct loop_task at_end; /* called by loop_free, for what outlives its owner */
    struct loop_signal *signals;
    struct udp_area *udp; /* made by the first socket, plain memory */
    uint8_t scratch[LOOP_SCRATCH];
};

void loop_task_arm(struct loop *l, struct loop_task *t);
void loop_task_at_end(struct loop *l, struct loop_task *t);
void loop_task_disarm(struct loop_task *t); /* in no list: nothing happens */
