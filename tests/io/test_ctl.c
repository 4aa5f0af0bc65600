/* The operator's socket: lines, answers, and what keeps both within bounds. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/ctl.h"

#include "tests/io/io_test.h"

struct served { /* a listener, and what it was told */
    struct loop *loop;
    struct ctl *ctl;
    char folder[64], path[96], said[256];
    size_t n_lines, answer_len;
    struct ctl_peer who;
};

static void on_line(struct ctl_conn *c, const struct ctl_peer *who, struct slice line,
                    void *ctx)
{
    struct served *s = ctx;
    static const char filler[1024];
    s->who = *who;
    s->n_lines++;
    size_t len = line.len < sizeof s->said - 1 ? line.len : sizeof s->said - 1;
    memcpy(s->said, line.p, len);
    s->said[len] = '\0';
    for (size_t n = s->answer_len; n > 0;) {
        size_t now = n < sizeof filler ? n : sizeof filler;
        ctl_write(c, slice_of(filler, now));
        n -= now;
    }
    ctl_write(c, slice_str("re:"));
    ctl_write(c, line);
    ctl_write(c, slice_str("\n"));
}

static struct ctl_config config_of(struct served *s)
{
    return (struct ctl_config){.path = s->path, .mode = 0640, .line = on_line, .ctx = s};
}

static int setup(void **state)
{
    struct served *s = calloc(1, sizeof *s);
    *state = s;
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/causeway-ctl-XXXXXX");
    if (!mkdtemp(s->folder) || loop_new(&s->loop)) {
        return -1;
    }
    (void)snprintf(s->path, sizeof s->path, "%s/sock", s->folder);
    struct ctl_config cfg = config_of(s);
    return ctl_listen(&s->ctl, s->loop, &cfg);
}

static int teardown(void **state)
{
    struct served *s = *state;
    ctl_free(s->ctl);
    (void)unlink(s->path);
    (void)rmdir(s->folder);
    loop_free(s->loop);
    free(s);
    return 0;
}

static int dial(const struct served *s)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(at.sun_path, s->path, strlen(s->path));
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

struct ear {
    struct loop *loop;
    int fd;
    size_t want, len;
    bool ended;
    char text[512]; /* the last of it */
};

static void hear(int events, void *ctx)
{
    struct ear *e = ctx;
    char bytes[65536];
    (void)events;
    ssize_t n = recv(e->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        size_t kept = (size_t)n < sizeof e->text - 1 ? (size_t)n : sizeof e->text - 1;
        memcpy(e->text, bytes + ((size_t)n - kept), kept);
        e->text[kept] = '\0';
        e->len += (size_t)n;
    }
    e->ended = n == 0 || (n < 0 && errno != EAGAIN);
    if (e->ended || e->len >= e->want) {
        loop_stop(e->loop);
    }
}

/* Runs until `want` bytes or the end have come. */
static struct ear listen_to(struct served *s, int fd, size_t want)
{
    struct ear e = {.loop = s->loop, .fd = fd, .want = want};
    struct loop_fd *ready;
    assert_int_equal(loop_fd_new(&ready, s->loop, fd, hear, &e), OK);
    loop_fd_want(ready, LOOP_READ);
    io_test_run(s->loop);
    loop_fd_free(ready);
    return e;
}

static void a_line_is_answered_and_the_asker_known(void **state)
{
    struct served *s = *state;
    int fd = dial(s);
    say(fd, "stats\n");
    struct ear e = listen_to(s, fd, 9);
    assert_string_equal(e.text, "re:stats\n");
    assert_string_equal(s->said, "stats");
    assert_int_equal(s->who.uid, getuid());
    assert_int_equal(s->who.pid, getpid());
    (void)close(fd);
}

static void lines_may_come_in_pieces_and_together(void **state)
{
    struct served *s = *state;
    int fd = dial(s);
    say(fd, "on");
    io_test_run_for(s->loop, 5);
    assert_int_equal(s->n_lines, 0);
    say(fd, "e\ntwo\n\nfo");
    struct ear e = listen_to(s, fd, strlen("re:one\nre:two\nre:\n"));
    assert_int_equal(s->n_lines, 3);
    assert_int_equal(e.len, strlen("re:one\nre:two\nre:\n"));
    say(fd, "ur\n");
    e = listen_to(s, fd, 8);
    assert_string_equal(e.text, "re:four\n");
    (void)close(fd);
}

