/* What is said in one direction of a TCP connection: SIP, STUN, and behind RFC 4571 framing
 * STUN and media. Bytes go in as they come; messages come out, told in one line. */
#pragma once

#include "lib/stun/msg.h"

enum {
    HEARD_TEXT_MAX = 64
};

enum heard_what {
    HEARD_SIP,
    HEARD_STUN,        /* bare, as on a control connection */
    HEARD_FRAMED_STUN, /* a connectivity check or its answer */
    HEARD_MEDIA,       /* the first framed bytes that are not STUN; once */
    HEARD_OTHER        /* something else; once, and nothing after it */
};

struct heard {
    enum heard_what what;
    uint16_t method; /* STUN */
    enum stun_class cls;
    bool is_invite;  /* SIP: an INVITE, or an answer to one */
    uint16_t status; /* SIP: of a response; 0: a request */
    bool has_share;  /* SIP: the body offers or answers m=applicationsharing */
    bool has_relay;  /* SIP: the body has a relay candidate */
    char text[HEARD_TEXT_MAX];
};

struct ear {
    uint8_t *buf;
    size_t len;
    bool framed, media_told, deaf;
};

void ear_done(struct ear *e);
/* Takes some of `in` and moves it on. Call ear_next until false after it, and again while
 * there is something left. ERR_NOMEM. */
MUST_USE int ear_take(struct ear *e, struct slice *in);
bool ear_next(struct ear *e, struct heard *out);
/* Bytes are missing here: there is no telling where the next message begins. */
void ear_lost(struct ear *e);
