/* URIs of TURN and STUN servers. */
#include "lib/turn/uri.h"

#include "lib/base/text.h"

enum {
    LABEL_MAX = 63 /* RFC 1035 3.1 */
};

static const struct {
    const char *name;
    bool is_stun, is_secure;
} schemes[] = {
    {"turn:",  false, false},
    {"turns:", false, true },
    {"stun:",  true,  false},
    {"stuns:", true,  true },
};

static int fail(const char **why, int err, const char *text)
{
    *why = text;
    return err;
}

static bool read_scheme(struct turn_uri *u, struct slice *rest)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (text_starts(*rest, schemes[i].name)) {
            u->is_stun = schemes[i].is_stun;
            u->is_secure = schemes[i].is_secure;
            *rest = slice_from(*rest, strlen(schemes[i].name));
            return true;
        }
    }
    return false;
}

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of 1 to 63 letters, digits, "-" and "_" with dots between; a dot may end it. */
static bool is_name(const char *s, size_t len)
{
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '.' ? label == 0 : !is_name_byte((uint8_t)s[i]) || label == LABEL_MAX) {
            return false;
        }
        label = s[i] == '.' ? 0 : label + 1;
    }
    return len > 0 && (label > 0 || s[len - 1] == '.');
}

/* A name's last label that is a number would be an address that somebody mistyped. */
static bool ends_in_number(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && s[len - 1 - n] >= '0' && s[len - 1 - n] <= '9') {
        n++;
    }
    return n > 0 && (n == len || s[len - 1 - n] == '.');
}

