/* TCP reassembly. One packet touches one direction of one connection, so what it brings about
 * is worked out step by step in flow_next and never queued. */
#include "lib/flow/tcp.h"

#include <stdlib.h>

#include "lib/base/map.h"

enum {
    END_LEN = 1 + 16 + 2,
    KEY_LEN = 2 * END_LEN,
    /* Nothing honest is further ahead than the largest window (RFC 7323 2.3). */
    AHEAD_MAX = 1 << 30
};

/* Bytes that came before those in front of them. */
struct part {
    struct part *next;
    uint32_t seq;
    uint32_t len;
    uint8_t bytes[];
};

struct half {
    bool known, has_isn; /* `next`, `isn` mean something */
    bool has_fin, ended; /* FIN seen; FIN reached and reported */
    uint32_t isn;
    uint32_t next; /* first byte not given out yet */
    uint32_t fin;
    struct part *held; /* by seq, not overlapping */
    size_t n_bytes;
    uint32_t n_parts;
};

struct conn {
    struct map_link link;
    uint8_t key[KEY_LEN];
    struct addr end[2];
    struct half half[2];
    bool used, told, whole, reset;
    uint64_t used_at; /* in packets */
};

struct flow {
    struct flow_config cfg;
    struct map map;
    struct conn *conns;
    struct part *lent; /* its bytes are the caller's until the next call */
    uint64_t n_packets, now_us;
    /* What the last packet still has to bring about. */
    bool has_ousted; /* a connection that had to make room */
    struct flow_event ousted;
    struct conn *cur;
    uint8_t dir;
    struct slice fresh; /* in order, not given out yet ... */
    size_t fresh_cut;   /* ... and what the capture left out behind it */
};

/* How far `a` is behind `b`, over the wrap of 32 bits; negative: before it. */
static int32_t seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

int flow_new(struct flow **out, const struct flow_config *cfg)
{
    struct flow *f = calloc(1, sizeof *f);
    if (!f) {
        return ERR_NOMEM;
    }
    f->cfg = *cfg;
    f->conns = calloc(cfg->max_conns, sizeof *f->conns);
    if (!f->conns || map_init(&f->map, cfg->max_conns, MAP_KEY(struct conn, link, key), KEY_LEN,
                              cfg->secret) != 0) {
        free(f->conns);
        free(f);
        return ERR_NOMEM;
    }
    *out = f;
    return 0;
}

static struct flow_event event_of(const struct flow *f, enum flow_what what,
                                  const struct conn *c, uint8_t dir)
{
    return (struct flow_event){.what = what,
                               .slot = (uint32_t)(c - f->conns),
                               .dir = dir,
                               .from = c->end[dir],
                               .to = c->end[dir ^ 1],
                               .at_us = f->now_us};
}

static void half_drop(struct half *h)
{
    while (h->held) {
        struct part *p = h->held;
        h->held = p->next;
        free(p);
    }
    h->n_bytes = h->n_parts = 0;
}

static void conn_drop(struct flow *f, struct conn *c)
{
    half_drop(&c->half[0]);
    half_drop(&c->half[1]);
    map_remove(&f->map, &c->link);
    c->used = false;
}

void flow_free(struct flow *f)
{
    if (!f) {
        return;
    }
    for (uint32_t i = 0; i < f->cfg.max_conns; i++) {
        if (f->conns[i].used) {
            conn_drop(f, &f->conns[i]);
        }
    }
    free(f->lent);
    map_done(&f->map);
    free(f->conns);
    free(f);
}

static uint8_t *put_end(uint8_t *at, const struct addr *a)
{
    *at++ = a->family;
    memcpy(at, a->ip, 16);
    at[16] = (uint8_t)(a->port >> 8);
    at[17] = (uint8_t)a->port;
    return at + 18;
}

/* The same key for both directions: the smaller end first. */
static void make_key(uint8_t key[KEY_LEN], const struct packet *p)
{
    uint8_t a[KEY_LEN / 2], b[KEY_LEN / 2];
    (void)put_end(a, &p->from);
    (void)put_end(b, &p->to);
    bool swap = memcmp(a, b, sizeof a) > 0;
    memcpy(key, swap ? b : a, sizeof a);
    memcpy(key + sizeof a, swap ? a : b, sizeof b);
}

