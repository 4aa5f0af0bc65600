/* TCP streams on non-blocking sockets. */
#include "io/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/sock.h"
#include "io/tcp_impl.h"

enum {
    LINGER_MS = 5000,
    KEEP_IDLE_S = 60,
    KEEP_PROBE_S = 15,
    KEEP_PROBES = 4,
    OUT_FIRST = 4096
};

static void bury(void *ctx)
{
    struct tcp *t = ctx;
    if (t->filter) {
        t->filter->free(t->filter_ctx);
    }
    free(t->in);
    free(t->out);
    free(t);
}

/* The socket goes now; the memory stays until no caller above us can hold it. */
static void let_go(struct tcp *t)
{
    t->dead = true;
    loop_timer_free(t->timer);
    t->timer = NULL;
    loop_fd_free(t->ready);
    t->ready = NULL;
    if (t->fd >= 0) {
        (void)close(t->fd);
        t->fd = -1;
    }
    loop_task_disarm(&t->at_end);
    loop_task_disarm(&t->later);
    t->later.fn = bury;
    loop_task_arm(t->loop, &t->later);
}

void tcp_watch(struct tcp *t)
{
    if (t->dead) {
        return;
    }
    int want = 0;
    if (t->failed) {
        want = 0;
    } else if (t->connecting) {
        want = LOOP_WRITE;
    } else if (t->pipe) {
        want = tcp_pipe_wants(t->pipe, t);
    } else {
        bool reads = t->lingers ? t->fin : t->started && !t->paused && t->in_len < TCP_IN_MAX;
        /* A filter may answer what it reads: not without end to one who takes no answers. */
        reads = reads && !(t->filter && t->full);
        want = (reads && !t->eof ? LOOP_READ : 0) | (t->out_len > 0 ? LOOP_WRITE : 0);
    }
    loop_fd_want(t->ready, want);
}

static void call_later(struct tcp *t)
{
    if (!t->dead) {
        loop_task_arm(t->loop, &t->later);
    }
}

void tcp_fail(struct tcp *t, int sys_errno)
{
    if (!t->failed && !t->dead) {
        t->failed = true;
        t->sys_errno = sys_errno;
        call_later(t);
    }
}

