/* Starts Xvfb, shows the page on it, starts freerdp-shadow-cli on that display, and waits until
 * it takes connections. */
#include "cmd/lab/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/text.h"

#include "lib/share/encode.h"

#include "io/child.h"
#include "io/shm.h"

#include "cmd/lab/pattern.h"

enum {
    FRAME_MS = 66, /* 15 pictures a second */
    RETRY_MS = 20,
    START_MS = 60000, /* cold caches: the shadow server loads a hundred libraries */
    GRACE_MS = 1000
};

struct screen {
    struct loop *loop;
    struct screen_spec spec;
    char dir[64];
    uint8_t cookie[16];
    int number; /* of the display; -1: not known yet */
    int number_fd;
    char number_text[16];
    size_t number_len;
    struct loop_fd *number_watch;
    struct loop_timer *frame, *retry;
    struct child *x, *shadow;
    struct pattern *pattern;
    uint64_t shown_ms;  /* when the page appeared, moved on by frozen time */
    uint64_t frozen_ms; /* 0: it moves */
    uint64_t give_up_ms;
    int spare_fd; /* the connection that showed the server is there; -1: handed out */
    bool is_stopping;
};

static void path_in(const struct screen *s, const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s", s->dir, name);
}

static void fail(struct screen *s, const char *why)
{
    if (!s->is_stopping && s->spec.failed) {
        s->spec.failed(s->spec.ctx, why);
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* When both children are gone. */
static void free_when_over(struct screen *s)
{
    if (!s->is_stopping || s->x || s->shadow) {
        return;
    }
    void (*stopped)(void *) = s->spec.stopped;
    void *ctx = s->spec.ctx;
    loop_fd_free(s->number_watch);
    loop_timer_free(s->frame);
    loop_timer_free(s->retry);
    pattern_free(s->pattern);
    close_fd(&s->number_fd);
    close_fd(&s->spare_fd);
    if (s->dir[0]) {
        nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    free(s);
    if (stopped) {
        stopped(ctx);
    }
}

static void on_exited(struct child *c, int status, void *ctx)
{
    struct screen *s = ctx;
    (void)status;
    bool is_x = c == s->x;
    *(is_x ? &s->x : &s->shadow) = NULL;
    if (s->is_stopping) {
        free_when_over(s);
    } else {
        fail(s, is_x ? "Xvfb ended" : "freerdp-shadow-cli ended");
    }
}

/* Both programs are chatty about nothing. */
static void on_line(struct child *c, bool is_stderr, struct slice line, void *ctx)
{
    (void)c;
    (void)is_stderr;
    (void)line;
    (void)ctx;
}

static int connect_shadow(struct screen *s, int *fd)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    path_in(s, "rdp.sock", to.sun_path, sizeof to.sun_path);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && connect(*fd, (struct sockaddr *)&to, sizeof to) == 0) {
        return 0;
    }
    close_fd(fd);
    return ERR_SYSTEM;
}

/* There is no sign of the shadow server's being ready but that it takes a connection. The one
 * that succeeds is kept for the first screen_connect. */
static void on_retry(void *ctx)
{
    struct screen *s = ctx;
    if (s->is_stopping || !s->shadow) {
        return;
    }
    if (!connect_shadow(s, &s->spare_fd)) {
        s->spec.ready(s->spec.ctx);
    } else if (loop_now_ms(s->loop) < s->give_up_ms) {
        loop_timer_at(s->retry, loop_now_ms(s->loop) + RETRY_MS);
    } else {
        fail(s, "freerdp-shadow-cli does not take connections");
    }
}

static int start_shadow(struct screen *s)
{
    char display[32], auth[96], home[96], config[96], sock[96];
    snprintf(display, sizeof display, "DISPLAY=:%d", s->number);
    snprintf(auth, sizeof auth, "XAUTHORITY=%s/xauth", s->dir);
    snprintf(home, sizeof home, "HOME=%s", s->dir);
    snprintf(config, sizeof config, "XDG_CONFIG_HOME=%s", s->dir);
    snprintf(sock, sizeof sock, "/ipc-socket:%s/rdp.sock", s->dir);
    const char *const env[] = {display, auth, home, config, "PATH=/usr/bin:/bin", NULL};
    /* Nobody may steer the screen, and on a local socket there is nobody to authenticate. */
    const char *const argv[] = {
        "/usr/bin/freerdp-shadow-cli", sock, "/sec:rdp", "-auth", "-may-interact", NULL};
    return child_start(&s->shadow, s->loop,
                       &(struct child_spec){.argv = argv,
                                            .env = env,
                                            .netns_fd = -1,
                                            .dir = s->dir,
                                            .line = on_line,
                                            .exited = on_exited,
                                            .ctx = s});
}

static void on_frame(void *ctx)
{
    struct screen *s = ctx;
    uint64_t now = loop_now_ms(s->loop);
    if (s->frozen_ms || s->is_stopping) {
        return;
    }
    if (pattern_draw(s->pattern, now - s->shown_ms)) {
        fail(s, "the X server ended");
        return;
    }
    loop_timer_at(s->frame, now + FRAME_MS);
}

static void show_page(struct screen *s)
{
    s->shown_ms = loop_now_ms(s->loop);
    if (pattern_new(&s->pattern, s->number, s->cookie)) {
        fail(s, "the X display cannot be drawn on");
    } else if (start_shadow(s)) {
        fail(s, "/usr/bin/freerdp-shadow-cli cannot be started: install freerdp2-shadow-x11");
    } else {
        on_frame(s);
        on_retry(s);
    }
}

/* Xvfb writes the number of the display it found free, and then a line end; it dies if it
 * cannot write that. */
static void on_number(int events, void *ctx)
{
    struct screen *s = ctx;
    struct slice text;
    uint64_t number;
    (void)events;
    size_t room = sizeof s->number_text - s->number_len;
    ssize_t n = read(s->number_fd, s->number_text + s->number_len, room);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    s->number_len += n > 0 ? (size_t)n : 0;
    text = slice_of(s->number_text, s->number_len);
    if (n > 0 && (size_t)n < room && !memchr(text.p, '\n', text.len)) {
        return;
    }
    loop_fd_free(s->number_watch);
    s->number_watch = NULL;
    close_fd(&s->number_fd);
    if (text_u64(text_trim(text), 65535, &number)) {
        fail(s, "Xvfb names no display");
        return;
    }
    s->number = (int)number;
    show_page(s);
}

/* An Xauthority entry (XSECURITY: five big-endian counted fields) for any host and display. */
static int write_cookie(struct screen *s)
{
    enum {
        FAMILY_WILD = 0xffff
    };
    char path[96];
    uint8_t buf[64];
    struct wr w = wr_over(buf, sizeof buf);
    struct slice kind = slice_str("MIT-MAGIC-COOKIE-1");
    io_random(s->cookie, sizeof s->cookie);
    wr_u16(&w, FAMILY_WILD);
    wr_u16(&w, 0); /* address */
    wr_u16(&w, 0); /* display number */
    wr_u16(&w, (uint16_t)kind.len);
    wr_bytes(&w, kind);
    wr_u16(&w, sizeof s->cookie);
    wr_bytes(&w, slice_of(s->cookie, sizeof s->cookie));
    path_in(s, "xauth", path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = fd >= 0 && !w.err && write(fd, w.buf, w.len) == (ssize_t)w.len;
    close_fd(&fd);
    return done ? 0 : ERR_SYSTEM;
}

static int start_x(struct screen *s)
{
    int pair[2];
    char size[32], auth[96];
    int err = io_stream_pair(pair);
    if (err) {
        return err;
    }
    s->number_fd = pair[0];
    snprintf(size, sizeof size, "%ux%ux24", s->spec.width, s->spec.height);
    path_in(s, "xauth", auth, sizeof auth);
    const char *const argv[] = {
        "/usr/bin/Xvfb", "-displayfd", "3",         "-screen", "0", size,
        "-auth",         auth,         "-nolisten", "tcp",     NULL};
    err = child_start(&s->x, s->loop,
                      &(struct child_spec){.argv = argv,
                                           .fds = &pair[1],
                                           .n_fds = 1,
                                           .netns_fd = -1,
                                           .line = on_line,
                                           .exited = on_exited,
                                           .ctx = s});
    close(pair[1]);
    err = err ? err : loop_fd_new(&s->number_watch, s->loop, s->number_fd, on_number, s);
    if (!err) {
        loop_fd_want(s->number_watch, LOOP_READ);
    }
    return err;
}

int screen_start(struct screen **out, struct loop *l, const struct screen_spec *spec)
{
    struct screen *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return ERR_NOMEM;
    }
    *s = (struct screen){.loop = l,
                         .spec = *spec,
                         .number = -1,
                         .number_fd = -1,
                         .spare_fd = -1,
                         .give_up_ms = loop_now_ms(l) + START_MS,
                         .dir = "/tmp/causeway-screen-XXXXXX"};
    int err = mkdtemp(s->dir) ? 0 : ERR_SYSTEM;
    err = err ? err : write_cookie(s);
    err = err ? err : loop_timer_new(&s->frame, l, on_frame, s);
    err = err ? err : loop_timer_new(&s->retry, l, on_retry, s);
    err = err ? err : start_x(s);
    if (!err) {
        *out = s;
        return 0;
    }
    s->spec.stopped = NULL; /* the caller has the error */
    screen_stop(s);
    return err;
}

int screen_connect(struct screen *s, int *fd)
{
    if (s->spare_fd < 0) {
        return connect_shadow(s, fd);
    }
    *fd = s->spare_fd;
    s->spare_fd = -1;
    return 0;
}

void screen_freeze(struct screen *s, bool frozen)
{
    uint64_t now = loop_now_ms(s->loop);
    if (frozen == (s->frozen_ms != 0)) {
        return;
    }
    s->shown_ms += frozen ? 0 : now - s->frozen_ms;
    s->frozen_ms = frozen ? now : 0;
    loop_timer_at(s->frame, frozen ? UINT64_MAX : now);
}

int screen_read(struct screen *s, struct picture *out)
{
    return s->pattern ? pattern_read(s->pattern, out) : ERR_BADSTATE;
}

static int write_png(struct encoder *e, const struct picture *p, const char *path)
{
    struct slice png;
    const struct rect all = {.w = p->width, .h = p->height};
    int err = encode_png(e, p, &all, &png);
    FILE *f = err ? NULL : fopen(path, "wb");
    if (!f) {
        return err ? err : ERR_SYSTEM;
    }
    bool done = fwrite(png.p, 1, png.len, f) == png.len;
    done = fclose(f) == 0 && done;
    return done ? 0 : ERR_SYSTEM;
}

int screen_snapshot(struct screen *s, const char *path)
{
    struct picture p;
    struct encoder *e = NULL;
    picture_init(&p);
    int err = screen_read(s, &p);
    err = err ? err : encoder_new(&e);
    err = err ? err : write_png(e, &p, path);
    encoder_free(e);
    picture_done(&p);
    return err;
}

void screen_stop(struct screen *s)
{
    if (s->is_stopping) {
        return;
    }
    s->is_stopping = true;
    if (s->shadow) {
        child_stop(s->shadow, GRACE_MS);
    }
    if (s->x) {
        child_stop(s->x, GRACE_MS);
    }
    free_when_over(s);
}
