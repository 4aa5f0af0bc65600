/* UDP sockets on the loop, read and written in batches. */
#pragma once

#include "lib/base/addr.h"
#include "lib/base/dgram.h"

#include "io/loop.h"

struct udp;

struct udp_options {
    bool share_port;
};

/* `local` is the address the datagram came to (pktinfo), so that an answer leaves from it also
 * when the socket is bound to a wildcard address. */
typedef void udp_received(struct udp *u, const struct addr *from, const struct addr *local,
                          struct dgram datagram, void *ctx);

MUST_USE int udp_open(struct udp **out, struct loop *l, const struct addr *at,
                      const struct udp_options *opt, udp_received *fn, void *ctx);
void udp_close(struct udp *u);             /* allowed inside its own callback */
struct addr udp_addr(const struct udp *u); /* with the port it got */

/* Gathers head and body into one datagram. Datagrams are sent together before the loop waits;
 * one that the kernel has no room for is dropped, as UDP does. `local` may be NULL. */
void udp_send(struct udp *u, const struct addr *to, const struct addr *local, struct slice head,
              struct dgram body);
