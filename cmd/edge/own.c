/* The addresses of this machine: all of them, and the one that faces the Internet. */
#include "cmd/edge/own.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static bool from_sockaddr(const struct sockaddr *sa, struct addr *out)
{
    *out = (struct addr){0};
    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        out->family = ADDR_IP4;
        memcpy(out->ip, &in.sin_addr, 4);
    } else if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        out->family = ADDR_IP6;
        memcpy(out->ip, &in6.sin6_addr, 16);
    }
    return out->family != ADDR_NONE;
}

bool own_add_all(struct edge_conf *e)
{
    struct ifaddrs *list = NULL;
    struct addr a;
    bool ok = getifaddrs(&list) == 0;
    for (const struct ifaddrs *i = list; i && ok; i = i->ifa_next) {
        ok = !from_sockaddr(i->ifa_addr, &a) || edge_conf_add_own(e, &a);
    }
    if (list) {
        freeifaddrs(list);
    }
    return ok;
}

/* Connecting a UDP socket sends nothing; it only asks for the way. Blocks for documentation
 * (RFC 5737, RFC 3849) are nowhere near, so that is the default route. */
bool own_find(uint8_t family, struct addr *out)
{
    const uint8_t ip4[4] = {203, 0, 113, 1};
    const uint8_t ip6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    struct sockaddr_storage own;
    socklen_t len = sizeof own;
    bool is_ip6 = family == ADDR_IP6, ok = false;
    memcpy(&in.sin_addr, ip4, sizeof ip4);
    memcpy(&in6.sin6_addr, ip6, sizeof ip6);
    const struct sockaddr *to =
        is_ip6 ? (const struct sockaddr *)&in6 : (const struct sockaddr *)&in;
    int fd = socket(to->sa_family, SOCK_DGRAM, 0);
    if (fd < 0) {
        return false;
    }
    if (connect(fd, to, is_ip6 ? sizeof in6 : sizeof in) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &len) == 0) {
        ok = from_sockaddr((const struct sockaddr *)&own, out) && !addr_is_any(out);
    }
    (void)close(fd);
    return ok;
}
