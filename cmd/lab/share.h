/* The stand-in Skype client: shares its screen into a meeting, the way a client does: INVITE
 * with m=applicationsharing, ICE with a relay at the Skype Edge, a second offer, RDP. */
#pragma once

#include "lib/base/addr.h"

#include "io/log.h"
#include "io/loop.h"

struct lab_share;

enum {
    LAB_HOSTS_MAX = 8
};

struct lab_share_config {
    const struct log *log;
    struct addr proxy;     /* where SIP goes, TCP */
    const char *from, *to; /* "sip:alice@sfb.example", "sip:demo@meet.example" */
    struct addr relay;     /* the Skype Edge, family 0: none */
    struct slice relay_username, relay_password;
    struct addr host[LAB_HOSTS_MAX];
    size_t n_hosts;
    uint16_t width, height;
    const char
        *snapshot; /* where lab_share_freeze() writes what is shared, PNG; NULL: nowhere */
    void (*ended)(bool ok, void *ctx); /* last call; then lab_share_free() */
    void *ctx;
};

MUST_USE int lab_share_new(struct lab_share **out, struct loop *l,
                           const struct lab_share_config *cfg);
/* Stops the picture's movement, or lets it go on, and says in the log when it is saved. */
void lab_share_freeze(struct lab_share *s, bool frozen);
/* BYE, then `ended`. */
void lab_share_hangup(struct lab_share *s);
void lab_share_free(struct lab_share *s); /* NULL is fine; not inside `ended` */
