/* Cursors over bytes. The first failure sticks: later reads give zero, later writes do
 * nothing, and the caller looks at `err` once, at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/err.h"

/* Bytes that belong to somebody else. */
struct slice {
    const uint8_t *p;
    size_t len;
};

/* What a look at the head of a stream can tell. */
enum parse {
    PARSE_OK,
    PARSE_MORE, /* not whole yet: come back with more */
    PARSE_BAD   /* can never become whole: close the connection */
};

struct rd {
    struct slice in;
    size_t at;
    int err;
};

struct wr {
    uint8_t *buf;
    size_t cap, len;
    int err;
};

static inline struct slice slice_of(const void *p, size_t len)
{
    return (struct slice){.p = p, .len = len};
}

/* The bytes of a C string, without its end. NULL gives an empty slice. */
static inline struct slice slice_str(const char *s)
{
    return slice_of(s, s ? strlen(s) : 0);
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* `s` without its first `n` bytes; empty when it is shorter. */
static inline struct slice slice_from(struct slice s, size_t n)
{
    return n >= s.len ? slice_of(NULL, 0) : slice_of(s.p + n, s.len - n);
}

static inline struct rd rd_over(struct slice s)
{
    return (struct rd){.in = s};
}

static inline size_t rd_left(const struct rd *r)
{
    return r->err ? 0 : r->in.len - r->at;
}

/* Takes `n` bytes; an empty slice, and r->err set, when fewer are left. */
static inline struct slice rd_take(struct rd *r, size_t n)
{
    if (!r->err && n > r->in.len - r->at) {
        r->err = ERR_SHORT;
    }
    if (r->err || n == 0) {
        return slice_of(NULL, 0);
    }
    struct slice s = slice_of(r->in.p + r->at, n);
    r->at += n;
    return s;
}

/* The next `n` (at most 8) bytes as a number, most significant first; 0 on failure. */
static inline uint64_t rd_uint(struct rd *r, size_t n)
{
    struct slice s = rd_take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        v = v << 8 | s.p[i];
    }
    return v;
}

static inline uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)rd_uint(r, 1);
}

static inline uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_uint(r, 2);
}

static inline uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_uint(r, 4);
}

static inline uint64_t rd_u64(struct rd *r)
{
    return rd_uint(r, 8);
}

static inline struct wr wr_over(uint8_t *buf, size_t cap)
{
    return (struct wr){.buf = buf, .cap = cap};
}

/* Reserves `n` zeroed bytes; NULL, and w->err set, when they do not fit. */
static inline uint8_t *wr_room(struct wr *w, size_t n)
{
    if (!w->err && n > w->cap - w->len) {
        w->err = ERR_NOSPACE;
    }
    if (w->err) {
        return NULL;
    }
    uint8_t *p = w->buf + w->len;
    if (n > 0) {
        memset(p, 0, n);
    }
    w->len += n;
    return p;
}

static inline void wr_bytes(struct wr *w, struct slice s)
{
    uint8_t *p = wr_room(w, s.len);
    if (p && s.len > 0) {
        memcpy(p, s.p, s.len);
    }
}

/* `v` in `n` (at most 8) bytes, most significant first. */
static inline void wr_uint(struct wr *w, uint64_t v, size_t n)
{
    uint8_t *p = wr_room(w, n);
    for (size_t i = 0; p && i < n; i++) {
        p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    }
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
    wr_uint(w, v, 1);
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
    wr_uint(w, v, 2);
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
    wr_uint(w, v, 4);
}

static inline void wr_u64(struct wr *w, uint64_t v)
{
    wr_uint(w, v, 8);
}

/* What was written so far; empty after an error. */
static inline struct slice wr_done(const struct wr *w)
{
    return w->err ? slice_of(NULL, 0) : slice_of(w->buf, w->len);
}
