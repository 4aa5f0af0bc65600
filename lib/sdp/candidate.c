/* a=candidate lines: Microsoft's spelling ([MS-ICE2]) and RFC 6544's. */
#include "lib/base/text.h"

#include "lib/sdp/sdp.h"

static const char *const type_name[] = {
    [ICE_HOST] = "host",
    [ICE_SRFLX] = "srflx",
    [ICE_PRFLX] = "prflx",
    [ICE_RELAY] = "relay",
};

static const char *const ms_transport[] = {
    [ICE_ACTIVE] = "TCP-ACT",
    [ICE_PASSIVE] = "TCP-PASS",
    [ICE_SO] = "TCP-SO",
};

static const char *const rfc_tcptype[] = {
    [ICE_ACTIVE] = "active",
    [ICE_PASSIVE] = "passive",
    [ICE_SO] = "so",
};

/* The index of `word` among `names`, or `n`. */
static size_t lookup(struct slice word, const char *const *names, size_t n)
{
    size_t i = 0;
    while (i < n && !text_is(word, names[i])) {
        i++;
    }
    return i;
}

/* A name, or an address the reader does not take, is ERR_UNSUPPORTED: the line is skipped and
 * the others still count. */
static int read_addr(struct slice ip, struct slice port, struct addr *out)
{
    uint64_t number;
    if (text_u64(port, UINT16_MAX, &number)) {
        return ERR_MALFORMED;
    }
    if (addr_parse(ip, out) || out->port != 0 || ip.p[0] == '[') {
        return ERR_UNSUPPORTED;
    }
    out->port = (uint16_t)number;
    return OK;
}

/* The name and value pairs after the type, of which three are ours (RFC 8839 5.1). */
static int read_extensions(struct slice rest, struct ice_cand *out, bool *has_tcptype)
{
    struct slice raddr = {0}, rport = {0};
    while (rest.len > 0) {
        struct slice name = text_split(&rest, ' ');
        struct slice value = text_split(&rest, ' ');
        if (text_is(name, "raddr")) {
            raddr = value;
        } else if (text_is(name, "rport")) {
            rport = value;
        } else if (text_is(name, "tcptype")) {
            size_t i = lookup(value, rfc_tcptype, sizeof rfc_tcptype / sizeof *rfc_tcptype);
            if (i > ICE_SO) {
                return ERR_UNSUPPORTED;
            }
            out->tcp = (enum ice_tcp_type)i;
            *has_tcptype = true;
        }
    }
    /* Only for the log and for our own copies: never a reason to drop a candidate. */
    if (raddr.len == 0 || rport.len == 0 || read_addr(raddr, rport, &out->base)) {
        out->base = out->addr;
    }
    return OK;
}

static int read_transport(struct slice word, struct ice_cand *out, bool *plain_tcp)
{
    size_t i = lookup(word, ms_transport, sizeof ms_transport / sizeof *ms_transport);
    *plain_tcp = text_is(word, "TCP");
    if (i > ICE_SO && !*plain_tcp) {
        return ERR_UNSUPPORTED;
    }
    out->tcp = *plain_tcp ? ICE_SO : (enum ice_tcp_type)i;
    return OK;
}

static int read_numbers(struct slice component, struct slice priority, struct ice_cand *out)
{
    uint64_t c, p;
    if (text_u64(component, UINT8_MAX, &c) || text_u64(priority, UINT32_MAX, &p) || c == 0 ||
        p == 0) {
        return ERR_MALFORMED;
    }
    out->component = (uint8_t)c;
    out->priority = (uint32_t)p;
    return OK;
}

int sdp_read_candidate(const struct sdp_line *l, struct ice_cand *out)
{
    *out = (struct ice_cand){0};
    if (l->type != 'a' || !text_is(l->key, "candidate")) {
        return ERR_MALFORMED;
    }
    struct slice rest = l->value, word[8];
    for (size_t i = 0; i < 8; i++) {
        word[i] = text_split(&rest, ' ');
    }
    /* Without "typ" in its place this is the older draft's line, or none. */
    if (!text_is(word[6], "typ") || word[0].len == 0 || word[0].len >= ICE_FOUNDATION_MAX) {
        return ERR_MALFORMED;
    }
    memcpy(out->foundation, word[0].p, word[0].len);
    bool plain_tcp = false, has_tcptype = false;
    int err = read_numbers(word[1], word[3], out);
    err = err ? err : read_transport(word[2], out, &plain_tcp);
    err = err ? err : read_addr(word[4], word[5], &out->addr);
    if (err) {
        return err;
    }
    size_t type = lookup(word[7], type_name, sizeof type_name / sizeof *type_name);
    if (type > ICE_RELAY || addr_is_any(&out->addr)) {
        return ERR_UNSUPPORTED;
    }
    out->type = (enum ice_cand_type)type;
    err = read_extensions(rest, out, &has_tcptype);
    if (err || plain_tcp != has_tcptype) {
        return err ? err : ERR_MALFORMED;
    }
    /* RFC 6544 4.5: an active candidate's port means nothing; others must be reachable. */
    return out->addr.port == 0 && out->tcp != ICE_ACTIVE ? ERR_MALFORMED : OK;
}

void sdp_put_candidate(struct wr *w, const struct ice_cand *c, uint8_t component)
{
    char ip[ADDR_TEXT_MAX];
    wr_text(w, "a=candidate:%s %u %s %u %s %u typ %s", c->foundation, (unsigned)component,
            ms_transport[c->tcp], (unsigned)c->priority, addr_ip_text(&c->addr, ip),
            (unsigned)c->addr.port, type_name[c->type]);
    if (c->type != ICE_HOST && c->base.family != ADDR_NONE) {
        wr_text(w, " raddr %s rport %u", addr_ip_text(&c->base, ip), (unsigned)c->base.port);
    }
    wr_text(w, "\r\n");
}
