/* What a TURN dialect has to supply. The server sees only turn_req and turn_reply. */
#pragma once

#include "lib/stun/msg.h"
#include "lib/stun/stream.h"

enum turn_op {
    TURN_OP_BINDING,
    TURN_OP_ALLOCATE,
    TURN_OP_REFRESH,
    TURN_OP_PERMISSION,
    TURN_OP_CHANNEL,
    TURN_OP_CHANNEL_DATA, /* not STUN: `channel` and `data` only */
    TURN_OP_SEND,
    TURN_OP_CONNECT,
    TURN_OP_CONNECTION_BIND,
    TURN_OP_IGNORE /* indications and responses that ask for nothing */
};

/* A request in the server's own words. */
struct turn_req {
    enum turn_op op;
    struct stun_msg msg; /* unset for CHANNEL_DATA */
    struct addr peer;    /* the first one; CreatePermission looks up the others in `msg` */
    struct slice data, username, realm, nonce, ticket; /* ticket: MOBILITY-TICKET */
    struct slice token;                                /* ACCESS-TOKEN */
    struct slice userhash, algorithms;                 /* PASSWORD-ALGORITHMS as it came */
    uint8_t algorithm; /* enum stun_algorithm, of PASSWORD-ALGORITHM; NONE: not one we know */
    bool has_algorithm, has_algorithms;
    uint32_t lifetime_s;
    uint32_t connection_id;
    uint16_t channel;
    uint64_t reservation;      /* RESERVATION-TOKEN */
    uint8_t transport, family; /* of REQUESTED-TRANSPORT, REQUESTED-ADDRESS-FAMILY; 0: absent */
    uint8_t also_family;       /* of ADDITIONAL-ADDRESS-FAMILY */
    bool has_lifetime, has_integrity, has_connection_id, has_peer, has_data;
    bool even_port, reserve_next, has_reservation, dont_fragment, has_also_family, has_ticket;
};

/* Why there is no relay of this family, though it was asked for; code 0: nothing is missing. */
struct turn_missing {
    uint8_t family;
    uint16_t code;
};

struct turn_reply {
    uint16_t code;                        /* 0: success */
    const char *reason;                   /* a literal */
    struct addr relayed[2], mapped, peer; /* relayed: those that there are */
    struct turn_missing missing;
    const char *missing_reason; /* a literal */
    uint32_t lifetime_s;
    uint32_t connection_id;
    uint64_t reservation;
    struct slice nonce, realm, software, ticket;
    const struct addr *alternate[2]; /* other servers (RFC 8489 10), NULL: none */
    struct slice alternate_domain;
    struct slice algorithms;  /* enum stun_algorithm, offered with a nonce */
    struct slice third_party; /* goes with a nonce (RFC 7635 6.1) */
    bool has_lifetime, has_connection_id, has_reservation;
    struct addr origin, other; /* RESPONSE-ORIGIN, OTHER-ADDRESS */
    size_t padding;            /* at most, and no longer than the request is */
    bool is_terse; /* as short as the request permits: it may come from somebody else */
};

/* A peer's datagram on its way to the client. */
struct turn_data_head {
    const struct stun_tid *tid;
    const struct addr *peer;
    uint16_t channel; /* 0: a Data indication */
    size_t len;       /* of the data */
};

struct turn_icmp;

struct turn_dialect {
    const char *name;
    const struct stun_wire *wire;
    enum parse (*deframe)(struct slice in, struct slice *frame, size_t *used);
    /* 0, or the STUN error code to answer with. 1: not ours, drop it without an answer. */
    uint16_t (*read)(struct turn_req *out, struct slice frame);
    MUST_USE int (*write)(struct wr *w, const struct turn_req *req,
                          const struct turn_reply *reply, const struct stun_key *key);
    /* What goes before a peer's data: ChannelData's head or a Data indication's. `tail`: bytes
     * of padding after it; over UDP ChannelData does not need them. */
    MUST_USE int (*write_data_head)(struct wr *w, const struct turn_data_head *d, size_t *tail);
    /* ConnectionAttempt indication (RFC 6062 4.4); `key` as for write. */
    MUST_USE int (*write_attempt)(struct wr *w, const struct stun_tid *tid,
                                  const struct turn_reply *what, const struct stun_key *key);
    /* A Data indication that has an ICMP message in place of data (RFC 8656 11.5). */
    MUST_USE int (*write_icmp)(struct wr *w, const struct stun_tid *tid,
                               const struct addr *peer, const struct turn_icmp *what);
};
extern const struct turn_dialect turn_dialect_rfc8656;
extern const struct turn_dialect turn_dialect_rfc5780; /* the same, with NAT discovery */
