/* UDP sockets on the loop, read and written in batches. */
#pragma once

#include "lib/base/addr.h"
#include "lib/base/dgram.h"

#include "io/loop.h"

struct udp;

/* What ICMP said of a datagram that this socket sent, or our own kernel of one too big. Who
 * knows both addresses can forge one of the former. */
struct udp_error {
    struct addr to;     /* where that datagram was to go; port 0: not known */
    uint8_t type, code; /* ICMP's for IPv4, ICMPv6's for IPv6 */
    uint32_t mtu;       /* of those that were too big; else 0 */
};
typedef void udp_failed(struct udp *u, const struct udp_error *e, void *ctx);

struct udp_options {
    bool share_port;
    int fd; /* this one, which is bound already, and is taken over; 0: none */
    bool
        has_header; /* what comes says its TOS and TTL; IPv4 goes without DF unless asked for */
    uint32_t buffer; /* bytes that the kernel should hold, each way; 0: as the system has it */
    udp_failed *failed; /* NULL: nobody wants to know */
};

/* `local` is the address the datagram came to (pktinfo), so that an answer leaves from it also
 * when the socket is bound to a wildcard address. */
typedef void udp_received(struct udp *u, const struct addr *from, const struct addr *local,
                          struct dgram datagram, void *ctx);

MUST_USE int udp_open(struct udp **out, struct loop *l, const struct addr *at,
                      const struct udp_options *opt, udp_received *fn, void *ctx);
void udp_close(struct udp *u);             /* allowed inside its own callbacks */
struct addr udp_addr(const struct udp *u); /* with the port it got */
uint32_t udp_buffer(const struct udp *u);  /* what it got of udp_options.buffer; or 0 */
bool udp_can_df(void);                     /* does this system send with DF? */

/* Gathers head and body into one datagram. Datagrams are sent together before the loop waits;
 * one that the kernel has no room for is dropped, as UDP does, and so is one with DF where that
 * cannot be had. `local` may be NULL. */
void udp_send(struct udp *u, const struct addr *to, const struct addr *local, struct slice head,
              struct dgram body);
