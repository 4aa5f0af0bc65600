/* A filter between a stream and its socket. What it makes goes out at once or behind the queue,
 * so the queue holds wire bytes only; what is held for the reader is plain bytes only. */
#include <errno.h>

#include "io/tcp_impl.h"

enum {
    WIRE_MAX = 16384, /* one read */
    /* A record ends two reads on at most; who sends many that hold nothing waits its turn. */
    ROUNDS = 4
};

_Static_assert(2 * WIRE_MAX + 2048 <= TCP_IN_SLACK, "a read and a held record fit");

static void push(struct tcp *t)
{
    struct slice wire = t->filter->out(t->filter_ctx);
    size_t sent = 0;
    if (wire.len == 0) {
        return;
    }
    if (!t->failed && !t->fin) {
        if (t->out_len == 0 && !t->connecting) {
            tcp_send_raw(t, wire, slice_of(NULL, 0), &sent);
        }
        (void)!tcp_queue(t, slice_from(wire, sent), slice_of(NULL, 0)); /* has failed `t` */
    }
    t->filter->out_done(t->filter_ctx, wire.len);
}

void tcp_filter_send(struct tcp *t, struct slice head, struct slice body, size_t *sent)
{
    uint8_t both[WIRE_MAX];
    *sent = 0;
    /* In one piece, if it is a TLS record's worth: there are clients that take a record for a
     * message. */
    bool is_small = head.len > 0 && body.len > 0 && head.len + body.len <= sizeof both;
    if (is_small) {
        memcpy(both, head.p, head.len);
        memcpy(both + head.len, body.p, body.len);
    }
    int err =
        t->filter->write(t->filter_ctx, is_small ? slice_of(both, head.len + body.len) : head);
    err = err || is_small ? err : t->filter->write(t->filter_ctx, body);
    push(t);
    if (err) {
        tcp_fail(t, EPROTO);
        return;
    }
    *sent = head.len + body.len;
}

void tcp_filter_fin(struct tcp *t)
{
    t->filter->fin(t->filter_ctx);
    push(t);
}

/* Feeds the filter, which may have something to answer, and takes what comes out. */
static int digest(struct tcp *t, struct slice wire, struct wr *plain)
{
    const struct tcp_filter *f = t->filter;
    int err = f->in(t->filter_ctx, wire);
    if (!err) {
        plain->len = f->read(t->filter_ctx, plain->buf, plain->cap);
        err = f->in(t->filter_ctx, slice_of(NULL, 0)); /* what was behind it may be broken */
    }
    push(t);
    if (err) {
        tcp_fail(t, EPROTO);
    } else if (f->ended(t->filter_ctx)) {
        tcp_read_end(t);
    }
    return err;
}

bool tcp_filter_read(struct tcp *t, uint8_t *to, size_t room, size_t *n)
{
    uint8_t wire[WIRE_MAX];
    int err = OK;
    *n = 0;
    for (int i = 0; i < ROUNDS && !t->eof && !err && *n == 0; i++) {
        size_t got;
        if (!tcp_read_raw(t, wire, sizeof wire, &got)) {
            return false;
        }
        if (got == 0) {
            /* The socket's end is not the filter's: somebody may have cut the stream. */
            tcp_fail(t, ECONNRESET);
            return false;
        }
        struct wr plain = wr_over(to, room);
        err = digest(t, slice_of(wire, got), &plain);
        *n = plain.len;
    }
    return *n > 0;
}

void tcp_set_filter(struct tcp *t, const struct tcp_filter *f, void *ctx, struct slice first)
{
    uint8_t none[1];
    struct wr plain = wr_over(none, 0);
    t->filter = f;
    t->filter_ctx = ctx;
    (void)digest(t, first, &plain); /* has failed `t` */
    tcp_watch(t);
}
