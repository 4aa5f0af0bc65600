/* Token buckets: how many bytes may go through now. Exact: in any span of t milliseconds no
 * more than burst + t * rate / 1000 bytes pass. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bandwidth {
    uint64_t bytes_per_s; /* 0: any number; at most BANDWIDTH_MAX */
    uint32_t burst;       /* bytes that may come at once after a pause; more than a datagram */
};

#define BANDWIDTH_MAX UINT64_C(1000000000000) /* bytes a second: more than there is */

struct bucket {
    int64_t level;  /* thousandths of a byte; below zero: owed */
    uint64_t at_ms; /* when that was so */
    bool is_begun;  /* else it is full */
};

/* Bytes that may pass now; SIZE_MAX: any number. */
size_t bucket_left(struct bucket *b, const struct bandwidth *w, uint64_t now_ms);
/* Takes `n` bytes out; they were there, or are owed. */
void bucket_take(struct bucket *b, const struct bandwidth *w, uint64_t now_ms, size_t n);
/* When `n` bytes (at most the burst) may pass. Not before now. */
uint64_t bucket_when(struct bucket *b, const struct bandwidth *w, uint64_t now_ms, size_t n);
