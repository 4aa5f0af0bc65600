/* Bandwidth: what an allocation, its user and all together may relay, each way by itself. */
#include "lib/turn/core.h"

enum {
    CHUNK_MIN = 1500,       /* bytes that a stream waits for: not one system call a byte ... */
    CHUNK_MAX = 16384,      /* ... and no long wait either */
    CHUNK_SHARE = 20,       /* a 20th of a second's */
    REPORT_EVERY_MS = 10000 /* for one allocation */
};

static const char *const names[TURN_BANDWIDTHS] = {
    [TURN_BANDWIDTH_ALLOC] = "bandwidth of the allocation",
    [TURN_BANDWIDTH_USER] = "bandwidth of the user",
    [TURN_BANDWIDTH_ALL] = "bandwidth in all",
};

static struct bucket *bucket_of(struct turn_server *s, struct alloc *a, size_t which,
                                bool is_to_peer)
{
    struct flow *flows[TURN_BANDWIDTHS] = {&a->flow, &a->user->flow, &s->flow};
    return is_to_peer ? &flows[which]->to_peer : &flows[which]->to_client;
}

static void take(struct turn_server *s, struct alloc *a, bool is_to_peer, size_t n)
{
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        bucket_take(bucket_of(s, a, i, is_to_peer), &s->cfg.bandwidth[i], s->now_ms, n);
    }
}

static void hold_back(struct turn_server *s, struct alloc *a, size_t which)
{
    s->stats.held_back[which]++;
    if (s->now_ms >= a->flow_report_ms) {
        a->flow_report_ms = s->now_ms + REPORT_EVERY_MS;
        report_put(s, "limit", names[which], a);
    }
}

bool flow_pass(struct turn_server *s, struct alloc *a, bool is_to_peer, size_t n)
{
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        struct bucket *b = bucket_of(s, a, i, is_to_peer);
        if (bucket_left(b, &s->cfg.bandwidth[i], s->now_ms) < n) {
            s->stats.packets_held_back++;
            hold_back(s, a, i);
            return false;
        }
    }
    take(s, a, is_to_peer, n);
    return true;
}

/* His place, or that of who has been away for longest. */
static struct flow_kept *place_of(struct turn_server *s, uint64_t who)
{
    struct flow_kept *set = s->flows_kept[who % FLOW_SETS], *oldest = set;
    for (size_t i = 0; i < FLOW_WAYS; i++) {
        if (set[i].who == who) {
            return &set[i];
        }
        oldest = set[i].at_ms < oldest->at_ms ? &set[i] : oldest;
    }
    return oldest;
}

static uint64_t who_is(const struct turn_server *s, const struct user *u)
{
    return siphash(s->tag_secret, slice_of(u->digest, sizeof u->digest));
}

void flow_keep(struct turn_server *s, const struct user *u)
{
    uint64_t who = who_is(s, u);
    *place_of(s, who) = (struct flow_kept){.who = who, .at_ms = s->now_ms, .flow = u->flow};
}

void flow_resume(struct turn_server *s, struct user *u)
{
    uint64_t who = who_is(s, u);
    const struct flow_kept *k = place_of(s, who);
    if (k->who == who) {
        u->flow = k->flow;
    }
}

static size_t chunk_of(const struct bandwidth *w)
{
    uint64_t n = w->bytes_per_s / CHUNK_SHARE;
    n = n < CHUNK_MIN ? CHUNK_MIN : n > CHUNK_MAX ? CHUNK_MAX : n;
    return n < w->burst ? (size_t)n : w->burst;
}

size_t turn_server_tcp_room(struct turn_server *s, uint64_t now_ms, turn_id peer_conn,
                            bool is_to_peer, uint64_t *again_ms)
{
    struct peer *p = pool_find(&s->peers, peer_conn);
    size_t room = SIZE_MAX, slowest = 0;
    *again_ms = now_ms;
    if (!p) {
        return room; /* what is left of it flows off */
    }
    s->now_ms = now_ms;
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        const struct bandwidth *w = &s->cfg.bandwidth[i];
        struct bucket *b = bucket_of(s, p->alloc, i, is_to_peer);
        uint64_t when_ms = bucket_when(b, w, now_ms, chunk_of(w));
        size_t left = bucket_left(b, w, now_ms);
        slowest = when_ms > *again_ms ? i : slowest;
        *again_ms = when_ms > *again_ms ? when_ms : *again_ms;
        room = left < room ? left : room;
    }
    if (*again_ms == now_ms) {
        return room;
    }
    hold_back(s, p->alloc, slowest);
    return 0;
}

void turn_server_tcp_took(struct turn_server *s, uint64_t now_ms, turn_id peer_conn,
                          bool is_to_peer, size_t n)
{
    struct peer *p = pool_find(&s->peers, peer_conn);
    if (p) {
        s->now_ms = now_ms;
        take(s, p->alloc, is_to_peer, n);
    }
}

bool turn_config_is_limited(const struct turn_config *cfg)
{
    bool is = false;
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        is |= cfg->bandwidth[i].bytes_per_s > 0;
    }
    return is;
}
