/* The first two datagrams of DTLS, answered from what they say alone: until a client has shown
 * that it gets what is sent to its address, nothing about it is kept (RFC 6347 4.2.1). */
#pragma once

#include "lib/base/addr.h"

enum {
    DTLS_RANDOM_LEN = 32,
    DTLS_COOKIE_LEN = 20,
    DTLS_VERIFY_LEN = 13 + 12 + 3 + DTLS_COOKIE_LEN, /* record, message, body */
    DTLS_COOKIE_S = 30 /* a cookie is good for this long at least, and for less than twice */
};

/* A ClientHello's first fragment, or all of it. Slices of the datagram. */
struct dtls_hello {
    struct slice random, cookie; /* cookie: may be empty */
    uint64_t record_seq;         /* with its epoch, which is 0 */
    uint16_t message_seq;
    size_t record_len; /* of the first record, with its head; others may follow */
};

enum dtls_knock {
    DTLS_NO_HELLO, /* something else: for an association, if there is one */
    DTLS_VERIFY,   /* send `out` there and forget about it */
    DTLS_PROVEN,   /* the address has the cookie that we sent to it */
    DTLS_STRAY     /* a ClientHello that leads to nothing: dropped */
};

/* Could the datagram be DTLS at all (RFC 7983 7)? */
static inline bool dtls_is_record(struct slice datagram)
{
    return datagram.len > 0 && datagram.p[0] >= 20 && datagram.p[0] <= 63;
}

/* ERR_UNSUPPORTED: not a ClientHello. ERR_MALFORMED: a broken one, or one whose first fragment
 * ends before its cookie. */
MUST_USE int dtls_hello_parse(struct dtls_hello *out, struct slice datagram);

struct dtls_door {         /* where it knocks, and from where */
    const uint8_t *secret; /* 32 bytes */
    struct addr client, local;
    uint64_t now_ms;
};

/* `h` is what was read, whenever there is something. `out` is written for DTLS_VERIFY only, and
 * is never longer than the datagram. */
enum dtls_knock dtls_door_knock(const struct dtls_door *door, struct slice datagram,
                                struct dtls_hello *h, uint8_t out[DTLS_VERIFY_LEN]);
