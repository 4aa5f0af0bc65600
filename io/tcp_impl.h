/* A TCP stream from the inside: shared by tcp.c, tcp_listen.c and tcp_pipe.c. */
#pragma once

#include "io/loop_impl.h"
#include "io/tcp.h"

enum {
    TCP_IN_SLACK = 36 * 1024, /* what a filter may give at once, beyond TCP_IN_MAX */
    TCP_IN_CAP = TCP_IN_MAX + TCP_IN_SLACK
};

struct tcp {
    struct loop *loop;
    int fd;
    struct loop_fd *ready;
    struct loop_timer *timer; /* connecting, or closing once all is sent; else NULL */
    struct loop_task later, at_end;
    struct tcp_events ev;
    void *ctx;
    struct tcp_pipe *pipe;           /* gets the events instead */
    const struct tcp_filter *filter; /* NULL: none */
    void *filter_ctx;
    struct addr peer;
    bool connecting, started, paused, give_again;
    bool eof;      /* the peer's FIN was read */
    bool said_end; /* `ended` was called */
    bool want_fin; /* ours goes out after the queue ... */
    bool fin;      /* ... and has */
    bool full;     /* between TCP_OUT_HIGH and TCP_OUT_LOW */
    bool lingers;  /* nobody's any more, but its queue still goes out */
    bool failed;   /* `sys_errno` says why; `closed` is due */
    bool dead;     /* freed once the loop is back */
    int sys_errno;
    size_t read_max;  /* bytes of one read; 0: what there is room for */
    bool is_readable; /* so the loop said, and nobody has read since; for a pipe */
    uint8_t *in; /* TCP_IN_CAP bytes while something is held, else NULL */
    size_t in_len;
    uint8_t *out; /* the queue: out_len bytes from out_at */
    size_t out_at, out_len, out_cap;
};

/* Takes over `fd`, also when it fails. */
MUST_USE int tcp_wrap(struct tcp **out, struct loop *l, int fd, const struct addr *peer);
void tcp_watch(struct tcp *t); /* for what the stream can use now */
void tcp_fail(struct tcp *t, int sys_errno);

/* True when the connection stands; sets `failed` when it came to nothing. */
bool tcp_connect_ended(struct tcp *t);
/* Sends from the queue, then FIN when that is wanted. */
void tcp_flush(struct tcp *t);
/* Sends what goes; `sent` is 0 when the kernel has no room or the stream has failed. A filter
 * takes all: what does not go is queued. */
void tcp_send_now(struct tcp *t, struct slice head, struct slice body, size_t *sent);
/* Wire bytes past the queue, and behind it. */
void tcp_send_raw(struct tcp *t, struct slice head, struct slice body, size_t *sent);
MUST_USE int tcp_queue(struct tcp *t, struct slice head, struct slice body);
/* One read; false: nothing now, or a failure. `n` is 0 at the peer's FIN. */
bool tcp_read_raw(struct tcp *t, uint8_t *to, size_t room, size_t *n);
/* Nothing more will be read. */
void tcp_read_end(struct tcp *t);
/* One read behind what is held. False: nothing new, an end, or a failure. */
bool tcp_read_once(struct tcp *t, struct slice *all);
/* Keeps the bytes of `all` after the first `taken`. */
void tcp_keep(struct tcp *t, struct slice all, size_t taken);

/* tcp_filter.c: as tcp_send_now, tcp_read_raw and FIN do without one. */
void tcp_filter_send(struct tcp *t, struct slice head, struct slice body, size_t *sent);
bool tcp_filter_read(struct tcp *t, uint8_t *to, size_t room, size_t *n);
void tcp_filter_fin(struct tcp *t);

void tcp_pipe_event(struct tcp_pipe *p);
/* What a stream in a pipe waits for (LOOP_*). */
int tcp_pipe_wants(const struct tcp_pipe *p, const struct tcp *t);
