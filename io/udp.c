/* UDP sockets. What is received and what waits to be sent sits in one area per loop: sockets
 * are many (one per allocation), and small hot buffers cost less than many cold ones. */
#include "io/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/loop_impl.h"
#include "io/sock.h"
#include "io/udp_control.h"

enum {
    DATAGRAM_MAX = 65536,
    BATCH = 16,      /* datagrams in one system call */
    BATCHES_MAX = 4, /* for one socket, before others get their turn */
    OUT_MAX = 64,    /* datagrams that wait to be sent */
    OUT_BYTES = 131072,
    ERRORS_MAX = 16 /* looked at before others get their turn */
};

struct out {
    struct udp *u;
    struct iovec iov;
    union sock_addr to;
    struct udp_control control;
    bool df;
};

enum df {      /* what an IPv4 socket does with all it sends */
    DF_SYSTEM, /* as the system has it: by what it knows of the path */
    DF_OFF,
    DF_ON
};

struct udp_area {
    struct loop_task flush;
    size_t n_out, out_bytes;
    struct out out[OUT_MAX];
    union sock_addr from[BATCH];
    struct udp_control control[BATCH];
    uint8_t out_buf[OUT_BYTES];
    uint8_t in_buf[BATCH][DATAGRAM_MAX];
};

struct udp {
    struct loop *loop;
    int fd;
    struct loop_fd *ready;
    struct loop_task later;
    struct addr at;
    bool any; /* bound to a wildcard address: each datagram says where it came to */
    bool has_header;
    enum df df;
    uint32_t buffer;
    udp_failed *failed;
    bool dead;
    udp_received *fn;
    void *ctx;
};

/* Up to `n` datagrams; false when the socket has no more for now. */
static bool receive(struct udp *u, unsigned n)
{
    struct udp_area *area = u->loop->udp;
    bool control = u->any || u->has_header;
    struct mmsghdr msg[BATCH];
    struct iovec iov[BATCH];
    for (unsigned i = 0; i < n; i++) {
        iov[i] = (struct iovec){.iov_base = area->in_buf[i], .iov_len = DATAGRAM_MAX};
        msg[i].msg_hdr = (struct msghdr){.msg_name = &area->from[i],
                                         .msg_namelen = sizeof area->from[i],
                                         .msg_iov = &iov[i],
                                         .msg_iovlen = 1,
                                         .msg_control = control ? area->control[i].room : NULL,
                                         .msg_controllen = control ? UDP_CONTROL_MAX : 0};
    }
    int got = recvmmsg(u->fd, msg, n, 0, NULL);
    for (int i = 0; i < got && !u->dead; i++) {
        struct addr from = sock_to_addr(&area->from[i]);
        struct addr local = u->at;
        struct dgram d = dgram_of(slice_of(area->in_buf[i], msg[i].msg_len));
        udp_control_get(&msg[i].msg_hdr, &local, &d.opts);
        u->fn(u, &from, &local, d, u->ctx);
    }
    return got == (int)n;
}

static bool is_same(const struct udp_error *a, const struct udp_error *b)
{
    return addr_eq(&a->to, &b->to) && a->type == b->type && a->code == b->code &&
           a->mtu == b->mtu;
}

/* What is left over makes the socket ready again. */
static void read_errors(struct udp *u)
{
    struct udp_error e, last = {.mtu = 0};
    for (int i = 0; i < ERRORS_MAX && !u->dead; i++) {
        int err = udp_control_error(u->fd, &e);
        if (err == ERR_NOTFOUND) {
            return;
        }
        /* A datagram that is tried twice, see send_run, fails twice. */
        if (err == OK && !is_same(&e, &last)) {
            last = e;
            u->failed(u, &e, u->ctx);
        }
    }
}

static void clear_error(const struct udp *u)
{
    int e;
    socklen_t len = sizeof e;
    (void)getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &e, &len);
}

