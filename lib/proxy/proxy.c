/* The PROXY protocol: both versions read, the second written. */
#include "lib/proxy/proxy.h"

#include "lib/base/crypto.h"
#include "lib/base/text.h"

enum {
    V2_HEAD = 16, /* signature, version and command, family, length */
    V2_VERSION = 2,
    CMD_LOCAL = 0,
    CMD_PROXY = 1,
    FAM_UNSPEC = 0x00, /* address family and transport: 2.2 */
    FAM_TCP4 = 0x11,
    FAM_UDP4 = 0x12,
    FAM_TCP6 = 0x21,
    FAM_UDP6 = 0x22,
    FAM_UNIX_STREAM = 0x31,
    FAM_UNIX_DATAGRAM = 0x32,
    TLV_CRC32C = 0x03
};

static const uint8_t v1_start[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t v2_start[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                   '\n', 'Q',  'U',  'I',  'T', '\n'};

static enum parse starts(struct slice in, const uint8_t *start, size_t len)
{
    size_t n = in.len < len ? in.len : len;
    if (n > 0 && memcmp(in.p, start, n) != 0) {
        return PARSE_BAD;
    }
    return n < len ? PARSE_MORE : PARSE_OK;
}

enum parse proxy_begins(struct slice in)
{
    enum parse v1 = starts(in, v1_start, sizeof v1_start);
    return v1 != PARSE_BAD ? v1 : starts(in, v2_start, sizeof v2_start);
}

static bool read_port(struct slice text, uint16_t *out)
{
    uint64_t n;
    bool has_zeros = text.len > 1 && text.p[0] == '0';
    if (has_zeros || text_u64(text, UINT16_MAX, &n)) {
        return false;
    }
    *out = (uint16_t)n;
    return true;
}

/* An address alone: addr_parse() would take one with a port too. */
static bool read_ip(struct slice text, uint8_t family, struct addr *out)
{
    const char *odd = family == ADDR_IP4 ? ":[]" : "[]";
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '\0' || strchr(odd, text.p[i])) {
            return false;
        }
    }
    return addr_parse(text, out) == OK && out->family == family;
}

/* One word up to a single blank. text_split() would take several for one. */
static struct slice word(struct slice *line)
{
    const uint8_t *end = line->len > 0 ? memchr(line->p, ' ', line->len) : NULL;
    size_t n = end ? (size_t)(end - line->p) : line->len;
    struct slice w = slice_of(line->p, n);
    *line = slice_from(*line, n + 1);
    return w;
}

static bool read_line(struct slice line, struct proxy_header *out)
{
    struct slice kind = word(&line);
    if (slice_eq(kind, slice_str("UNKNOWN"))) {
        return true; /* 2.1: what follows is ignored */
    }
    uint8_t family = slice_eq(kind, slice_str("TCP4"))   ? ADDR_IP4
                     : slice_eq(kind, slice_str("TCP6")) ? ADDR_IP6
                                                         : ADDR_NONE;
    struct slice client = word(&line), server = word(&line), client_port = word(&line);
    return family != ADDR_NONE && read_ip(client, family, &out->client) &&
           read_ip(server, family, &out->server) && read_port(client_port, &out->client.port) &&
           read_port(line, &out->server.port);
}

static enum parse read_v1(struct slice in, struct proxy_header *out, size_t *used)
{
    size_t max = in.len < PROXY_V1_MAX ? in.len : PROXY_V1_MAX;
    const uint8_t *cr = memchr(in.p, '\r', max), *lf = memchr(in.p, '\n', max);
    if (lf && (!cr || lf != cr + 1)) {
        return PARSE_BAD;
    }
    if (!lf) {
        return in.len < PROXY_V1_MAX ? PARSE_MORE : PARSE_BAD;
    }
    struct slice line = slice_of(in.p, (size_t)(cr - in.p));
    *used = line.len + 2;
    return read_line(slice_from(line, sizeof v1_start), out) ? PARSE_OK : PARSE_BAD;
}

/* RFC 3720's CRC (Castagnoli), a bit at a time: once a connection, over few bytes. */
static uint32_t crc32c(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++) {
        crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return crc;
}

/* Over the whole header, its own four bytes at `at` taken as zero (2.2.3). */
static bool checksum_is(struct slice header, size_t at, uint32_t want)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < header.len; i++) {
        crc = crc32c(crc, i >= at && i < at + 4 ? 0 : header.p[i]);
    }
    return ~crc == want;
}

