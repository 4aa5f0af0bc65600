/* The jail: resource limits and a system call filter, by libseccomp. */
#include "io/jail.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    MAX_FILES = 256 /* libraries make event descriptors; more than this is an attack */
};

/* Work on descriptors that are open, on memory that is ours, and on time. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(close),
    SCMP_SYS(fcntl),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(pipe2),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(madvise),
    SCMP_SYS(mremap),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrusage),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* What libraries try in passing, and can do without. */
static const int denied[] = {
    SCMP_SYS(open),       SCMP_SYS(openat),    SCMP_SYS(openat2),    SCMP_SYS(creat),
    SCMP_SYS(stat),       SCMP_SYS(lstat),     SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getcwd),    SCMP_SYS(uname),      SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),    SCMP_SYS(unlink),    SCMP_SYS(unlinkat),   SCMP_SYS(socket),
    SCMP_SYS(socketpair), SCMP_SYS(connect),   SCMP_SYS(bind),       SCMP_SYS(prctl),
    SCMP_SYS(sysinfo),    SCMP_SYS(ioctl),
};

static int limit(__rlimit_resource_t what, rlim_t max)
{
    const struct rlimit r = {.rlim_cur = max, .rlim_max = max};
    return setrlimit(what, &r) ? ERR_SYSTEM : 0;
}

static int set_limits(const struct jail *j)
{
    int err = limit(RLIMIT_CORE, 0);
    err = err ? err : limit(RLIMIT_NOFILE, MAX_FILES);
    if (!err && j->max_memory > 0) {
        err = limit(RLIMIT_AS, (rlim_t)j->max_memory);
    }
    if (!err && j->max_cpu_s > 0) {
        err = limit(RLIMIT_CPU, (rlim_t)j->max_cpu_s);
    }
    return err;
}

static int add_threads(scmp_filter_ctx f)
{
    /* A filter cannot see clone3's flags; without it the C library falls back to clone. */
    int bad = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    return bad;
}

/* New memory may be read and written, never executed. */
static int add_memory_rules(scmp_filter_ctx f)
{
    int bad = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return bad | seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int add_rules(scmp_filter_ctx f, const struct jail *j)
{
    int bad = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    }
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        bad |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
    }
    bad |= add_memory_rules(f);
    if (j->may_make_threads) {
        bad |= add_threads(f);
    }
    return bad;
}

int jail_enter(const struct jail *j)
{
    int err = ERR_SYSTEM;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!f) {
        return ERR_NOMEM;
    }
    /* The threads there are already are locked in as well. */
    if (add_rules(f, j) || seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) {
        goto out;
    }
    /* After the filter is built, as that needs memory; before it locks setrlimit away. */
    err = set_limits(j);
    if (!err && seccomp_load(f)) {
        err = ERR_SYSTEM;
    }
out:
    seccomp_release(f);
    return err;
}

/* Beside `allowed`: what sockets, files, databases' libraries and the resolver need. */
static const int server_allowed[] = {
    SCMP_SYS(accept4),
    SCMP_SYS(bind),
    SCMP_SYS(connect),
    SCMP_SYS(listen),
    SCMP_SYS(getpeername),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(timerfd_gettime),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(getdents),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(flock),
    SCMP_SYS(dup),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getppid),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(times),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(clock_getres),
    SCMP_SYS(membarrier),
    SCMP_SYS(tgkill),
#ifdef __SANITIZE_ADDRESS__
    /* The leak check at the end looks at the process from a clone of it. */
    SCMP_SYS(ptrace),
    SCMP_SYS(clone),
    SCMP_SYS(wait4),
    SCMP_SYS(kill),
    SCMP_SYS(prctl),
    SCMP_SYS(prlimit64),
#endif
};

/* Nothing of ours asks for these by mistake. */
static const int server_fatal[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(bpf),
    SCMP_SYS(mount),
    SCMP_SYS(pivot_root),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
#ifndef __SANITIZE_ADDRESS__
    SCMP_SYS(ptrace),
#endif
};

static int add_server_rules(scmp_filter_ctx f)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
    static const unsigned long requests[] = {FIONBIO, FIONREAD};
    int bad = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    }
    for (size_t i = 0; i < sizeof server_allowed / sizeof *server_allowed; i++) {
        bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, server_allowed[i], 0);
    }
    for (size_t i = 0; i < sizeof server_fatal / sizeof *server_fatal; i++) {
        bad |= seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, server_fatal[i], 0);
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                (struct scmp_arg_cmp){.arg = 0,
                                                      .op = SCMP_CMP_EQ,
                                                      .datum_a = (scmp_datum_t)families[i]});
    }
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        bad |= seccomp_rule_add(
            f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
            (struct scmp_arg_cmp){.arg = 1, .op = SCMP_CMP_EQ, .datum_a = requests[i]});
    }
    return bad;
}

int jail_enter_server(void)
{
    int err = ERR_SYSTEM;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!f) {
        return ERR_NOMEM;
    }
    bool ok = !add_server_rules(f) && !add_memory_rules(f) && !add_threads(f) &&
              !seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1) &&
              prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
#ifndef __SANITIZE_ADDRESS__
    ok = ok && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
#endif
    if (ok && limit(RLIMIT_CORE, 0) == OK && seccomp_load(f) == 0) {
        err = OK;
    }
    seccomp_release(f);
    return err;
}
