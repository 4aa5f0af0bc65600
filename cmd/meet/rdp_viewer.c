/* The RDP viewer process of one share, seen from the meeting server. */
#include "cmd/meet/rdp_viewer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/child.h"
#include "io/shm.h"

enum {
    GRACE_MS = 1000,
    LINES_MAX = 100 /* of a process's output in the log: what it says is up to the sharer */
};

struct rdp_viewer {
    struct loop *loop; /* NULL: freed, and only waiting for the process to end */
    struct child *child;
    struct loop_fd *control;
    int stream_fd, control_fd;
    void *memory; /* what the process draws into; read-only here */
    struct picture picture;
    bool has_picture, is_over;
    unsigned n_lines;
    char why[208];
    struct rdp_viewer_config cfg;
};

static void emit(struct rdp_viewer *v, const struct rdp_event *e)
{
    if (!v->is_over) {
        v->is_over = e->type == RDP_ENDED;
        v->cfg.event(e, v->cfg.ctx);
    }
}

static void end(struct rdp_viewer *v, const char *why)
{
    const struct rdp_event e = {.type = RDP_ENDED, .why = why};
    loop_fd_want(v->control, 0);
    emit(v, &e);
}

static void gone(struct rdp_viewer *v, struct slice text)
{
    struct wr w = wr_over((uint8_t *)v->why, sizeof v->why - 1);
    wr_bytes(&w, text);
    v->why[w.len] = '\0';
    end(v, v->why[0] ? v->why : "the RDP session ended");
}

static void ack(struct rdp_viewer *v, uint32_t seq)
{
    uint8_t buf[64];
    struct wr w = wr_over(buf, sizeof buf);
    const struct link_msg m = {.type = LINK_ACK, .seq = seq};
    link_put(&w, &m);
    if (send(v->control_fd, buf, wr_done(&w).len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        end(v, "the RDP viewer process does not take our answers");
    }
}

static int damage(struct rdp_viewer *v, const struct link_msg *m)
{
    const struct rdp_event e = {.type = RDP_PICTURE, .is_first = !v->has_picture};
    for (size_t i = 0; i < m->n_rects; i++) {
        int err = picture_update(&v->picture, loop_now_ms(v->loop), &m->rect[i], v->memory);
        if (err) {
            return err;
        }
    }
    ack(v, m->seq);
    v->has_picture = true;
    emit(v, &e);
    return OK;
}

static int handle(struct rdp_viewer *v, const struct link_msg *m)
{
    struct rdp_event e = {.type = RDP_STATE, .state = m->state, .link = m};
    switch (m->type) {
    case LINK_SIZE:
        return picture_resize(&v->picture, loop_now_ms(v->loop), m->width, m->height);
    case LINK_DAMAGE: return damage(v, m);
    case LINK_CURSOR:
    case LINK_POINTER: e.type = RDP_POINTER; break;
    case LINK_STATE: break;
    case LINK_GONE: gone(v, m->text); return OK;
    case LINK_ACK: return ERR_MALFORMED;
    }
    emit(v, &e);
    return OK;
}

static void on_control(int events, void *ctx)
{
    struct rdp_viewer *v = ctx;
    uint8_t buf[LINK_MESSAGE_MAX];
    (void)events;
    for (int i = 0; i < 32 && !v->is_over; i++) {
        struct link_msg m;
        ssize_t n = recv(v->control_fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            end(v, "the RDP viewer process stopped");
        } else if (link_parse(&m, slice_of(buf, (size_t)n)) || handle(v, &m)) {
            LOG(v->cfg.log, LOG_ERROR, "rdp-viewer-broken", LOG_S("for", v->cfg.tag));
            end(v, "the RDP viewer process broke its protocol");
        }
    }
}

static void on_line(struct child *c, bool is_stderr, struct slice line, void *ctx)
{
    struct rdp_viewer *v = ctx;
    (void)is_stderr;
    if (v->n_lines++ < LINES_MAX) {
        LOG(v->cfg.log, LOG_INFO, "rdp-viewer-says", LOG_N("pid", child_pid(c)),
            LOG_B("line", line));
    }
}

static void destroy(struct rdp_viewer *v)
{
    picture_done(&v->picture);
    free(v);
}

static void on_exit(struct child *c, int status, void *ctx)
{
    struct rdp_viewer *v = ctx;
    enum log_level level = status == 0 || v->is_over ? LOG_INFO : LOG_ERROR;
    v->child = NULL;
    LOG(v->cfg.log, level, "rdp-viewer-exit", LOG_N("pid", child_pid(c)),
        LOG_N("code", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
        LOG_N("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
        LOG_N("lines", v->n_lines));
    if (!v->loop) {
        destroy(v);
    }
}

static int start(struct rdp_viewer *v, const int fds[3])
{
    const char *const argv[] = {v->cfg.program, NULL};
    const struct child_spec spec = {.argv = argv,
                                    .fds = fds,
                                    .n_fds = 3,
                                    .netns_fd = -1,
                                    .line = on_line,
                                    .exited = on_exit,
                                    .ctx = v};
    int err = child_start(&v->child, v->loop, &spec);
    if (err) {
        LOG(v->cfg.log, LOG_ERROR, "rdp-viewer-failed", LOG_S("for", v->cfg.tag),
            LOG_S("program", v->cfg.program), LOG_S("why", strerror(errno)));
        return err;
    }
    LOG(v->cfg.log, LOG_INFO, "rdp-viewer-start", LOG_S("for", v->cfg.tag),
        LOG_N("pid", child_pid(v->child)));
    err = loop_fd_new(&v->control, v->loop, v->control_fd, on_control, v);
    if (!err) {
        loop_fd_want(v->control, LOOP_READ);
    }
    return err;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

int rdp_viewer_new(struct rdp_viewer **out, struct loop *l, const struct rdp_viewer_config *cfg)
{
    struct rdp_viewer *v = calloc(1, sizeof *v);
    int stream[2] = {-1, -1}, control[2] = {-1, -1}, shm = -1;
    *out = NULL;
    if (!v) {
        return ERR_NOMEM;
    }
    *v = (struct rdp_viewer){.loop = l, .cfg = *cfg, .stream_fd = -1, .control_fd = -1};
    picture_init(&v->picture);
    int err = io_stream_pair(stream);
    err = err ? err : io_message_pair(control);
    err = err ? err : shm_new(&shm, LINK_MEMORY);
    err = err ? err : shm_map(&v->memory, shm, LINK_MEMORY, false);
    v->stream_fd = stream[0];
    v->control_fd = control[0];
    if (!err) {
        const int fds[3] = {stream[1], control[1], shm};
        err = start(v, fds);
    }
    close_fd(stream[1]);
    close_fd(control[1]);
    close_fd(shm);
    if (err) {
        rdp_viewer_free(v);
        return err;
    }
    *out = v;
    return OK;
}

void rdp_viewer_free(struct rdp_viewer *v)
{
    if (!v) {
        return;
    }
    v->is_over = true;
    loop_fd_free(v->control);
    close_fd(v->stream_fd);
    close_fd(v->control_fd);
    if (v->memory) {
        shm_unmap(v->memory, LINK_MEMORY);
    }
    v->loop = NULL;
    if (v->child) {
        child_stop(v->child, GRACE_MS); /* on_exit frees the rest */
    } else {
        destroy(v);
    }
}

int rdp_viewer_fd(const struct rdp_viewer *v)
{
    return v->stream_fd;
}

struct picture *rdp_viewer_picture(struct rdp_viewer *v)
{
    return &v->picture;
}
