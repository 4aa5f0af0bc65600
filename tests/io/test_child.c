/* Child processes. The test starts itself again, with a word that says what to do. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/child.h"

#include "tests/io/io_test.h"

struct seen {
    struct loop *loop;
    char text[32768];
    size_t len, n_lines, longest;
    bool any_stderr, exited;
    int status;
    uint32_t stop_on_line; /* grace in ms, once a line has come */
};

static void on_line(struct child *c, bool is_stderr, struct slice line, void *ctx)
{
    struct seen *s = ctx;
    assert_false(s->exited);
    s->any_stderr = s->any_stderr || is_stderr;
    s->n_lines++;
    s->longest = line.len > s->longest ? line.len : s->longest;
    assert_true(s->len + line.len + 2 < sizeof s->text);
    memcpy(s->text + s->len, line.p, line.len);
    s->len += line.len;
    s->text[s->len++] = '\n';
    if (s->stop_on_line) {
        child_stop(c, s->stop_on_line);
    }
}

static void on_exit_of(struct child *c, int status, void *ctx)
{
    struct seen *s = ctx;
    child_kill(c, SIGKILL); /* too late, and harmless */
    s->exited = true;
    s->status = status;
    loop_stop(s->loop);
}

static void start(struct loop *l, struct seen *s, const char *what, const int *fds, size_t n)
{
    struct child *c;
    const char *argv[] = {"/proc/self/exe", what, NULL};
    const char *env[] = {"ASAN_OPTIONS=detect_leaks=0", "ONLY=this", NULL};
    struct child_spec spec = {.argv = argv,
                              .env = env,
                              .fds = fds,
                              .n_fds = n,
                              .netns_fd = -1,
                              .dir = "/",
                              .line = on_line,
                              .exited = on_exit_of,
                              .ctx = s};
    s->loop = l;
    assert_int_equal(child_start(&c, l, &spec), OK);
    assert_true(child_pid(c) > 0);
}

static void it_has_exactly_the_descriptors_given(void **state)
{
    struct seen s = {0};
    int pipe_fd[2], stray = open("/dev/null", O_RDONLY);
    assert_true(stray >= 0);
    assert_int_equal(pipe(pipe_fd), 0);
    /* In the order that would overwrite one by the other if they were moved in turn. */
    int hi = fcntl(pipe_fd[1], F_DUPFD, 3), lo = pipe_fd[0];
    int fds[] = {hi, lo, stray};
    assert_int_equal(write(pipe_fd[1], "x", 1), 1);
    start(*state, &s, "fds", fds, 3);
    io_test_run(*state);
    assert_int_equal(s.status, 0);
    assert_string_equal(s.text, "0 1 2 3 4 5 x\ndir / env this\n");
    assert_int_equal(fcntl(lo, F_GETFD), 0);
    assert_true(close(hi) == 0 && close(lo) == 0 && close(pipe_fd[1]) == 0 &&
                close(stray) == 0);
}

static void its_exit_status_comes_last(void **state)
{
    struct seen s = {0};
    start(*state, &s, "exit", NULL, 0);
    io_test_run(*state);
    assert_true(WIFEXITED(s.status));
    assert_int_equal(WEXITSTATUS(s.status), 7);
    assert_string_equal(s.text, "to stderr\nlast, without an end\n");
    assert_true(s.any_stderr);
}

static void long_lines_come_in_pieces(void **state)
{
    struct seen s = {0};
    start(*state, &s, "long", NULL, 0);
    io_test_run(*state);
    assert_int_equal(s.n_lines, 4);
    assert_int_equal(s.longest, 8192);
    assert_int_equal(s.len, 20000 + 3 + 4);
}

static void one_that_will_not_stop_is_killed(void **state)
{
    struct seen s = {.stop_on_line = 50};
    start(*state, &s, "stubborn", NULL, 0);
    io_test_run(*state);
    assert_true(WIFSIGNALED(s.status));
    assert_int_equal(WTERMSIG(s.status), SIGKILL);
}

static void one_that_listens_ends_by_sigterm(void **state)
{
    struct seen s = {.stop_on_line = 15000};
    start(*state, &s, "polite", NULL, 0);
    io_test_run(*state);
    assert_true(WIFSIGNALED(s.status));
    assert_int_equal(WTERMSIG(s.status), SIGTERM);
}

static void a_missing_program_is_an_error_at_once(void **state)
{
    struct child *c;
    const char *argv[] = {"/nonexistent/program", NULL};
    struct child_spec spec = {.argv = argv, .netns_fd = -1};
    assert_int_equal(child_start(&c, *state, &spec), ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void children_of_others_are_left_alone(void **state)
{
    struct seen s = {0};
    pid_t other = fork();
    if (other == 0) {
        _exit(3);
    }
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)other, &info, WEXITED | WNOWAIT), 0);
    start(*state, &s, "exit", NULL, 0);
    io_test_run(*state);
    int status;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(WEXITSTATUS(status), 3);
}

static int be_child(const char *what)
{
    char dir[64], c = '-';
    if (strcmp(what, "fds") == 0) {
        for (int fd = 0; fd < 1024; fd++) {
            if (fcntl(fd, F_GETFD) >= 0) {
                printf("%d ", fd);
            }
        }
        printf("%c\n", read(4, &c, 1) == 1 ? c : '-');
        printf("dir %s env %s\n", getcwd(dir, sizeof dir), getenv("ONLY"));
    } else if (strcmp(what, "exit") == 0) {
        fprintf(stderr, "to stderr\n");
        fflush(stderr);
        printf("last, without an end");
        fflush(stdout);
        return 7;
    } else if (strcmp(what, "long") == 0) {
        for (int i = 0; i < 20000; i++) {
            putchar('y');
        }
        printf("\nend\n");
    } else {
        if (strcmp(what, "stubborn") == 0) {
            (void)signal(SIGTERM, SIG_IGN);
        }
        printf("ready\n");
        fflush(stdout);
        for (;;) {
            (void)pause();
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return be_child(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        IO_TEST(it_has_exactly_the_descriptors_given),
        IO_TEST(its_exit_status_comes_last),
        IO_TEST(long_lines_come_in_pieces),
        IO_TEST(one_that_will_not_stop_is_killed),
        IO_TEST(one_that_listens_ends_by_sigterm),
        IO_TEST(a_missing_program_is_an_error_at_once),
        IO_TEST(children_of_others_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