void tcp_send_raw(struct tcp *t, struct slice head, struct slice body, size_t *sent)
{
    struct iovec iov[2] = {
        {.iov_base = (void *)(uintptr_t)head.p, .iov_len = head.len},
        {.iov_base = (void *)(uintptr_t)body.p, .iov_len = body.len}
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    *sent = 0;
    ssize_t n;
    do {
        n = sendmsg(t->fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *sent = (size_t)n;
    } else if (errno != EAGAIN) {
        tcp_fail(t, errno);
    }
}

void tcp_send_now(struct tcp *t, struct slice head, struct slice body, size_t *sent)
{
    if (t->filter) {
        tcp_filter_send(t, head, body, sent);
    } else {
        tcp_send_raw(t, head, body, sent);
    }
}

static void send_fin(struct tcp *t)
{
    if (t->want_fin && !t->fin && t->out_len == 0 && !t->connecting && !t->failed) {
        t->fin = true;
        (void)shutdown(t->fd, SHUT_WR);
        if (t->eof) {
            call_later(t);
        }
    }
}

void tcp_flush(struct tcp *t)
{
    while (t->out_len > 0 && !t->failed) {
        size_t sent;
        tcp_send_raw(t, slice_of(t->out + t->out_at, t->out_len), slice_of(NULL, 0), &sent);
        t->out_at += sent;
        t->out_len -= sent;
        if (sent == 0) {
            break;
        }
    }
    if (t->out_len == 0) {
        free(t->out);
        t->out = NULL;
        t->out_at = t->out_cap = 0;
    }
    send_fin(t);
}

/* Room for `n` more bytes at the end of the queue. */
static bool queue_room(struct tcp *t, size_t n)
{
    if (t->out_at > 0 && t->out_at + t->out_len + n > t->out_cap) {
        memmove(t->out, t->out + t->out_at, t->out_len);
        t->out_at = 0;
    }
    size_t cap = t->out_cap ? t->out_cap : OUT_FIRST;
    while (cap < t->out_len + n) {
        cap *= 2;
    }
    if (cap == t->out_cap) {
        return true;
    }
    uint8_t *bigger = realloc(t->out, cap);
    if (bigger) {
        t->out = bigger;
        t->out_cap = cap;
    }
    return bigger != NULL;
}

static void queue_put(struct tcp *t, struct slice s)
{
    if (s.len > 0) {
        memcpy(t->out + t->out_at + t->out_len, s.p, s.len);
        t->out_len += s.len;
    }
}

int tcp_queue(struct tcp *t, struct slice head, struct slice body)
{
    if (head.len + body.len == 0) {
        return OK;
    }
    if (!queue_room(t, head.len + body.len)) {
        tcp_fail(t, ENOMEM);
        return ERR_NOMEM;
    }
    queue_put(t, head);
    queue_put(t, body);
    t->full = t->full || t->out_len >= TCP_OUT_HIGH;
    tcp_watch(t);
    return OK;
}

int tcp_write(struct tcp *t, struct slice head, struct slice body)
{
    if (t->want_fin || t->dead) {
        return ERR_BADSTATE;
    }
    if (head.len > TCP_OUT_MAX || body.len > TCP_OUT_MAX - head.len ||
        t->out_len > TCP_OUT_MAX - head.len - body.len) {
        return ERR_LIMIT;
    }
    size_t sent = 0;
    bool is_free = t->filter || (t->out_len == 0 && !t->connecting);
    if (is_free && !t->failed && head.len + body.len > 0) {
        tcp_send_now(t, head, body, &sent);
    }
    if (t->failed) {
        return OK;
    }
    body = slice_from(body, sent > head.len ? sent - head.len : 0);
    return tcp_queue(t, slice_from(head, sent), body);
}

bool tcp_is_full(const struct tcp *t)
{
    return t->full;
}

void tcp_give_up_after(struct tcp *t, uint32_t ms)
{
    if (!t->dead) {
        sock_option(t->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
    }
}

void tcp_pause(struct tcp *t)
{
    t->paused = true;
    tcp_watch(t);
}

void tcp_resume(struct tcp *t)
{
    t->paused = false;
    /* Inside `data` what will be held is not known yet: look when it is. */
    t->give_again = true;
    call_later(t);
    tcp_watch(t);
}

void tcp_shutdown(struct tcp *t)
{
    if (t->dead) {
        return;
    }
    if (t->filter && !t->want_fin) {
        tcp_filter_fin(t);
    }
    t->want_fin = true;
    send_fin(t);
}

void tcp_close(struct tcp *t)
{
    if (!t->dead) {
        let_go(t);
    }
}

static void linger_over(void *ctx)
{
    tcp_close(ctx);
}

void tcp_close_when_sent(struct tcp *t)
{
    if (t->dead || t->lingers) {
        return;
    }
    t->lingers = t->started = true;
    t->paused = false;
    t->ev = (struct tcp_events){0};
    loop_timer_free(t->timer);
    if (t->failed || loop_timer_new(&t->timer, t->loop, linger_over, t)) {
        t->timer = NULL;
        let_go(t);
        return;
    }
    loop_timer_at(t->timer, loop_now_ms(t->loop) + LINGER_MS);
    loop_task_at_end(t->loop, &t->at_end);
    /* Not closed at once after the last byte: what the peer still sends would be answered with
     * a reset, and that can overtake our last bytes. So FIN, then read until its FIN. */
    tcp_shutdown(t);
    if (t->eof) {
        call_later(t);
    }
    tcp_watch(t);
}

struct addr tcp_local(const struct tcp *t)
{
    return sock_local(t->fd);
}

struct addr tcp_peer(const struct tcp *t)
{
    return t->peer;
}

bool tcp_read_raw(struct tcp *t, uint8_t *to, size_t room, size_t *n)
{
    ssize_t got;
    room = t->read_max && t->read_max < room ? t->read_max : room;
    do {
        got = read(t->fd, to, room);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno != EAGAIN) {
        tcp_fail(t, errno);
    }
    *n = got > 0 ? (size_t)got : 0;
    return got >= 0;
}

void tcp_read_end(struct tcp *t)
{
    t->eof = true;
    call_later(t); /* for who got bytes in the same go */
}

bool tcp_read_once(struct tcp *t, struct slice *all)
{
    uint8_t *to = t->in_len ? t->in + t->in_len : t->loop->scratch;
    size_t room = t->in_len ? TCP_IN_MAX - t->in_len : LOOP_SCRATCH, n = 0;
    if (room == 0) {
        return false;
    }
    if (t->filter) {
        room = t->in_len ? TCP_IN_CAP - t->in_len : LOOP_SCRATCH;
    }
    bool got = t->filter ? tcp_filter_read(t, to, room, &n) : tcp_read_raw(t, to, room, &n);
    if (!got) {
        return false;
    }
    t->eof = t->eof || n == 0;
    *all = slice_of(t->in_len ? t->in : to, t->in_len + n);
    t->in_len += t->in_len ? n : 0;
    return n > 0;
}

void tcp_keep(struct tcp *t, struct slice all, size_t taken)
{
    assert(taken <= all.len);
    size_t left = all.len - taken;
    if (left > 0 && !t->in) {
        t->in = malloc(TCP_IN_CAP);
        if (!t->in) {
            tcp_fail(t, ENOMEM);
            return;
        }
    }
    if (left > 0) {
        memmove(t->in, all.p + taken, left);
    } else {
        free(t->in);
        t->in = NULL;
    }
    t->in_len = left;
}

static void give(struct tcp *t, struct slice all)
{
    size_t taken = t->lingers || !t->ev.data ? all.len : t->ev.data(t, all, t->ctx);
    if (!t->dead) {
        tcp_keep(t, all, taken);
    }
}

/* The peer's FIN: `ended` comes once all bytes were taken, or one offer was not touched (half
 * a message, say). A paused reader is waited for. */
static void settle_end(struct tcp *t)
{
    size_t before = t->in_len;
    if (t->paused || t->said_end) {
        return;
    }
    if (before > 0) {
        give(t, slice_of(t->in, t->in_len));
    }
    if (t->dead || t->pipe || t->failed) {
        return;
    }
    if (t->in_len > 0 && (t->in_len < before || t->paused)) {
        call_later(t);
        return;
    }
    t->said_end = true;
    if (t->fin) {
        call_later(t);
    }
    if (t->ev.ended) {
        t->ev.ended(t, t->ctx);
    }
}

static void read_some(struct tcp *t)
{
    struct slice all;
    if (t->lingers && t->in_len > 0) {
        tcp_keep(t, slice_of(t->in, t->in_len), t->in_len);
    }
    if (tcp_read_once(t, &all)) {
        give(t, all);
        return;
    }
    if (t->eof) {
        settle_end(t);
    }
}

static void write_some(struct tcp *t)
{
    tcp_flush(t);
    if (t->full && t->out_len <= TCP_OUT_LOW && !t->failed) {
        t->full = false;
        if (t->ev.drained) {
            t->ev.drained(t, t->ctx);
        }
    }
}

bool tcp_connect_ended(struct tcp *t)
{
    int e = 0;
    socklen_t len = sizeof e;
    (void)getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &e, &len);
    t->connecting = false;
    if (!t->lingers) {
        loop_timer_free(t->timer);
        t->timer = NULL;
    }
    if (e) {
        tcp_fail(t, e);
        return false;
    }
    return true;
}

static void ready(int events, void *ctx)
{
    struct tcp *t = ctx;
    if (t->failed || t->dead) {
        return;
    }
    if (t->connecting) {
        if (tcp_connect_ended(t) && !t->pipe && t->ev.connected) {
            t->ev.connected(t, t->ctx);
        }
        events = LOOP_WRITE;
    }
    if (t->pipe) {
        t->is_readable |= (events & LOOP_READ) != 0;
        tcp_pipe_event(t->pipe);
        return;
    }
    if (events & LOOP_WRITE && !t->dead && !t->failed) {
        write_some(t);
    }
    if (events & LOOP_READ && !t->dead && !t->failed && !t->pipe && !t->paused) {
        read_some(t);
    }
    tcp_watch(t);
}

/* What could not be said inside the call that caused it. */
static void speak(void *ctx)
{
    struct tcp *t = ctx;
    bool over = t->failed || (t->fin && t->said_end);
    if (t->pipe) {
        tcp_pipe_event(t->pipe);
        return;
    }
    if (over) {
        let_go(t);
        if (t->ev.closed) {
            t->ev.closed(t, t->failed ? t->sys_errno : 0, t->ctx);
        }
        return;
    }
    if (t->eof && t->started) {
        settle_end(t);
        tcp_watch(t);
        return;
    }
    bool again = t->give_again && !t->paused;
    t->give_again = t->give_again && !again;
    if (again && t->in_len > 0) {
        give(t, slice_of(t->in, t->in_len));
    }
    tcp_watch(t);
}

int tcp_wrap(struct tcp **out, struct loop *l, int fd, const struct addr *peer)
{
    struct tcp *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    *t = (struct tcp){
        .loop = l, .fd = fd, .peer = *peer, .later = {.fn = speak, .ctx = t}
    };
    t->at_end = (struct loop_task){.fn = linger_over, .ctx = t};
    int err = loop_fd_new(&t->ready, l, fd, ready, t);
    if (err) {
        (void)close(fd);
        free(t);
        return err;
    }
    sock_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* One that vanished without a FIN (power, a NAT's timeout) fails after two minutes. */
    sock_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    sock_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    sock_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_PROBE_S);
    sock_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES);
    *out = t;
    return OK;
}

static void connect_timeout(void *ctx)
{
    struct tcp *t = ctx;
    tcp_fail(t, ETIMEDOUT);
    tcp_watch(t);
}

int tcp_connect(struct tcp **out, struct loop *l, const struct addr *to,
                const struct tcp_options *opt, const struct tcp_events *ev, void *ctx)
{
    static const struct tcp_options none;
    union sock_addr sa;
    socklen_t len = sock_from_addr(&sa, to);
    int fd;
    opt = opt ? opt : &none;
    *out = NULL;
    int err = sock_new(&fd, to->family, SOCK_STREAM, opt->local, opt->share_port);
    err = err ? err : tcp_wrap(out, l, fd, to);
    if (err) {
        return err;
    }
    struct tcp *t = *out;
    t->connecting = true;
    tcp_start(t, ev, ctx);
    if (connect(fd, &sa.sa, len) && errno != EINPROGRESS) {
        tcp_fail(t, errno);
    }
    if (opt->timeout_ms && !t->failed) {
        if (loop_timer_new(&t->timer, l, connect_timeout, t)) {
            let_go(t);
            *out = NULL;
            return ERR_NOMEM;
        }
        loop_timer_at(t->timer, loop_now_ms(l) + opt->timeout_ms);
    }
    tcp_watch(t);
    return OK;
}

void tcp_start(struct tcp *t, const struct tcp_events *ev, void *ctx)
{
    t->ev = *ev;
    t->ctx = ctx;
    t->started = true;
    t->give_again = true;
    call_later(t);
    tcp_watch(t);
}
