/* IP transport addresses, networks, and what kind of address one is. */
#include "lib/base/addr.h"

#include "lib/base/text.h"

size_t addr_ip_len(uint8_t family)
{
    return family == ADDR_IP4 ? 4 : family == ADDR_IP6 ? 16 : 0;
}

bool addr_ip_eq(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && addr_ip_eq(a, b);
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

static int parse_ip4(struct slice s, uint8_t *ip)
{
    for (int i = 0; i < 4; i++) {
        uint64_t v;
        bool has_dot = s.len > 0 && memchr(s.p, '.', s.len) != NULL;
        struct slice part = text_split(&s, '.');
        /* "010" is octal to some readers and decimal to others: refuse it. */
        if (has_dot != (i < 3) || part.len > 3 || (part.len > 1 && part.p[0] == '0') ||
            text_u64(part, 255, &v)) {
            return ERR_MALFORMED;
        }
        ip[i] = (uint8_t)v;
    }
    return OK;
}

static int hex_group(struct slice s, uint16_t *out)
{
    unsigned v = 0;
    if (s.len == 0 || s.len > 4) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        unsigned d = c >= '0' && c <= '9'   ? c - (unsigned)'0'
                     : c >= 'a' && c <= 'f' ? c - (unsigned)'a' + 10
                     : c >= 'A' && c <= 'F' ? c - (unsigned)'A' + 10
                                            : 16;
        if (d > 15) {
            return ERR_MALFORMED;
        }
        v = v << 4 | d;
    }
    *out = (uint16_t)v;
    return OK;
}

/* Colon-separated groups, appended at ip[*len]. Only the one that ends the address may be
 * dotted.
 */
static int parse_groups(struct slice s, bool at_end, uint8_t *ip, size_t *len)
{
    while (s.len > 0) {
        bool more = memchr(s.p, ':', s.len) != NULL;
        struct slice part = text_split(&s, ':');
        uint16_t v;
        if (!more && memchr(part.p, '.', part.len)) {
            if (!at_end || *len > 12 || parse_ip4(part, ip + *len)) {
                return ERR_MALFORMED;
            }
            *len += 4;
            return OK;
        }
        if (*len > 14 || hex_group(part, &v) || (more && s.len == 0)) {
            return ERR_MALFORMED;
        }
        ip[(*len)++] = (uint8_t)(v >> 8);
        ip[(*len)++] = (uint8_t)v;
    }
    return OK;
}

static int parse_ip6(struct slice s, uint8_t *ip)
{
    uint8_t head[16] = {0}, tail[16] = {0};
    size_t n_head = 0, n_tail = 0, gap = 0;
    bool has_gap = false;
    for (; gap + 1 < s.len && !has_gap; gap++) {
        has_gap = s.p[gap] == ':' && s.p[gap + 1] == ':';
    }
    if (!has_gap) {
        return parse_groups(s, true, ip, &n_head) || n_head != 16 ? ERR_MALFORMED : OK;
    }
    gap--;
    if (parse_groups(slice_of(s.p, gap), false, head, &n_head) ||
        parse_groups(slice_from(s, gap + 2), true, tail, &n_tail) || n_head + n_tail > 14) {
        return ERR_MALFORMED;
    }
    memcpy(ip, head, n_head);
    memcpy(ip + 16 - n_tail, tail, n_tail);
    return OK;
}

static int parse_ip(struct slice s, struct addr *out)
{
    *out = (struct addr){0};
    bool is_ip6 = s.len > 0 && memchr(s.p, ':', s.len) != NULL;
    out->family = is_ip6 ? ADDR_IP6 : ADDR_IP4;
    return is_ip6 ? parse_ip6(s, out->ip) : parse_ip4(s, out->ip);
}

int addr_parse(struct slice s, struct addr *out)
{
    struct slice port = slice_of(NULL, 0);
    *out = (struct addr){0};
    if (s.len == 0) {
        return ERR_MALFORMED;
    }
    struct slice ip = s;
    bool has_port = false;
    if (s.p[0] == '[') {
        const uint8_t *end = memchr(s.p, ']', s.len);
        if (!end) {
            return ERR_MALFORMED;
        }
        ip = slice_of(s.p + 1, (size_t)(end - s.p - 1));
        port = slice_from(s, ip.len + 2);
        has_port = port.len > 0;
        if (has_port && port.p[0] != ':') {
            return ERR_MALFORMED;
        }
        port = slice_from(port, 1);
        if (!memchr(ip.p, ':', ip.len)) {
            return ERR_MALFORMED;
        }
    } else {
        const uint8_t *colon = memchr(s.p, ':', s.len);
        size_t at = colon ? (size_t)(colon - s.p) : 0;
        has_port = colon && !memchr(colon + 1, ':', s.len - at - 1);
        if (has_port) {
            ip = slice_of(s.p, at);
            port = slice_from(s, at + 1);
        }
    }
    uint64_t v = 0;
    if (parse_ip(ip, out) || (has_port && text_u64(port, 65535, &v))) {
        *out = (struct addr){0};
        return ERR_MALFORMED;
    }
    out->port = (uint16_t)v;
    return OK;
}

