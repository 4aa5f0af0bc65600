/* A Unix socket for the operator: lines come in, answers go out. Whoever may open the socket
 * may say anything, so lines, answers and connections are bounded all the same. */
#pragma once

#include <sys/types.h>

#include "io/loop.h"

struct ctl;
struct ctl_conn;

enum {
    CTL_LINE_MAX = 4096,     /* a longer line ends the connection */
    CTL_CONNS_MAX = 16,      /* at once; more are closed */
    CTL_OUT_MAX = 256 * 1024 /* of answers not yet read; more ends the connection */
};

struct ctl_peer { /* by SO_PEERCRED: who opened the connection */
    pid_t pid;
    uid_t uid;
};

struct ctl_config {
    const char *path;
    mode_t mode; /* of the socket: 0600, 0660 */
    /* Called with each line, without its end. Answers with ctl_write(), or not. */
    void (*line)(struct ctl_conn *c, const struct ctl_peer *who, struct slice line, void *ctx);
    void *ctx;
};

/* A socket that nobody serves any more is replaced. ERR_BADSTATE: somebody serves there;
 * ERR_SYSTEM with errno otherwise. */
MUST_USE int ctl_listen(struct ctl **out, struct loop *l, const struct ctl_config *cfg);
void ctl_free(struct ctl *c); /* NULL is fine; removes the socket as far as it may */
/* The whole text or nothing. */
void ctl_write(struct ctl_conn *c, struct slice text);
/* The socket belongs to this user and group from now on. ERR_SYSTEM with errno. */
MUST_USE int ctl_give(const struct ctl *c, uid_t uid, gid_t gid);

/* The other end, for a program that asks one thing and waits: sends `line`, and gives the
 * answer without its end, which the caller frees. ERR_SYSTEM with errno; ERR_LIMIT: it is too
 * long. */
MUST_USE int ctl_ask(const char *path, struct slice line, char **answer);