/* A free slot, or the one that was quiet for longest. */
static struct conn *find_room(struct flow *f)
{
    struct conn *oldest = &f->conns[0];
    for (uint32_t i = 0; i < f->cfg.max_conns; i++) {
        struct conn *c = &f->conns[i];
        if (!c->used) {
            return c;
        }
        if (c->used_at < oldest->used_at) {
            oldest = c;
        }
    }
    return oldest;
}

static void conn_begin(struct flow *f, struct conn *c, const struct packet *p)
{
    bool from_server = (p->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
    *c = (struct conn){.used = true, .whole = (p->flags & TCP_SYN) != 0};
    make_key(c->key, p);
    c->end[from_server ? 1 : 0] = p->from;
    c->end[from_server ? 0 : 1] = p->to;
    map_add(&f->map, &c->link);
}

/* A SYN that is not the old connection's own, sent again: the ports are used anew. */
static bool starts_anew(const struct half *h, const struct packet *p)
{
    return (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && h->known &&
           !(h->has_isn && h->isn == p->seq);
}

/* Holds the bytes [seq, seq + s.len) back, which nobody else holds. */
static int hold_part(struct half *h, struct part **at, uint32_t seq, struct slice s)
{
    struct part *n = malloc(sizeof *n + s.len);
    if (!n) {
        return ERR_NOMEM;
    }
    n->seq = seq;
    n->len = (uint32_t)s.len;
    memcpy(n->bytes, s.p, s.len);
    n->next = *at;
    *at = n;
    h->n_bytes += s.len;
    h->n_parts++;
    return 0;
}

/* Holds back what is new in `s`; bytes that are held already stay as they came first. */
static int hold(struct half *h, uint32_t seq, struct slice s)
{
    struct part **at = &h->held;
    while (s.len > 0) {
        struct part *p = *at;
        if (p && seq_diff(seq, p->seq + p->len) >= 0) {
            at = &p->next;
            continue;
        }
        size_t n = s.len;
        if (p && seq_diff(p->seq, seq) < (int64_t)n) {
            n = seq_diff(p->seq, seq) > 0 ? (size_t)seq_diff(p->seq, seq) : 0;
        }
        if (n > 0) {
            int err = hold_part(h, at, seq, slice_of(s.p, n));
            if (err) {
                return err;
            }
            at = &(*at)->next;
        }
        size_t skip = n;
        if (p && n < s.len) { /* and over the part that is there */
            uint32_t end = p->seq + p->len;
            skip = (size_t)seq_diff(end, seq);
        }
        s = slice_from(s, skip);
        seq += (uint32_t)skip;
    }
    return 0;
}

static void take_flags(struct half *h, const struct packet *p, uint32_t seq)
{
    if (p->flags & TCP_SYN) {
        h->has_isn = true;
        h->isn = p->seq;
    }
    if (!h->known) {
        h->known = true;
        h->next = seq;
    }
    if ((p->flags & TCP_FIN) && !h->has_fin) {
        h->has_fin = true;
        h->fin = seq + (uint32_t)(p->payload.len + p->cut);
    }
}

static int take_packet(struct flow *f, struct half *h, const struct packet *p)
{
    uint32_t seq = p->seq + ((p->flags & TCP_SYN) ? 1 : 0);
    take_flags(h, p, seq);
    struct slice s = p->payload;
    int64_t ahead = seq_diff(seq, h->next);
    if (ahead < 0) { /* sent again; perhaps with something new behind it */
        s = slice_from(s, (size_t)-ahead);
        seq = h->next;
    }
    bool is_old = ahead < 0 && s.len == 0;
    if (is_old || h->ended || ahead > AHEAD_MAX || s.len + p->cut == 0) {
        return 0;
    }
    bool fits = !h->held || seq_diff(h->held->seq, seq) >= (int64_t)(s.len + p->cut);
    if (ahead <= 0 && fits) {
        f->fresh = s;
        f->fresh_cut = p->cut;
        return 0;
    }
    return hold(h, seq, s);
}

/* The connection of `p`, found or begun; NULL when there is none and `p` does not begin one. */
static struct conn *conn_of(struct flow *f, const struct packet *p)
{
    uint8_t key[KEY_LEN];
    make_key(key, p);
    struct conn *c = MAP_ENTRY(map_find(&f->map, key), struct conn, link);
    if (c && !starts_anew(&c->half[addr_eq(&p->from, &c->end[0]) ? 0 : 1], p)) {
        return c;
    }
    /* An answer to nothing, or the last ACKs of one that is gone. */
    if (!c && ((p->flags & TCP_RST) || (p->payload.len == 0 && !(p->flags & TCP_SYN)))) {
        return NULL;
    }
    c = c ? c : find_room(f);
    if (c->used) {
        f->has_ousted = c->told;
        f->ousted = event_of(f, FLOW_CLOSED, c, 0);
        conn_drop(f, c);
    }
    conn_begin(f, c, p);
    return c;
}

int flow_packet(struct flow *f, uint64_t at_us, const struct packet *p)
{
    f->now_us = at_us;
    f->cur = NULL;
    f->fresh = slice_of(NULL, 0);
    f->fresh_cut = 0;
    f->has_ousted = false;
    if (p->proto != PACKET_TCP) {
        return 0;
    }
    struct conn *c = conn_of(f, p);
    if (!c) {
        return 0;
    }
    c->used_at = ++f->n_packets;
    f->cur = c;
    f->dir = addr_eq(&p->from, &c->end[0]) ? 0 : 1;
    if (p->flags & TCP_RST) {
        c->reset = true;
        return 0;
    }
    return take_packet(f, &c->half[f->dir], p);
}

static bool give_gap(struct flow *f, struct half *h, uint64_t lost, struct flow_event *out)
{
    *out = event_of(f, FLOW_GAP, f->cur, f->dir);
    out->lost = lost;
    h->next += (uint32_t)lost;
    return true;
}

static bool give_fresh(struct flow *f, struct half *h, struct flow_event *out)
{
    if (f->fresh.len > 0) {
        *out = event_of(f, FLOW_DATA, f->cur, f->dir);
        out->bytes = f->fresh;
        h->next += (uint32_t)f->fresh.len;
        f->fresh = slice_of(NULL, 0);
        return true;
    }
    size_t cut = f->fresh_cut;
    f->fresh_cut = 0;
    return cut > 0 && give_gap(f, h, cut, out);
}

/* What was held back and is in order now, or has waited long enough. */
static bool give_held(struct flow *f, struct half *h, struct flow_event *out)
{
    while (h->held) {
        struct part *p = h->held;
        int64_t ahead = seq_diff(p->seq, h->next);
        bool is_full = h->n_bytes > f->cfg.max_held || h->n_parts > f->cfg.max_parts;
        if (ahead > 0) {
            return (is_full || f->cur->reset) && give_gap(f, h, (uint64_t)ahead, out);
        }
        h->held = p->next;
        h->n_bytes -= p->len;
        h->n_parts--;
        struct slice s = slice_from(slice_of(p->bytes, p->len), (size_t)-ahead);
        if (s.len == 0) {
            free(p);
            continue;
        }
        f->lent = p;
        *out = event_of(f, FLOW_DATA, f->cur, f->dir);
        out->bytes = s;
        h->next += (uint32_t)s.len;
        return true;
    }
    return false;
}

static bool give_end(struct flow *f, struct half *h, struct flow_event *out)
{
    if (!h->has_fin || h->ended || seq_diff(h->next, h->fin) < 0) {
        return false;
    }
    h->ended = true;
    half_drop(h); /* from behind the FIN: no bytes of this stream */
    *out = event_of(f, FLOW_ENDED, f->cur, f->dir);
    return true;
}

static bool give_half(struct flow *f, struct flow_event *out)
{
    struct half *h = &f->cur->half[f->dir];
    return give_fresh(f, h, out) || give_held(f, h, out) || give_end(f, h, out);
}

bool flow_next(struct flow *f, struct flow_event *out)
{
    free(f->lent);
    f->lent = NULL;
    if (f->has_ousted) {
        f->has_ousted = false;
        *out = f->ousted;
        return true;
    }
    struct conn *c = f->cur;
    if (!c) {
        return false;
    }
    if (!c->told) {
        c->told = true;
        *out = event_of(f, FLOW_OPENED, c, 0);
        out->whole = c->whole;
        return true;
    }
    if (give_half(f, out)) {
        return true;
    }
    if (c->reset) { /* what the other direction still holds must come out as well */
        f->dir ^= 1;
        if (give_half(f, out)) {
            return true;
        }
    }
    if (c->reset || (c->half[0].ended && c->half[1].ended)) {
        *out = event_of(f, FLOW_CLOSED, c, 0);
        out->reset = c->reset;
        conn_drop(f, c);
    }
    bool closed = !c->used;
    f->cur = NULL;
    return closed;
}
