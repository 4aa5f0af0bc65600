/* What a TLS client asks for before anybody has answered (RFC 8446 4.1.2): the name and the
 * protocols, for who has to choose a server for it. */
#pragma once

#include "lib/base/wire.h"

enum {
    CLIENT_HELLO_MAX = 16384, /* beyond that it is refused; those of browsers have 2 KiB */
    /* Of the stream until it is whole. Each record may bring a single byte of it. */
    CLIENT_HELLO_WIRE_MAX = 32768
};

struct client_hello {
    struct slice server_name;        /* as written (RFC 6066 3); empty: none */
    struct slice alpn;               /* the list as on the wire (RFC 7301 3.1); empty: none */
    uint8_t bytes[CLIENT_HELLO_MAX]; /* the message, put together: the slices point in here */
};

/* Does a stream begin as TLS does: with a handshake record of version 3.x? */
enum parse client_hello_begins(struct slice in);
/* The ClientHello at the head of `in`, over as many records as it has. PARSE_BAD also for what
 * is too long. Nothing is checked that the choice does not need. */
enum parse client_hello_read(struct slice in, struct client_hello *out);
bool client_hello_offers(const struct client_hello *h, const char *protocol);
