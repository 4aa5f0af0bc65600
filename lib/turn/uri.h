/* URIs of TURN and STUN servers (RFC 7065, RFC 7064): "turn:relay.example.org",
 * "turns:192.0.2.1:443?transport=tcp", "stun:[2001:db8::1]". */
#pragma once

#include "lib/base/addr.h"

enum {
    TURN_URI_HOST_MAX = 253, /* bytes of a DNS name as text (RFC 1035 3.1) */
    TURN_PORT = 3478,
    TURNS_PORT = 5349 /* of turns: and stuns: */
};

/* What goes between client and server. */
enum turn_way {
    TURN_WAY_NONE,
    TURN_WAY_UDP,
    TURN_WAY_TCP,
    TURN_WAY_TLS,
    TURN_WAY_DTLS /* RFC 7350 */
};

struct turn_uri {
    bool is_stun, is_secure;
    struct addr ip;                   /* family ADDR_NONE: `host` is a name */
    char host[TURN_URI_HOST_MAX + 1]; /* as written, in lower case, without brackets */
    uint16_t port;                    /* 0: not given, see turn_uri_port() */
    enum turn_way way;                /* TURN_WAY_NONE: not given */
};

/* ERR_MALFORMED, or ERR_UNSUPPORTED for what is right and cannot be used here (another
 * transport, a host that is no DNS name). Then `why` is a literal that says what is wrong. */
MUST_USE int turn_uri_parse(struct turn_uri *out, struct slice text, const char **why);
/* The one given, or the scheme's. */
uint16_t turn_uri_port(const struct turn_uri *u);
/* As turn_uri_parse reads it. */
void turn_uri_put(struct wr *w, const struct turn_uri *u);