static void ready(int events, void *ctx)
{
    struct udp *u = ctx;
    if ((events & LOOP_ERROR) && u->failed) {
        read_errors(u);
    }
    /* With an error left behind, which may be that of the next in the queue, nothing could be
     * received. */
    if ((events & LOOP_ERROR) && !u->dead) {
        clear_error(u);
    }
    /* One at a time costs less while they come one at a time. */
    if (u->dead || !receive(u, 1)) {
        return;
    }
    for (int i = 0; i < BATCHES_MAX && !u->dead && receive(u, BATCH); i++) {
    }
}

/* Before datagrams with this wish are sent. False: it cannot be had. IPv6 has it per datagram.
 *
 * OMIT leaves DF off and PROBE sets it, and both pay no heed to path MTUs learnt from ICMP,
 * which anybody may send; with DONT the kernel would not pass "fragmentation needed" on to us,
 * and such an answer comes when the next datagram without DF has long been sent. */
static bool set_df(struct udp *u, bool df)
{
    enum df want = df ? DF_ON : u->df == DF_ON ? DF_OFF : u->df;
    int mode = df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_OMIT;
    if (u->at.family != ADDR_IP4 || want == u->df) {
        return true;
    }
    if (setsockopt(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof mode)) {
        return false;
    }
    u->df = want;
    return true;
}

/* Sends out[first .. first + n), all of one socket and with the same wish for DF. */
static void send_run(struct udp_area *area, size_t first, size_t n)
{
    struct mmsghdr msg[OUT_MAX];
    struct udp *u = area->out[first].u;
    if (!set_df(u, area->out[first].df)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct out *o = &area->out[first + i];
        msg[i].msg_hdr = (struct msghdr){
            .msg_name = &o->to,
            .msg_namelen = o->to.sa.sa_family == AF_INET ? sizeof o->to.in4 : sizeof o->to.in6,
            .msg_iov = &o->iov,
            .msg_iovlen = 1,
            .msg_control = o->control.len ? o->control.room : NULL,
            .msg_controllen = o->control.len};
    }
    size_t done = 0, again = n;
    while (done < n) {
        int sent = sendmmsg(u->fd, msg + done, (unsigned)(n - done), 0);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            return;
        }
        /* With IP_RECVERR a send fails for what ICMP said of an earlier one: so try twice. */
        if (sent < 0 && u->failed && again != done) {
            again = done;
            continue;
        }
        /* A datagram that cannot go (no route, too big) must not stop those behind it. */
        done += sent > 0 ? (size_t)sent : 1;
    }
}

static void flush(void *ctx)
{
    struct udp_area *area = ctx;
    for (size_t i = 0, n; i < area->n_out; i += n) {
        for (n = 1; i + n < area->n_out && area->out[i + n].u == area->out[i].u &&
                    area->out[i + n].df == area->out[i].df;
             n++) {
        }
        send_run(area, i, n);
    }
    area->n_out = 0;
    area->out_bytes = 0;
}

void udp_send(struct udp *u, const struct addr *to, const struct addr *local, struct slice head,
              struct dgram body)
{
    struct udp_area *area = u->loop->udp;
    if (u->dead || to->family != u->at.family || head.len > DATAGRAM_MAX ||
        body.data.len > DATAGRAM_MAX) {
        return;
    }
    size_t len = head.len + body.data.len;
    if (area->n_out == OUT_MAX || len > OUT_BYTES - area->out_bytes) {
        flush(area);
    }
    struct out *o = &area->out[area->n_out++];
    struct wr w = wr_over(area->out_buf + area->out_bytes, len);
    wr_bytes(&w, head);
    wr_bytes(&w, body.data);
    area->out_bytes += len;
    o->u = u;
    o->iov = (struct iovec){.iov_base = w.buf, .iov_len = len};
    (void)sock_from_addr(&o->to, to);
    o->df = body.opts.df;
    if (!local || !u->any || local->family != to->family || addr_is_any(local)) {
        local = NULL;
    }
    udp_control_put(&o->control, to->family, local, &body.opts);
    loop_task_arm(u->loop, &area->flush);
}

static void bury(void *ctx)
{
    free(ctx);
}

