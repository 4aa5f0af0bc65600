/* Carries a byte stream as RTP x-data ([MS-RTASPF]): between a descriptor (one end of a stream
 * socket, the RDP side) and packets on an ICE path. Payloads are slices of the stream, cut
 * anywhere. Nothing is dropped: what cannot go on holds back the side it comes from. */
#pragma once

#include "lib/rtp/rtp.h"

#include "io/loop.h"

struct xdata_run;

struct xdata_config {
    int fd; /* stays the caller's; non-blocking */
    uint8_t payload_type;
    /* One packet for the path. */
    int (*send)(struct slice packet, void *ctx);
    bool (*is_full)(void *ctx); /* the path takes no more now; xdata_drained() follows */
    void (*hold)(bool hold, void *ctx); /* stop or go on giving packets to xdata_packet() */
    void (*ended)(const char *why, void *ctx); /* the descriptor's side is over; once */
    void *ctx;
};

MUST_USE int xdata_run_new(struct xdata_run **out, struct loop *l,
                           const struct xdata_config *cfg);
void xdata_run_free(struct xdata_run *x); /* NULL is fine; not inside its callbacks */
/* ERR_MALFORMED: not RTP, or not this payload type; the packet is ignored. ERR_LIMIT: more came
 * than was asked for. */
MUST_USE int xdata_packet(struct xdata_run *x, struct slice packet);
void xdata_drained(struct xdata_run *x);

struct xdata_count {
    uint64_t in_bytes, out_bytes; /* of the stream: from and to the path */
    uint64_t in_packets, out_packets;
    uint64_t lost; /* sequence numbers left out by the peer: never, over TCP */
};
struct xdata_count xdata_run_count(const struct xdata_run *x);
