/* A Unix socket for the operator. */
#include "io/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 64,
    ASK_WAIT_S = 30 /* a client gives up on a server that says nothing */
};

struct ctl_conn {
    struct ctl *ctl;
    struct ctl_conn *next, **at;
    int fd;
    struct loop_fd *ready;
    struct ctl_peer who;
    uint8_t in[CTL_LINE_MAX];
    size_t n_in;
    uint8_t *out; /* made when the first answer comes */
    size_t out_at, out_len;
    bool broken; /* an answer did not fit */
};

struct ctl {
    struct loop *loop;
    struct ctl_config cfg;
    struct sockaddr_un at;
    int fd;
    struct loop_fd *ready;
    struct ctl_conn *conns;
    size_t n_conns;
};

static void conn_free(struct ctl_conn *c)
{
    loop_fd_free(c->ready);
    (void)close(c->fd);
    *c->at = c->next;
    if (c->next) {
        c->next->at = c->at;
    }
    c->ctl->n_conns--;
    free(c->out);
    free(c);
}

void ctl_write(struct ctl_conn *c, struct slice text)
{
    if (!c->out) {
        c->out = malloc(CTL_OUT_MAX);
    }
    if (!c->out || text.len > CTL_OUT_MAX - c->out_len) {
        c->broken = true;
        return;
    }
    memcpy(c->out + c->out_len, text.p, text.len);
    c->out_len += text.len;
}

/* False: the connection is no good any more. */
static bool flush(struct ctl_conn *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    return true;
}

/* Line by line, as long as the answers are being read. False: no end within CTL_LINE_MAX. */
static bool take_lines(struct ctl_conn *c)
{
    while (c->out_len == 0 && !c->broken) {
        const uint8_t *end = memchr(c->in, '\n', c->n_in);
        if (!end) {
            return c->n_in < sizeof c->in;
        }
        size_t len = (size_t)(end - c->in);
        c->ctl->cfg.line(c, &c->who, slice_of(c->in, len), c->ctl->cfg.ctx);
        c->n_in -= len + 1;
        memmove(c->in, end + 1, c->n_in);
        if (!flush(c)) {
            return false;
        }
    }
    return true;
}

static void conn_ready(int events, void *ctx)
{
    struct ctl_conn *c = ctx;
    bool ok = flush(c) && take_lines(c);
    if (ok && events & LOOP_READ && c->out_len == 0 && c->n_in < sizeof c->in) {
        ssize_t n = recv(c->fd, c->in + c->n_in, sizeof c->in - c->n_in, 0);
        ok = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
        c->n_in += n > 0 ? (size_t)n : 0;
        ok = ok && take_lines(c);
    }
    if (!ok || c->broken) {
        conn_free(c);
        return;
    }
    loop_fd_want(c->ready, c->out_len > 0 ? LOOP_WRITE : LOOP_READ);
}

static void conn_new(struct ctl *ctl, int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    struct ctl_conn *c = ctl->n_conns < CTL_CONNS_MAX ? calloc(1, sizeof *c) : NULL;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0;
    if (!c || !known || loop_fd_new(&c->ready, ctl->loop, fd, conn_ready, c)) {
        free(c);
        (void)close(fd);
        return;
    }
    c->ctl = ctl;
    c->fd = fd;
    c->who = (struct ctl_peer){.pid = cred.pid, .uid = cred.uid};
    c->next = ctl->conns;
    c->at = &ctl->conns;
    if (c->next) {
        c->next->at = &c->next;
    }
    ctl->conns = c;
    ctl->n_conns++;
    loop_fd_want(c->ready, LOOP_READ);
}

static void ready(int events, void *ctx)
{
    struct ctl *ctl = ctx;
    (void)events;
    int fd = accept4(ctl->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        conn_new(ctl, fd);
    }
}

static int address_of(const char *path, struct sockaddr_un *out)
{
    size_t len = strlen(path);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len >= sizeof out->sun_path) {
        errno = ENAMETOOLONG;
        return ERR_SYSTEM;
    }
    memcpy(out->sun_path, path, len);
    return OK;
}