/* The longest run of two or more zero groups (RFC 5952 4.2). */
static void longest_gap(const uint8_t *ip, int *at, int *len)
{
    *at = -1;
    *len = 1;
    for (int i = 0, run = 0; i < 8; i++) {
        run = ip[2 * i] == 0 && ip[2 * i + 1] == 0 ? run + 1 : 0;
        if (run > *len) {
            *len = run;
            *at = i - run + 1;
        }
    }
}

static void put_ip(struct wr *w, const struct addr *a)
{
    const uint8_t *ip = a->ip;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->family == ADDR_IP4) {
        wr_text(w, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
        return;
    }
    if (memcmp(ip, mapped, 12) == 0) {
        wr_text(w, "::ffff:%u.%u.%u.%u", ip[12], ip[13], ip[14], ip[15]);
        return;
    }
    int at, len;
    longest_gap(ip, &at, &len);
    for (int i = 0; i < 8; i++) {
        if (i == at) {
            wr_text(w, "::");
            i += len - 1;
            continue;
        }
        bool first = i == 0 || i == at + len;
        wr_text(w, first ? "%x" : ":%x", (unsigned)(ip[2 * i] << 8 | ip[2 * i + 1]));
    }
}

static const char *text_of(const struct addr *a, char *out, bool with_port)
{
    struct wr w = wr_over((uint8_t *)out, ADDR_TEXT_MAX);
    bool brackets = with_port && a->family == ADDR_IP6 && a->port;
    if (a->family == ADDR_NONE) {
        wr_text(&w, "-");
    } else {
        wr_text(&w, "%s", brackets ? "[" : "");
        put_ip(&w, a);
        wr_text(&w, "%s", brackets ? "]" : "");
    }
    if (with_port && a->family != ADDR_NONE && a->port) {
        wr_text(&w, ":%u", a->port);
    }
    out[w.len] = '\0';
    return out;
}

const char *addr_text(const struct addr *a, char *out)
{
    return text_of(a, out, true);
}

const char *addr_ip_text(const struct addr *a, char *out)
{
    return text_of(a, out, false);
}

/* True when the first `bits` bits of a and b agree. */
static bool prefix_eq(const uint8_t *a, const uint8_t *b, size_t bits)
{
    size_t whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0) {
        return false;
    }
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

int addr_net_parse(struct slice s, struct addr_net *out)
{
    bool has_bits = s.len > 0 && memchr(s.p, '/', s.len) != NULL;
    struct slice ip = text_split(&s, '/');
    uint64_t bits;
    *out = (struct addr_net){0};
    if (parse_ip(ip, &out->base)) {
        return ERR_MALFORMED;
    }
    size_t max = 8 * addr_ip_len(out->base.family);
    bits = max;
    if (has_bits && text_u64(s, max, &bits)) {
        return ERR_MALFORMED;
    }
    out->bits = (uint8_t)bits;
    for (size_t i = bits; i < max; i++) {
        if (out->base.ip[i / 8] & 0x80 >> i % 8) {
            return ERR_MALFORMED;
        }
    }
    return OK;
}

bool addr_net_has(const struct addr_net *net, const struct addr *a)
{
    return a->family == net->base.family && prefix_eq(a->ip, net->base.ip, net->bits);
}

/* How an IPv4 address hides in an IPv6 one: behind `n` fixed bytes that begin at `from`. */
struct embedding {
    uint8_t from, n;
    uint8_t fixed[12];
    uint8_t at;   /* where the four bytes are */
    uint8_t flip; /* XORed into each of them */
};

