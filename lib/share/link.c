/* Codec of the link between the meeting server and its RDP viewer process. A message is its
 * type in one byte and then its fields in the order of struct link_msg, big-endian. */
#include "lib/share/link.h"

enum {
    TEXT_MAX = 200
};

static bool text_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < 0x20 || s.p[i] > 0x7e) {
            return false;
        }
    }
    return s.len <= TEXT_MAX;
}

static bool size_ok(const struct link_msg *m)
{
    return m->width > 0 && m->width <= LINK_WIDTH_MAX && m->height > 0 &&
           m->height <= LINK_HEIGHT_MAX;
}

static bool rects_ok(const struct link_msg *m)
{
    if (m->n_rects == 0 || m->n_rects > LINK_RECTS_MAX) {
        return false;
    }
    for (size_t i = 0; i < m->n_rects; i++) {
        const struct rect *r = &m->rect[i];
        if (r->w == 0 || r->h == 0 || r->x + r->w > LINK_WIDTH_MAX ||
            r->y + r->h > LINK_HEIGHT_MAX) {
            return false;
        }
    }
    return true;
}

static bool cursor_ok(const struct link_msg *m)
{
    if (m->width == 0 && m->height == 0) {
        return m->x == 0 && m->y == 0 && m->pixels.len == 0;
    }
    return m->width <= LINK_CURSOR_MAX && m->height <= LINK_CURSOR_MAX && m->x < m->width &&
           m->y < m->height && m->pixels.len == (size_t)m->width * m->height * 4;
}

/* What both sides hold a message to: neither writes nor accepts another. */
static bool msg_ok(const struct link_msg *m)
{
    switch (m->type) {
    case LINK_SIZE: return size_ok(m);
    case LINK_DAMAGE: return rects_ok(m);
    case LINK_CURSOR: return cursor_ok(m);
    case LINK_POINTER: return m->x < LINK_WIDTH_MAX && m->y < LINK_HEIGHT_MAX;
    case LINK_STATE:
        return m->state >= LINK_CONNECTING && m->state <= LINK_PAUSED && text_ok(m->text);
    case LINK_GONE: return text_ok(m->text);
    case LINK_ACK: return true;
    }
    return false;
}

static void read_rects(struct rd *r, struct link_msg *m)
{
    m->n_rects = rd_u8(r);
    for (size_t i = 0; i < m->n_rects && i < LINK_RECTS_MAX; i++) {
        m->rect[i].x = rd_u16(r);
        m->rect[i].y = rd_u16(r);
        m->rect[i].w = rd_u16(r);
        m->rect[i].h = rd_u16(r);
    }
}

static void read_body(struct rd *r, struct link_msg *m)
{
    switch (m->type) {
    case LINK_SIZE:
        m->width = rd_u16(r);
        m->height = rd_u16(r);
        break;
    case LINK_DAMAGE:
        m->seq = rd_u32(r);
        read_rects(r, m);
        break;
    case LINK_CURSOR:
        m->width = rd_u16(r);
        m->height = rd_u16(r);
        m->x = rd_u16(r);
        m->y = rd_u16(r);
        m->pixels = rd_take(r, (size_t)m->width * m->height * 4);
        break;
    case LINK_POINTER:
        m->x = rd_u16(r);
        m->y = rd_u16(r);
        break;
    case LINK_STATE:
        m->state = (enum link_state)rd_u8(r);
        m->text = rd_take(r, rd_left(r));
        break;
    case LINK_GONE: m->text = rd_take(r, rd_left(r)); break;
    case LINK_ACK: m->seq = rd_u32(r); break;
    }
}

int link_parse(struct link_msg *out, struct slice in)
{
    struct rd r = rd_over(in);
    *out = (struct link_msg){0};
    out->type = (enum link_type)rd_u8(&r);
    read_body(&r, out);
    return r.err || rd_left(&r) > 0 || !msg_ok(out) ? ERR_MALFORMED : 0;
}

static void put_rects(struct wr *w, const struct link_msg *m)
{
    wr_u8(w, m->n_rects);
    for (size_t i = 0; i < m->n_rects; i++) {
        wr_u16(w, m->rect[i].x);
        wr_u16(w, m->rect[i].y);
        wr_u16(w, m->rect[i].w);
        wr_u16(w, m->rect[i].h);
    }
}

void link_put(struct wr *w, const struct link_msg *m)
{
    if (!msg_ok(m)) {
        w->err = w->err ? w->err : ERR_MALFORMED;
        return;
    }
    wr_u8(w, (uint8_t)m->type);
    switch (m->type) {
    case LINK_SIZE:
        wr_u16(w, m->width);
        wr_u16(w, m->height);
        break;
    case LINK_DAMAGE:
        wr_u32(w, m->seq);
        put_rects(w, m);
        break;
    case LINK_CURSOR:
        wr_u16(w, m->width);
        wr_u16(w, m->height);
        wr_u16(w, m->x);
        wr_u16(w, m->y);
        wr_bytes(w, m->pixels);
        break;
    case LINK_POINTER:
        wr_u16(w, m->x);
        wr_u16(w, m->y);
        break;
    case LINK_STATE:
        wr_u8(w, (uint8_t)m->state);
        wr_bytes(w, m->text);
        break;
    case LINK_GONE: wr_bytes(w, m->text); break;
    case LINK_ACK: wr_u32(w, m->seq); break;
    }
}
