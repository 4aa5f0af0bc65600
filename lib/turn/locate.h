/* From a URI to the servers it means, one after the other (RFC 5928 for TURN, RFC 8489 8 for
 * STUN; DTLS as RFC 7350 adds it). No DNS in here: queries come out, answers go in. */
#pragma once

#include "lib/base/dns.h"

#include "lib/turn/uri.h"

struct locate;

enum {
    LOCATE_WAYS_MAX = 4
};

struct locate_config {
    struct turn_uri uri;
    enum turn_way ways[LOCATE_WAYS_MAX]; /* that the client can use, the best one first */
    size_t n_ways;
    void (*random)(void *out, size_t len, void *ctx); /* for weights of SRV records */
    void *ctx;
};

enum locate_do {
    LOCATE_QUERY,  /* answer locate_answer(), then ask for the next action */
    LOCATE_SERVER, /* try `server` by `way`; if that fails, ask for the next action */
    LOCATE_END     /* there are no more */
};

struct locate_action {
    enum locate_do what;
    enum dns_type type;
    const char *name; /* good until the next call */
    struct addr server;
    enum turn_way way;
};

/* ERR_UNSUPPORTED when the client can use none of the ways that the URI leaves. */
MUST_USE int locate_new(struct locate **out, const struct locate_config *cfg);
void locate_free(struct locate *l); /* NULL is fine */
void locate_next(struct locate *l, struct locate_action *out);
/* To the query that is out: none, when there are no such records or they cannot be had. */
void locate_answer(struct locate *l, const struct dns_record *records, size_t n);
