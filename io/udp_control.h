/* Control messages: what goes with a UDP datagram through the kernel's door beside its bytes.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "io/udp.h"

enum {
    UDP_CONTROL_MAX =
        CMSG_SPACE(sizeof(struct in6_pktinfo)) + 3 * CMSG_SPACE(sizeof(int)) /* sent: all */
};

struct udp_control {
    _Alignas(struct cmsghdr) uint8_t room[UDP_CONTROL_MAX];
    size_t len;
};

/* From `local` (NULL: wherever the kernel wants), with that header. */
void udp_control_put(struct udp_control *k, uint8_t family, const struct addr *local,
                     const struct dgram_opts *opts);
/* Changes what the messages speak of and leaves the rest alone. */
void udp_control_get(struct msghdr *m, struct addr *local, struct dgram_opts *opts);
/* Takes the next one off the error queue: ERR_NOTFOUND, there is none; ERR_MALFORMED, it says
 * nothing about a datagram of ours. */
MUST_USE int udp_control_error(int fd, struct udp_error *out);
