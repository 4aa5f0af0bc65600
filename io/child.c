/* Child processes on the loop. */
#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LINE_CAP = 8192, /* a longer line comes in pieces */
    FDS_MAX = 16,
    FIRST_FD = 3
};

struct child;

struct stream {
    struct child *child;
    bool is_stderr;
    int fd;
    struct loop_fd *ready;
    size_t len;
    uint8_t buf[LINE_CAP];
};

struct child {
    struct loop *loop;
    struct child_spec spec; /* argv, env and fds are not looked at after the start */
    pid_t pid;
    int pidfd;
    struct loop_fd *ready;
    struct loop_timer *grace;
    struct stream out[2];
    bool reaped;
};

/* What the child needs between fork and exec; nothing in there may allocate or lock. */
struct launch {
    const struct child_spec *spec;
    pid_t parent;
    int out[2]; /* write ends for stdout and stderr, or -1 */
    int report; /* errno goes here when exec does not happen */
};

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static bool place_fds(struct launch *a)
{
    int moved[FDS_MAX];
    int n = (int)a->spec->n_fds, above = FIRST_FD + n;
    /* All out of the way first, so that none is overwritten before it was copied. */
    for (int i = 0; i < n; i++) {
        moved[i] = fcntl(a->spec->fds[i], F_DUPFD_CLOEXEC, above);
        if (moved[i] < 0) {
            return false;
        }
    }
    a->report = fcntl(a->report, F_DUPFD_CLOEXEC, above);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        if (a->out[i] >= 0 && dup2(a->out[i], 1 + i) < 0) {
            return false;
        }
    }
    for (int i = 0; i < n; i++) {
        if (dup2(moved[i], FIRST_FD + i) < 0) {
            return false;
        }
    }
    return close_range((unsigned)above, ~0u, CLOSE_RANGE_CLOEXEC) == 0;
}

static bool reset_signals(void)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int i = 1; i < NSIG; i++) {
        (void)sigaction(i, &usual, NULL); /* fails for SIGKILL and its like */
    }
    (void)sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

static _Noreturn void be_child(struct launch *a)
{
    const struct child_spec *s = a->spec;
    char *const *argv = (char *const *)(uintptr_t)s->argv;
    char *const *env = s->env ? (char *const *)(uintptr_t)s->env : environ;
    bool ok = prctl(PR_SET_PDEATHSIG, SIGTERM) == 0;
    if (getppid() != a->parent) {
        _exit(127); /* it died before we asked to be told */
    }
    ok = ok && (s->netns_fd < 0 || setns(s->netns_fd, CLONE_NEWNET) == 0);
    ok = ok && place_fds(a) && (!s->dir || chdir(s->dir) == 0) && reset_signals();
    if (ok) {
        (void)execve(argv[0], argv, env);
    }
    int e = errno;
    ssize_t n = write(a->report, &e, sizeof e);
    _exit(n < 0 ? 126 : 127);
}

/* fork; in the parent waits until exec has happened or failed. */
static int launch(struct launch *a, pid_t *pid)
{
    int report[2], e = 0;
    sigset_t all, old;
    if (pipe2(report, O_CLOEXEC)) {
        return ERR_SYSTEM;
    }
    a->parent = getpid();
    a->report = report[1];
    /* libuv's signal handlers must not run in the child: they would wake the parent. */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &old);
    *pid = fork();
    if (*pid == 0) {
        be_child(a);
    }
    int fork_errno = errno;
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    (void)close(report[1]);
    ssize_t n = 0;
    if (*pid > 0) {
        do {
            n = read(report[0], &e, sizeof e);
        } while (n < 0 && errno == EINTR);
    }
    (void)close(report[0]);
    if (*pid > 0 && n == sizeof e) {
        (void)waitpid(*pid, NULL, 0);
    }
    errno = *pid < 0 ? fork_errno : e;
    return *pid < 0 || n == sizeof e ? ERR_SYSTEM : OK;
}

static void give_line(struct stream *s, size_t len)
{
    s->child->spec.line(s->child, s->is_stderr, slice_of(s->buf, len), s->child->spec.ctx);
}

static void split_lines(struct stream *s)
{
    const uint8_t *end;
    while ((end = memchr(s->buf, '\n', s->len)) != NULL) {
        size_t len = (size_t)(end - s->buf);
        give_line(s, len);
        s->len -= len + 1;
        memmove(s->buf, end + 1, s->len);
    }
    if (s->len == sizeof s->buf) {
        give_line(s, s->len);
        s->len = 0;
    }
}