static int make_area(struct loop *l)
{
    if (!l->udp) {
        l->udp = malloc(sizeof *l->udp);
        if (!l->udp) {
            return ERR_NOMEM;
        }
        l->udp->n_out = l->udp->out_bytes = 0;
        l->udp->flush = (struct loop_task){.fn = flush, .ctx = l->udp};
    }
    return OK;
}

static void want_control(struct udp *u)
{
    bool is_ip4 = u->at.family == ADDR_IP4;
    int level = is_ip4 ? IPPROTO_IP : IPPROTO_IPV6;
    if (u->any) {
        sock_option(u->fd, level, is_ip4 ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
    }
    if (u->has_header) {
        sock_option(u->fd, level, is_ip4 ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
        sock_option(u->fd, level, is_ip4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
    }
    if (u->has_header && is_ip4) {
        sock_option(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
        u->df = DF_OFF;
    }
    if (u->failed) {
        sock_option(u->fd, level, is_ip4 ? IP_RECVERR : IPV6_RECVERR, 1);
    }
}

/* Asks for room, and gives what was granted. The kernel doubles the number for its own needs.
 */
static uint32_t ask_buffer(int fd, int name, uint32_t bytes)
{
    int got = 0;
    socklen_t len = sizeof got;
    sock_option(fd, SOL_SOCKET, name, (int)(bytes < INT32_MAX / 2 ? bytes : INT32_MAX / 2));
    return getsockopt(fd, SOL_SOCKET, name, &got, &len) || got < 0 ? 0 : (uint32_t)got / 2;
}

static void want_buffer(struct udp *u, uint32_t bytes)
{
    if (bytes > 0) {
        uint32_t in = ask_buffer(u->fd, SO_RCVBUF, bytes);
        uint32_t out = ask_buffer(u->fd, SO_SNDBUF, bytes);
        u->buffer = in < out ? in : out;
    }
}

int udp_open(struct udp **out, struct loop *l, const struct addr *at,
             const struct udp_options *opt, udp_received *fn, void *ctx)
{
    struct udp *u = calloc(1, sizeof *u);
    *out = NULL;
    if (!u) {
        return ERR_NOMEM;
    }
    *u = (struct udp){.loop = l, .fd = -1, .fn = fn, .ctx = ctx, .any = addr_is_any(at)};
    u->later = (struct loop_task){.fn = bury, .ctx = u};
    int err = make_area(l);
    if (opt && opt->fd > 0) {
        u->fd = opt->fd;
    } else if (!err) {
        err = sock_new(&u->fd, at->family, SOCK_DGRAM, at, opt && opt->share_port);
    }
    err = err ? err : loop_fd_new(&u->ready, l, u->fd, ready, u);
    if (err) {
        int saved = errno;
        udp_close(u);
        errno = saved;
        return err;
    }
    u->at = sock_local(u->fd);
    if (opt) {
        u->has_header = opt->has_header;
        u->failed = opt->failed;
        want_buffer(u, opt->buffer);
    }
    want_control(u);
    loop_fd_want(u->ready, LOOP_READ);
    *out = u;
    return OK;
}

void udp_close(struct udp *u)
{
    if (!u || u->dead) {
        return;
    }
    if (u->loop->udp) {
        flush(u->loop->udp);
    }
    u->dead = true;
    loop_fd_free(u->ready);
    if (u->fd >= 0) {
        (void)close(u->fd);
    }
    loop_task_arm(u->loop, &u->later);
}

uint32_t udp_buffer(const struct udp *u)
{
    return u->buffer;
}

bool udp_can_df(void)
{
    const int modes[] = {IP_PMTUDISC_PROBE, IP_PMTUDISC_OMIT};
    int fd;
    if (sock_new(&fd, ADDR_IP4, SOCK_DGRAM, NULL, false)) {
        return false;
    }
    bool can = true;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        can =
            can && setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &modes[i], sizeof modes[i]) == 0;
    }
    (void)close(fd);
    return can;
}

struct addr udp_addr(const struct udp *u)
{
    return u->at;
}
