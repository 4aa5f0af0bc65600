/* The codec of the viewer's own messages. */
#include "lib/share/view_msg.h"

enum {
    FLAG_LOSSLESS = 1
};

void view_put_update(struct wr *w, const struct viewer_update *u)
{
    wr_u8(w, VIEW_UPDATE);
    wr_u8(w, u->lossless ? FLAG_LOSSLESS : 0);
    wr_u32(w, u->seq);
    wr_u16(w, u->width);
    wr_u16(w, u->height);
    wr_u16(w, (uint16_t)u->n);
}

void view_put_rect(struct wr *w, const struct view_rect *r)
{
    wr_u16(w, r->r.x);
    wr_u16(w, r->r.y);
    wr_u16(w, r->r.w);
    wr_u16(w, r->r.h);
    wr_u8(w, (uint8_t)r->format);
    wr_u32(w, (uint32_t)r->bytes.len);
    wr_bytes(w, r->bytes);
}

void view_put(struct wr *w, const struct view_msg *m)
{
    wr_u8(w, (uint8_t)m->type);
    switch (m->type) {
    case VIEW_CURSOR:
        wr_u16(w, m->width);
        wr_u16(w, m->height);
        wr_u16(w, m->x);
        wr_u16(w, m->y);
        wr_bytes(w, m->pixels);
        break;
    case VIEW_POINTER:
        wr_u16(w, m->x);
        wr_u16(w, m->y);
        break;
    case VIEW_ACK: wr_u32(w, m->seq); break;
    case VIEW_UPDATE: w->err = ERR_UNSUPPORTED; break;
    }
}

static void rect_get(struct view_rect *out, const struct view_msg *m, struct rd *r)
{
    out->r.x = rd_u16(r);
    out->r.y = rd_u16(r);
    out->r.w = rd_u16(r);
    out->r.h = rd_u16(r);
    uint8_t format = rd_u8(r);
    out->format = format == VIEW_JPEG ? VIEW_JPEG : VIEW_PNG;
    out->bytes = rd_take(r, rd_u32(r));
    if (!r->err && (format < VIEW_JPEG || format > VIEW_PNG || out->r.w == 0 || out->r.h == 0 ||
                    (uint32_t)out->r.x + out->r.w > m->width ||
                    (uint32_t)out->r.y + out->r.h > m->height)) {
        r->err = ERR_MALFORMED;
    }
}

static void update_get(struct view_msg *out, struct rd *r)
{
    uint8_t flags = rd_u8(r);
    out->seq = rd_u32(r);
    out->width = rd_u16(r);
    out->height = rd_u16(r);
    uint16_t n = rd_u16(r);
    if (!r->err && (n > VIEWER_RECTS_MAX || flags > FLAG_LOSSLESS)) {
        r->err = ERR_MALFORMED;
    }
    out->lossless = flags & FLAG_LOSSLESS;
    for (uint16_t i = 0; !r->err && i < n; i++) {
        rect_get(&out->rect[out->n_rects++], out, r);
    }
}

static void cursor_get(struct view_msg *out, struct rd *r)
{
    out->width = rd_u16(r);
    out->height = rd_u16(r);
    out->x = rd_u16(r);
    out->y = rd_u16(r);
    if (!r->err && (out->width > LINK_CURSOR_MAX || out->height > LINK_CURSOR_MAX)) {
        r->err = ERR_MALFORMED;
    }
    out->pixels = rd_take(r, (size_t)out->width * out->height * 4);
}

int view_parse(struct view_msg *out, struct slice in)
{
    struct rd r = rd_over(in);
    memset(out, 0, sizeof(*out));
    uint8_t type = rd_u8(&r);
    switch (type) {
    case VIEW_UPDATE: update_get(out, &r); break;
    case VIEW_CURSOR: cursor_get(out, &r); break;
    case VIEW_POINTER:
        out->x = rd_u16(&r);
        out->y = rd_u16(&r);
        break;
    case VIEW_ACK: out->seq = rd_u32(&r); break;
    default: return r.err ? r.err : ERR_MALFORMED;
    }
    if (!r.err && rd_left(&r) > 0) {
        r.err = ERR_MALFORMED;
    }
    if (r.err) {
        return r.err;
    }
    out->type = (enum view_type)type;
    return OK;
}
