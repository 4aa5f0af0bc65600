/* All DTLS associations of a server: datagrams and the time go in, actions come out. One
 * instance belongs to one thread. */
#pragma once

#include "lib/base/addr.h"

#include "lib/tls/dtls.h"

struct dtls_server;

/* Names an association; never comes again. 0 names none. */
typedef uint64_t dtls_id;

struct dtls_server_config {
    uint32_t max;            /* associations, in all */
    uint32_t max_per_prefix; /* of one IPv4 address, or of one IPv6 /64 */
    uint32_t max_unfinished; /* of those, with a handshake that is not done */
    uint32_t handshake_ms;   /* it takes no longer, or it failed */
};

struct dtls_server_env {
    void (*random)(void *out, size_t len, void *ctx);
    dtls_id (*next_id)(void *ctx); /* for a new association */
    void *ctx;
};

enum dtls_do {
    DTLS_DO_SEND,  /* `bytes` from `local` to `client` */
    DTLS_DO_BEGIN, /* the association is up */
    DTLS_DO_PLAIN, /* `bytes` are a record's plain text */
    DTLS_DO_END    /* it is gone. id 0: one that was not let begin */
};

struct dtls_action {
    enum dtls_do what;
    dtls_id id;
    struct addr client, local;
    struct slice bytes;       /* good until the next call */
    struct slice server_name; /* PLAIN: that the client asked for (SNI); empty: none */
    const char *why;          /* END: good until the next call */
    bool has_begun;           /* END: DTLS_DO_BEGIN came before it */
};

MUST_USE int dtls_server_new(struct dtls_server **out, const struct dtls_server_config *cfg,
                             const struct dtls_server_env *env);
void dtls_server_free(struct dtls_server *s); /* NULL is fine; nobody is told */
/* For associations from now on; outlives the next call of this. NULL: no new ones. */
void dtls_server_set_context(struct dtls_server *s, struct tls_context *context);

/* Input. After each, dtls_server_next() until false; in between, nothing but seal and close.
 * `datagram` must last until then. */
void dtls_server_in(struct dtls_server *s, uint64_t now_ms, const struct addr *client,
                    const struct addr *local, struct slice datagram);
/* Handles one thing that fell due: again while the deadline is not after now. */
void dtls_server_tick(struct dtls_server *s, uint64_t now_ms);
uint64_t dtls_server_deadline_ms(const struct dtls_server *s);
bool dtls_server_next(struct dtls_server *s, struct dtls_action *out);

/* `head` and `body` as one record: `out` is the DTLS_DO_SEND of it. ERR_NOTFOUND: no such
 * association; ERR_LIMIT: longer than a record may be. */
MUST_USE int dtls_server_seal(struct dtls_server *s, dtls_id id, struct slice head,
                              struct slice body, struct dtls_action *out);
/* Ends it without a DTLS_DO_END. True: `out` is a farewell to be sent. */
bool dtls_server_close(struct dtls_server *s, dtls_id id, struct dtls_action *out);

struct dtls_server_info {
    dtls_id id;
    uint64_t seen_ms; /* when a record last came that was the client's */
    bool is_up;
};
/* Newest first: the one after `id`, which must be there; 0: the newest. False: no more. */
bool dtls_server_after(const struct dtls_server *s, dtls_id id, struct dtls_server_info *out);

struct dtls_server_stats {
    uint64_t associations;  /* now, with those whose handshake is not done */
    uint64_t begun_total;   /* handshakes done */
    uint64_t failed_total;  /* handshakes not done, and never will be */
    uint64_t verify_total;  /* clients asked for the cookie */
    uint64_t refused_total; /* clients with the cookie, because of a limit */
};
struct dtls_server_stats dtls_server_stats(const struct dtls_server *s);
