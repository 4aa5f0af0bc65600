/* Network namespaces without names: hosts of a laboratory inside one machine. They need root,
 * or a kernel that lets everybody make user namespaces, and are gone with the last process and
 * descriptor that holds them. */
#pragma once

#include "lib/base/addr.h"

enum {
    NETNS_NAME_MAX = 15 /* of an interface */
};

/* Takes the calling process out of the network namespace it is in, into an empty one, from
 * where it may make others. There is no way back for somebody who is not root, but sockets that
 * are open already stay what they are. Call before any thread is started. ERR_SYSTEM (errno
 * says why) when the kernel does not allow it. */
MUST_USE int netns_begin(void);

/* A new one, loopback up; the caller stays where he is and closes `fd`. */
MUST_USE int netns_new(int *fd);

/* Moves the calling thread; sockets it makes from now on are there. */
MUST_USE int netns_enter(int fd);

struct netns_end {
    int ns;
    const char *name; /* of the interface */
    struct addr ip;   /* IPv4 or IPv6 */
    uint8_t bits;     /* of its network */
};
/* A cable (veth pair) between two, both ends up. */
MUST_USE int netns_link(const struct netns_end *a, const struct netns_end *b);
/* A further address of an interface. */
MUST_USE int netns_addr(const struct netns_end *end);
MUST_USE int netns_route(int ns, const struct addr_net *to, const struct addr *via);

/* Tries a TCP connection from there, for at most `timeout_ms`. 0: accepted. ERR_NOTFOUND: there
 * is no route, by the kernel of that host itself. ERR_LIMIT: no answer in time. ERR_SYSTEM:
 * something else (errno), a refusal for one. Blocks: for laying things out, not for servers. */
MUST_USE int netns_try_connect(int ns, const struct addr *to, int timeout_ms);
