/* A datagram: its bytes, and what of its IP header travels with them. */
#pragma once

#include "lib/base/wire.h"

struct dgram_opts { /* all zero: as the system sends by itself */
    uint8_t tos;    /* DSCP and ECN: IPv4's TOS, IPv6's traffic class */
    uint8_t ttl;    /* or hop limit. 0: the system's own; received: not known */
    bool df;        /* not to be fragmented, on the way or here */
};

struct dgram {
    struct slice data;
    struct dgram_opts opts;
};

/* One of whose header nothing is known or wanted; so also a frame out of a stream. */
static inline struct dgram dgram_of(struct slice data)
{
    return (struct dgram){.data = data};
}