static const struct embedding embeddings[] = {
    {0, 12, {[10] = 0xff, [11] = 0xff},                       12, 0   }, /* mapped, RFC 4291 2.5.5.2 */
    {0, 12, {[8] = 0xff, [9] = 0xff},                         12, 0   }, /* translated, RFC 2765 2.1 */
    {0, 12, {[1] = 0x64, [2] = 0xff, [3] = 0x9b},             12, 0   }, /* NAT64, RFC 6052 2.1 */
    {0, 6,  {[1] = 0x64, [2] = 0xff, [3] = 0x9b, [5] = 0x01}, 12, 0   }, /* local, RFC 8215 */
    {0, 2,  {0x20, 0x02},                                     2,  0   }, /* 6to4, RFC 3056 2 */
    {0, 4,  {0x20, 0x01},                                     12, 0xff}, /* Teredo client, RFC 4380 4 */
    {8, 4,  {0x00, 0x00, 0x5e, 0xfe},                         12, 0   }, /* ISATAP, RFC 5214 6.1 */
    {8, 4,  {0x02, 0x00, 0x5e, 0xfe},                         12, 0   }, /* ISATAP, global interface id */
    {0, 12, {0},                                              12, 0   }, /* compatible, RFC 4291 2.5.5.1 */
};

bool addr_embedded_ip4(const struct addr *a, struct addr *out)
{
    static const uint8_t zero[15];
    *out = *a;
    /* :: and ::1 lie in ::/96, but stand for themselves (RFC 4291 2.5.5.1). */
    if (a->family != ADDR_IP6 || (memcmp(a->ip, zero, sizeof zero) == 0 && a->ip[15] < 2)) {
        return false;
    }
    for (size_t i = 0; i < sizeof embeddings / sizeof *embeddings; i++) {
        const struct embedding *e = &embeddings[i];
        if (memcmp(a->ip + e->from, e->fixed, e->n) != 0) {
            continue;
        }
        *out = (struct addr){.family = ADDR_IP4, .port = a->port};
        for (size_t k = 0; k < 4; k++) {
            out->ip[k] = a->ip[e->at + k] ^ e->flip;
        }
        return true;
    }
    return false;
}

struct special {
    const char *name;
    uint8_t prefix[16];
    uint8_t bits;
};

/* The registries of RFC 6890 and its successors. */
static const struct special special_ip4[] = {
    {"unspecified",          {0},            8 },
    {"private",              {10},           8 },
    {"shared",               {100, 64},      10},
    {"loopback",             {127},          8 },
    {"link-local",           {169, 254},     16},
    {"private",              {172, 16},      12},
    {"protocol-assignments", {192, 0, 0},    24},
    {"documentation",        {192, 0, 2},    24},
    {"6to4-relay",           {192, 88, 99},  24},
    {"private",              {192, 168},     16},
    {"benchmarking",         {198, 18},      15},
    {"documentation",        {198, 51, 100}, 24},
    {"documentation",        {203, 0, 113},  24},
    {"multicast",            {224},          4 },
    {"reserved",             {240},          4 },
};

static const struct special special_ip6[] = {
    {"unspecified",          {0},                                  128},
    {"loopback",             {[15] = 1},                           128},
    {"local-nat64",          {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48 },
    {"discard",              {0x01},                               64 },
    {"documentation",        {0x20, 0x01, 0x0d, 0xb8},             32 },
    {"documentation",        {0x3f, 0xff},                         20 },
    {"protocol-assignments", {0x20, 0x01},                         23 },
    {"unique-local",         {0xfc},                               7  },
    {"link-local",           {0xfe, 0x80},                         10 },
    {"site-local",           {0xfe, 0xc0},                         10 },
    {"multicast",            {0xff},                               8  },
};

static const char *special_in(const struct special *t, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (prefix_eq(a->ip, t[i].prefix, t[i].bits)) {
            return t[i].name;
        }
    }
    return NULL;
}

const char *addr_special(const struct addr *a)
{
    struct addr inner;
    const char *name = NULL;
    if (a->family == ADDR_IP6) {
        name = special_in(special_ip6, sizeof special_ip6 / sizeof *special_ip6, a);
        bool embedded = addr_embedded_ip4(a, &inner);
        /* Teredo's 2001::/32 is in a special block, but its clients are who they stand for. */
        static const uint8_t teredo[4] = {0x20, 0x01};
        if (name && memcmp(a->ip, teredo, sizeof teredo) != 0) {
            return name;
        }
        if (!embedded) {
            /* RFC 4291 2.4: only 2000::/3 is global unicast. */
            return a->ip[0] >> 5 == 1 ? NULL : "reserved";
        }
    } else if (a->family == ADDR_IP4) {
        inner = *a;
    } else {
        return "unspecified";
    }
    return special_in(special_ip4, sizeof special_ip4 / sizeof *special_ip4, &inner);
}
