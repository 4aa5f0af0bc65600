#include "tests/cmd/rdp_child.h"

/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/shm.h"

enum {
    PATIENCE_MS = 20000
};

/* Only calls that are allowed between fork and exec. The copies are above 5, so that none is
 * overwritten before it was used. */
static void become(const char *program, int stream, int control, int mem)
{
    int a = fcntl(stream, F_DUPFD, 10), b = fcntl(control, F_DUPFD, 10);
    int c = fcntl(mem, F_DUPFD, 10);
    dup2(a, 3);
    dup2(b, 4);
    dup2(c, 5);
    for (int fd = 6; fd < 256; fd++) {
        close(fd);
    }
    execl(program, program, (char *)NULL);
    _exit(127);
}

void rdp_child_start(struct rdp_child *c, const char *program)
{
    int stream[2], control[2], mem;
    void *map = NULL;
    *c = (struct rdp_child){0};
    assert_int_equal(io_stream_pair(stream), 0);
    assert_int_equal(io_message_pair(control), 0);
    assert_int_equal(shm_new(&mem, LINK_MEMORY), 0);
    assert_int_equal(shm_map(&map, mem, LINK_MEMORY, false), 0);
    c->mem = map;
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        become(program, stream[1], control[1], mem);
    }
    close(stream[1]);
    close(control[1]);
    close(mem);
    c->stream = stream[0];
    c->control = control[0];
}

static void take(struct rdp_child *c, const struct link_msg *m)
{
    uint8_t buf[16];
    struct wr w = wr_over(buf, sizeof buf);
    switch (m->type) {
    case LINK_SIZE:
        c->width = m->width;
        c->height = m->height;
        break;
    case LINK_DAMAGE:
        for (size_t i = 0; i < m->n_rects; i++) {
            assert_true(m->rect[i].x + m->rect[i].w <= c->width);
            assert_true(m->rect[i].y + m->rect[i].h <= c->height);
        }
        c->n_damage++;
        link_put(&w, &(struct link_msg){.type = LINK_ACK, .seq = m->seq});
        (void)!send(c->control, w.buf, w.len, MSG_NOSIGNAL);
        break;
    case LINK_CURSOR: c->n_cursor++; break;
    case LINK_STATE: c->is_active = m->state == LINK_ACTIVE; break;
    case LINK_GONE:
        assert_true(m->text.len > 0 && m->text.len < sizeof c->gone);
        memcpy(c->gone, m->text.p, m->text.len);
        break;
    case LINK_POINTER: break;
    case LINK_ACK: fail_msg("a viewer acknowledges nothing");
    }
}

bool rdp_child_read(struct rdp_child *c)
{
    static uint8_t buf[LINK_MESSAGE_MAX + 1];
    struct link_msg m;
    ssize_t n = recv(c->control, buf, sizeof buf, 0);
    if (n < 0 && errno == EAGAIN) {
        return true;
    }
    if (n <= 0) {
        return false;
    }
    assert_string_equal(c->gone, ""); /* nothing follows it */
    assert_int_equal(link_parse(&m, slice_of(buf, (size_t)n)), 0);
    take(c, &m);
    return true;
}

/* Ready to read, or at its end, within the patience of a test. */
static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

int rdp_child_wait(struct rdp_child *c)
{
    int status;
    do {
        wait_readable(c->control);
    } while (rdp_child_read(c));
    /* The control socket closes with the process, so this is short. */
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    c->pid = 0;
    return status;
}

void rdp_child_stop(struct rdp_child *c)
{
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
    close(c->control);
    if (c->stream >= 0) {
        close(c->stream);
    }
    shm_unmap(c->mem, LINK_MEMORY);
}
