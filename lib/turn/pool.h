/* Objects of one kind, all made room for at the start, each with an id that is never used
 * again: a generation goes with the place. */
#pragma once

#include "lib/turn/server.h"

struct slot { /* the first member of what sits in a pool */
    uint32_t gen;
    uint32_t next_free; /* index plus one; 0: the last */
    bool is_live;
};

struct pool {
    uint8_t *items;
    size_t size;
    uint32_t cap, n_touched, n_live, free_head;
    uint8_t kind; /* 1 to 15; part of the id, so ids of different pools differ */
};

MUST_USE int pool_init(struct pool *p, size_t cap, size_t size, uint8_t kind);
void pool_done(struct pool *p);
/* Zeroed but for its slot; NULL when all are taken. */
void *pool_take(struct pool *p);
/* What is in it stays readable until the place is taken again. */
void pool_give(struct pool *p, void *item);
turn_id pool_id(const struct pool *p, const void *item);
/* NULL when the object is gone or was never here. */
void *pool_find(const struct pool *p, turn_id id);
/* The kind in an id, and the id with another kind in it: one object may answer to two kinds. */
uint8_t pool_kind_of(turn_id id);
turn_id pool_id_as(turn_id id, uint8_t kind);
/* The object in the first place after that of `id`, which may be gone; 0: the first of all.
 * NULL: no more. */
void *pool_after(const struct pool *p, turn_id id);
