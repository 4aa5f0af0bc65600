/* A service among others: notifications, and the way from root to somebody else. */
#include "io/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/text.h"

#include "io/sock.h"

enum {
    FIRST_SOCKET = 3 /* SD_LISTEN_FDS_START */
};

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

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) ? -1 : value;
}

/* NULL, or what is wrong with it. */
static const char *take_socket(struct daemon_socket *s)
{
    int type = option_of(s->fd, SOL_SOCKET, SO_TYPE), flags = fcntl(s->fd, F_GETFL);
    s->at = sock_local(s->fd);
    s->is_tcp = type == SOCK_STREAM;
    if (type < 0 || flags < 0) {
        return "is no socket";
    }
    if (s->at.family == ADDR_NONE || s->at.port == 0 || (!s->is_tcp && type != SOCK_DGRAM)) {
        return "is no TCP or UDP socket with an address";
    }
    if (s->is_tcp && option_of(s->fd, SOL_SOCKET, SO_ACCEPTCONN) != 1) {
        return "does not listen: Accept= must be off";
    }
    if (s->at.family == ADDR_IP6 && addr_is_any(&s->at) &&
        option_of(s->fd, IPPROTO_IPV6, IPV6_V6ONLY) != 1) {
        return "takes IPv4 too: set BindIPv6Only=ipv6-only, and have one for each";
    }
    bool ok = fcntl(s->fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
              fcntl(s->fd, F_SETFD, FD_CLOEXEC) == 0;
    return ok ? NULL : "cannot be made non-blocking";
}

/* As FileDescriptorName= says. */
static struct slice socket_name(size_t n)
{
    struct slice left = slice_str(getenv("LISTEN_FDNAMES")), name = text_split(&left, ':');
    while (n-- > 0) {
        name = text_split(&left, ':');
    }
    return name.len > 0 ? name : slice_str("unnamed");
}

bool daemon_has_sockets(void)
{
    const char *fds = getenv("LISTEN_FDS"), *whose = getenv("LISTEN_PID");
    uint64_t pid;
    /* Of another process: left over from a parent. */
    return fds && strcmp(fds, "0") != 0 && whose &&
           text_u64(slice_str(whose), INT32_MAX, &pid) == OK && pid == (uint64_t)getpid();
}

int daemon_sockets(struct daemon_socket *out, size_t *n, char *why)
{
    uint64_t count;
    *n = 0;
    why[0] = '\0';
    if (!daemon_has_sockets()) {
        return OK;
    }
    if (text_u64(slice_str(getenv("LISTEN_FDS")), DAEMON_SOCKETS_MAX, &count)) {
        (void)snprintf(why, DAEMON_WHY_MAX, "LISTEN_FDS is not a number up to %d",
                       DAEMON_SOCKETS_MAX);
        return ERR_MALFORMED;
    }
    for (; *n < count; ++*n) {
        out[*n] = (struct daemon_socket){.fd = FIRST_SOCKET + (int)*n};
        const char *wrong = take_socket(&out[*n]);
        if (wrong) {
            struct slice name = socket_name(*n);
            (void)snprintf(why, DAEMON_WHY_MAX, "the inherited descriptor %d (%.*s) %s",
                           out[*n].fd, (int)(name.len < 64 ? name.len : 64),
                           (const char *)name.p, wrong);
            return ERR_MALFORMED;
        }
    }
    return OK;
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
