/* The two byte streams of each TCP connection, put together from captured packets: out of
 * order, sent again, overlapping (the copy that came first counts), and with holes where the
 * capture lost something. Bounded: a connection holds at most max_held bytes a direction. */
#pragma once

#include "lib/flow/packet.h"

struct flow;

enum flow_what {
    FLOW_OPENED, /* SYN seen, or a connection met in its middle */
    FLOW_DATA,   /* the next bytes of one direction */
    FLOW_GAP,    /* `lost` bytes of one direction were not captured */
    FLOW_ENDED,  /* FIN of one direction, after all its bytes */
    FLOW_CLOSED  /* both ended, reset, or pushed out by newer ones. The slot is free again */
};

struct flow_event {
    enum flow_what what;
    uint32_t slot;        /* < max_conns: for the caller's own table */
    uint8_t dir;          /* 0: from the side that opened it */
    struct addr from, to; /* of this direction; OPENED, CLOSED: of direction 0 */
    struct slice bytes;   /* DATA; good until the next call */
    uint64_t lost;        /* GAP */
    bool whole;           /* OPENED: from its SYN on */
    bool reset;           /* CLOSED: by RST */
    uint64_t at_us;       /* of the packet that brought it about */
};

struct flow_config {
    uint32_t max_conns;
    size_t max_held;    /* bytes a direction waits for a hole to be filled with */
    uint32_t max_parts; /* and in how many pieces */
    uint8_t secret[16]; /* keys the table: random */
};

MUST_USE int flow_new(struct flow **out, const struct flow_config *cfg);
void flow_free(struct flow *f);

/* One TCP packet, in the order captured; others are passed over. `p` and its bytes must live
 * until flow_next has said false. ERR_NOMEM: the packet was left out, and will show as a gap.
 */
MUST_USE int flow_packet(struct flow *f, uint64_t at_us, const struct packet *p);
/* Call until false after every packet. */
bool flow_next(struct flow *f, struct flow_event *out);
