/* IP transport addresses, networks, and what kind of address one is. */
#pragma once

#include "lib/base/wire.h"

enum {
    ADDR_NONE = 0,
    ADDR_IP4 = 1, /* the values of STUN's family byte (RFC 8489 14.1) */
    ADDR_IP6 = 2,
    ADDR_TEXT_MAX = 64 /* "[" 45 "]:" 5 and an end mark, with room to spare */
};

struct addr {
    uint8_t family; /* ADDR_* */
    uint8_t ip[16]; /* IPv4: the first four; the rest zero */
    uint16_t port;
};

struct addr_net {
    struct addr base; /* port unused */
    uint8_t bits;
};

/* Bytes of an address of `family`: 4, 16, or 0. */
size_t addr_ip_len(uint8_t family);
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_ip_eq(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a); /* 0.0.0.0 or :: */

/* "192.0.2.1", "192.0.2.1:3478", "2001:db8::1", "[2001:db8::1]:3478"; no names, no zones. */
MUST_USE int addr_parse(struct slice s, struct addr *out);
/* As addr_parse reads it; the port is left out when it is 0. `out` has ADDR_TEXT_MAX bytes. */
const char *addr_text(const struct addr *a, char *out);
/* The address alone. */
const char *addr_ip_text(const struct addr *a, char *out);

/* "10.0.0.0/8", "2001:db8::/32"; an address alone is a network of one. ERR_MALFORMED when
 * bits are set after the prefix: that is a mistake more often than a shorthand. */
MUST_USE int addr_net_parse(struct slice s, struct addr_net *out);
bool addr_net_has(const struct addr_net *net, const struct addr *a);

/* The IPv4 address an IPv6 one stands for: mapped (::ffff:0:0/96), compatible (::/96), NAT64
 * (64:ff9b::/96, 64:ff9b:1::/48), 6to4 (2002::/16), Teredo (2001::/32, its client), ISATAP
 * (::[0200]:5efe:a.b.c.d). False, and `out` a copy of `a`, when it stands for none. */
bool addr_embedded_ip4(const struct addr *a, struct addr *out);

/* The name of the special-purpose block `a` lies in ("loopback", "private", ...), looking
 * through every IPv4-in-IPv6 spelling; NULL for a public unicast address. */
const char *addr_special(const struct addr *a);