static void the_longest_line_passes_and_a_longer_one_ends_it(void **state)
{
    struct served *s = *state;
    char line[CTL_LINE_MAX + 2];
    memset(line, 'x', sizeof line);
    line[CTL_LINE_MAX - 1] = '\n';
    line[CTL_LINE_MAX] = '\0';
    int fd = dial(s);
    say(fd, line);
    struct ear e = listen_to(s, fd, CTL_LINE_MAX + 3);
    assert_false(e.ended);
    line[CTL_LINE_MAX - 1] = 'x';
    line[CTL_LINE_MAX] = '\n';
    line[CTL_LINE_MAX + 1] = '\0';
    say(fd, line);
    e = listen_to(s, fd, 1);
    assert_true(e.ended && e.len == 0);
    assert_int_equal(s->n_lines, 1);
    (void)close(fd);
}

static void who_does_not_read_is_asked_no_more(void **state)
{
    struct served *s = *state;
    int fd = dial(s), small = 4096;
    /* A first answer that does not fit the socket's buffers holds up the next line. */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    s->answer_len = CTL_OUT_MAX - 1024;
    say(fd, "big\nbig\n");
    io_test_run_for(s->loop, 20);
    assert_int_equal(s->n_lines, 1);
    struct ear e = listen_to(s, fd, 2 * (s->answer_len + 7));
    assert_int_equal(e.len, 2 * (s->answer_len + 7));
    assert_int_equal(s->n_lines, 2);
    (void)close(fd);
}

static void an_answer_too_long_ends_it(void **state)
{
    struct served *s = *state;
    int fd = dial(s);
    s->answer_len = CTL_OUT_MAX;
    say(fd, "all\n");
    struct ear e = listen_to(s, fd, SIZE_MAX);
    assert_true(e.ended && e.len <= CTL_OUT_MAX);
    (void)close(fd);
}

static void there_are_no_more_connections_than_allowed(void **state)
{
    struct served *s = *state;
    int fd[CTL_CONNS_MAX + 1];
    for (size_t i = 0; i < CTL_CONNS_MAX; i++) {
        fd[i] = dial(s);
        say(fd[i], "a\n");
        assert_int_equal(listen_to(s, fd[i], 5).len, 5);
    }
    fd[CTL_CONNS_MAX] = dial(s);
    assert_true(listen_to(s, fd[CTL_CONNS_MAX], 1).ended);
    (void)close(fd[0]);
    (void)close(fd[CTL_CONNS_MAX]);
    io_test_run_for(s->loop, 5);
    fd[0] = dial(s); /* its place is free again */
    say(fd[0], "a\n");
    assert_int_equal(listen_to(s, fd[0], 5).len, 5);
    for (size_t i = 0; i < CTL_CONNS_MAX; i++) {
        (void)close(fd[i]);
    }
}

static void the_path_is_taken_only_from_nobody(void **state)
{
    struct served *s = *state;
    struct ctl_config cfg = config_of(s);
    struct ctl *other;
    struct stat st;
    assert_int_equal(stat(s->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(ctl_listen(&other, s->loop, &cfg), ERR_BADSTATE);
    ctl_free(s->ctl);
    s->ctl = NULL;
    assert_int_equal(stat(s->path, &st), -1);
    /* A socket that its owner has left behind. */
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, s->path, strlen(s->path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    (void)close(fd);
    assert_int_equal(ctl_listen(&s->ctl, s->loop, &cfg), OK);
    ctl_free(s->ctl);
    s->ctl = NULL;
    /* A file is somebody's. */
    fd = open(s->path, O_CREAT | O_WRONLY, 0600);
    (void)close(fd);
    assert_int_equal(ctl_listen(&other, s->loop, &cfg), ERR_SYSTEM);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(stat(s->path, &st), 0);
    char far[300];
    memset(far, 'a', sizeof far - 1);
    far[sizeof far - 1] = '\0';
    cfg.path = far;
    assert_int_equal(ctl_listen(&other, s->loop, &cfg), ERR_SYSTEM);
    assert_int_equal(errno, ENAMETOOLONG);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_line_is_answered_and_the_asker_known),
        T(lines_may_come_in_pieces_and_together),
        T(the_longest_line_passes_and_a_longer_one_ends_it),
        T(who_does_not_read_is_asked_no_more),
        T(an_answer_too_long_ends_it),
        T(there_are_no_more_connections_than_allowed),
        T(the_path_is_taken_only_from_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
