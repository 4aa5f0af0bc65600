/* Any bytes on the operator's socket of a server: each line gets one answer, a JSON object that
 * says "ok", and nothing else comes. One server for all inputs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "run/turn_ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 6000, /* longer than a line may be, and the socket takes it at once */
    HEARD_MAX = 1 << 20
};

struct fuzz {
    struct loop *loop;
    struct turn_run *run;
    struct turn_ctl *ctl;
    struct turn_policy policy;
    char folder[64], path[96];
    int fd;
    size_t n_heard;
    uint8_t heard[HEARD_MAX];
};

static void need(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void no_key(const struct turn_ask *ask, void *ctx)
{
    (void)ask;
    (void)ctx;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static char *no_reload(void *ctx)
{
    (void)ctx;
    return NULL;
}

static int start_server(struct fuzz *f)
{
    static const struct log quiet = {.program = "fuzz", .level = LOG_ERROR, .fd = 2};
    struct turn_run_config cfg = {
        .server = {.realms = {slice_str("fuzz")},
                   .n_realms = 1,
                   .max_allocations = 4,
                   .max_per_user = 4,
                   .max_permissions = 4,
                   .max_channels = 4,
                   .max_connections = 4,
                   .policy = &f->policy},
        .log = &quiet,
        .max_connections = 4,
        .find_keys = no_key,
        .drained = nothing
    };
    int err = loop_new(&f->loop);
    err = err ? err : turn_run_new(&f->run, f->loop, &cfg);
    struct turn_ctl_config ctl = {
        .socket = {.path = f->path, .mode = 0600},
        .run = f->run,
        .log = &quiet,
        .drain = nothing,
        .reload = no_reload
    };
    return err ? err : turn_ctl_new(&f->ctl, f->loop, &ctl);
}

static struct fuzz *the_server;

static void tidy(void)
{
    (void)unlink(the_server->path);
    (void)rmdir(the_server->folder);
}

static struct fuzz *server(void)
{
    if (!the_server) {
        struct fuzz *f = the_server = calloc(1, sizeof *f);
        need(f != NULL);
        (void)snprintf(f->folder, sizeof f->folder, "/tmp/causeway-fuzz-XXXXXX");
        need(mkdtemp(f->folder) != NULL);
        (void)snprintf(f->path, sizeof f->path, "%s/ctl", f->folder);
        need(start_server(f) == OK);
        (void)atexit(tidy);
    }
    return the_server;
}

static int dial(const struct fuzz *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(at.sun_path, f->path, strlen(f->path));
    need(fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

static void hear(int events, void *ctx)
{
    struct fuzz *f = ctx;
    (void)events;
    need(f->n_heard < HEARD_MAX);
    ssize_t n = recv(f->fd, f->heard + f->n_heard, HEARD_MAX - f->n_heard, MSG_DONTWAIT);
    f->n_heard += n > 0 ? (size_t)n : 0;
    if (n == 0 || (n < 0 && errno != EAGAIN)) { /* also when it left something unread */
        loop_stop(f->loop);
    }
}

/* How many lines; with an end that is too far they are cut off there. */
static size_t lines_in(struct slice in, bool *too_long)
{
    size_t n = 0, len = 0;
    *too_long = false;
    for (size_t i = 0; i < in.len && !*too_long; i++) {
        len++;
        *too_long = len == CTL_LINE_MAX && in.p[i] != '\n';
        if (in.p[i] == '\n') {
            n++;
            len = 0;
        }
    }
    return n;
}

static bool has(struct slice s, const char *word)
{
    for (size_t n = strlen(word); s.len >= n; s = slice_from(s, 1)) {
        if (memcmp(s.p, word, n) == 0) {
            return true;
        }
    }
    return false;
}

/* The number of answers, each of which is one. */
static size_t check_answers(struct slice heard)
{
    size_t n = 0;
    while (heard.len > 0) {
        const uint8_t *end = memchr(heard.p, '\n', heard.len);
        need(end != NULL);
        struct slice line = slice_of(heard.p, (size_t)(end - heard.p));
        need(line.len > 2 && line.p[0] == '{' && line.p[line.len - 1] == '}');
        need(has(line, "\"ok\":true") != has(line, "\"ok\":false"));
        heard = slice_from(heard, line.len + 1);
        n++;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz *f = server();
    struct loop_fd *ready;
    bool too_long;
    if (size > INPUT_MAX) {
        return 0;
    }
    size_t n = lines_in(slice_of(data, size), &too_long);
    f->fd = dial(f);
    f->n_heard = 0;
    need(send(f->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
    need(shutdown(f->fd, SHUT_WR) == 0);
    need(loop_fd_new(&ready, f->loop, f->fd, hear, f) == OK);
    loop_fd_want(ready, LOOP_READ);
    loop_run(f->loop);
    loop_fd_free(ready);
    (void)close(f->fd);
    need(check_answers(slice_of(f->heard, f->n_heard)) == n || too_long);
    return 0;
}
