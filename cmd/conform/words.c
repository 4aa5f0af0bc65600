/* Messages in words. */
#include "cmd/conform/words.h"

#include "lib/base/text.h"

#include "lib/stun/stream.h"

enum {
    TEXT_SHOWN = 40 /* bytes of a nonce, realm, ... */
};

const char *words_end(struct wr *w)
{
    size_t at = w->len < w->cap ? w->len : w->cap - 1;
    w->buf[at] = 0;
    return (const char *)w->buf;
}

/* What a server sends is shown, never obeyed by a terminal. */
static void put_text(struct wr *w, struct slice s)
{
    wr_text(w, " \"");
    for (size_t i = 0; i < s.len && i < TEXT_SHOWN; i++) {
        wr_u8(w, s.p[i] >= ' ' && s.p[i] < 0x7f ? s.p[i] : '.');
    }
    wr_text(w, s.len > TEXT_SHOWN ? "...\"" : "\"");
}

void words_attr(struct wr *w, enum stun_attr type)
{
    for (const char *p = stun_attr_desc(type)->name; *p; p++) {
        wr_u8(w, (uint8_t)(*p == '_' ? '-' : *p));
    }
}

static void put_name(struct wr *w, const struct stun_at *at)
{
    if (at->type == STUN_UNKNOWN) {
        wr_text(w, "0x%04X", at->code);
    } else {
        words_attr(w, (enum stun_attr)at->type);
    }
}

static void put_codes(struct wr *w, struct slice list)
{
    struct rd r = rd_over(list);
    while (rd_left(&r) > 1) {
        wr_text(w, " 0x%04X", rd_u16(&r));
    }
}

static void put_number(struct wr *w, struct slice value, size_t width)
{
    struct rd r = rd_over(value);
    uint64_t v = rd_uint(&r, width);
    wr_text(w, width == 2 || width == 8 ? " 0x%llx" : " %llu", (unsigned long long)v);
}

static void put_addr(struct wr *w, const struct stun_msg *m, const struct stun_at *at)
{
    char text[ADDR_TEXT_MAX];
    struct addr a;
    struct stun_msg one = *m; /* with this one attribute in front */
    one.at[0] = *at;
    one.covered = 1;
    if (stun_get_addr(&one, (enum stun_attr)at->type, &a) == OK) {
        wr_text(w, " %s", addr_text(&a, text));
    }
}

static void put_value(struct wr *w, const struct stun_msg *m, const struct stun_at *at)
{
    if (at->type == STUN_UNKNOWN) {
        wr_text(w, " (%zu bytes)", at->value.len);
        return;
    }
    switch (stun_attr_desc((enum stun_attr)at->type)->kind) {
    case STUN_KIND_FLAG: break;
    case STUN_KIND_U8:
    case STUN_KIND_U8_RFFU: put_number(w, at->value, 1); break;
    case STUN_KIND_CHANNEL: put_number(w, at->value, 2); break;
    case STUN_KIND_U32: put_number(w, at->value, 4); break;
    case STUN_KIND_U64: put_number(w, at->value, 8); break;
    case STUN_KIND_ADDR:
    case STUN_KIND_XOR_ADDR: put_addr(w, m, at); break;
    case STUN_KIND_TEXT: put_text(w, at->value); break;
    case STUN_KIND_BYTES:
    case STUN_KIND_WORDS: wr_text(w, " (%zu bytes)", at->value.len); break;
    case STUN_KIND_ERROR:
        wr_text(w, " %d", (at->value.p[2] & 7) * 100 + at->value.p[3]);
        put_text(w, slice_from(at->value, 4));
        break;
    case STUN_KIND_U16_LIST: put_codes(w, at->value); break;
    }
}

void words_frame(struct wr *w, struct slice frame)
{
    struct stun_msg m;
    uint16_t channel;
    struct slice data;
    if (frame.len >= CHANNEL_HEAD_LEN && frame.p[0] >> 6 == 1 &&
        channel_data_parse(frame, &channel, &data) == OK) {
        wr_text(w, "ChannelData 0x%04x, %zu bytes", channel, data.len);
        return;
    }
    if (stun_parse(&m, frame, &stun_wire_rfc8489)) {
        wr_text(w, "%zu bytes that are not a well-formed STUN message", frame.len);
        return;
    }
    const char *name = stun_method_name(m.method);
    if (name) {
        wr_text(w, "%s %s", name, stun_class_name(m.cls));
    } else {
        wr_text(w, "method 0x%03x %s", m.method, stun_class_name(m.cls));
    }
    for (size_t i = 0; i < m.n_attrs; i++) {
        wr_text(w, i == 0 ? ": " : ", ");
        put_name(w, &m.at[i]);
        put_value(w, &m, &m.at[i]);
    }
}
