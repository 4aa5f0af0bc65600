/* A service among others: notifications, and the way from root to somebody else. */
#include "io/daemon.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/text.h"

void daemon_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof at.sun_path || (*path != '/' && *path != '@')) {
        return;
    }
    memcpy(at.sun_path, path, len);
    if (*path == '@') {
        at.sun_path[0] = '\0'; /* an abstract one: its length counts, it has no end mark */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                     (const struct sockaddr *)&at, n);
        (void)close(fd);
    }
}

uint64_t daemon_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us = 0, who = 0;
    if (!usec || text_u64(slice_str(usec), UINT64_MAX, &us)) {
        return 0;
    }
    if (pid && (text_u64(slice_str(pid), INT32_MAX, &who) || who != (uint64_t)getpid())) {
        return 0;
    }
    return us / 2000;
}

const char *daemon_find_user(struct daemon_user *out, const char *text)
{
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len == 0 || len >= sizeof out->name) {
        return "must be USER or USER:GROUP";
    }
    memcpy(out->name, text, len);
    out->name[len] = '\0';
    const struct passwd *p = getpwnam(out->name);
    if (!p) {
        return "no such user; useradd --system makes one";
    }
    out->uid = p->pw_uid;
    out->gid = p->pw_gid;
    const struct group *g = colon ? getgrnam(colon + 1) : NULL;
    if (colon && !g) {
        return "no such group";
    }
    out->gid = g ? g->gr_gid : out->gid;
    return out->uid == 0 ? "must be another user than root" : NULL;
}

int daemon_become(const struct daemon_user *u)
{
    if (geteuid() == u->uid && getuid() == u->uid && getegid() == u->gid) {
        return OK; /* started as him already */
    }
    if (initgroups(u->name, u->gid) || setresgid(u->gid, u->gid, u->gid) ||
        setresuid(u->uid, u->uid, u->uid)) {
        return ERR_SYSTEM;
    }
    /* Were there a way back, all this would be for show. */
    if (setuid(0) == 0 || getuid() != u->uid || geteuid() != u->uid) {
        errno = EPERM;
        return ERR_SYSTEM;
    }
    return OK;
}
