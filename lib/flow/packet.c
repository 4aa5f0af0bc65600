/* Link, IPv4, IPv6, TCP and UDP headers. */
#include "lib/flow/packet.h"

enum {
    ETHER_IP4 = 0x0800,
    ETHER_IP6 = 0x86DD,
    ETHER_VLAN = 0x8100,
    ETHER_QINQ = 0x88A8,
    VLAN_MAX = 2,
    IP6_EXTENSIONS_MAX = 8 /* far more than any honest packet has */
};

/* Takes the link header off; the ethertype of what follows. 0: only the IP version can tell. */
static int read_link(struct rd *r, int link, uint16_t *type)
{
    *type = 0;
    switch (link) {
    case PACKET_LINK_RAW_LIVE:
    case PACKET_LINK_RAW: return 0;
    case PACKET_LINK_NULL: (void)rd_take(r, 4); return r->err;
    case PACKET_LINK_ETHERNET: (void)rd_take(r, 12); break;
    case PACKET_LINK_SLL: (void)rd_take(r, 14); break;
    case PACKET_LINK_SLL2:
        *type = rd_u16(r);
        (void)rd_take(r, 18);
        return r->err;
    default: return ERR_UNSUPPORTED;
    }
    *type = rd_u16(r);
    for (int i = 0; i < VLAN_MAX && (*type == ETHER_VLAN || *type == ETHER_QINQ); i++) {
        (void)rd_take(r, 2);
        *type = rd_u16(r);
    }
    return r->err;
}

/* What an IP header says about the rest. */
struct ip_rest {
    uint8_t proto;
    struct slice body;
    size_t cut;
};

/* Keeps `len` bytes of what is left: the rest is padding of the link, or was not captured. */
static void take_body(struct rd *r, size_t len, struct ip_rest *out)
{
    size_t left = rd_left(r);
    size_t n = len < left ? len : left;
    out->cut = len - n;
    out->body = rd_take(r, n);
}

static void put_ip(struct addr *a, uint8_t family, struct slice ip)
{
    *a = (struct addr){.family = family};
    if (ip.len > 0) {
        memcpy(a->ip, ip.p, ip.len);
    }
}

static int read_ip4(struct rd *r, struct packet *p, struct ip_rest *out)
{
    uint8_t first = rd_u8(r);
    size_t head = (size_t)(first & 0x0F) * 4;
    (void)rd_u8(r);
    size_t total = rd_u16(r);
    (void)rd_u16(r);
    uint16_t fragment = rd_u16(r);
    (void)rd_u8(r);
    out->proto = rd_u8(r);
    (void)rd_u16(r);
    put_ip(&p->from, ADDR_IP4, rd_take(r, 4));
    put_ip(&p->to, ADDR_IP4, rd_take(r, 4));
    if (r->err) {
        return r->err;
    }
    if (first >> 4 != 4 || head < 20) {
        return ERR_MALFORMED;
    }
    (void)rd_take(r, head - 20);
    if (r->err) {
        return r->err;
    }
    /* A segment the network card was to split may be captured with a total length of 0. */
    if (total == 0) {
        total = head + rd_left(r);
    }
    if (total < head) {
        return ERR_MALFORMED;
    }
    take_body(r, total - head, out);
    return (fragment & 0x3FFF) != 0 ? ERR_UNSUPPORTED : 0;
}

static bool is_extension(uint8_t proto)
{
    /* Hop-by-hop, routing, destination options: type, length in units of 8 after the first. */
    return proto == 0 || proto == 43 || proto == 60;
}

static int read_ip6(struct rd *r, struct packet *p, struct ip_rest *out)
{
    uint32_t first = rd_u32(r);
    size_t len = rd_u16(r);
    uint8_t next = rd_u8(r);
    (void)rd_u8(r);
    put_ip(&p->from, ADDR_IP6, rd_take(r, 16));
    put_ip(&p->to, ADDR_IP6, rd_take(r, 16));
    if (r->err) {
        return r->err;
    }
    if (first >> 28 != 6) {
        return ERR_MALFORMED;
    }
    for (int i = 0; i < IP6_EXTENSIONS_MAX && is_extension(next); i++) {
        next = rd_u8(r);
        size_t body = 6 + (size_t)rd_u8(r) * 8;
        (void)rd_take(r, body);
        if (r->err || len < 2 + body) {
            return r->err ? r->err : ERR_MALFORMED;
        }
        len -= 2 + body;
    }
    out->proto = next; /* 44, a fragment, is neither TCP nor UDP */
    take_body(r, len, out);
    return 0;
}

static int read_tcp(struct packet *p, const struct ip_rest *ip)
{
    struct rd r = rd_over(ip->body);
    p->from.port = rd_u16(&r);
    p->to.port = rd_u16(&r);
    p->seq = rd_u32(&r);
    p->ack = rd_u32(&r);
    size_t head = (size_t)(rd_u8(&r) >> 4) * 4;
    p->flags = rd_u8(&r);
    p->window = rd_u16(&r);
    (void)rd_u32(&r);
    if (!r.err && head < 20) {
        return ERR_MALFORMED;
    }
    (void)rd_take(&r, r.err ? 0 : head - 20);
    p->payload = rd_take(&r, rd_left(&r));
    p->cut = ip->cut;
    return r.err;
}

static int read_udp(struct packet *p, const struct ip_rest *ip)
{
    struct rd r = rd_over(ip->body);
    p->from.port = rd_u16(&r);
    p->to.port = rd_u16(&r);
    size_t len = rd_u16(&r);
    (void)rd_u16(&r);
    if (r.err) {
        return r.err;
    }
    if (len < 8 || len > ip->body.len + ip->cut) {
        return ERR_MALFORMED;
    }
    size_t n = len - 8 < rd_left(&r) ? len - 8 : rd_left(&r);
    p->cut = len - 8 - n;
    p->payload = rd_take(&r, n);
    return 0;
}

int packet_parse(struct packet *out, int link, struct slice frame)
{
    *out = (struct packet){.proto = PACKET_TCP};
    struct rd r = rd_over(frame);
    uint16_t type;
    int err = read_link(&r, link, &type);
    if (err) {
        return err;
    }
    if (type == 0 && rd_left(&r) > 0) {
        type = r.in.p[r.at] >> 4 == 6 ? ETHER_IP6 : ETHER_IP4;
    }
    struct ip_rest ip = {0};
    if (type == ETHER_IP4) {
        err = read_ip4(&r, out, &ip);
    } else if (type == ETHER_IP6) {
        err = read_ip6(&r, out, &ip);
    } else {
        return type == 0 ? ERR_SHORT : ERR_UNSUPPORTED;
    }
    if (err) {
        return err;
    }
    switch (ip.proto) {
    case PACKET_TCP: return read_tcp(out, &ip);
    case PACKET_UDP: out->proto = PACKET_UDP; return read_udp(out, &ip);
    default: return ERR_UNSUPPORTED;
    }
}
