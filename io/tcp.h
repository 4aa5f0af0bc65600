/* TCP streams on the loop: accept, connect, read, write with back-pressure, and two joined. */
#pragma once

#include "lib/base/addr.h"

#include "io/loop.h"

struct tcp;
struct tcp_listener;
struct tcp_filter;

/* Called from the loop, never from inside a tcp_* call. After `closed` the stream is gone and
 * its pointer dead; tcp_close() frees it without calling anything. */
struct tcp_events {
    void (*connected)(struct tcp *t, void *ctx); /* of tcp_connect only */
    /* Returns how many bytes it took; the rest is given again, with more behind it, after the
     * next arrival or tcp_resume(). At most TCP_IN_MAX are held: then reading stops. */
    size_t (*data)(struct tcp *t, struct slice bytes, void *ctx);
    /* The peer sent FIN; writing still works. Comes when every byte was taken, or when an offer
     * was not touched (half a message): so who takes less for want of room must pause. */
    void (*ended)(struct tcp *t, void *ctx);
    void (*drained)(struct tcp *t, void *ctx); /* the write queue fell to the low mark */
    void (*closed)(struct tcp *t, int sys_errno, void *ctx); /* 0: FIN went both ways */
};

enum {
    TCP_IN_MAX = 65536 + 64,   /* one RFC 4571 or ChannelData frame of any size fits */
    TCP_OUT_HIGH = 256 * 1024, /* tcp_is_full() from here on ... */
    TCP_OUT_LOW = 64 * 1024,   /* ... until `drained` */
    TCP_OUT_MAX = 4 * 1024 * 1024
};

struct tcp_options {
    const struct addr *local; /* bind here first; NULL: the kernel chooses */
    bool share_port;          /* SO_REUSEPORT: a listener and connections from one port */
    uint32_t timeout_ms;      /* for connect; 0: the kernel's */
    int fd; /* tcp_listen: this one, which listens already, and is taken over; 0: none */
};

/* A listener that cannot accept for lack of descriptors pauses and tries again in a while. */
MUST_USE int tcp_listen(struct tcp_listener **out, struct loop *l, const struct addr *at,
                        const struct tcp_options *opt,
                        void (*accepted)(struct tcp *t, const struct addr *peer, void *ctx),
                        void *ctx);
void tcp_listener_free(struct tcp_listener *t);
struct addr tcp_listener_addr(const struct tcp_listener *t); /* with the port it got */

/* Starts to connect; `connected` or `closed` follows. */
MUST_USE int tcp_connect(struct tcp **out, struct loop *l, const struct addr *to,
                         const struct tcp_options *opt, const struct tcp_events *ev, void *ctx);
/* An accepted stream is silent until it is given its events. May come again, to hand the
 * stream to another owner: bytes held are given to the new one. */
void tcp_start(struct tcp *t, const struct tcp_events *ev, void *ctx);

/* Sends what it can now and queues a copy of the rest. ERR_LIMIT, and nothing is taken, when
 * the queue would pass TCP_OUT_MAX. Trouble with the socket shows as `closed`, later. */
MUST_USE int tcp_write(struct tcp *t, struct slice head, struct slice body);
bool tcp_is_full(const struct tcp *t);
/* `closed` with ETIMEDOUT comes once what was sent stays unacknowledged for this long, or the
 * peer's window shut: a host that lost its power says nothing. The kernel's own is 15 minutes.
 * Only who sends something now and then finds out. */
void tcp_give_up_after(struct tcp *t, uint32_t ms);
void tcp_pause(struct tcp *t);           /* stop reading: the peer's window closes */
void tcp_resume(struct tcp *t);          /* gives held bytes again, from the loop */
void tcp_shutdown(struct tcp *t);        /* FIN once the queue is out */
void tcp_close(struct tcp *t);           /* now, without waiting for the queue */
void tcp_close_when_sent(struct tcp *t); /* after the queue, at most 5 s later */
struct addr tcp_local(const struct tcp *t);
struct addr tcp_peer(const struct tcp *t);

/* What a stream's bytes pass through before and behind the socket (TLS): owner, queue, pipe and
 * half-close are as without. All of them get the `ctx` of tcp_set_filter. */
struct tcp_filter {
    int (*in)(void *ctx, struct slice wire); /* not OK: broken for good; may be empty, to ask */
    /* What `in` brought: at most its bytes and 18 KiB from before. */
    size_t (*read)(void *ctx, uint8_t *out, size_t cap);
    bool (*ended)(void *ctx); /* the peer said that nothing follows; FIN alone is a failure */
    int (*write)(void *ctx, struct slice plain);
    void (*fin)(void *ctx);         /* nothing follows from us; FIN comes behind it */
    struct slice (*out)(void *ctx); /* bytes for the wire, made by any of these */
    void (*out_done)(void *ctx, size_t n);
    void (*free)(void *ctx); /* with the stream, after `closed` */
};
/* Before the first byte is read, or from inside `data`, which then takes all it was offered and
 * hands it on as `first`. The stream owns `ctx` from here on. */
void tcp_set_filter(struct tcp *t, const struct tcp_filter *f, void *ctx, struct slice first);

/* Joins two streams for good: bytes held by either go over first, then both ways with bounded
 * buffers; half-close is carried through, and what one side sent before it broke still reaches
 * the other. Both streams belong to the pipe from here on; their
 * events are not called again. `done` is called once, after both are gone. */
struct tcp_pipe;
struct tcp_pipe_count {
    uint64_t a_to_b, b_to_a; /* bytes */
};
MUST_USE int tcp_pipe_new(struct tcp_pipe **out, struct tcp *a, struct tcp *b,
                          void (*done)(struct tcp_pipe *p, void *ctx), void *ctx);
/* How fast a pipe may go. Bytes that have to wait stay with their sender. */
struct tcp_pipe_limit {
    /* Bytes that may be read from `a`, or else from `b`, now; 0: not before `again_ms`. Asked
     * only when there is something to read. */
    size_t (*room)(bool from_a, uint64_t *again_ms, void *ctx);
    /* So many were read; over TLS up to a record more than there was room for. */
    void (*took)(bool from_a, size_t n, void *ctx);
    void *ctx;
};
/* Before the loop goes on after tcp_pipe_new. ERR_NOMEM: the pipe is as it was. */
MUST_USE int tcp_pipe_set_limit(struct tcp_pipe *p, const struct tcp_pipe_limit *limit);
struct tcp_pipe_count tcp_pipe_count(const struct tcp_pipe *p);
void tcp_pipe_close(struct tcp_pipe *p); /* frees it and both streams; `done` is not called */
