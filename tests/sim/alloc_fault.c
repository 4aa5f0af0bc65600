/* The linker puts these in place of the allocator, so what they go by cannot be handed in. */
#include "tests/sim/alloc_fault.h"

#include <openssl/crypto.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static uint32_t countdown, crypto_countdown;
static bool has_failed, crypto_has_failed, is_forbidden;

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

static bool crypto_fails(void)
{
    bool now = crypto_countdown > 0 && --crypto_countdown == 0;
    crypto_has_failed |= now;
    return now;
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return crypto_fails() ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return crypto_fails() ? NULL : __real_realloc(p, size);
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

bool alloc_fault_hook_crypto(void)
{
    /* What it tidies up at the end does not survive that some of it could not be made. */
    return CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1 &&
           OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) == 1;
}

void alloc_fault_crypto_at(uint32_t n)
{
    crypto_countdown = n;
    crypto_has_failed = false;
}

bool alloc_fault_crypto_done(void)
{
    crypto_countdown = 0;
    return crypto_has_failed;
}
