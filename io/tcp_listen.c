/* Listening sockets. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/sock.h"
#include "io/tcp_impl.h"

enum {
    ACCEPT_BATCH = 32, /* at most, before others get their turn */
    ACCEPT_PAUSE_MS = 100,
    BACKLOG = 1024
};

struct tcp_listener {
    struct loop *loop;
    int fd;
    struct loop_fd *ready;
    struct loop_timer *pause;
    struct loop_task later;
    bool dead;
    void (*accepted)(struct tcp *t, const struct addr *peer, void *ctx);
    void *ctx;
};

static void go_on(void *ctx)
{
    struct tcp_listener *s = ctx;
    loop_fd_want(s->ready, LOOP_READ);
}

/* Waiting connections keep the socket readable: without a pause we would spin. */
static void take_a_break(struct tcp_listener *s)
{
    loop_fd_want(s->ready, 0);
    loop_timer_at(s->pause, loop_now_ms(s->loop) + ACCEPT_PAUSE_MS);
}

static void ready(int events, void *ctx)
{
    struct tcp_listener *s = ctx;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH && !s->dead; i++) {
        union sock_addr sa = {.any = {0}};
        socklen_t len = sizeof sa;
        int fd = accept4(s->fd, &sa.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) {
            continue;
        }
        if (fd < 0) {
            if (errno != EAGAIN) {
                take_a_break(s);
            }
            return;
        }
        struct addr peer = sock_to_addr(&sa);
        struct tcp *t;
        if (tcp_wrap(&t, s->loop, fd, &peer)) {
            take_a_break(s);
            return;
        }
        s->accepted(t, &peer, s->ctx);
    }
}

static void bury(void *ctx)
{
    free(ctx);
}

int tcp_listen(struct tcp_listener **out, struct loop *l, const struct addr *at,
               const struct tcp_options *opt,
               void (*accepted)(struct tcp *t, const struct addr *peer, void *ctx), void *ctx)
{
    struct tcp_listener *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return ERR_NOMEM;
    }
    *s = (struct tcp_listener){
        .loop = l, .fd = -1, .accepted = accepted, .ctx = ctx, .later = {.fn = bury, .ctx = s}
    };
    bool is_open = opt && opt->fd > 0;
    s->fd = is_open ? opt->fd : -1;
    int err =
        is_open ? OK : sock_new(&s->fd, at->family, SOCK_STREAM, at, opt && opt->share_port);
    if (!err && !is_open && listen(s->fd, BACKLOG)) {
        err = ERR_SYSTEM;
    }
    err = err ? err : loop_fd_new(&s->ready, l, s->fd, ready, s);
    err = err ? err : loop_timer_new(&s->pause, l, go_on, s);
    if (err) {
        int saved = errno;
        tcp_listener_free(s);
        errno = saved;
        return err;
    }
    loop_fd_want(s->ready, LOOP_READ);
    *out = s;
    return OK;
}

void tcp_listener_free(struct tcp_listener *s)
{
    if (!s || s->dead) {
        return;
    }
    s->dead = true;
    loop_timer_free(s->pause);
    loop_fd_free(s->ready);
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    loop_task_arm(s->loop, &s->later);
}

struct addr tcp_listener_addr(const struct tcp_listener *s)
{
    return sock_local(s->fd);
}
