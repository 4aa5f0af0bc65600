/* Carries a byte stream as RTP x-data. */
#include "run/xdata_run.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    CHUNK = 8192,               /* of the stream in one packet we send */
    PENDING = 2 * RTP_FRAME_MAX /* what came in while the descriptor takes nothing */
};

struct xdata_run {
    struct loop *loop;
    struct loop_fd *watch;
    struct xdata_config cfg;
    struct xdata_count count;
    uint32_t ssrc;
    uint16_t seq, seq_in;
    bool has_seq_in, is_held, is_over;
    size_t pending_at, pending_end;
    uint8_t pending[PENDING];
};

static void want(struct xdata_run *x)
{
    int events = x->cfg.is_full(x->cfg.ctx) ? 0 : LOOP_READ;
    events |= x->pending_end > x->pending_at ? LOOP_WRITE : 0;
    loop_fd_want(x->watch, x->is_over ? 0 : events);
}

static void end(struct xdata_run *x, const char *why)
{
    if (!x->is_over) {
        x->is_over = true;
        loop_fd_want(x->watch, 0);
        x->cfg.ended(why, x->cfg.ctx);
    }
}

/* Bytes the descriptor took; 0 when it takes none now. False: it is over, and said so. */
static bool put(struct xdata_run *x, struct slice s, size_t *n)
{
    ssize_t got = s.len ? send(x->cfg.fd, s.p, s.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    *n = got > 0 ? (size_t)got : 0;
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        end(x, "the RDP side closed its stream");
        return false;
    }
    return true;
}

static void flush_pending(struct xdata_run *x)
{
    size_t n;
    struct slice left = slice_of(x->pending + x->pending_at, x->pending_end - x->pending_at);
    if (!put(x, left, &n)) {
        return;
    }
    x->pending_at += n;
    if (x->pending_at == x->pending_end) {
        x->pending_at = x->pending_end = 0;
        if (x->is_held) {
            x->is_held = false;
            x->cfg.hold(false, x->cfg.ctx);
        }
    }
}

static void send_chunk(struct xdata_run *x, struct slice chunk)
{
    uint8_t buf[RTP_HEAD_LEN + CHUNK];
    struct wr w = wr_over(buf, sizeof buf);
    const struct rtp_view v = {
        .payload = chunk,
        .ssrc = x->ssrc,
        .timestamp = (uint32_t)(loop_now_ms(x->loop) * 90), /* 90 kHz */
        .seq = x->seq++,
        .payload_type = x->cfg.payload_type,
    };
    rtp_put(&w, &v);
    if (x->cfg.send(wr_done(&w), x->cfg.ctx)) {
        end(x, "the media connection took no more");
        return;
    }
    x->count.out_packets++;
    x->count.out_bytes += chunk.len;
}

/* Some at a time, so that other streams on the loop have their turn. */
static void read_chunks(struct xdata_run *x)
{
    uint8_t buf[CHUNK];
    for (int i = 0; i < 16 && !x->is_over && !x->cfg.is_full(x->cfg.ctx); i++) {
        ssize_t n = recv(x->cfg.fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
            end(x, "the RDP side closed its stream");
        } else if (n < 0) {
            break;
        } else {
            send_chunk(x, slice_of(buf, (size_t)n));
        }
    }
}

static void on_ready(int events, void *ctx)
{
    struct xdata_run *x = ctx;
    if (events & LOOP_WRITE) {
        flush_pending(x);
    }
    if (!x->is_over && events & LOOP_READ) {
        read_chunks(x);
    }
    if (!x->is_over) {
        want(x);
    }
}

int xdata_run_new(struct xdata_run **out, struct loop *l, const struct xdata_config *cfg)
{
    struct xdata_run *x = calloc(1, sizeof *x);
    *out = NULL;
    if (!x) {
        return ERR_NOMEM;
    }
    x->loop = l;
    x->cfg = *cfg;
    io_random(&x->ssrc, sizeof x->ssrc);
    io_random(&x->seq, sizeof x->seq);
    int err = loop_fd_new(&x->watch, l, cfg->fd, on_ready, x);
    if (err) {
        free(x);
        return err;
    }
    want(x);
    *out = x;
    return OK;
}

void xdata_run_free(struct xdata_run *x)
{
    if (x) {
        x->is_over = true;
        loop_fd_free(x->watch);
        free(x);
    }
}

int xdata_packet(struct xdata_run *x, struct slice packet)
{
    struct rtp_view v;
    int err = rtp_parse(&v, packet);
    if (x->is_over || err || v.payload_type != x->cfg.payload_type) {
        return err ? err : ERR_MALFORMED;
    }
    if (x->has_seq_in && v.seq != (uint16_t)(x->seq_in + 1)) {
        x->count.lost += (uint16_t)(v.seq - x->seq_in - 1);
    }
    x->has_seq_in = true;
    x->seq_in = v.seq;
    x->count.in_packets++;
    x->count.in_bytes += v.payload.len;
    size_t n = 0;
    if (x->pending_end == x->pending_at && !put(x, v.payload, &n)) {
        return OK;
    }
    struct slice rest = slice_from(v.payload, n);
    if (rest.len > PENDING - x->pending_end) {
        return ERR_LIMIT;
    }
    if (rest.len > 0) {
        memcpy(x->pending + x->pending_end, rest.p, rest.len);
        x->pending_end += rest.len;
        if (!x->is_held) {
            x->is_held = true;
            x->cfg.hold(true, x->cfg.ctx);
        }
        want(x);
    }
    return OK;
}

void xdata_drained(struct xdata_run *x)
{
    want(x);
}

struct xdata_count xdata_run_count(const struct xdata_run *x)
{
    return x->count;
}
