/* The viewer's end of the link to the meeting server. */
#include "cmd/rdp/feed.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* Waits while the socket is full: a server that reads slowly slows the viewer, and with it the
 * sharer. A server that is gone ends this process, by main.c's watch. */
static int send_msg(int fd, const struct link_msg *m)
{
    uint8_t buf[LINK_MESSAGE_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    link_put(&w, m);
    struct slice s = wr_done(&w);
    if (s.len == 0) {
        return ERR_SYSTEM;
    }
    while (send(fd, s.p, s.len, MSG_NOSIGNAL) < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            return ERR_SYSTEM;
        }
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, -1) < 0 && errno != EINTR) {
            return ERR_SYSTEM;
        }
    }
    return 0;
}

int feed_size(struct feed *f, uint16_t width, uint16_t height)
{
    size_t cells_x = (width + FEED_CELL - 1U) / FEED_CELL;
    size_t cells_y = (height + FEED_CELL - 1U) / FEED_CELL;
    f->width = width;
    f->height = height;
    f->damage.n = 0;
    f->n_unpainted = cells_x * cells_y;
    memset(f->painted, 0, sizeof f->painted);
    return send_msg(f->fd,
                    &(struct link_msg){.type = LINK_SIZE, .width = width, .height = height});
}

static int clamp(int64_t v, int max)
{
    return v < 0 ? 0 : v > max ? max : (int)v;
}

void feed_damage(struct feed *f, int x, int y, int w, int h)
{
    int left = clamp(x, f->width), top = clamp(y, f->height);
    int right = clamp((int64_t)x + w, f->width);
    int bottom = clamp((int64_t)y + h, f->height);
    damage_add(&f->damage, &(struct rect){.x = (uint16_t)left,
                                          .y = (uint16_t)top,
                                          .w = (uint16_t)(right > left ? right - left : 0),
                                          .h = (uint16_t)(bottom > top ? bottom - top : 0)});
}

static void copy_rect(struct feed *f, const struct rect *r, const uint8_t *pixels,
                      size_t stride)
{
    for (size_t y = r->y; y < (size_t)r->y + r->h; y++) {
        memcpy(f->mem + (y * f->width + r->x) * 4, pixels + y * stride + (size_t)r->x * 4,
               (size_t)r->w * 4);
    }
}

static void note_painted(struct feed *f, const struct rect *r)
{
    for (size_t y = r->y / FEED_CELL; y * FEED_CELL < (size_t)r->y + r->h; y++) {
        for (size_t x = r->x / FEED_CELL; x * FEED_CELL < (size_t)r->x + r->w; x++) {
            bool *cell = &f->painted[y * FEED_CELLS_X + x];
            f->n_unpainted -= *cell ? 0 : 1;
            *cell = true;
        }
    }
}

static int flush_damage(struct feed *f, uint64_t now_ms, const uint8_t *pixels, size_t stride)
{
    struct link_msg m = {.type = LINK_DAMAGE, .seq = ++f->seq, .n_rects = (uint8_t)f->damage.n};
    for (size_t i = 0; i < f->damage.n; i++) {
        m.rect[i] = f->damage.rect[i];
        copy_rect(f, &m.rect[i], pixels, stride);
        note_painted(f, &m.rect[i]);
    }
    f->damage.n = 0;
    f->waits_for_ack = true;
    f->painted_ms = f->painted_ms ? f->painted_ms : now_ms;
    return send_msg(f->fd, &m);
}

static int flush_pointer(struct feed *f)
{
    int err = 0;
    if (f->pointer.has_shape) {
        f->pointer.has_shape = false;
        size_t len = (size_t)f->pointer.width * f->pointer.height * 4;
        err = send_msg(f->fd, &(struct link_msg){.type = LINK_CURSOR,
                                                 .width = f->pointer.width,
                                                 .height = f->pointer.height,
                                                 .x = f->pointer.hot_x,
                                                 .y = f->pointer.hot_y,
                                                 .pixels = slice_of(f->pointer.pixels, len)});
    }
    if (!err && f->pointer.has_place && f->pointer.x < f->width && f->pointer.y < f->height) {
        err = send_msg(f->fd, &(struct link_msg){
                                  .type = LINK_POINTER, .x = f->pointer.x, .y = f->pointer.y});
    }
    f->pointer.has_place = false;
    return err;
}

int feed_flush(struct feed *f, uint64_t now_ms, const uint8_t *pixels, size_t stride)
{
    int err = 0;
    if (!f->waits_for_ack && f->damage.n > 0) {
        err = flush_damage(f, now_ms, pixels, stride);
    }
    if (!err && !f->is_active && f->painted_ms > 0 &&
        (f->n_unpainted == 0 || now_ms >= feed_deadline_ms(f))) {
        f->is_active = true;
        err = feed_state(f, LINK_ACTIVE, "");
    }
    return err ? err : flush_pointer(f);
}

uint64_t feed_deadline_ms(const struct feed *f)
{
    return f->is_active || f->painted_ms == 0 ? UINT64_MAX : f->painted_ms + FEED_FIRST_MS;
}

int feed_receive(struct feed *f)
{
    uint8_t buf[64];
    for (;;) {
        struct link_msg m;
        ssize_t n = recv(f->fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 0;
        }
        if (n <= 0 || link_parse(&m, slice_of(buf, (size_t)n)) || m.type != LINK_ACK ||
            m.seq != f->seq || !f->waits_for_ack) {
            return ERR_SYSTEM;
        }
        f->waits_for_ack = false;
    }
}

int feed_state(struct feed *f, enum link_state state, const char *text)
{
    return send_msg(
        f->fd, &(struct link_msg){.type = LINK_STATE, .state = state, .text = slice_str(text)});
}

void feed_gone(int fd, const char *text)
{
    uint8_t ack[64];
    /* When it cannot be said, the server sees the socket close. */
    (void)!send_msg(fd, &(struct link_msg){.type = LINK_GONE, .text = slice_str(text)});
    /* An unread acknowledgement would make the close an error, and that would reach the server
     * before the message. */
    shutdown(fd, SHUT_RD);
    while (recv(fd, ack, sizeof ack, MSG_DONTWAIT) > 0) {
    }
}
