/* The event loop on libuv. */
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include "io/loop_impl.h"

struct loop_timer {
    uv_timer_t uv;
    void (*fn)(void *ctx);
    void *ctx;
};

struct loop_idle {
    struct loop *loop;
    struct loop_task task;
};

struct loop_signal {
    uv_signal_t uv;
    struct loop_signal *next;
    void (*fn)(int signo, void *ctx);
    void *ctx;
};

struct loop_fd {
    uv_poll_t uv;
    int want;
    void (*fn)(int events, void *ctx);
    void *ctx;
};

/* A libuv error as ERR_*, with errno set for the caller's message. */
static int uv_trouble(int r)
{
    if (r == 0) {
        return OK;
    }
    errno = -r;
    return r == UV_ENOMEM ? ERR_NOMEM : ERR_SYSTEM;
}

static void free_handle(uv_handle_t *h)
{
    free(h->data);
}

static void list_add(struct loop_task *head, struct loop_task *t)
{
    if (t->next) {
        return;
    }
    t->next = head;
    t->prev = head->prev;
    head->prev->next = t;
    head->prev = t;
}

void loop_task_disarm(struct loop_task *t)
{
    if (t->next) {
        t->next->prev = t->prev;
        t->prev->next = t->next;
        t->next = t->prev = NULL;
    }
}

/* Calls what is in the list now; what these calls add waits for the next round. */
static void run_list(struct loop_task *head)
{
    struct loop_task end = {0}, *t;
    list_add(head, &end);
    while ((t = head->next) != &end) {
        loop_task_disarm(t);
        t->fn(t->ctx);
    }
    loop_task_disarm(&end);
}

static void nothing(uv_idle_t *i)
{
    (void)i;
}

static void run_tasks(uv_prepare_t *p)
{
    struct loop *l = p->data;
    run_list(&l->armed);
    if (l->armed.next == &l->armed) {
        (void)uv_prepare_stop(&l->before_wait);
        (void)uv_idle_stop(&l->no_wait);
    } else {
        (void)uv_idle_start(&l->no_wait, nothing);
    }
}

void loop_task_arm(struct loop *l, struct loop_task *t)
{
    list_add(&l->armed, t);
    (void)uv_prepare_start(&l->before_wait, run_tasks);
}

void loop_task_at_end(struct loop *l, struct loop_task *t)
{
    list_add(&l->at_end, t);
}

int loop_new(struct loop **out)
{
    struct loop *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) {
        return ERR_NOMEM;
    }
    int r = uv_loop_init(&l->uv);
    if (r) {
        free(l);
        return uv_trouble(r);
    }
    l->armed.next = l->armed.prev = &l->armed;
    l->at_end.next = l->at_end.prev = &l->at_end;
    (void)uv_prepare_init(&l->uv, &l->before_wait);
    (void)uv_idle_init(&l->uv, &l->no_wait);
    l->before_wait.data = l;
    (void)signal(SIGPIPE, SIG_IGN);
    *out = l;
    return OK;
}

void loop_free(struct loop *l)
{
    if (!l) {
        return;
    }
    run_list(&l->at_end);
    while (l->armed.next != &l->armed) {
        run_list(&l->armed);
    }
    for (struct loop_signal *s = l->signals; s; s = s->next) {
        uv_close((uv_handle_t *)&s->uv, free_handle);
    }
    uv_close((uv_handle_t *)&l->before_wait, NULL);
    uv_close((uv_handle_t *)&l->no_wait, NULL);
    /* A run that was stopped before it began does nothing, hence more than one. */
    int busy = UV_EBUSY;
    for (int i = 0; i < 4 && busy; i++) {
        (void)uv_run(&l->uv, UV_RUN_NOWAIT);
        busy = uv_loop_close(&l->uv);
    }
    assert(!busy && "something made on the loop was not closed");
    free(l->udp);
    free(l);
}

void loop_run(struct loop *l)
{
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

uint64_t loop_now_ms(const struct loop *l)
{
    (void)l;
    return uv_hrtime() / 1000000;
}

uint64_t loop_unix_s(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec;
}

void *loop_uv(struct loop *l)
{
    return &l->uv;
}

void io_random(void *out, size_t len)
{
    uint8_t *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno != EINTR) {
            abort();
        }
        p += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

void io_random_env(void *out, size_t len, void *ctx)
{
    (void)ctx;
    io_random(out, len);
}

uint64_t io_raise_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r)) {
        return 0;
    }
    struct rlimit most = {.rlim_cur = r.rlim_max, .rlim_max = r.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &most) ? r.rlim_cur : r.rlim_max;
}

int loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    *out = t;
    if (!t) {
        return ERR_NOMEM;
    }
    t->fn = fn;
    t->ctx = ctx;
    (void)uv_timer_init(&l->uv, &t->uv);
    t->uv.data = t;
    return OK;
}

static void timer_fired(uv_timer_t *h)
{
    struct loop_timer *t = h->data;
    t->fn(t->ctx);
}

void loop_timer_at(struct loop_timer *t, uint64_t at_ms)
{
    if (at_ms == UINT64_MAX) {
        (void)uv_timer_stop(&t->uv);
        return;
    }
    /* From libuv's cached time, which may lag behind: so it never fires early. Not 0, or a
     * timer that sets itself to the past would keep the loop from its descriptors. */
    uint64_t now = uv_now(t->uv.loop);
    (void)uv_timer_start(&t->uv, timer_fired, at_ms > now ? at_ms - now : 1, 0);
}

void loop_timer_free(struct loop_timer *t)
{
    if (t) {
        uv_close((uv_handle_t *)&t->uv, free_handle);
    }
}

static void enough(void *ctx)
{
    loop_stop(ctx);
}

void loop_run_at_most(struct loop *l, uint64_t ms)
{
    struct loop_timer *t;
    if (loop_timer_new(&t, l, enough, l) == OK) {
        uv_unref((uv_handle_t *)&t->uv); /* it alone is nothing to wait for */
        loop_timer_at(t, loop_now_ms(l) + ms);
        loop_run(l);
        loop_timer_free(t);
    }
}

int loop_idle_new(struct loop_idle **out, struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct loop_idle *i = calloc(1, sizeof *i);
    *out = i;
    if (!i) {
        return ERR_NOMEM;
    }
    *i = (struct loop_idle){
        .loop = l, .task = {.fn = fn, .ctx = ctx}
    };
    return OK;
}

void loop_idle_arm(struct loop_idle *i)
{
    loop_task_arm(i->loop, &i->task);
}

void loop_idle_free(struct loop_idle *i)
{
    if (i) {
        loop_task_disarm(&i->task);
        free(i);
    }
}

static void signal_came(uv_signal_t *h, int signo)
{
    struct loop_signal *s = h->data;
    s->fn(signo, s->ctx);
}

int loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *ctx), void *ctx)
{
    struct loop_signal *s = calloc(1, sizeof *s);
    if (!s) {
        return ERR_NOMEM;
    }
    int r = uv_signal_init(&l->uv, &s->uv);
    if (r) {
        free(s);
        return uv_trouble(r);
    }
    s->uv.data = s;
    s->fn = fn;
    s->ctx = ctx;
    s->next = l->signals;
    l->signals = s;
    r = uv_signal_start(&s->uv, signal_came, signo);
    uv_unref((uv_handle_t *)&s->uv);
    return uv_trouble(r);
}

int loop_fd_new(struct loop_fd **out, struct loop *l, int fd, void (*fn)(int events, void *ctx),
                void *ctx)
{
    struct loop_fd *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f) {
        return ERR_NOMEM;
    }
    int r = uv_poll_init(&l->uv, &f->uv, fd);
    if (r) {
        free(f);
        return uv_trouble(r);
    }
    f->uv.data = f;
    f->fn = fn;
    f->ctx = ctx;
    *out = f;
    return OK;
}

static void fd_ready(uv_poll_t *h, int status, int events);

static void fd_watch(struct loop_fd *f)
{
    int uv = (f->want & LOOP_READ ? UV_READABLE : 0) | (f->want & LOOP_WRITE ? UV_WRITABLE : 0);
    (void)(uv ? uv_poll_start(&f->uv, uv, fd_ready) : uv_poll_stop(&f->uv));
}

static void fd_ready(uv_poll_t *h, int status, int events)
{
    struct loop_fd *f = h->data;
    /* POLLERR: libuv has stopped watching. Whoever reads or writes now learns the reason. */
    int got = status < 0 ? f->want | LOOP_ERROR
                         : (events & UV_READABLE ? LOOP_READ : 0) |
                               (events & UV_WRITABLE ? LOOP_WRITE : 0);
    f->fn(got, f->ctx);
    if (status < 0 && !uv_is_closing((uv_handle_t *)h)) {
        fd_watch(f);
    }
}

void loop_fd_want(struct loop_fd *f, int events)
{
    if (f->want != events) {
        f->want = events;
        fd_watch(f);
    }
}

void loop_fd_free(struct loop_fd *f)
{
    if (f) {
        uv_close((uv_handle_t *)&f->uv, free_handle);
    }
}
