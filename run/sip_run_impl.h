/* What run/sip_run.c and run/sip_run_flow.c share; nobody else includes this. */
#pragma once

#include "lib/sip/stream.h"
#include "lib/tls/tls.h"

#include "io/tcp.h"
#include "io/udp.h"
#include "run/sip_run.h"

enum {
    FLOW_CONNECT_MS = 10000,
    FLOW_PLAIN_MAX = SIP_HEAD_MAX + SIP_BODY_MAX,
    FLOW_EVENTS_PER_S = 20 /* log lines a peer can cause */
};

struct flow {
    struct sip_run *r;
    struct sip_flow_info info;
    uint32_t gen;
    bool used;
    const char *doom; /* a literal: why it is to be closed; NULL: it lives */
    struct tcp *tcp;
    struct udp *udp; /* a listener's; NULL for connections */
    struct tls *tls;
    uint8_t *plain; /* TLS: decrypted, not whole yet; FLOW_PLAIN_MAX bytes */
    size_t n_plain;
    uint64_t last_ms; /* when something was heard */
    bool has_spoken;  /* at least one message, or keep-alive, has come */
};

struct listener {
    struct sip_run *r;
    enum sip_transport transport;
    struct tcp_listener *tcp;
    struct udp *udp;
};

struct sip_run {
    struct loop *loop;
    struct sip_run_config cfg;
    struct sip_ua *ua;
    struct tls_context *tls;
    struct listener listeners[SIP_LISTEN_MAX];
    /* max_flows connections, then as many UDP remotes: neither crowds out the other */
    struct flow *flows;
    struct loop_timer *timer, *idle_timer;
    struct loop_idle *reaper;
    struct log_limit limit;
    bool draining;
};

extern const char *const sip_transport_names[];

/* sip_run.c: one whole message; its actions are carried out before this returns. */
MUST_USE int run_feed(struct sip_run *r, struct flow *f, struct slice message);
void run_drain(struct sip_run *r);

/* sip_run_flow.c */
struct flow *flow_get(struct sip_run *r, sip_flow id); /* NULL: it is gone */
void flow_send(struct flow *f, struct slice bytes);
/* To be closed from the loop: `why` is a literal. */
void flow_doom(struct flow *f, const char *why);
void flow_accepted(struct tcp *t, const struct addr *peer, void *listener);
void flow_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                   struct dgram datagram, void *listener);
/* An open connection to `to`, or a new one; `name` is what its certificate must say. */
MUST_USE int flow_to(struct sip_run *r, const struct addr *to, enum sip_transport transport,
                     struct slice name, struct flow **out);
void flow_reap(void *run);
void flow_idle_check(void *run);
void flow_free_all(struct sip_run *r);
