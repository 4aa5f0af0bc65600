/* Token buckets. */
#include "lib/turn/bandwidth.h"

enum {
    MILLI = 1000
};

static int64_t full(const struct bandwidth *w)
{
    return (int64_t)w->burst * MILLI;
}

/* A thousandth of a byte is what a rate of one byte a second gives in a millisecond, so nothing
 * is rounded. */
static void fill(struct bucket *b, const struct bandwidth *w, uint64_t now_ms)
{
    if (!b->is_begun) {
        *b = (struct bucket){.level = full(w), .at_ms = now_ms, .is_begun = true};
    }
    if (now_ms <= b->at_ms) {
        return;
    }
    uint64_t passed_ms = now_ms - b->at_ms, missing = (uint64_t)(full(w) - b->level);
    bool is_full = passed_ms > missing / w->bytes_per_s;
    b->level = is_full ? full(w) : b->level + (int64_t)(passed_ms * w->bytes_per_s);
    b->at_ms = now_ms;
}

size_t bucket_left(struct bucket *b, const struct bandwidth *w, uint64_t now_ms)
{
    if (w->bytes_per_s == 0) {
        return SIZE_MAX;
    }
    fill(b, w, now_ms);
    return b->level > 0 ? (size_t)(b->level / MILLI) : 0;
}

void bucket_take(struct bucket *b, const struct bandwidth *w, uint64_t now_ms, size_t n)
{
    if (w->bytes_per_s > 0) {
        fill(b, w, now_ms);
        b->level -= (int64_t)n * MILLI;
    }
}

uint64_t bucket_when(struct bucket *b, const struct bandwidth *w, uint64_t now_ms, size_t n)
{
    if (w->bytes_per_s == 0) {
        return now_ms;
    }
    fill(b, w, now_ms);
    int64_t want = (int64_t)n * MILLI;
    if (b->level >= want) {
        return now_ms;
    }
    uint64_t missing = (uint64_t)(want - b->level);
    return now_ms + (missing + w->bytes_per_s - 1) / w->bytes_per_s;
}
