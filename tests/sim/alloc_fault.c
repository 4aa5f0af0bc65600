/* The linker puts these in place of the allocator, so what they go by cannot be handed in. */
#include "tests/sim/alloc_fault.h"

#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static uint32_t countdown;
static bool has_failed, is_forbidden;

void alloc_fault_at(uint32_t n)
{
    countdown = n;
    has_failed = false;
}

bool alloc_fault_done(void)
{
    countdown = 0;
    return has_failed;
}

void alloc_fault_forbid(bool on)
{
    is_forbidden = on;
}

static bool fails(void)
{
    if (is_forbidden) {
        abort();
    }
    if (countdown == 0 || --countdown > 0) {
        return false;
    }
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}
