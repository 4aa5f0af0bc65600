/* Sockets for scripts, on the loop. */
#include "cmd/conform/dial.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/stun/stream.h"

#include "io/tcp.h"
#include "io/udp.h"

struct dial {
    struct loop *loop;
    struct loop_timer *timer;
    struct line *lines;
    bool is_late;
};

static void on_late(void *ctx)
{
    struct dial *d = ctx;
    d->is_late = true;
    loop_stop(d->loop);
}

int dial_new(struct dial **out)
{
    struct dial *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) {
        return ERR_NOMEM;
    }
    int err = loop_new(&d->loop);
    err = err ? err : loop_timer_new(&d->timer, d->loop, on_late, d);
    if (err) {
        dial_free(d);
        return err;
    }
    *out = d;
    return OK;
}

void dial_free(struct dial *d)
{
    if (d) {
        dial_close_all(d);
        loop_timer_free(d->timer);
        loop_free(d->loop);
        free(d);
    }
}

uint64_t dial_in(const struct dial *d, uint32_t ms)
{
    return loop_now_ms(d->loop) + ms;
}

bool dial_wait(struct dial *d, uint64_t deadline_ms)
{
    if (loop_now_ms(d->loop) >= deadline_ms) {
        return false;
    }
    d->is_late = false;
    loop_timer_at(d->timer, deadline_ms);
    loop_run(d->loop); /* every event stops it */
    loop_timer_at(d->timer, UINT64_MAX);
    return !d->is_late;
}

void dial_pause(struct dial *d, uint32_t ms)
{
    uint64_t end = dial_in(d, ms);
    while (dial_wait(d, end)) {
    }
}

static struct line *line_new(struct dial *d)
{
    struct line *l = calloc(1, sizeof *l);
    if (l) {
        l->dial = d;
        l->frames_end = &l->frames;
        l->next = d->lines;
        d->lines = l;
    }
    return l;
}

static void add_frame(struct line *l, const struct addr *from, struct dgram d)
{
    struct slice bytes = d.data;
    struct frame *f = calloc(1, sizeof *f + bytes.len);
    if (!f) {
        return;
    }
    f->from = from ? *from : (struct addr){0};
    f->opts = d.opts;
    f->len = bytes.len;
    if (bytes.len > 0) {
        memcpy(f->b, bytes.p, bytes.len);
    }
    f->err = stun_parse(&f->msg, slice_of(f->b, f->len), &stun_wire_rfc8489);
    *l->frames_end = f;
    l->frames_end = &f->next;
}

static void on_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                        struct dgram datagram, void *ctx)
{
    struct line *l = ctx;
    (void)u;
    (void)local;
    add_frame(l, from, datagram);
    loop_stop(l->dial->loop);
}

static void on_connected(struct tcp *t, void *ctx)
{
    struct line *l = ctx;
    l->local = tcp_local(t);
    l->is_open = true;
    loop_stop(l->dial->loop);
}

static bool has_room(struct line *l, size_t n)
{
    if (l->in_len + n <= l->in_cap) {
        return true;
    }
    size_t cap = 2 * (l->in_len + n);
    uint8_t *more = cap <= DIAL_IN_MAX ? realloc(l->in, cap) : NULL;
    if (more) {
        l->in = more;
        l->in_cap = cap;
    }
    return more != NULL;
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct line *l = ctx;
    loop_stop(l->dial->loop);
    if (!has_room(l, bytes.len)) {
        tcp_pause(t);
        return 0;
    }
    memcpy(l->in + l->in_len, bytes.p, bytes.len);
    l->in_len += bytes.len;
    return bytes.len;
}

static void on_ended(struct tcp *t, void *ctx)
{
    struct line *l = ctx;
    (void)t;
    l->has_ended = true;
    loop_stop(l->dial->loop);
}

static void on_drained(struct tcp *t, void *ctx)
{
    struct line *l = ctx;
    (void)t;
    loop_stop(l->dial->loop);
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct line *l = ctx;
    (void)t;
    (void)sys_errno;
    l->tcp = NULL;
    l->is_open = false;
    l->is_closed = true;
    loop_stop(l->dial->loop);
}

static const struct tcp_events events = {
    .connected = on_connected,
    .data = on_data,
    .ended = on_ended,
    .drained = on_drained,
    .closed = on_closed,
};

static void on_accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct line *listener = ctx;
    struct line *l = line_new(listener->dial);
    loop_stop(listener->dial->loop);
    if (!l) {
        tcp_close(t);
        return;
    }
    l->tcp = t;
    l->local = tcp_local(t);
    l->remote = *peer;
    l->is_open = true;
    l->listening = listener;
    tcp_start(t, &events, l);
}