/* What follows the addresses says nothing that we use, but must be whole (2.2). */
static bool tlvs_are_right(struct slice header, struct rd r)
{
    while (rd_left(&r) > 0) {
        uint8_t type = rd_u8(&r);
        struct rd value = rd_over(rd_take(&r, rd_u16(&r)));
        size_t at = r.at - value.in.len;
        if (type == TLV_CRC32C && !r.err &&
            (value.in.len != 4 || !checksum_is(header, at, rd_u32(&value)))) {
            return false;
        }
    }
    return !r.err;
}

static void take_ip(struct rd *r, uint8_t family, struct addr *out)
{
    struct slice ip = rd_take(r, addr_ip_len(family));
    *out = (struct addr){.family = family};
    if (ip.len > 0) {
        memcpy(out->ip, ip.p, ip.len);
    }
}

/* 2.2: what a receiver does not do it takes for "unspecified", but not what is undefined. */
static bool is_known(uint8_t kind)
{
    static const uint8_t known[] = {FAM_UNSPEC, FAM_TCP4,        FAM_UDP4,         FAM_TCP6,
                                    FAM_UDP6,   FAM_UNIX_STREAM, FAM_UNIX_DATAGRAM};
    return memchr(known, kind, sizeof known) != NULL;
}

static bool read_block(struct slice header, struct rd r, uint8_t kind, struct proxy_header *out)
{
    uint8_t family = kind == FAM_TCP4 ? ADDR_IP4 : kind == FAM_TCP6 ? ADDR_IP6 : ADDR_NONE;
    if (family == ADDR_NONE) {
        return is_known(kind);
    }
    take_ip(&r, family, &out->client);
    take_ip(&r, family, &out->server);
    out->client.port = rd_u16(&r);
    out->server.port = rd_u16(&r);
    return tlvs_are_right(header, r);
}

static enum parse read_v2(struct slice in, struct proxy_header *out, size_t *used)
{
    struct rd r = rd_over(in);
    (void)rd_take(&r, sizeof v2_start);
    uint8_t command = rd_u8(&r), kind = rd_u8(&r);
    size_t len = rd_u16(&r);
    if (r.err) {
        return PARSE_MORE;
    }
    if (command >> 4 != V2_VERSION || (command & 15) > CMD_PROXY || len > PROXY_MAX - V2_HEAD) {
        return PARSE_BAD;
    }
    if (in.len < V2_HEAD + len) {
        return PARSE_MORE;
    }
    struct slice header = slice_of(in.p, V2_HEAD + len);
    r.in = header;
    *used = header.len;
    if ((command & 15) == CMD_LOCAL) {
        return PARSE_OK; /* 2.2: the block is skipped, whatever it says */
    }
    return read_block(header, r, kind, out) ? PARSE_OK : PARSE_BAD;
}

/* A proxy with one socket for both families writes IPv4 as ::ffff:a.b.c.d. To us that client is
 * the same as on a socket for IPv4, in limits and lists. */
static void unmap(struct addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    if (a->family == ADDR_IP6 && memcmp(a->ip, mapped, sizeof mapped) == 0) {
        struct addr ip4 = {.family = ADDR_IP4, .port = a->port};
        memcpy(ip4.ip, a->ip + sizeof mapped, 4);
        *a = ip4;
    }
}

enum parse proxy_read(struct slice in, struct proxy_header *out, size_t *used)
{
    struct proxy_header none = {.client = {.family = ADDR_NONE}};
    *out = none;
    *used = 0;
    enum parse got = proxy_begins(in);
    if (got == PARSE_OK) {
        got = in.p[0] == v1_start[0] ? read_v1(in, out, used) : read_v2(in, out, used);
    }
    if (got != PARSE_OK) {
        *out = none;
        *used = 0;
    }
    unmap(&out->client);
    unmap(&out->server);
    return got;
}

void proxy_write(struct wr *w, const struct proxy_header *h)
{
    size_t ip = h->client.family == h->server.family ? addr_ip_len(h->client.family) : 0;
    wr_bytes(w, slice_of(v2_start, sizeof v2_start));
    wr_u8(w, V2_VERSION << 4 | (ip ? CMD_PROXY : CMD_LOCAL));
    wr_u8(w, ip == 4 ? FAM_TCP4 : ip == 16 ? FAM_TCP6 : FAM_UNSPEC);
    wr_u16(w, (uint16_t)(ip ? 2 * ip + 4 : 0));
    if (ip) {
        wr_bytes(w, slice_of(h->client.ip, ip));
        wr_bytes(w, slice_of(h->server.ip, ip));
        wr_u16(w, h->client.port);
        wr_u16(w, h->server.port);
    }
}
