/* Captured packets, any bytes and such as belong together, put into streams. Each byte that the
 * made ones carry follows from its place in the stream, so what comes out can be checked: no
 * byte of another place, none twice, none left out without a word. */
#include <stdlib.h>

#include "lib/flow/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CONNS = 4,
    HELD = 512,
    PORTS = 6, /* more than there are places */
    PAYLOAD_MAX = 64
};

struct half {
    bool has_last, is_ended;
    uint8_t last; /* byte that came out */
};

struct place {
    bool is_open;
    struct half half[2];
};

struct fuzz {
    struct flow *made, *raw;
    struct place places[2][CONNS]; /* of `made`, of `raw` */
};

static void need(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* A byte is the low one of its sequence number. */
static void check_bytes(struct half *h, const struct flow_event *e)
{
    for (size_t i = 0; i < e->bytes.len; i++) {
        need(!h->has_last || e->bytes.p[i] == (uint8_t)(h->last + 1));
        h->last = e->bytes.p[i];
        h->has_last = true;
    }
}

static void check(struct place *all, const struct flow_event *e, bool is_made)
{
    need(e->slot < CONNS && e->dir < 2);
    struct place *p = &all[e->slot];
    struct half *h = &p->half[e->dir];
    need(p->is_open == (e->what != FLOW_OPENED));
    switch (e->what) {
    case FLOW_OPENED: *p = (struct place){.is_open = true}; break;
    case FLOW_DATA:
        need(e->bytes.len > 0 && !h->is_ended);
        if (is_made) {
            check_bytes(h, e);
        }
        break;
    case FLOW_GAP:
        need(e->lost > 0 && !h->is_ended);
        h->last = (uint8_t)(h->last + e->lost);
        break;
    case FLOW_ENDED:
        need(!h->is_ended);
        h->is_ended = true;
        break;
    case FLOW_CLOSED: p->is_open = false; break;
    }
}

static void feed(struct fuzz *f, const struct packet *p, bool is_made)
{
    struct flow *to = is_made ? f->made : f->raw;
    struct flow_event e;
    if (flow_packet(to, 1, p)) {
        return;
    }
    while (flow_next(to, &e)) {
        check(f->places[!is_made], &e, is_made);
    }
}

static struct addr end_of(unsigned side, unsigned port)
{
    return (struct addr){
        .family = ADDR_IP4, .ip = {10, 0, 0, (uint8_t)side},
             .port = (uint16_t)(1000 + port)
    };
}

static void make_packet(struct fuzz *f, struct rd *in)
{
    static const uint8_t flags[] = {TCP_ACK,           TCP_ACK, TCP_SYN, TCP_SYN | TCP_ACK,
                                    TCP_ACK | TCP_FIN, TCP_RST, TCP_ACK, TCP_ACK};
    uint8_t what = rd_u8(in), room[PAYLOAD_MAX];
    unsigned side = what & 1, port = (what >> 4) % PORTS;
    uint32_t seq = 0xffffff00u + rd_u16(in) % 1024; /* around the end of the numbers */
    size_t len = rd_u8(in) % (PAYLOAD_MAX + 1);
    uint8_t *exact = malloc(len ? len : 1);
    struct packet p = {.from = end_of(side, port),
                       .to = end_of(side ^ 1, port),
                       .proto = PACKET_TCP,
                       .seq = seq,
                       .flags = flags[what >> 1 & 7]};
    if (!exact) {
        return;
    }
    for (size_t i = 0; i < len; i++) { /* SYN has a number of its own */
        room[i] = (uint8_t)(seq + (p.flags & TCP_SYN ? 1 : 0) + i);
    }
    memcpy(exact, room, len);
    p.payload = slice_of(exact, len);
    p.cut = rd_u8(in) % 16 == 0 ? 7 : 0;
    feed(f, &p, true);
    free(exact);
}

static void any_packet(struct fuzz *f, struct rd *in)
{
    static const int links[] = {PACKET_LINK_NULL,
                                PACKET_LINK_ETHERNET,
                                PACKET_LINK_RAW_LIVE,
                                PACKET_LINK_RAW,
                                PACKET_LINK_SLL,
                                PACKET_LINK_SLL2,
                                9999,
                                PACKET_LINK_ETHERNET};
    int link = links[rd_u8(in) % 8];
    struct slice bytes = rd_take(in, rd_u8(in));
    uint8_t *exact = malloc(bytes.len ? bytes.len : 1);
    struct packet p;
    if (!exact) {
        return;
    }
    if (bytes.len > 0) {
        memcpy(exact, bytes.p, bytes.len);
    }
    if (packet_parse(&p, link, slice_of(exact, bytes.len)) == OK) {
        need(p.payload.len <= bytes.len && p.from.family == p.to.family);
        need(p.payload.len == 0 ||
             (p.payload.p >= exact && p.payload.p + p.payload.len <= exact + bytes.len));
        feed(f, &p, false);
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct flow_config cfg = {
        .max_conns = CONNS, .max_held = HELD, .max_parts = 8, .secret = {1}};
    struct fuzz f = {.made = NULL};
    struct rd in = rd_over(slice_of(data, size));
    if (flow_new(&f.made, &cfg) == OK && flow_new(&f.raw, &cfg) == OK) {
        while (rd_left(&in) > 0 && !in.err) {
            if (rd_u8(&in) % 4) {
                make_packet(&f, &in);
            } else {
                any_packet(&f, &in);
            }
        }
    }
    flow_free(f.made);
    flow_free(f.raw);
    return 0;
}
