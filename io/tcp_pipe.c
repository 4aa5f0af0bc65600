/* Two streams joined. A direction holds at most one read's worth of bytes, in its source's
 * hold buffer: the source is not read again before the other side has taken them. */
#include <stdlib.h>

#include "io/tcp_impl.h"

struct tcp_pipe {
    struct tcp *a, *b;
    struct tcp *broken; /* the side that failed first */
    struct tcp_pipe_count count;
    struct loop_task later;
    bool over;
    void (*done)(struct tcp_pipe *p, void *ctx);
    void *ctx;
};

static bool can_read(const struct tcp *from, const struct tcp *to)
{
    /* Its own queue grows by what its filter answers. */
    return !from->eof && from->in_len == 0 && from->out_len < TCP_OUT_HIGH &&
           to->out_len == 0 && !to->connecting && !from->connecting;
}

int tcp_pipe_wants(const struct tcp_pipe *p, const struct tcp *t)
{
    const struct tcp *other = t == p->a ? p->b : p->a;
    if (p->broken) {
        return LOOP_WRITE; /* asked of the other side only: see drain */
    }
    bool writes = t->out_len > 0 || other->in_len > 0;
    return (can_read(t, other) ? LOOP_READ : 0) | (writes ? LOOP_WRITE : 0);
}

static void pass(struct tcp *from, struct tcp *to, uint64_t *count)
{
    if (from->connecting || to->connecting || from->failed || to->failed) {
        return;
    }
    tcp_flush(to);
    struct slice all = slice_of(from->in, from->in_len);
    bool fresh = can_read(from, to) && tcp_read_once(from, &all);
    if (to->out_len > 0 || to->failed) {
        return;
    }
    if (all.len > 0) {
        size_t sent;
        tcp_send_now(to, all, slice_of(NULL, 0), &sent);
        *count += sent;
        if (fresh || sent > 0) {
            tcp_keep(from, all, sent);
        }
    }
    if (from->eof && from->in_len == 0) {
        tcp_shutdown(to);
    }
}

static void bury(void *ctx)
{
    free(ctx);
}

static void end(struct tcp_pipe *p)
{
    p->over = true;
    loop_task_disarm(&p->later);
    p->later.fn = bury;
    loop_task_arm(p->a->loop, &p->later);
}

static void finish(struct tcp_pipe *p)
{
    end(p);
    tcp_close(p->a);
    tcp_close(p->b);
    p->done(p, p->ctx);
}

/* A FIN, and no reset: the last bytes may be under way still. */
static void finish_after(struct tcp_pipe *p, struct tcp *from, struct tcp *to)
{
    end(p);
    to->pipe = NULL;
    tcp_close_when_sent(to);
    tcp_close(from);
    p->done(p, p->ctx);
}

/* A side that broke may have said much before, which waits in the kernel while the other reads
 * slowly: a part of it at a time, until that is out or the other breaks as well. */
static void drain(struct tcp_pipe *p)
{
    bool is_a = p->broken == p->a;
    struct tcp *from = p->broken, *to = is_a ? p->b : p->a;
    uint64_t *count = is_a ? &p->count.a_to_b : &p->count.b_to_a;
    struct slice all = slice_of(from->in, from->in_len);
    if (to->connecting && !to->failed) {
        return;
    }
    tcp_flush(to);
    if (to->out_len > 0 && !to->failed) {
        return;
    }
    if (to->failed || (all.len == 0 && !tcp_read_once(from, &all))) {
        finish_after(p, from, to);
        return;
    }
    size_t sent;
    tcp_send_now(to, all, slice_of(NULL, 0), &sent);
    *count += sent;
    tcp_keep(from, all, sent);
}

void tcp_pipe_event(struct tcp_pipe *p)
{
    if (p->over) {
        return;
    }
    if (!p->broken) {
        pass(p->a, p->b, &p->count.a_to_b);
        pass(p->b, p->a, &p->count.b_to_a);
        p->broken = p->a->failed ? p->a : p->b->failed ? p->b : NULL;
    }
    if (p->broken) {
        drain(p);
    } else if (p->a->eof && p->b->eof && p->a->fin && p->b->fin) {
        finish(p);
    }
    if (!p->over) {
        tcp_watch(p->a);
        tcp_watch(p->b);
    }
}

static void begin(void *ctx)
{
    tcp_pipe_event(ctx);
}

int tcp_pipe_new(struct tcp_pipe **out, struct tcp *a, struct tcp *b,
                 void (*done)(struct tcp_pipe *p, void *ctx), void *ctx)
{
    *out = NULL;
    if (a == b || a->dead || b->dead || a->pipe || b->pipe || a->want_fin || b->want_fin) {
        return ERR_BADSTATE;
    }
    struct tcp_pipe *p = calloc(1, sizeof *p);
    *out = p;
    if (!p) {
        return ERR_NOMEM;
    }
    *p = (struct tcp_pipe){.a = a, .b = b, .done = done, .ctx = ctx};
    p->later = (struct loop_task){.fn = begin, .ctx = p};
    a->pipe = b->pipe = p;
    tcp_watch(a);
    tcp_watch(b);
    loop_task_arm(a->loop, &p->later);
    return OK;
}

struct tcp_pipe_count tcp_pipe_count(const struct tcp_pipe *p)
{
    return p->count;
}

void tcp_pipe_close(struct tcp_pipe *p)
{
    if (p->over) {
        return;
    }
    end(p);
    tcp_close(p->a);
    tcp_close(p->b);
}