static bool is_served(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 ||
                              errno == EAGAIN);
    if (fd >= 0) {
        (void)close(fd);
    }
    return served;
}

/* Only a socket may be in the way: a file under that name is somebody's mistake. */
static int clear_way(const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(at->sun_path, &st)) {
        return errno == ENOENT ? OK : ERR_SYSTEM;
    }
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return ERR_SYSTEM;
    }
    if (is_served(at)) {
        return ERR_BADSTATE;
    }
    return unlink(at->sun_path) ? ERR_SYSTEM : OK;
}

static int bind_at(struct ctl *ctl)
{
    int err = clear_way(&ctl->at);
    if (err) {
        return err;
    }
    /* Nobody may connect between bind and chmod. */
    mode_t before = umask(0177);
    int bad = bind(ctl->fd, (const struct sockaddr *)&ctl->at, sizeof ctl->at);
    (void)umask(before);
    if (bad) {
        return ERR_SYSTEM;
    }
    return chmod(ctl->at.sun_path, ctl->cfg.mode) || listen(ctl->fd, BACKLOG) ? ERR_SYSTEM : OK;
}

int ctl_listen(struct ctl **out, struct loop *l, const struct ctl_config *cfg)
{
    struct sockaddr_un at;
    *out = NULL;
    int err = address_of(cfg->path, &at);
    struct ctl *ctl = err ? NULL : calloc(1, sizeof *ctl);
    if (!ctl) {
        return err ? err : ERR_NOMEM;
    }
    *ctl = (struct ctl){.loop = l, .cfg = *cfg, .at = at};
    ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    err = ctl->fd < 0 ? ERR_SYSTEM : bind_at(ctl);
    err = err ? err : loop_fd_new(&ctl->ready, l, ctl->fd, ready, ctl);
    if (err) {
        int why = errno;
        if (ctl->fd >= 0) {
            (void)close(ctl->fd); /* what stands at the path may be another's */
        }
        free(ctl);
        errno = why;
        return err;
    }
    loop_fd_want(ctl->ready, LOOP_READ);
    *out = ctl;
    return OK;
}

int ctl_give(const struct ctl *c, uid_t uid, gid_t gid)
{
    return lchown(c->at.sun_path, uid, gid) ? ERR_SYSTEM : OK;
}

void ctl_free(struct ctl *ctl)
{
    if (!ctl) {
        return;
    }
    while (ctl->conns) {
        (void)flush(ctl->conns);
        conn_free(ctl->conns);
    }
    loop_fd_free(ctl->ready);
    (void)close(ctl->fd);
    (void)unlink(ctl->at.sun_path);
    free(ctl);
}

static int send_all(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = send(fd, s.p, s.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return ERR_SYSTEM;
        }
        s = slice_from(s, n > 0 ? (size_t)n : 0);
    }
    return OK;
}

static int recv_line(int fd, char *text)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(fd, text + len, CTL_OUT_MAX - len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ECONNRESET : errno;
            return ERR_SYSTEM;
        }
        char *end = memchr(text + len, '\n', (size_t)n);
        len += (size_t)n;
        if (end) {
            *end = '\0';
            return OK;
        }
        if (len == CTL_OUT_MAX) {
            return ERR_LIMIT;
        }
    }
}

int ctl_ask(const char *path, struct slice line, char **answer)
{
    const struct timeval wait = {.tv_sec = ASK_WAIT_S};
    struct sockaddr_un at;
    *answer = NULL;
    int err = address_of(path, &at);
    int fd = err ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ERR_SYSTEM;
    }
    char *text = malloc(CTL_OUT_MAX);
    err = text ? OK : ERR_NOMEM;
    if (!err && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) ||
                 connect(fd, (const struct sockaddr *)&at, sizeof at))) {
        err = ERR_SYSTEM;
    }
    err = err ? err : send_all(fd, line);
    err = err ? err : send_all(fd, slice_str("\n"));
    err = err ? err : recv_line(fd, text);
    int why = errno;
    (void)close(fd);
    if (err) {
        free(text);
        errno = why;
        return err;
    }
    *answer = text;
    return OK;
}
