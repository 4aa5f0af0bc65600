/* Objects of one kind with ids that are never used again. */
#include "lib/turn/pool.h"

#include <assert.h>
#include <stdlib.h>

enum {
    KIND_SHIFT = 28 /* the id: generation in 32 bits, kind in 4, index in 28 */
};

int pool_init(struct pool *p, size_t cap, size_t size, uint8_t kind)
{
    *p = (struct pool){.size = size, .kind = kind};
    if (cap >= 1u << KIND_SHIFT) {
        return ERR_LIMIT;
    }
    p->cap = (uint32_t)cap;
    p->items = calloc(cap ? cap : 1, size);
    return p->items ? OK : ERR_NOMEM;
}

void pool_done(struct pool *p)
{
    free(p->items);
    *p = (struct pool){0};
}

static struct slot *slot_at(const struct pool *p, uint32_t index)
{
    return (struct slot *)(void *)(p->items + (size_t)index * p->size);
}

static uint32_t index_of(const struct pool *p, const void *item)
{
    return (uint32_t)((size_t)((const uint8_t *)item - p->items) / p->size);
}

void *pool_take(struct pool *p)
{
    struct slot *s;
    if (p->free_head) {
        s = slot_at(p, p->free_head - 1);
        p->free_head = s->next_free;
    } else if (p->n_touched < p->cap) {
        s = slot_at(p, p->n_touched++);
    } else {
        return NULL;
    }
    uint32_t gen = s->gen + 1;
    memset(s, 0, p->size);
    s->gen = gen;
    s->is_live = true;
    p->n_live++;
    return s;
}

void pool_give(struct pool *p, void *item)
{
    struct slot *s = item;
    assert(s->is_live);
    s->is_live = false;
    p->n_live--;
    s->next_free = p->free_head;
    p->free_head = index_of(p, item) + 1;
}

turn_id pool_id(const struct pool *p, const void *item)
{
    const struct slot *s = item;
    return (turn_id)s->gen << 32 | (turn_id)p->kind << KIND_SHIFT | index_of(p, item);
}

uint8_t pool_kind_of(turn_id id)
{
    return (uint8_t)((uint32_t)id >> KIND_SHIFT);
}

turn_id pool_id_as(turn_id id, uint8_t kind)
{
    return (id & ~((turn_id)0xf << KIND_SHIFT)) | (turn_id)kind << KIND_SHIFT;
}

void *pool_find(const struct pool *p, turn_id id)
{
    uint32_t low = (uint32_t)id, index = low & ((1u << KIND_SHIFT) - 1);
    if (low >> KIND_SHIFT != p->kind || index >= p->n_touched) {
        return NULL;
    }
    struct slot *s = slot_at(p, index);
    return s->is_live && s->gen == (uint32_t)(id >> 32) ? s : NULL;
}

void *pool_after(const struct pool *p, turn_id id)
{
    uint32_t low = (uint32_t)id;
    uint32_t i = id ? (low & ((1u << KIND_SHIFT) - 1)) + 1 : 0;
    for (; i < p->n_touched; i++) {
        if (slot_at(p, i)->is_live) {
            return slot_at(p, i);
        }
    }
    return NULL;
}
