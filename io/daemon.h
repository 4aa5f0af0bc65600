/* What a program owes to a service manager, and giving up root. */
#pragma once

#include <sys/types.h>

#include "lib/base/wire.h"

/* Tells systemd ("READY=1", "WATCHDOG=1", see sd_notify(3)) over NOTIFY_SOCKET. Without it, or
 * when nobody listens, nothing happens. */
void daemon_notify(const char *state);
/* How often systemd wants "WATCHDOG=1", in milliseconds: half of what it waits for. 0: never.
 */
uint64_t daemon_watchdog_ms(void);

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
