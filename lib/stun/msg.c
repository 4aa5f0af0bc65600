/* STUN messages: reading. The writer is in write.c. */
#include "lib/stun/msg.h"

#include "lib/base/crypto.h"

#include "lib/stun/integrity.h"

/* Code 0 is nobody's. */
static const struct stun_attr_desc rfc_attrs[STUN_ATTR_COUNT] = {
#define ATTR(name, code, kind, min, max, note) \
    [STUN_##name] = {#name, code, min, max, STUN_KIND_##kind},
#define ATTR_NAT(name, code, kind, min, max, note) ATTR(name, 0, kind, min, max, note)
#include "lib/stun/attr.def"
#undef ATTR
};

static const struct stun_attr_desc nat_attrs[STUN_ATTR_COUNT] = {
#define ATTR(name, code, kind, min, max, note) \
    [STUN_##name] = {#name, code, min, max, STUN_KIND_##kind},
#include "lib/stun/attr.def"
#undef ATTR
};

const struct stun_wire stun_wire_rfc8489 = {
    .name = "rfc8489",
    .attrs = rfc_attrs,
    .header_cookie = STUN_COOKIE,
    .integrity_block = 1,
};

const struct stun_wire stun_wire_rfc5780 = {
    .name = "rfc5780",
    .attrs = nat_attrs,
    .header_cookie = STUN_COOKIE,
    .integrity_block = 1,
};

/* [MS-ICE2]: values are zero-padded inside their length, and the HMAC is RFC 3489's. */
const struct stun_wire stun_wire_ms_ice2 = {
    .name = "ms-ice2",
    .attrs = rfc_attrs,
    .header_cookie = STUN_COOKIE,
    .integrity_block = 64,
    .length_has_padding = true,
    .integrity_sees_fingerprint = true,
};

const struct stun_attr_desc *stun_attr_desc(enum stun_attr type)
{
    return &nat_attrs[type];
}

const char *stun_method_name(uint16_t method)
{
    switch (method) {
    case STUN_BINDING: return "Binding";
    case STUN_ALLOCATE: return "Allocate";
    case STUN_REFRESH: return "Refresh";
    case STUN_SEND: return "Send";
    case STUN_DATA_IND: return "Data";
    case STUN_CREATE_PERMISSION: return "CreatePermission";
    case STUN_CHANNEL_BIND: return "ChannelBind";
    case STUN_CONNECT: return "Connect";
    case STUN_CONNECTION_BIND: return "ConnectionBind";
    case STUN_CONNECTION_ATTEMPT: return "ConnectionAttempt";
    default: return NULL;
    }
}

const char *stun_class_name(enum stun_class cls)
{
    static const char *const name[] = {"Request", "Indication", "Success Response",
                                       "Error Response"};
    return name[cls];
}

bool stun_looks_like(struct slice head)
{
    struct rd r = rd_over(head);
    uint8_t first = rd_u8(&r);
    if (!r.err && first >> 6 != 0) {
        return false;
    }
    (void)rd_u8(&r);
    uint16_t len = rd_u16(&r);
    if (!r.err && len % 4 != 0) {
        return false;
    }
    uint32_t cookie = rd_u32(&r);
    return r.err || cookie == STUN_COOKIE;
}

static enum stun_attr type_of(const struct stun_wire *wire, uint16_t code)
{
    for (int i = 0; i < STUN_ATTR_COUNT; i++) {
        if (code && wire->attrs[i].code == code) {
            return (enum stun_attr)i;
        }
    }
    return STUN_UNKNOWN;
}

static bool size_ok(const struct stun_attr_desc *d, struct slice v)
{
    if (v.len < d->min_len || v.len > d->max_len) {
        return false;
    }
    if (d->kind == STUN_KIND_ADDR || d->kind == STUN_KIND_XOR_ADDR) {
        return v.len == 4 + addr_ip_len(v.p[1]);
    }
    if (d->kind == STUN_KIND_WORDS) {
        return v.len % 4 == 0;
    }
    return d->kind != STUN_KIND_U16_LIST || v.len % 2 == 0;
}

/* RFC 8489 14.5, 14.6: what follows MESSAGE-INTEGRITY is ignored, MESSAGE-INTEGRITY-SHA256 and
 * FINGERPRINT excepted; what follows MESSAGE-INTEGRITY-SHA256, but for FINGERPRINT. */
static void take_attr(struct stun_msg *m, const struct stun_at *at)
{
    bool is_sealed = stun_is_signed(m);
    m->at[m->n_attrs++] = *at;
    if (at->type == STUN_MESSAGE_INTEGRITY && !is_sealed) {
        m->integrity = m->n_attrs;
    } else if (at->type == STUN_MESSAGE_INTEGRITY_SHA256 && !m->integrity_sha256) {
        m->integrity_sha256 = m->n_attrs;
    } else if (!is_sealed) {
        m->covered = m->n_attrs;
        m->n_unknown =
            (uint16_t)(m->n_unknown + (at->type == STUN_UNKNOWN && at->code < 0x8000));
    }
}

static int parse_attr(struct stun_msg *m, struct rd *r)
{
    struct stun_at at = {.code = rd_u16(r)};
    bool is_misfit = false;
    size_t len = rd_u16(r);
    at.value = rd_take(r, len);
    (void)rd_take(r, (4 - len % 4) % 4);
    if (r->err) {
        return r->err;
    }
    at.type = (uint16_t)type_of(m->wire, at.code);
    if (at.type != STUN_UNKNOWN && !size_ok(&m->wire->attrs[at.type], at.value)) {
        at.type = STUN_UNKNOWN;
        is_misfit = true;
    }
    if (m->n_attrs == STUN_ATTRS_MAX) {
        return ERR_LIMIT;
    }
    m->has_misfit |= is_misfit;
    take_attr(m, &at);
    return OK;
}

int stun_parse(struct stun_msg *m, struct slice datagram, const struct stun_wire *wire)
{
    struct rd r = rd_over(datagram);
    *m = (struct stun_msg){.wire = wire, .raw = datagram};
    uint16_t type = rd_u16(&r);
    size_t len = rd_u16(&r);
    uint32_t cookie = wire->header_cookie ? rd_u32(&r) : 0;
    m->tid.len = wire->header_cookie ? 12 : 16;
    struct slice tid = rd_take(&r, m->tid.len);
    if (r.err) {
        return r.err;
    }
    if (type >> 14 != 0 || cookie != wire->header_cookie || len % 4 != 0 ||
        len > datagram.len - STUN_HEADER_LEN) {
        return len > datagram.len - STUN_HEADER_LEN ? ERR_SHORT : ERR_MALFORMED;
    }
    if (len < datagram.len - STUN_HEADER_LEN) {
        return ERR_MALFORMED;
    }
    memcpy(m->tid.b, tid.p, tid.len);
    /* RFC 8489 5, figure 3: the class bits sit between the method's. */
    m->cls = (enum stun_class)((type >> 7 & 2) | (type >> 4 & 1));
    m->method = (uint16_t)((type & 0x000f) | (type >> 1 & 0x0070) | (type >> 2 & 0x0f80));
    while (rd_left(&r) > 0) {
        int err = parse_attr(m, &r);
        if (err) {
            m->has_misfit = false;
            return err;
        }
    }
    return m->has_misfit ? ERR_MALFORMED : OK;
}

static const struct stun_at *find(const struct stun_msg *m, enum stun_attr type, size_t nth)
{
    for (size_t i = 0; i < m->covered; i++) {
        if (m->at[i].type == type && nth-- == 0) {
            return &m->at[i];
        }
    }
    return NULL;
}

bool stun_has(const struct stun_msg *m, enum stun_attr type)
{
    return find(m, type, 0) != NULL;
}

int stun_get_bytes(const struct stun_msg *m, enum stun_attr type, struct slice *out)
{
    const struct stun_at *at = find(m, type, 0);
    *out = at ? at->value : slice_of(NULL, 0);
    if (!at) {
        return ERR_NOTFOUND;
    }
    if (m->wire->length_has_padding && m->wire->attrs[type].kind == STUN_KIND_TEXT) {
        while (out->len > 0 && out->p[out->len - 1] == '\0') {
            out->len--;
        }
    }
    return OK;
}

/* Reads the number at the head of a value, however wide the table says it is. */
int stun_get_u32(const struct stun_msg *m, enum stun_attr type, uint32_t *out)
{
    const struct stun_at *at = find(m, type, 0);
    *out = 0;
    if (!at) {
        return ERR_NOTFOUND;
    }
    enum stun_kind kind = m->wire->attrs[type].kind;
    struct rd r = rd_over(at->value);
    size_t width = kind == STUN_KIND_U32 ? 4 : kind == STUN_KIND_CHANNEL ? 2 : 1;
    *out = (uint32_t)rd_uint(&r, width);
    return r.err;
}

int stun_get_u64(const struct stun_msg *m, enum stun_attr type, uint64_t *out)
{
    const struct stun_at *at = find(m, type, 0);
    struct rd r = rd_over(at ? at->value : slice_of(NULL, 0));
    *out = at ? rd_u64(&r) : 0;
    return at ? r.err : ERR_NOTFOUND;
}

int stun_get_nth_addr(const struct stun_msg *m, enum stun_attr type, size_t n, struct addr *out)
{
    const struct stun_at *at = find(m, type, n);
    *out = (struct addr){0};
    if (!at) {
        return ERR_NOTFOUND;
    }
    struct rd r = rd_over(at->value);
    (void)rd_u8(&r);
    out->family = rd_u8(&r);
    out->port = rd_u16(&r);
    struct slice ip = rd_take(&r, addr_ip_len(out->family));
    if (r.err || ip.len == 0) {
        *out = (struct addr){0};
        return ERR_MALFORMED;
    }
    memcpy(out->ip, ip.p, ip.len);
    if (m->wire->attrs[type].kind == STUN_KIND_XOR_ADDR) {
        stun_xor_addr(out, m->wire, &m->tid);
    }
    return OK;
}

int stun_get_addr(const struct stun_msg *m, enum stun_attr type, struct addr *out)
{
    return stun_get_nth_addr(m, type, 0, out);
}

static int code_of(const struct stun_at *at, uint16_t *code)
{
    *code = 0;
    if (!at) {
        return ERR_NOTFOUND;
    }
    unsigned hundreds = at->value.p[2] & 7u, rest = at->value.p[3];
    if (hundreds < 3 || hundreds > 6 || rest > 99) {
        return ERR_MALFORMED;
    }
    *code = (uint16_t)(hundreds * 100 + rest);
    return OK;
}

int stun_get_error(const struct stun_msg *m, uint16_t *code, struct slice *reason)
{
    const struct stun_at *at = find(m, STUN_ERROR_CODE, 0);
    int err = code_of(at, code);
    *reason = err ? slice_of(NULL, 0) : slice_from(at->value, 4);
    return err;
}

int stun_get_addr_error(const struct stun_msg *m, uint8_t *family, uint16_t *code)
{
    const struct stun_at *at = find(m, STUN_ADDRESS_ERROR_CODE, 0);
    *family = at ? at->value.p[0] : 0;
    return code_of(at, code);
}

int stun_check_integrity_cut(const struct stun_msg *m, const struct stun_key *key, size_t least)
{
    uint8_t mac[SHA256_LEN];
    struct stun_key with = *key;
    size_t i = m->integrity_sha256 ? m->integrity_sha256 : m->integrity, len = 0;
    if (i == 0) {
        return ERR_NOTFOUND;
    }
    struct slice got = m->at[i - 1].value;
    size_t before = (size_t)(got.p - m->raw.p) - 4;
    size_t end = m->wire->integrity_sees_fingerprint ? m->raw.len : before + 4 + got.len;
    with.hash = m->integrity_sha256 ? STUN_SHA256 : STUN_SHA1;
    int err = stun_integrity(m->wire, &with, slice_of(m->raw.p, before), end, mac, &len);
    secret_wipe(&with, sizeof with);
    if (err) {
        return err;
    }
    bool is_cut = got.len < len && m->integrity_sha256;
    bool fits = is_cut ? got.len >= least && got.len >= 16 : got.len == len;
    return fits && secret_eq(got, slice_of(mac, got.len)) ? OK : ERR_AUTH;
}

int stun_check_integrity(const struct stun_msg *m, const struct stun_key *key)
{
    return stun_check_integrity_cut(m, key, SHA256_LEN);
}

bool stun_fingerprint_ok(const struct stun_msg *m)
{
    if (m->n_attrs == 0 || m->at[m->n_attrs - 1].type != STUN_FINGERPRINT) {
        return false;
    }
    struct rd r = rd_over(m->at[m->n_attrs - 1].value);
    return rd_u32(&r) == stun_fingerprint(slice_of(m->raw.p, m->raw.len - 8));
}
