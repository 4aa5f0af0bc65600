/* One capture, one reassembly, and two ears a connection, for each leg. */
#include "cmd/causeway/watch.h"

#include <stdlib.h>

#include "lib/flow/tcp.h"

#include "io/capture.h"
#include "io/netns.h"

enum {
    CONNS_MAX = 64, /* a leg */
    HELD_MAX = 4 * 1024 * 1024,
    PARTS_MAX = 1024,
    QUEUE_MAX = 128 /* messages of one turn of the loop, to be put in order */
};

/* What is told of each leg: the rest is the same bytes as elsewhere. */
enum {
    TELL_OPENING = 1,
    TELL_SIP = 2,
    TELL_STUN = 4,
    TELL_FRAMED = 8
};
static const unsigned told[LEG_COUNT] = {
    [LEG_INSIDE] = TELL_SIP | TELL_STUN,
    [LEG_OUTSIDE] = TELL_OPENING,
    [LEG_SIP] = TELL_SIP,
    [LEG_MEDIA] = TELL_OPENING | TELL_STUN | TELL_FRAMED,
};

struct tap {
    struct watch *watch;
    enum leg leg;
    struct capture *capture;
    struct flow *flow;
    struct ear ears[CONNS_MAX][2];
};

struct watch {
    struct tap taps[LEG_COUNT];
    watch_fn *fn;
    void *ctx;
    struct loop_idle *idle;
    struct watched queue[QUEUE_MAX]; /* by time */
    size_t n_queued;
};

static unsigned kind_of(const struct watched *w)
{
    if (w->is_opening) {
        return TELL_OPENING;
    }
    switch (w->heard.what) {
    case HEARD_SIP: return TELL_SIP;
    case HEARD_STUN: return TELL_STUN;
    case HEARD_FRAMED_STUN:
    case HEARD_MEDIA: return TELL_FRAMED;
    case HEARD_OTHER: return 0;
    }
    return 0;
}

static void tell_queued(void *ctx)
{
    struct watch *w = ctx;
    size_t n = w->n_queued;
    w->n_queued = 0;
    for (size_t i = 0; i < n; i++) {
        w->fn(&w->queue[i], w->ctx);
    }
}

/* The legs are read one after the other; what is told should be in the order it happened. */
static void queue(struct watch *w, const struct watched *m)
{
    if (w->n_queued == QUEUE_MAX) {
        tell_queued(w);
    }
    size_t i = w->n_queued++;
    for (; i > 0 && w->queue[i - 1].at_us > m->at_us; i--) {
        w->queue[i] = w->queue[i - 1];
    }
    w->queue[i] = *m;
    loop_idle_arm(w->idle);
}

static void tell(struct tap *t, const struct flow_event *e, const struct heard *h)
{
    struct watched w = {.at_us = e->at_us,
                        .leg = t->leg,
                        .from = net_host_of(&e->from),
                        .to = net_host_of(&e->to),
                        .from_port = e->from.port,
                        .to_port = e->to.port,
                        .is_opening = h == NULL};
    if (h) {
        w.heard = *h;
    }
    bool has_ends = w.from != HOST_COUNT && w.to != HOST_COUNT && w.from != w.to;
    if (has_ends && (kind_of(&w) & told[t->leg])) {
        queue(t->watch, &w);
    }
}

static void hear(struct tap *t, const struct flow_event *e)
{
    struct ear *ear = &t->ears[e->slot][e->dir];
    struct slice rest = e->bytes;
    struct heard h;
    while (rest.len > 0) {
        size_t before = rest.len;
        if (ear_take(ear, &rest) != 0) {
            return; /* no memory: the ladder has a hole, the demo goes on */
        }
        while (ear_next(ear, &h)) {
            tell(t, e, &h);
        }
        if (rest.len == before) {
            ear_lost(ear); /* a message that never ends */
        }
    }
}

static void take_event(struct tap *t, const struct flow_event *e)
{
    struct ear *pair = t->ears[e->slot];
    switch (e->what) {
    case FLOW_OPENED: tell(t, e, NULL); break;
    case FLOW_DATA: hear(t, e); break;
    case FLOW_GAP: ear_lost(&pair[e->dir]); break;
    case FLOW_ENDED: break;
    case FLOW_CLOSED:
        ear_done(&pair[0]);
        ear_done(&pair[1]);
        break;
    }
}

static void captured(const struct capture_packet *p, void *ctx)
{
    struct tap *t = ctx;
    struct packet parsed;
    struct flow_event e;
    if (packet_parse(&parsed, p->link, p->bytes) != 0 ||
        flow_packet(t->flow, p->at_us, &parsed) != 0) {
        return;
    }
    while (flow_next(t->flow, &e)) {
        take_event(t, &e);
    }
}

static int open_tap(struct tap *t, struct loop *l, const struct net *net, const char *save_to,
                    char *why)
{
    enum host at;
    struct capture_options opt = {
        .device = net_leg_device(t->leg, &at), .filter = "tcp", .save_to = save_to};
    struct flow_config cfg = {
        .max_conns = CONNS_MAX, .max_held = HELD_MAX, .max_parts = PARTS_MAX};
    io_random(cfg.secret, sizeof cfg.secret);
    int err = flow_new(&t->flow, &cfg);
    err = err ? err : netns_enter(net->ns[at]);
    if (err) {
        return err;
    }
    err = capture_open(&t->capture, l, &opt, captured, t, why);
    int back = netns_enter(net->home);
    return err ? err : back;
}

int watch_new(struct watch **out, struct loop *l, const struct net *net,
              const char *save_media_to, watch_fn *fn, void *ctx, char *why)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w) {
        return ERR_NOMEM;
    }
    w->fn = fn;
    w->ctx = ctx;
    int err = loop_idle_new(&w->idle, l, tell_queued, w);
    for (size_t i = 0; i < LEG_COUNT && !err; i++) {
        w->taps[i].watch = w;
        w->taps[i].leg = (enum leg)i;
        err = open_tap(&w->taps[i], l, net, i == LEG_MEDIA ? save_media_to : NULL, why);
    }
    if (err) {
        watch_free(w);
        return err;
    }
    *out = w;
    return 0;
}

void watch_flush(struct watch *w)
{
    for (size_t i = 0; i < LEG_COUNT; i++) {
        capture_flush(w->taps[i].capture);
    }
    tell_queued(w);
}

uint64_t watch_lost(const struct watch *w)
{
    uint64_t n = 0;
    for (size_t i = 0; i < LEG_COUNT; i++) {
        n += capture_lost(w->taps[i].capture);
    }
    return n;
}

void watch_free(struct watch *w)
{
    if (!w) {
        return;
    }
    for (size_t i = 0; i < LEG_COUNT; i++) {
        struct tap *t = &w->taps[i];
        capture_close(t->capture);
        flow_free(t->flow);
        for (size_t c = 0; c < CONNS_MAX; c++) {
            ear_done(&t->ears[c][0]);
            ear_done(&t->ears[c][1]);
        }
    }
    loop_idle_free(w->idle);
    free(w);
}
