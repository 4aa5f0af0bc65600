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
    bool has_begun;              /* what the two held has been counted */
    struct tcp_pipe_limit limit; /* `room` NULL: none */
    struct loop_timer *timer;    /* with a limit */
    uint64_t wait_ms[2];         /* not read before, `a` and `b`; 0: they may be */
    void (*done)(struct tcp_pipe *p, void *ctx);
    void *ctx;
};

static bool can_read(const struct tcp *from, const struct tcp *to)
{
    /* Its own queue grows by what its filter answers. */
    return !from->eof && from->in_len == 0 && from->out_len < TCP_OUT_HIGH &&
           to->out_len == 0 && !to->connecting && !from->connecting;
}

static bool waits(const struct tcp_pipe *p, const struct tcp *from)
{
    return p->wait_ms[from == p->b] != 0;
}

int tcp_pipe_wants(const struct tcp_pipe *p, const struct tcp *t)
{
    const struct tcp *other = t == p->a ? p->b : p->a;
    if (p->broken) {
        /* Asked of the other side only: see drain. */
        return waits(p, p->broken) && other->out_len == 0 && t->out_len == 0 ? 0 : LOOP_WRITE;
    }
    bool writes = t->out_len > 0 || other->in_len > 0;
    return (can_read(t, other) && !waits(p, t) ? LOOP_READ : 0) | (writes ? LOOP_WRITE : 0);
}

static void set_timer(struct tcp_pipe *p)
{
    uint64_t a = p->wait_ms[0] ? p->wait_ms[0] : UINT64_MAX;
    uint64_t b = p->wait_ms[1] ? p->wait_ms[1] : UINT64_MAX;
    loop_timer_at(p->timer, a < b ? a : b);
}

/* One read within the limit. `is_last`: from a stream that broke. The loop says nothing more
 * about it, and all of a TLS record must be read, or it looks like the end. */
static bool read_once(struct tcp_pipe *p, struct tcp *from, struct slice *all, bool is_last)
{
    bool is_a = from == p->a;
    uint64_t again_ms = 0;
    if (!p->limit.room) {
        return tcp_read_once(from, all);
    }
    if (waits(p, from) || (!is_last && !from->is_readable)) {
        return false;
    }
    size_t room = p->limit.room(is_a, &again_ms, p->limit.ctx);
    if (room == 0) {
        p->wait_ms[!is_a] = again_ms;
        set_timer(p);
        return false;
    }
    from->is_readable = false;
    from->read_max = is_last && from->filter ? 0 : room;
    bool fresh = tcp_read_once(from, all);
    if (fresh) {
        p->limit.took(is_a, all->len, p->limit.ctx);
    }
    return fresh;
}

static void pass(struct tcp_pipe *p, struct tcp *from, struct tcp *to, uint64_t *count)
{
    if (from->connecting || to->connecting || from->failed || to->failed) {
        return;
    }
    tcp_flush(to);
    struct slice all = slice_of(from->in, from->in_len);
    bool fresh = can_read(from, to) && read_once(p, from, &all, false);
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
    loop_timer_free(p->timer);
    p->timer = NULL;
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
    bool has = all.len > 0 || to->failed || read_once(p, from, &all, true);
    if (to->failed || (!has && !waits(p, from))) {
        finish_after(p, from, to);
        return;
    }
    if (!has) {
        return;
    }
    size_t sent;
    tcp_send_now(to, all, slice_of(NULL, 0), &sent);
    *count += sent;
    tcp_keep(from, all, sent);
}

/* What they held goes over first, and counts. Not known sooner: a pipe that is made inside
 * `data` gets what that call leaves. */
static void count_held(struct tcp_pipe *p)
{
    for (int i = 0; i < 2 && p->limit.room && !p->has_begun; i++) {
        size_t held = i == 0 ? p->a->in_len : p->b->in_len;
        if (held > 0) {
            p->limit.took(i == 0, held, p->limit.ctx);
        }
    }
    p->has_begun = true;
}

void tcp_pipe_event(struct tcp_pipe *p)
{
    if (p->over) {
        return;
    }
    count_held(p);
    if (!p->broken) {
        pass(p, p->a, p->b, &p->count.a_to_b);
        pass(p, p->b, p->a, &p->count.b_to_a);
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

static void on_timer(void *ctx)
{
    struct tcp_pipe *p = ctx;
    uint64_t now_ms = loop_now_ms(p->a->loop);
    for (size_t i = 0; i < 2; i++) {
        p->wait_ms[i] = p->wait_ms[i] > now_ms ? p->wait_ms[i] : 0;
    }
    set_timer(p);
    tcp_pipe_event(p);
}

int tcp_pipe_set_limit(struct tcp_pipe *p, const struct tcp_pipe_limit *limit)
{
    int err = loop_timer_new(&p->timer, p->a->loop, on_timer, p);
    if (err) {
        p->timer = NULL;
        return err;
    }
    p->limit = *limit;
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