static int read_name(struct turn_uri *u, struct slice host, const char **why)
{
    if (host.len > TURN_URI_HOST_MAX) {
        return fail(why, ERR_MALFORMED, "the host is longer than a DNS name can be");
    }
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.p[i];
        u->host[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    if (memchr(u->host, '%', host.len)) {
        return fail(why, ERR_UNSUPPORTED, "write the host without %, in its DNS (xn--) form");
    }
    if (!is_name(u->host, host.len) || ends_in_number(u->host, host.len)) {
        return fail(why, ERR_MALFORMED, "the host is neither an address nor a DNS name");
    }
    return OK;
}

static int read_host(struct turn_uri *u, struct slice host, bool is_bracketed, const char **why)
{
    if (host.len == 0) {
        return fail(why, ERR_MALFORMED, "there is no host");
    }
    if (addr_parse(host, &u->ip) || (u->ip.family == ADDR_IP6) != is_bracketed) {
        u->ip = (struct addr){0};
    }
    if (u->ip.family != ADDR_NONE) {
        char text[ADDR_TEXT_MAX];
        (void)addr_ip_text(&u->ip, text);
        memcpy(u->host, text, strlen(text) + 1);
        return OK;
    }
    if (is_bracketed) {
        return fail(why, ERR_MALFORMED, "only an IPv6 address goes between [ and ]");
    }
    if (memchr(host.p, ':', host.len)) {
        return fail(why, ERR_MALFORMED, "an IPv6 address goes between [ and ]");
    }
    return read_name(u, host, why);
}

/* RFC 3986 3.2.2, 3.2.3: host, and what follows its colon. */
static int read_host_port(struct turn_uri *u, struct slice s, const char **why)
{
    struct slice host = s, port = slice_of(NULL, 0);
    bool is_bracketed = s.len > 0 && s.p[0] == '[', has_port = false;
    if (is_bracketed) {
        struct slice rest = slice_from(s, 1);
        const uint8_t *end = rest.len > 0 ? memchr(rest.p, ']', rest.len) : NULL;
        if (!end) {
            return fail(why, ERR_MALFORMED, "a ] is missing");
        }
        host = slice_of(rest.p, (size_t)(end - rest.p));
        port = slice_from(rest, host.len + 1);
        has_port = port.len > 0;
        if (has_port && port.p[0] != ':') {
            return fail(why, ERR_MALFORMED, "only a port may follow the ]");
        }
        port = slice_from(port, 1);
    } else {
        const uint8_t *colon = s.len > 0 ? memchr(s.p, ':', s.len) : NULL;
        size_t at = colon ? (size_t)(colon - s.p) : 0;
        has_port = colon && !memchr(colon + 1, ':', s.len - at - 1); /* else a bare IPv6 */
        host = has_port ? slice_of(s.p, at) : s;
        port = has_port ? slice_from(s, at + 1) : port;
    }
    uint64_t n = 0;
    /* RFC 3986 3.2.3: a colon with nothing behind it is the default port too. */
    if (port.len > 0 && (text_u64(port, 65535, &n) || n == 0)) {
        return fail(why, ERR_MALFORMED, "the port is no number from 1 to 65535");
    }
    u->port = (uint16_t)n;
    return read_host(u, host, is_bracketed, why);
}

static int read_query(struct turn_uri *u, struct slice query, const char **why)
{
    if (u->is_stun) {
        return fail(why, ERR_MALFORMED, "stun: takes no parameters");
    }
    if (!text_starts(query, "transport=")) {
        return fail(why, ERR_MALFORMED, "the only parameter is ?transport=");
    }
    struct slice value = slice_from(query, strlen("transport="));
    if (text_is(value, "udp")) {
        u->way = u->is_secure ? TURN_WAY_DTLS : TURN_WAY_UDP;
    } else if (text_is(value, "tcp")) {
        u->way = u->is_secure ? TURN_WAY_TLS : TURN_WAY_TCP;
    } else {
        return fail(why, ERR_UNSUPPORTED, "the transport is neither udp nor tcp");
    }
    return OK;
}

int turn_uri_parse(struct turn_uri *out, struct slice text, const char **why)
{
    struct turn_uri u = {0};
    *out = u;
    *why = NULL;
    if (!read_scheme(&u, &text)) {
        return fail(why, ERR_MALFORMED, "it begins with none of turn:, turns:, stun:, stuns:");
    }
    if (text_starts(text, "//")) {
        return fail(why, ERR_MALFORMED, "the host follows the colon, without //");
    }
    const uint8_t *mark = text.len > 0 ? memchr(text.p, '?', text.len) : NULL;
    struct slice where = mark ? slice_of(text.p, (size_t)(mark - text.p)) : text;
    int err = read_host_port(&u, where, why);
    if (!err && mark) {
        err = read_query(&u, slice_from(text, where.len + 1), why);
    }
    if (!err) {
        *out = u;
    }
    return err;
}

uint16_t turn_uri_port(const struct turn_uri *u)
{
    return u->port ? u->port : u->is_secure ? TURNS_PORT : TURN_PORT;
}

void turn_uri_put(struct wr *w, const struct turn_uri *u)
{
    static const char *const ways[] = {
        [TURN_WAY_NONE] = "",
        [TURN_WAY_UDP] = "?transport=udp",
        [TURN_WAY_TCP] = "?transport=tcp",
        [TURN_WAY_TLS] = "?transport=tcp",
        [TURN_WAY_DTLS] = "?transport=udp",
    };
    bool is_ip6 = u->ip.family == ADDR_IP6;
    wr_bytes(w, slice_str(u->is_stun ? "stun" : "turn"));
    wr_bytes(w, slice_str(u->is_secure ? "s:" : ":"));
    wr_bytes(w, slice_str(is_ip6 ? "[" : ""));
    wr_bytes(w, slice_str(u->host));
    wr_bytes(w, slice_str(is_ip6 ? "]" : ""));
    if (u->port) {
        char text[ADDR_TEXT_MAX];
        (void)addr_text(&(struct addr){.family = ADDR_IP4, .port = u->port}, text);
        wr_bytes(w, slice_str(strchr(text, ':')));
    }
    wr_bytes(w, slice_str(ways[u->way]));
}
