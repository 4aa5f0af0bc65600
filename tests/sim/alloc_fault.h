/* Memory that runs out on demand, in a program linked with --wrap for malloc, calloc and
 * realloc. libcrypto allocates by itself, and is asked to do so through here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation from now, counted from 1, fails; once. */
void alloc_fault_at(uint32_t n);
/* Ends it. Did one fail? */
bool alloc_fault_done(void);
/* While it holds, to allocate at all is a fault: it ends the program. */
void alloc_fault_forbid(bool on);

/* Before libcrypto is used at all. False: it is too late. */
bool alloc_fault_hook_crypto(void);
/* The n-th allocation of libcrypto from now fails; once. */
void alloc_fault_crypto_at(uint32_t n);
bool alloc_fault_crypto_done(void);