struct line *dial_udp(struct dial *d, const struct addr *local, const struct addr *remote)
{
    struct udp_options opt = {.has_header = true};
    struct line *l = line_new(d);
    if (!l || udp_open(&l->udp, d->loop, local, &opt, on_datagram, l)) {
        return NULL;
    }
    l->local = udp_addr(l->udp);
    l->remote = remote ? *remote : (struct addr){0};
    return l;
}

struct line *dial_listen(struct dial *d, const struct addr *local)
{
    struct tcp_options opt = {0};
    struct line *l = line_new(d);
    if (!l || tcp_listen(&l->listener, d->loop, local, &opt, on_accepted, l)) {
        return NULL;
    }
    l->local = tcp_listener_addr(l->listener);
    return l;
}

struct line *dial_tcp(struct dial *d, const struct addr *local, const struct addr *remote,
                      uint32_t ms)
{
    struct tcp_options opt = {.local = local, .timeout_ms = ms};
    struct line *l = line_new(d);
    uint64_t end = dial_in(d, ms);
    if (!l || tcp_connect(&l->tcp, d->loop, remote, &opt, &events, l)) {
        return NULL;
    }
    l->remote = *remote;
    while (!l->is_open && !l->is_closed && dial_wait(d, end)) {
    }
    return l->is_open ? l : NULL;
}

struct line *dial_accept(struct dial *d, struct line *listener, uint32_t ms)
{
    uint64_t end = dial_in(d, ms);
    do {
        for (struct line *l = d->lines; l; l = l->next) {
            if (l->listening == listener) {
                l->listening = NULL;
                return l;
            }
        }
    } while (dial_wait(d, end));
    return NULL;
}

void line_send_to(struct line *l, const struct addr *to, struct slice bytes)
{
    if (l->udp) {
        udp_send(l->udp, to, NULL, bytes, dgram_of(slice_of(NULL, 0)));
        return;
    }
    /* More than the queue holds goes in pieces. */
    uint64_t end = dial_in(l->dial, 10000);
    while (l->tcp && bytes.len > 0) {
        size_t n = bytes.len < TCP_OUT_HIGH ? bytes.len : TCP_OUT_HIGH;
        if (tcp_is_full(l->tcp)) {
            if (!dial_wait(l->dial, end)) {
                return;
            }
            continue;
        }
        if (tcp_write(l->tcp, slice_of(bytes.p, n), slice_of(NULL, 0))) {
            return;
        }
        bytes = slice_from(bytes, n);
    }
}

void line_send(struct line *l, struct slice bytes)
{
    line_send_to(l, &l->remote, bytes);
}

void line_finish(struct line *l)
{
    if (l->tcp) {
        tcp_shutdown(l->tcp);
    }
}

void line_close(struct line *l)
{
    if (l->udp) {
        udp_close(l->udp);
    }
    if (l->tcp) {
        tcp_close(l->tcp);
    }
    if (l->listener) {
        tcp_listener_free(l->listener);
    }
    l->udp = NULL;
    l->tcp = NULL;
    l->listener = NULL;
    l->is_open = false;
    l->has_alloc = false;
}

void dial_close_all(struct dial *d)
{
    while (d->lines) {
        struct line *l = d->lines;
        d->lines = l->next;
        line_close(l);
        while (l->frames) {
            struct frame *f = l->frames;
            l->frames = f->next;
            free(f);
        }
        free(l->in);
        free(l);
    }
}

bool line_deframe(struct line *l)
{
    struct slice frame;
    size_t used;
    if (l->udp || l->is_broken || l->in_len == 0) {
        return false;
    }
    enum parse got = stun_stream_next(slice_of(l->in, l->in_len), &frame, &used);
    l->is_broken = got == PARSE_BAD;
    if (got != PARSE_OK) {
        return false;
    }
    add_frame(l, NULL, dgram_of(frame));
    l->in_len -= used;
    memmove(l->in, l->in + used, l->in_len);
    return true;
}

struct addr dial_source(const struct addr *remote)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(remote->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(remote->port)};
    bool is_ip6 = remote->family == ADDR_IP6;
    struct sockaddr *sa = is_ip6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4;
    socklen_t len = is_ip6 ? sizeof in6 : sizeof in4;
    struct addr out = {0};
    memcpy(&in4.sin_addr, remote->ip, 4);
    memcpy(&in6.sin6_addr, remote->ip, 16);
    int fd = socket(is_ip6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) {
        return out;
    }
    /* Connecting a UDP socket sends nothing, but chooses the route. */
    if (connect(fd, sa, len) == 0 && getsockname(fd, sa, &len) == 0) {
        out.family = remote->family;
        memcpy(out.ip, is_ip6 ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr,
               addr_ip_len(out.family));
    }
    (void)close(fd);
    return out;
}