/* False when there is nothing more, for now or for good. */
static bool read_stream(struct stream *s)
{
    ssize_t n = read(s->fd, s->buf + s->len, sizeof s->buf - s->len);
    if (n < 0 && errno == EINTR) {
        return true;
    }
    if (n <= 0) {
        if (n == 0) {
            loop_fd_want(s->ready, 0);
        }
        return false;
    }
    s->len += (size_t)n;
    split_lines(s);
    return true;
}

static void stream_ready(int events, void *ctx)
{
    (void)events;
    (void)read_stream(ctx);
}

static void stream_end(struct stream *s)
{
    if (s->fd < 0) {
        return;
    }
    while (s->child->reaped && read_stream(s)) {
    }
    if (s->len > 0 && s->child->reaped) {
        give_line(s, s->len);
    }
    loop_fd_free(s->ready);
    close_fd(&s->fd);
}

static void free_child(struct child *c)
{
    stream_end(&c->out[0]);
    stream_end(&c->out[1]);
    loop_timer_free(c->grace);
    loop_fd_free(c->ready);
    close_fd(&c->pidfd);
}

static void exited(int events, void *ctx)
{
    struct child *c = ctx;
    int status = 0;
    (void)events;
    if (waitpid(c->pid, &status, WNOHANG) == 0) {
        return;
    }
    c->reaped = true;
    free_child(c);
    if (c->spec.exited) {
        c->spec.exited(c, status, c->spec.ctx);
    }
    free(c);
}

static void grace_over(void *ctx)
{
    child_kill(ctx, SIGKILL);
}

/* The parent's side: streams, pidfd, timer. */
static int attach(struct child *c)
{
    int err = OK;
    c->pidfd = pidfd_open(c->pid, 0);
    if (c->pidfd < 0) {
        return ERR_SYSTEM;
    }
    for (int i = 0; i < 2 && !err && c->out[i].fd >= 0; i++) {
        err = loop_fd_new(&c->out[i].ready, c->loop, c->out[i].fd, stream_ready, &c->out[i]);
        if (!err) {
            loop_fd_want(c->out[i].ready, LOOP_READ);
        }
    }
    err = err ? err : loop_timer_new(&c->grace, c->loop, grace_over, c);
    err = err ? err : loop_fd_new(&c->ready, c->loop, c->pidfd, exited, c);
    if (!err) {
        loop_fd_want(c->ready, LOOP_READ);
    }
    return err;
}

static int make_pipes(struct child *c, struct launch *a)
{
    for (int i = 0; i < 2 && c->spec.line; i++) {
        int fd[2];
        if (pipe2(fd, O_CLOEXEC)) {
            return ERR_SYSTEM;
        }
        c->out[i].fd = fd[0];
        a->out[i] = fd[1];
        (void)fcntl(fd[0], F_SETFL, O_NONBLOCK);
    }
    return OK;
}

int child_start(struct child **out, struct loop *l, const struct child_spec *spec)
{
    struct child *c = calloc(1, sizeof *c);
    struct launch a = {
        .spec = spec, .out = {-1, -1}
    };
    *out = NULL;
    if (!c) {
        return ERR_NOMEM;
    }
    c->loop = l;
    c->spec = *spec;
    c->pidfd = -1;
    for (int i = 0; i < 2; i++) {
        c->out[i].child = c;
        c->out[i].is_stderr = i == 1;
        c->out[i].fd = -1;
    }
    int err = spec->n_fds > FDS_MAX ? ERR_LIMIT : make_pipes(c, &a);
    err = err ? err : launch(&a, &c->pid);
    if (!err) {
        err = attach(c);
        if (err) { /* started, but we cannot follow it */
            (void)kill(c->pid, SIGKILL);
            (void)waitpid(c->pid, NULL, 0);
        }
    }
    int saved = errno;
    close_fd(&a.out[0]);
    close_fd(&a.out[1]);
    if (err) {
        free_child(c);
        free(c);
        errno = saved;
        return err;
    }
    *out = c;
    return OK;
}

int child_pid(const struct child *c)
{
    return (int)c->pid;
}

void child_kill(struct child *c, int signo)
{
    if (!c->reaped) {
        (void)pidfd_send_signal(c->pidfd, signo, NULL, 0);
    }
}

void child_stop(struct child *c, uint32_t grace_ms)
{
    child_kill(c, SIGTERM);
    if (!c->reaped) {
        loop_timer_at(c->grace, loop_now_ms(c->loop) + grace_ms);
    }
}
