/* Sockets and their addresses, for the files of io/. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/base/addr.h"

union sock_addr {
    struct sockaddr sa;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    struct sockaddr_storage any;
};

/* Bytes of the address in `out`; 0 when `a` has no family. */
socklen_t sock_from_addr(union sock_addr *out, const struct addr *a);
struct addr sock_to_addr(const union sock_addr *sa);
struct addr sock_local(int fd);
struct addr sock_peer(int fd);

/* Non-blocking, close-on-exec, IPv6 without IPv4; bound to `at` unless that is NULL.
 * ERR_SYSTEM with errno. */
MUST_USE int sock_new(int *out, uint8_t family, int type, const struct addr *at,
                      bool share_port);
void sock_option(int fd, int level, int name, int value); /* best effort */
