/* Sockets from a service manager: which are taken, and what is said of the others. Each case is
 * a process of its own, as the descriptors have fixed numbers. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/daemon.h"
#include "io/sock.h"

#include "tests/unit.h"

static int bound(int type, const char *at)
{
    struct addr a;
    int fd;
    assert_int_equal(addr_parse(slice_str(at), &a), OK);
    assert_int_equal(sock_new(&fd, a.family, type, &a, false), OK);
    return fd;
}

static int listening(const char *at)
{
    int fd = bound(SOCK_STREAM, at);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void set(const char *name, const char *value)
{
    if (setenv(name, value, 1)) {
        abort();
    }
}

/* As the child would see it: `check` has the last word, and its result is the child's. */
static void in_child(const int *fds, size_t n, bool (*check)(void))
{
    pid_t pid = fork();
    int status = -1;
    assert_true(pid >= 0);
    if (pid == 0) {
        char text[16];
        for (size_t i = 0; i < n; i++) { /* the kernel's numbers are low, these are free */
            int high = fcntl(fds[i], F_DUPFD, 100 + (int)i);
            if (high < 0) {
                _exit(2);
            }
        }
        for (size_t i = 0; i < n; i++) {
            if (dup2(100 + (int)i, 3 + (int)i) < 0) {
                _exit(2);
            }
        }
        (void)snprintf(text, sizeof text, "%d", (int)getpid());
        set("LISTEN_PID", text);
        (void)snprintf(text, sizeof text, "%zu", n);
        set("LISTEN_FDS", text);
        _exit(check() ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static struct daemon_socket got[DAEMON_SOCKETS_MAX];
static size_t n_got;
static char why[DAEMON_WHY_MAX];

static bool both_are_taken(void)
{
    bool ok = daemon_has_sockets() && daemon_sockets(got, &n_got, why) == OK && n_got == 2;
    ok = ok && got[0].is_tcp && got[0].fd == 3 && got[0].at.port != 0;
    ok = ok && !got[1].is_tcp && got[1].fd == 4 && got[1].at.family == ADDR_IP6;
    for (int fd = 3; fd <= 4 && ok; fd++) {
        ok = fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) & FD_CLOEXEC;
    }
    size_t again;
    return ok && daemon_sockets(got, &again, why) == OK && again == 2;
}

static bool of_another_process(void)
{
    set("LISTEN_PID", "1");
    return !daemon_has_sockets() && daemon_sockets(got, &n_got, why) == OK && n_got == 0;
}

static bool of_a_wrong_number(void)
{
    static const char *const numbers[] = {"-1", "x", "65", "", "99999999999999999999"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        set("LISTEN_FDS", numbers[i]);
        if (daemon_sockets(got, &n_got, why) != ERR_MALFORMED || !strstr(why, "LISTEN_FDS")) {
            return false;
        }
    }
    set("LISTEN_FDS", "0");
    return !daemon_has_sockets() && daemon_sockets(got, &n_got, why) == OK;
}

static bool the_second_is_named(void)
{
    set("LISTEN_FDNAMES", "turn:other");
    return daemon_sockets(got, &n_got, why) == ERR_MALFORMED &&
           strstr(why, "descriptor 4 (other) ") != NULL;
}

static bool one_is_missing(void)
{
    set("LISTEN_FDS", "3");
    (void)close(5); /* if it is open at all */
    return daemon_sockets(got, &n_got, why) == ERR_MALFORMED &&
           strstr(why, "descriptor 5 (unnamed) is no socket") != NULL;
}

static void sockets_are_taken(void **state)
{
    (void)state;
    const int fds[] = {listening("127.0.0.1:0"), bound(SOCK_DGRAM, "[::1]:0")};
    in_child(fds, 2, both_are_taken);
    in_child(fds, 2, of_another_process);
    in_child(fds, 2, of_a_wrong_number);
    in_child(fds, 2, one_is_missing);
    assert_true(close(fds[0]) == 0 && close(fds[1]) == 0);
}

static void what_cannot_be_served_is_named(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const int wrong[] = {bound(SOCK_STREAM, "127.0.0.1:0"), pair[0]};
    for (size_t i = 0; i < 2; i++) {
        const int fds[] = {listening("127.0.0.1:0"), wrong[i]};
        in_child(fds, 2, the_second_is_named);
        assert_true(close(fds[0]) == 0 && close(fds[1]) == 0);
    }
    assert_int_equal(close(pair[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_taken),
        cmocka_unit_test(what_cannot_be_served_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
