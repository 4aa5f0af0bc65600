/* GET over one connection that the server closes at the end. */
#include "cmd/causeway/fetch.h"

#include <stdlib.h>

#include "lib/base/text.h"

#include "io/tcp.h"

enum {
    TIMEOUT_MS = 5000,
    REQUEST_MAX = 512,
    FIRST_CAP = 64 * 1024
};

struct fetch {
    struct tcp *tcp;
    struct loop_timer *timer;
    char request[REQUEST_MAX];
    size_t request_len;
    uint8_t *buf;
    size_t len, cap;
    void (*done)(unsigned status, struct slice body, void *ctx);
    void *ctx;
};

void fetch_cancel(struct fetch *f)
{
    if (!f) {
        return;
    }
    if (f->tcp) {
        tcp_close(f->tcp);
    }
    loop_timer_free(f->timer);
    free(f->buf);
    free(f);
}

/* Status and body of a whole answer; status 0 when it is none. */
static unsigned read_answer(struct slice in, struct slice *body)
{
    struct slice line = text_split(&in, '\n');
    uint64_t status = 0, length = UINT64_MAX;
    (void)text_split(&line, ' ');
    if (text_u64(text_split(&line, ' '), 999, &status) != 0) {
        return 0;
    }
    while (in.len > 0) {
        line = text_trim(text_split(&in, '\n'));
        if (line.len == 0) {
            break;
        }
        if (text_starts(line, "Content-Length:") &&
            text_u64(text_trim(slice_from(line, 15)), FETCH_MAX, &length) != 0) {
            return 0;
        }
    }
    *body = in;
    return length == UINT64_MAX || length == in.len ? (unsigned)status : 0;
}

static void finish(struct fetch *f, bool whole)
{
    struct slice body = {NULL, 0};
    unsigned status = whole ? read_answer(slice_of(f->buf, f->len), &body) : 0;
    f->done(status, body, f->ctx);
    fetch_cancel(f);
}

static void connected(struct tcp *t, void *ctx)
{
    struct fetch *f = ctx;
    /* A stream that cannot take it says so by closing. */
    int err = tcp_write(t, slice_of(f->request, f->request_len), slice_of(NULL, 0));
    (void)err;
}

static bool make_room(struct fetch *f, size_t n)
{
    size_t cap = f->cap ? f->cap : FIRST_CAP;
    while (cap < f->len + n) {
        cap *= 2;
    }
    if (cap == f->cap) {
        return true;
    }
    uint8_t *bigger = cap <= FETCH_MAX ? realloc(f->buf, cap) : NULL;
    if (bigger) {
        f->buf = bigger;
        f->cap = cap;
    }
    return bigger != NULL;
}

static size_t data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct fetch *f = ctx;
    (void)t;
    if (!make_room(f, bytes.len)) {
        finish(f, false);
        return bytes.len;
    }
    memcpy(f->buf + f->len, bytes.p, bytes.len);
    f->len += bytes.len;
    return bytes.len;
}

static void ended(struct tcp *t, void *ctx)
{
    (void)t;
    finish(ctx, true);
}

static void closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct fetch *f = ctx;
    (void)t;
    f->tcp = NULL;
    finish(f, sys_errno == 0);
}

static void too_late(void *ctx)
{
    finish(ctx, false);
}

int fetch_start(struct fetch **out, struct loop *l, const struct addr *server, const char *path,
                void (*done)(unsigned status, struct slice body, void *ctx), void *ctx)
{
    static const struct tcp_events events = {
        .connected = connected, .data = data, .ended = ended, .closed = closed};
    char host[ADDR_TEXT_MAX];
    struct fetch *f = calloc(1, sizeof *f);
    if (!f) {
        return ERR_NOMEM;
    }
    f->done = done;
    f->ctx = ctx;
    struct wr w = wr_over((uint8_t *)f->request, sizeof f->request);
    wr_text(&w, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
            addr_text(server, host));
    f->request_len = w.len;
    int err = w.err;
    err = err ? err : loop_timer_new(&f->timer, l, too_late, f);
    err = err ? err : tcp_connect(&f->tcp, l, server, NULL, &events, f);
    if (err) {
        fetch_cancel(f);
        return err;
    }
    loop_timer_at(f->timer, loop_now_ms(l) + TIMEOUT_MS);
    *out = f;
    return 0;
}
