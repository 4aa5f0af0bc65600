/* Child processes on the loop: started with exactly the descriptors they are given, told apart
 * by pid, reaped, and never left behind when the parent dies. */
#pragma once

#include "io/loop.h"

struct child;

struct child_spec {
    const char *const *argv; /* argv[0] is the path; NULL ends it */
    const char *const *env;  /* "NAME=value", NULL ends it; NULL: the parent's */
    const int *fds;          /* become 3, 4, ... in the child; stay open in the parent */
    size_t n_fds;
    int netns_fd;    /* enter this network namespace first; -1: stay */
    const char *dir; /* working folder; NULL: the parent's */
    /* Lines of its stdout and stderr, without the end. NULL: they go where the parent's go. */
    void (*line)(struct child *c, bool is_stderr, struct slice line, void *ctx);
    /* Last call: `status` as waitpid gives it. The child is freed after it. */
    void (*exited)(struct child *c, int status, void *ctx);
    void *ctx;
};

/* ERR_SYSTEM when the program cannot be started at all (errno says why). The child gets SIGTERM
 * when the parent dies (PR_SET_PDEATHSIG). */
MUST_USE int child_start(struct child **out, struct loop *l, const struct child_spec *spec);
int child_pid(const struct child *c);
void child_kill(struct child *c, int signo);
/* SIGTERM now, SIGKILL after `grace_ms`; `exited` still comes. */
void child_stop(struct child *c, uint32_t grace_ms);
