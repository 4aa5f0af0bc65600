/* One captured packet: its link, IP, and TCP or UDP headers, checked. */
#pragma once

#include "lib/base/addr.h"

/* Link types, with the numbers of the pcap file format. */
enum packet_link {
    PACKET_LINK_NULL = 0,
    PACKET_LINK_ETHERNET = 1,
    PACKET_LINK_RAW_LIVE = 12, /* what libpcap on Linux calls 101 on a live device */
    PACKET_LINK_RAW = 101,
    PACKET_LINK_SLL = 113, /* Linux "any" */
    PACKET_LINK_SLL2 = 276
};

enum packet_proto {
    PACKET_TCP = 6,
    PACKET_UDP = 17
};

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10
};

struct packet {
    struct addr from, to;
    enum packet_proto proto;
    uint32_t seq, ack; /* TCP */
    uint16_t window;   /* TCP, not scaled */
    uint8_t flags;     /* TCP_* */
    struct slice payload;
    size_t cut; /* bytes of payload that the capture left out (snap length) */
};

/* A view over `frame`, a packet as captured on a link of type `link`. ERR_UNSUPPORTED: not
 * TCP or UDP over IP, or a fragment, or a link type that is not in the list; ERR_SHORT,
 * ERR_MALFORMED: headers cut off or contradicting each other. */
MUST_USE int packet_parse(struct packet *out, int link, struct slice frame);
