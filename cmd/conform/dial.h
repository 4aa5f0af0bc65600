/* Sockets for scripts: open, send, and wait with a deadline. Everything that comes in is kept
 * until the script looks at it. One dial belongs to one check at a time. */
#pragma once

#include "lib/base/dgram.h"

#include "lib/stun/msg.h"

#include "io/loop.h"

enum {
    DIAL_IN_MAX = 8 * 1024 * 1024, /* kept of one stream; then we stop reading */
    DIAL_TEXT_MAX = 768            /* REALM and NONCE, 763 at most (RFC 8489 14.9) */
};

struct frame { /* a datagram, or a message off a stream */
    struct frame *next;
    struct addr from; /* unset on a stream */
    struct dgram_opts opts;
    bool is_taken; /* somebody was waiting for it, and has it */
    int err;       /* of stun_parse; OK: `msg` is good */
    struct stun_msg msg;
    size_t len;
    uint8_t b[];
};

struct dial_text {
    uint8_t b[DIAL_TEXT_MAX];
    size_t len;
};

struct dial;

struct line { /* one socket of ours */
    struct dial *dial;
    struct line *next;
    struct udp *udp;
    struct tcp *tcp;
    struct tcp_listener *listener;
    struct line *listening; /* the listener that accepted it, until dial_accept() */
    struct addr local, remote;
    struct frame *frames, **frames_end;
    uint8_t *in; /* of a stream: what no frame was made of yet */
    size_t in_len, in_cap;
    bool is_open, has_ended, is_closed; /* a stream: connected; FIN came; gone */
    bool is_broken;                     /* what came can never become a message */
    bool has_alloc;                     /* to be given back when the check is over */
    struct dial_text realm, nonce;      /* of the server's challenge on this line */
};

MUST_USE int dial_new(struct dial **out);
void dial_free(struct dial *d);      /* NULL is fine */
void dial_close_all(struct dial *d); /* lines and frames are gone */

uint64_t dial_in(const struct dial *d, uint32_t ms); /* a deadline */
/* Waits for something to happen on any line; false when it is `deadline_ms`. */
bool dial_wait(struct dial *d, uint64_t deadline_ms);
void dial_pause(struct dial *d, uint32_t ms);

/* NULL: the system refused. `local` may have port 0; `remote` may be NULL. */
struct line *dial_udp(struct dial *d, const struct addr *local, const struct addr *remote);
struct line *dial_listen(struct dial *d, const struct addr *local);
/* NULL: not connected within `ms`. */
struct line *dial_tcp(struct dial *d, const struct addr *local, const struct addr *remote,
                      uint32_t ms);
struct line *dial_accept(struct dial *d, struct line *listener, uint32_t ms);

void line_send(struct line *l, struct slice bytes); /* to its remote address */
void line_send_to(struct line *l, const struct addr *to, struct slice bytes);
void line_finish(struct line *l); /* FIN */
void line_close(struct line *l);  /* its socket; what it received stays */
/* Makes one frame of what a stream has received; false: not a whole one there. */
bool line_deframe(struct line *l);
/* The local address that packets to `remote` leave from; family 0: no way there. */
struct addr dial_source(const struct addr *remote);
