/* cmocka, which needs four headers before it, and exact-size blocks for parsers. */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/wire.h"

/* A copy in a block of its own size: the sanitizer sees a read of one byte too many. */
static inline struct slice exact(const void *p, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) {
        memcpy(copy, p, n);
    }
    return slice_of(copy, n);
}

static inline void exact_free(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}
