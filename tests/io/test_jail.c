/* Each check runs in a process of its own, as there is no way out of a jail. */
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
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/jail.h"

static const struct jail plain = {0};
static const struct jail threads = {.may_make_threads = true};

/* The status of waitpid of a process that enters `j` and then exits with what `fn` gives. */
static int run(const struct jail *j, int (*fn)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(jail_enter(j) ? 99 : fn());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_passes(const struct jail *j, int (*fn)(void))
{
    int status = run(j, fn);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void assert_killed(const struct jail *j, int (*fn)(void))
{
    int status = run(j, fn);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static int pair[2];

static int talk(void)
{
    char c = 0;
    return send(pair[0], "x", 1, 0) == 1 && recv(pair[1], &c, 1, 0) == 1 && c == 'x' ? 0 : 1;
}

static int open_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 1;
}

static int make_file(void)
{
    return open("/tmp/causeway-jail", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 &&
                   errno == EACCES
               ? 0
               : 1;
}

static int make_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EACCES ? 0 : 1;
}

static int connect_anywhere(void)
{
    const struct sockaddr to = {.sa_family = AF_UNIX};
    return connect(pair[0], &to, sizeof to) < 0 && errno == EACCES ? 0 : 1;
}

static int use_memory(void)
{
    void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && munmap(p, 65536) == 0 ? 0 : 1;
}

static int map_code(void)
{
    (void)!mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return 0;
}

static int turn_into_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)!mprotect(p, 4096, PROT_READ | PROT_EXEC);
    return 0;
}

static int exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return 0;
}

static int make_process(void)
{
    (void)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    return 0;
}

static int trace(void)
{
    (void)syscall(SYS_ptrace, 0, 0, NULL, NULL);
    return 0;
}

static int lift_limits(void)
{
    const struct rlimit r = {.rlim_cur = 1024, .rlim_max = 1024};
    (void)setrlimit(RLIMIT_NOFILE, &r);
    return 0;
}

static int fill_descriptors(void)
{
    int n = 0;
    while (fcntl(0, F_DUPFD, 0) >= 0) {
        if (++n > 1000) {
            return 1;
        }
    }
    return errno == EMFILE ? 0 : 1;
}

static void *thread(void *arg)
{
    *(int *)arg = 0;
    return NULL;
}

static int make_thread(void)
{
    pthread_t t;
    int result = 1;
    return pthread_create(&t, NULL, thread, &result) || pthread_join(t, NULL) ? 1 : result;
}

static int serve(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    return fd >= 0 && listen(fd, 1) == 0 && file >= 0 ? use_memory() : 1;
}

static int odd_things(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EPERM && setuid(0) < 0 &&
                   errno == EPERM && chroot("/") < 0 && errno == EPERM &&
                   mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0) == MAP_FAILED
               ? 0
               : 1;
}

static int run_server(int (*fn)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(jail_enter_server() ? 99 : fn());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_a_server_has_sockets_and_files_and_no_more(void **state)
{
    (void)state;
    assert_int_equal(run_server(serve), 0);
    assert_int_equal(run_server(make_thread), 0);
    assert_int_equal(run_server(odd_things), 0);
    int status = run_server(exec);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static int spin(void)
{
    for (volatile unsigned i = 0;; i++) {
    }
    return 0;
}

static void test_open_descriptors_work(void **state)
{
    (void)state;
    assert_passes(&plain, talk);
    assert_passes(&plain, use_memory);
}

static void test_no_files(void **state)
{
    (void)state;
    assert_passes(&plain, open_file);
    assert_passes(&plain, make_file);
}

static void test_no_network(void **state)
{
    (void)state;
    assert_passes(&plain, make_socket);
    assert_passes(&plain, connect_anywhere);
}

static void test_no_new_code(void **state)
{
    (void)state;
    assert_killed(&plain, map_code);
    assert_killed(&plain, turn_into_code);
    assert_killed(&plain, exec);
}

static void test_no_other_processes(void **state)
{
    (void)state;
    assert_killed(&plain, make_process);
    assert_killed(&threads, make_process);
    assert_killed(&plain, trace);
}

static void test_threads_only_when_allowed(void **state)
{
    (void)state;
    assert_passes(&threads, make_thread);
    assert_killed(&plain, make_thread);
}

static void test_limits(void **state)
{
    (void)state;
    assert_passes(&plain, fill_descriptors);
    assert_killed(&plain, lift_limits);
    int status = run(&(struct jail){.max_cpu_s = 1}, spin);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#ifndef __SANITIZE_ADDRESS__ /* which has reserved terabytes already */
static int take_much_memory(void)
{
    size_t len = (size_t)1 << 30;
    return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED
               ? 0
               : 1;
}

static void test_memory_limit(void **state)
{
    (void)state;
    assert_passes(&(struct jail){.max_memory = 256 << 20}, take_much_memory);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_descriptors_work),
        cmocka_unit_test(test_no_files),
        cmocka_unit_test(test_no_network),
        cmocka_unit_test(test_no_new_code),
        cmocka_unit_test(test_no_other_processes),
        cmocka_unit_test(test_threads_only_when_allowed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_server_has_sockets_and_files_and_no_more),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_memory_limit),
#endif
    };
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
           cmocka_run_group_tests(tests, NULL, NULL);
}
