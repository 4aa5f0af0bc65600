/* Packets from a network device, or from a capture file. */
#pragma once

#include "lib/base/wire.h"

#include "io/loop.h"

struct capture;

struct capture_packet {
    uint64_t at_us;     /* wall clock */
    int link;           /* link type, as in the pcap file format */
    struct slice bytes; /* good during the call */
    size_t wire_len;    /* longer than bytes when the snap length cut */
};

typedef void capture_fn(const struct capture_packet *p, void *ctx);

struct capture_options {
    const char *device;
    const char *filter;  /* in pcap's language (pcap-filter(7)); NULL: all */
    const char *save_to; /* also into this pcap file; NULL: nowhere */
};

/* Opens `device` of the network namespace that the calling thread is in, with whole packets;
 * `fn` (may be NULL) is called from the loop. ERR_SYSTEM: `why`, of CAPTURE_WHY_MAX bytes, says
 * it in words. */
enum {
    CAPTURE_WHY_MAX = 320
};
MUST_USE int capture_open(struct capture **out, struct loop *l,
                          const struct capture_options *opt, capture_fn *fn, void *ctx,
                          char *why);
/* Packets that came too fast to be taken. */
uint64_t capture_lost(const struct capture *c);
/* Takes what has arrived, so that nothing that happened before is missing from the file, and
 * writes the file out. `fn` is called from within. */
void capture_flush(struct capture *c);
/* Flushes and closes; `fn` is not called any more. NULL is fine. */
void capture_close(struct capture *c);

/* All packets of a file. ERR_SYSTEM: `why` says what is wrong with it. */
MUST_USE int capture_read_file(const char *path, capture_fn *fn, void *ctx, char *why);
