/* UDP sockets. What is received and what waits to be sent sits in one area per loop: sockets
 * are many (one per allocation), and small hot buffers cost less than many cold ones. */
#include "io/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/loop_impl.h"
#include "io/sock.h"

enum {
    DATAGRAM_MAX = 65536,
    BATCH = 16,      /* datagrams in one system call */
    BATCHES_MAX = 4, /* for one socket, before others get their turn */
    OUT_MAX = 64,    /* datagrams that wait to be sent */
    OUT_BYTES = 131072
};

struct pktinfo { /* aligned room for one control message */
    _Alignas(struct cmsghdr) uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct out {
    struct udp *u;
    struct iovec iov;
    union sock_addr to;
    struct pktinfo info;
    size_t info_len;
};

struct udp_area {
    struct loop_task flush;
    size_t n_out, out_bytes;
    struct out out[OUT_MAX];
    union sock_addr from[BATCH];
    struct pktinfo info[BATCH];
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
    bool dead;
    udp_received *fn;
    void *ctx;
};

static struct addr local_of(const struct udp *u, struct msghdr *m)
{
    struct addr local = u->at;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(local.ip, &info.ipi_addr, 4);
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(local.ip, &info.ipi6_addr, 16);
        }
    }
    return local;
}

/* Up to `n` datagrams; false when the socket has no more for now. */
static bool receive(struct udp *u, unsigned n)
{
    struct udp_area *area = u->loop->udp;
    struct mmsghdr msg[BATCH];
    struct iovec iov[BATCH];
    for (unsigned i = 0; i < n; i++) {
        iov[i] = (struct iovec){.iov_base = area->in_buf[i], .iov_len = DATAGRAM_MAX};
        msg[i].msg_hdr = (struct msghdr){.msg_name = &area->from[i],
                                         .msg_namelen = sizeof area->from[i],
                                         .msg_iov = &iov[i],
                                         .msg_iovlen = 1,
                                         .msg_control = u->any ? &area->info[i] : NULL,
                                         .msg_controllen = u->any ? sizeof area->info[i] : 0};
    }
    int got = recvmmsg(u->fd, msg, n, 0, NULL);
    for (int i = 0; i < got && !u->dead; i++) {
        struct addr from = sock_to_addr(&area->from[i]);
        struct addr local = local_of(u, &msg[i].msg_hdr);
        u->fn(u, &from, &local, dgram_of(slice_of(area->in_buf[i], msg[i].msg_len)), u->ctx);
    }
    return got == (int)n;
}

static void ready(int events, void *ctx)
{
    struct udp *u = ctx;
    (void)events;
    /* One at a time costs less while they come one at a time. */
    if (!receive(u, 1)) {
        int e;
        socklen_t len = sizeof e;
        (void)getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &e, &len); /* clears it */
        return;
    }
    for (int i = 0; i < BATCHES_MAX && !u->dead && receive(u, BATCH); i++) {
    }
}

/* Sends out[first .. first + n), all of one socket. */
static void send_run(struct udp_area *area, size_t first, size_t n)
{
    struct mmsghdr msg[OUT_MAX];
    for (size_t i = 0; i < n; i++) {
        struct out *o = &area->out[first + i];
        msg[i].msg_hdr = (struct msghdr){
            .msg_name = &o->to,
            .msg_namelen = o->to.sa.sa_family == AF_INET ? sizeof o->to.in4 : sizeof o->to.in6,
            .msg_iov = &o->iov,
            .msg_iovlen = 1,
            .msg_control = o->info_len ? &o->info : NULL,
            .msg_controllen = o->info_len};
    }
    size_t done = 0;
    while (done < n) {
        int sent = sendmmsg(area->out[first].u->fd, msg + done, (unsigned)(n - done), 0);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            return;
        }
        /* A datagram that cannot go (no route, too big) must not stop those behind it. */
        done += sent > 0 ? (size_t)sent : 1;
    }
}

static void flush(void *ctx)
{
    struct udp_area *area = ctx;
    for (size_t i = 0, n; i < area->n_out; i += n) {
        for (n = 1; i + n < area->n_out && area->out[i + n].u == area->out[i].u; n++) {
        }
        send_run(area, i, n);
    }
    area->n_out = 0;
    area->out_bytes = 0;
}

/* Makes the control message for "send from `local`"; gives its size. */
static size_t set_local(struct pktinfo *p, const struct addr *local)
{
    bool is_ip4 = local->family == ADDR_IP4;
    struct in_pktinfo info4 = {0};
    struct in6_pktinfo info6 = {0};
    size_t len = is_ip4 ? sizeof info4 : sizeof info6;
    memcpy(&info4.ipi_spec_dst, local->ip, 4);
    memcpy(&info6.ipi6_addr, local->ip, 16);
    *p = (struct pktinfo){.room = {0}};
    struct msghdr m = {.msg_control = p->room, .msg_controllen = sizeof p->room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = is_ip4 ? IPPROTO_IP : IPPROTO_IPV6;
    c->cmsg_type = is_ip4 ? IP_PKTINFO : IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), is_ip4 ? (void *)&info4 : (void *)&info6, len);
    return CMSG_SPACE(len);
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
    o->info_len = 0;
    if (local && u->any && local->family == to->family && !addr_is_any(local)) {
        o->info_len = set_local(&o->info, local);
    }
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
    err = err ? err : sock_new(&u->fd, at->family, SOCK_DGRAM, at, opt && opt->share_port);
    err = err ? err : loop_fd_new(&u->ready, l, u->fd, ready, u);
    if (err) {
        int saved = errno;
        udp_close(u);
        errno = saved;
        return err;
    }
    u->at = sock_local(u->fd);
    if (u->any && at->family == ADDR_IP4) {
        sock_option(u->fd, IPPROTO_IP, IP_PKTINFO, 1);
    } else if (u->any) {
        sock_option(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
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

struct addr udp_addr(const struct udp *u)
{
    return u->at;
}
