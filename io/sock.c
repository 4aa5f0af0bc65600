/* Sockets and their addresses. */
#include "io/sock.h"

#include <errno.h>
#include <unistd.h>

socklen_t sock_from_addr(union sock_addr *out, const struct addr *a)
{
    *out = (union sock_addr){.any = {0}};
    if (a->family == ADDR_IP4) {
        out->in4.sin_family = AF_INET;
        out->in4.sin_port = htons(a->port);
        memcpy(&out->in4.sin_addr, a->ip, 4);
        return sizeof out->in4;
    }
    if (a->family == ADDR_IP6) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(a->port);
        memcpy(&out->in6.sin6_addr, a->ip, 16);
        return sizeof out->in6;
    }
    return 0;
}

struct addr sock_to_addr(const union sock_addr *sa)
{
    struct addr a = {0};
    if (sa->sa.sa_family == AF_INET) {
        a.family = ADDR_IP4;
        a.port = ntohs(sa->in4.sin_port);
        memcpy(a.ip, &sa->in4.sin_addr, 4);
    } else if (sa->sa.sa_family == AF_INET6) {
        a.family = ADDR_IP6;
        a.port = ntohs(sa->in6.sin6_port);
        memcpy(a.ip, &sa->in6.sin6_addr, 16);
    }
    return a;
}

struct addr sock_local(int fd)
{
    union sock_addr sa = {.any = {0}};
    socklen_t len = sizeof sa;
    return getsockname(fd, &sa.sa, &len) ? (struct addr){0} : sock_to_addr(&sa);
}

struct addr sock_peer(int fd)
{
    union sock_addr sa = {.any = {0}};
    socklen_t len = sizeof sa;
    return getpeername(fd, &sa.sa, &len) ? (struct addr){0} : sock_to_addr(&sa);
}

void sock_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

int sock_new(int *out, uint8_t family, int type, const struct addr *at, bool share_port)
{
    union sock_addr sa;
    socklen_t len = at ? sock_from_addr(&sa, at) : 0;
    *out = -1;
    if (addr_ip_len(family) == 0 || (at && at->family != family)) {
        errno = EAFNOSUPPORT;
        return ERR_SYSTEM;
    }
    int af = family == ADDR_IP4 ? AF_INET : AF_INET6;
    int fd = socket(af, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ERR_SYSTEM;
    }
    if (af == AF_INET6) {
        sock_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    /* On UDP SO_REUSEADDR would let two sockets have one port unasked. */
    sock_option(fd, SOL_SOCKET, SO_REUSEADDR, type == SOCK_STREAM);
    sock_option(fd, SOL_SOCKET, SO_REUSEPORT, share_port);
    if (at && bind(fd, &sa.sa, len)) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    *out = fd;
    return OK;
}
