/* What a program owes to a service manager, and giving up root. */
#pragma once

#include <sys/types.h>

#include "lib/base/addr.h"

/* Tells systemd ("READY=1", "WATCHDOG=1", see sd_notify(3)) over NOTIFY_SOCKET. Without it, or
 * when nobody listens, nothing happens. */
void daemon_notify(const char *state);
/* How often systemd wants "WATCHDOG=1", in milliseconds: half of what it waits for. 0: never.
 */
uint64_t daemon_watchdog_ms(void);

enum {
    DAEMON_SOCKETS_MAX = 64,
    DAEMON_WHY_MAX = 256
};

struct daemon_socket { /* open, bound, and of a TCP one listening */
    int fd;
    bool is_tcp;
    struct addr at;
};

/* The sockets that a service manager opened for this process (LISTEN_FDS, see
 * sd_listen_fds(3)), made non-blocking; *n is 0 when there are none. They are the same whenever
 * it is asked. ERR_MALFORMED, and `why` says so in DAEMON_WHY_MAX bytes, when one of them is
 * nothing to serve on: `out` has DAEMON_SOCKETS_MAX places. */
MUST_USE int daemon_sockets(struct daemon_socket *out, size_t *n, char *why);
bool daemon_has_sockets(void); /* is there any? */

struct daemon_user {
    uid_t uid;
    gid_t gid;
    char name[64];
};

/* Looks up "USER" or "USER:GROUP". NULL: found; else what is wrong with it, a literal. */
const char *daemon_find_user(struct daemon_user *out, const char *text);
/* Becomes that user for good, with his groups and nothing of root's. ERR_SYSTEM with errno;
 * the caller must then give up. */
MUST_USE int daemon_become(const struct daemon_user *u);
