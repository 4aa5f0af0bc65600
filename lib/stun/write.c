/* STUN messages: writing. */
#include "lib/base/crypto.h"

#include "lib/stun/integrity.h"
#include "lib/stun/msg.h"

void stun_begin(struct stun_writer *s, uint8_t *buf, size_t cap, const struct stun_wire *wire,
                enum stun_class cls, uint16_t method, const struct stun_tid *tid)
{
    unsigned m = method, c = cls;
    *s = (struct stun_writer){.w = wr_over(buf, cap), .wire = wire, .tid = *tid};
    wr_u16(&s->w, (uint16_t)((m & 0x0f) | (m & 0x70) << 1 | (m & 0xf80) << 2 | (c & 1) << 4 |
                             (c & 2) << 7));
    wr_u16(&s->w, 0);
    if (wire->header_cookie) {
        wr_u32(&s->w, wire->header_cookie);
    }
    wr_bytes(&s->w, slice_of(tid->b, tid->len));
}

/* Sets the header's length field as if the message ended at `end` bytes. */
static void set_length(struct stun_writer *s, size_t end)
{
    if (end - STUN_HEADER_LEN > UINT16_MAX) {
        s->w.err = ERR_NOSPACE;
    }
    if (!s->w.err) {
        s->w.buf[2] = (uint8_t)((end - STUN_HEADER_LEN) >> 8);
        s->w.buf[3] = (uint8_t)(end - STUN_HEADER_LEN);
    }
}

static void put_head(struct stun_writer *s, enum stun_attr type, size_t len)
{
    if (len > s->wire->attrs[type].max_len) {
        s->w.err = ERR_NOSPACE;
    }
    wr_u16(&s->w, s->wire->attrs[type].code);
    wr_u16(&s->w, (uint16_t)len);
}

void stun_put_bytes(struct stun_writer *s, enum stun_attr type, struct slice v)
{
    size_t pad = (4 - v.len % 4) % 4;
    bool inside = s->wire->length_has_padding && s->wire->attrs[type].kind == STUN_KIND_TEXT;
    put_head(s, type, v.len + (inside ? pad : 0));
    wr_bytes(&s->w, v);
    (void)wr_room(&s->w, pad);
}

void stun_put_flag(struct stun_writer *s, enum stun_attr type)
{
    put_head(s, type, 0);
}

void stun_put_u32(struct stun_writer *s, enum stun_attr type, uint32_t v)
{
    enum stun_kind kind = s->wire->attrs[type].kind;
    size_t width = kind == STUN_KIND_U32 ? 4 : kind == STUN_KIND_CHANNEL ? 2 : 1;
    put_head(s, type, kind == STUN_KIND_U8 ? 1 : 4);
    wr_uint(&s->w, v, width);
    (void)wr_room(&s->w, 4 - width);
}

void stun_put_u64(struct stun_writer *s, enum stun_attr type, uint64_t v)
{
    put_head(s, type, 8);
    wr_u64(&s->w, v);
}

void stun_put_addr(struct stun_writer *s, enum stun_attr type, const struct addr *a)
{
    struct addr out = *a;
    if (s->wire->attrs[type].kind == STUN_KIND_XOR_ADDR) {
        stun_xor_addr(&out, s->wire, &s->tid);
    }
    put_head(s, type, 4 + addr_ip_len(a->family));
    wr_u8(&s->w, 0);
    wr_u8(&s->w, a->family);
    wr_u16(&s->w, out.port);
    wr_bytes(&s->w, slice_of(out.ip, addr_ip_len(a->family)));
}

/* `family`: 0 in ERROR-CODE, where these bits are reserved. */
static void put_error(struct stun_writer *s, enum stun_attr type, uint8_t family, uint16_t code,
                      const char *reason)
{
    struct slice text = slice_str(reason);
    put_head(s, type, 4 + text.len);
    wr_u8(&s->w, family);
    wr_u8(&s->w, 0);
    wr_u8(&s->w, (uint8_t)(code / 100));
    wr_u8(&s->w, (uint8_t)(code % 100));
    wr_bytes(&s->w, text);
    (void)wr_room(&s->w, (4 - text.len % 4) % 4);
}

void stun_put_error(struct stun_writer *s, uint16_t code, const char *reason)
{
    put_error(s, STUN_ERROR_CODE, 0, code, reason);
}

void stun_put_addr_error(struct stun_writer *s, uint8_t family, uint16_t code,
                         const char *reason)
{
    put_error(s, STUN_ADDRESS_ERROR_CODE, family, code, reason);
}

void stun_put_unknown(struct stun_writer *s, const struct stun_msg *m)
{
    put_head(s, STUN_UNKNOWN_ATTRIBUTES, 2u * m->n_unknown);
    for (size_t i = 0; i < m->covered; i++) {
        if (m->at[i].type == STUN_UNKNOWN && m->at[i].code < 0x8000) {
            wr_u16(&s->w, m->at[i].code);
        }
    }
    (void)wr_room(&s->w, 2u * (m->n_unknown % 2));
}

void stun_put_integrity(struct stun_writer *s, const struct stun_key *key)
{
    uint8_t mac[SHA256_LEN];
    bool is_sha256 = key->hash == STUN_SHA256;
    size_t len = is_sha256 ? SHA256_LEN : SHA1_LEN;
    size_t end = s->w.len + 4 + len + (s->wire->integrity_sees_fingerprint ? 8 : 0);
    set_length(s, end);
    int err = stun_integrity(s->wire, key, wr_done(&s->w), end, mac, &len);
    if (err && !s->w.err) {
        s->w.err = err;
    }
    stun_put_bytes(s, is_sha256 ? STUN_MESSAGE_INTEGRITY_SHA256 : STUN_MESSAGE_INTEGRITY,
                   slice_of(mac, len));
}

void stun_put_fingerprint(struct stun_writer *s)
{
    set_length(s, s->w.len + 8);
    stun_put_u32(s, STUN_FINGERPRINT, stun_fingerprint(wr_done(&s->w)));
}

int stun_end(struct stun_writer *s, struct slice *out)
{
    set_length(s, s->w.len);
    *out = wr_done(&s->w);
    return s->w.err;
}
