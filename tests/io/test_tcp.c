/* TCP streams over loopback. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/tcp.h"
#include "io/tcp_impl.h"

#include "tests/io/io_test.h"

/* One end: counts and checks what comes, sends a known pattern. */
struct end {
    struct tcp *t;
    struct loop *loop;
    uint64_t sent, received, send_total;
    size_t take; /* bytes taken by one call of data; 0: all */
    int n_connected, n_ended, n_drained, n_closed, sys_errno;
    char close_in; /* 'c'onnected, 'd'ata, 'e'nded, d'r'ained, 'x' closed */
    bool stop_when_closed, stop_when_ended, fin_when_sent, was_full;
    uint64_t stop_at; /* received */
    uint64_t most_held;
};

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + at / 251);
}

static void pump(struct end *e)
{
    uint8_t block[8192];
    while (e->sent < e->send_total && !tcp_is_full(e->t)) {
        size_t n = 0;
        for (; n < sizeof block && e->sent + n < e->send_total; n++) {
            block[n] = pattern(e->sent + n);
        }
        assert_int_equal(
            tcp_write(e->t, slice_of(block, n / 3), slice_of(block + n / 3, n - n / 3)), OK);
        e->sent += n;
    }
    if (tcp_is_full(e->t)) {
        e->was_full = true;
    } else if (e->fin_when_sent) {
        tcp_shutdown(e->t);
    }
}

static void on_connected(struct tcp *t, void *ctx)
{
    struct end *e = ctx;
    e->n_connected++;
    if (e->close_in == 'c') {
        tcp_close(t);
        loop_stop(e->loop);
        return;
    }
    pump(e);
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct end *e = ctx;
    e->most_held = bytes.len > e->most_held ? bytes.len : e->most_held;
    if (e->close_in == 'd') {
        tcp_close(t);
        loop_stop(e->loop);
        return 0;
    }
    size_t n = e->take && e->take < bytes.len ? e->take : bytes.len;
    for (size_t i = 0; i < n; i++) {
        if (bytes.p[i] != pattern(e->received + i)) {
            fail_msg("byte %llu is wrong", (unsigned long long)(e->received + i));
        }
    }
    e->received += n;
    if (n < bytes.len) {
        tcp_resume(t);
    }
    if (e->stop_at && e->received >= e->stop_at) {
        loop_stop(e->loop);
    }
    return n;
}

static void on_ended(struct tcp *t, void *ctx)
{
    struct end *e = ctx;
    e->n_ended++;
    if (e->close_in == 'e') {
        tcp_close(t);
    }
    if (e->close_in == 'e' || e->stop_when_ended) {
        loop_stop(e->loop);
    }
}

static void on_drained(struct tcp *t, void *ctx)
{
    struct end *e = ctx;
    e->n_drained++;
    assert_false(tcp_is_full(t));
    if (e->close_in == 'r') {
        tcp_close(t);
        loop_stop(e->loop);
        return;
    }
    pump(e);
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct end *e = ctx;
    e->n_closed++;
    e->sys_errno = sys_errno;
    e->t = NULL;
    if (e->close_in == 'x') {
        tcp_close(t);
    }
    if (e->stop_when_closed) {
        loop_stop(e->loop);
    }
}

static const struct tcp_events events = {on_connected, on_data, on_ended, on_drained,
                                         on_closed};

struct accepted {
    struct tcp *t[8];
    size_t n, stop_at;
    struct loop *loop;
};

static void on_accept(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct accepted *a = ctx;
    struct addr same = tcp_peer(t);
    assert_true(addr_eq(peer, &same));
    a->t[a->n++] = t;
    if (a->n == a->stop_at) {
        loop_stop(a->loop);
    }
}

/* A connected pair: `c` has events, the accepted end is silent until tcp_start. */
static struct tcp *connect_pair(struct loop *l, struct end *c)
{
    struct accepted acc = {.loop = l, .stop_at = 1};
    struct tcp_listener *s;
    struct addr at = io_test_addr("127.0.0.1");
    assert_int_equal(tcp_listen(&s, l, &at, NULL, on_accept, &acc), OK);
    at = tcp_listener_addr(s);
    assert_int_not_equal(at.port, 0);
    c->loop = l;
    assert_int_equal(tcp_connect(&c->t, l, &at, NULL, &events, c), OK);
    io_test_run(l);
    tcp_listener_free(s);
    return acc.t[0];
}

static void start(struct end *e, struct tcp *t, struct loop *l)
{
    e->t = t;
    e->loop = l;
    tcp_start(t, &events, e);
}

static void small_buffers(struct tcp *t)
{
    int size = 32768;
    assert_int_equal(setsockopt(t->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(setsockopt(t->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

static void every_byte_arrives_in_order(void **state)
{
    struct loop *l = *state;
    struct end c = {0}, s = {.stop_when_closed = true, .take = 1000};
    struct tcp *t = connect_pair(l, &c);
    small_buffers(t);
    small_buffers(c.t);
    start(&s, t, l);
    tcp_shutdown(t);
    c.send_total = 3000000;
    c.fin_when_sent = true;
    pump(&c);
    assert_true(c.was_full);
    io_test_run(l);
    assert_int_equal(s.received, c.send_total);
    assert_int_equal(s.n_ended, 1);
    assert_true(c.n_drained > 0);
    assert_true(s.most_held <= TCP_IN_MAX);
    io_test_run_for(l, 20);
    assert_int_equal(c.n_closed, 1);
    assert_int_equal(c.sys_errno, 0);
    assert_int_equal(c.n_ended, 1);
}

static void a_full_queue_refuses_more(void **state)
{
    struct loop *l = *state;
    struct end c = {0};
    struct tcp *t = connect_pair(l, &c);
    static uint8_t block[65536];
    size_t taken = 0;
    int err = OK;
    while (!err && taken < 64u << 20) {
        size_t before = c.t->out_len;
        err = tcp_write(c.t, slice_of(block, sizeof block), slice_of(block, 1));
        taken += err ? 0 : sizeof block + 1;
        assert_true(!err || c.t->out_len == before);
    }
    assert_int_equal(err, ERR_LIMIT);
    assert_true(c.t->out_len <= TCP_OUT_MAX);
    assert_true(tcp_is_full(c.t));
    tcp_close(c.t);
    tcp_close(t);
}

static void half_close_goes_both_ways(void **state)
{
    struct loop *l = *state;
    struct end c = {0}, s = {.stop_when_ended = true};
    start(&s, connect_pair(l, &c), l);
    tcp_shutdown(c.t);
    assert_int_equal(tcp_write(c.t, slice_str("x"), slice_str("")), ERR_BADSTATE);
    io_test_run(l);
    assert_int_equal(s.n_ended, 1);
    assert_int_equal(s.n_closed, 0);
    s.send_total = 100000;
    s.fin_when_sent = true;
    c.stop_when_closed = true;
    pump(&s);
    io_test_run(l);
    assert_int_equal(c.received, 100000);
    assert_int_equal(c.n_ended, 1);
    assert_int_equal(c.n_closed, 1);
    assert_int_equal(c.sys_errno, 0);
    io_test_run_for(l, 20);
    assert_int_equal(s.n_closed, 1);
}

static void a_refused_connection_says_so(void **state)
{
    struct loop *l = *state;
    struct end c = {.loop = l, .stop_when_closed = true};
    struct tcp_listener *s;
    struct addr at = io_test_addr("127.0.0.1");
    assert_int_equal(tcp_listen(&s, l, &at, NULL, on_accept, NULL), OK);
    at = tcp_listener_addr(s);
    tcp_listener_free(s);
    assert_int_equal(tcp_connect(&c.t, l, &at, NULL, &events, &c), OK);
    assert_int_equal(c.n_closed, 0);
    io_test_run(l);
    assert_int_equal(c.n_connected, 0);
    assert_int_equal(c.sys_errno, ECONNREFUSED);
}

static void no_route_is_said_later_not_inside_the_call(void **state)
{
    struct loop *l = *state;
    struct end c = {.loop = l, .stop_when_closed = true};
    /* A source on loopback has no way to the outside. */
    struct addr at = io_test_addr("198.51.100.1:9"), from = io_test_addr("127.0.0.1");
    struct tcp_options opt = {.local = &from, .timeout_ms = 50};
    assert_int_equal(tcp_connect(&c.t, l, &at, &opt, &events, &c), OK);
    assert_int_equal(c.n_closed, 0);
    io_test_run(l);
    assert_int_equal(c.n_closed, 1);
    assert_true(c.sys_errno == EINVAL || c.sys_errno == ENETUNREACH ||
                c.sys_errno == ETIMEDOUT || c.sys_errno == EHOSTUNREACH);
}

static void closing_inside_each_callback_is_fine(void **state)
{
    struct loop *l = *state;
    for (const char *where = "cdexr"; *where; where++) {
        struct end c = {.close_in = *where, .stop_when_closed = true}, s = {0};
        c.loop = l;
        if (*where == 'c') {
            struct accepted acc = {.loop = l};
            struct tcp_listener *lis;
            struct addr at = io_test_addr("127.0.0.1");
            assert_int_equal(tcp_listen(&lis, l, &at, NULL, on_accept, &acc), OK);
            at = tcp_listener_addr(lis);
            assert_int_equal(tcp_connect(&c.t, l, &at, NULL, &events, &c), OK);
            io_test_run(l);
            io_test_run_for(l, 20);
            tcp_listener_free(lis);
            tcp_close(acc.t[0]);
            assert_int_equal(c.n_closed, 0);
            continue;
        }
        struct tcp *t = connect_pair(l, &c);
        start(&s, t, l);
        if (*where == 'r') {
            tcp_pause(s.t);
            c.send_total = 64u << 20;
            pump(&c);
            assert_true(c.was_full);
            tcp_resume(s.t);
        } else {
            s.send_total = *where == 'd' ? 5000 : 0;
            s.fin_when_sent = true;
            pump(&s);
        }
        if (*where == 'x') {
            tcp_shutdown(c.t);
        }
        io_test_run(l);
        assert_int_equal(c.n_closed, *where == 'x');
        if (s.t) {
            tcp_close(s.t);
        }
    }
}

static void bytes_not_taken_come_again(void **state)
{
    struct loop *l = *state;
    struct end c = {0}, s = {.stop_at = 10, .take = 3};
    start(&s, connect_pair(l, &c), l);
    c.send_total = 10;
    pump(&c);
    io_test_run(l);
    assert_int_equal(s.received, 10);
    assert_true(s.most_held == 10);
    tcp_close(c.t);
    tcp_close(s.t);
}

static void a_paused_reader_stops_the_writer(void **state)
{
    struct loop *l = *state;
    struct end c = {0}, s = {0};
    start(&s, connect_pair(l, &c), l);
    tcp_pause(s.t);
    c.send_total = 64u << 20;
    pump(&c);
    io_test_run_for(l, 50);
    assert_int_equal(s.received, 0);
    assert_true(c.sent < c.send_total);
    assert_true(tcp_is_full(c.t));
    s.stop_at = c.send_total = c.sent;
    tcp_resume(s.t);
    io_test_run(l);
    assert_int_equal(s.received, c.sent);
    tcp_close(c.t);
    tcp_close(s.t);
}

/* A shut window stands in for a dead host: the loopback loses nothing. */
static void a_peer_that_acknowledges_nothing_is_given_up(void **state)
{
    struct loop *l = *state;
    struct end c = {.stop_when_closed = true}, s = {0};
    start(&s, connect_pair(l, &c), l);
    tcp_give_up_after(c.t, 300);
    tcp_pause(s.t);
    c.send_total = 64u << 20;
    pump(&c);
    io_test_run(l);
    assert_int_equal(c.n_closed, 1);
    assert_int_equal(c.sys_errno, ETIMEDOUT);
    tcp_close(s.t);
}

static void the_queue_outlives_close_when_sent(void **state)
{
    struct loop *l = *state;
    struct end c = {0}, s = {.stop_when_ended = true};
    start(&s, connect_pair(l, &c), l);
    /* Unread input must not turn the close into a reset that eats what we sent. */
    s.send_total = 20000;
    pump(&s);
    c.send_total = 1000000;
    while (c.sent < c.send_total) {
        c.was_full = false;
        uint8_t b = pattern(c.sent);
        uint8_t block[5000];
        for (size_t i = 0; i < sizeof block; i++) {
            block[i] = pattern(c.sent + i);
        }
        assert_int_equal(block[0], b);
        assert_int_equal(tcp_write(c.t, slice_of(block, sizeof block), slice_str("")), OK);
        c.sent += sizeof block;
    }
    tcp_close_when_sent(c.t);
    io_test_run(l);
    assert_int_equal(s.received, c.send_total);
    assert_int_equal(s.n_closed, 0);
    tcp_close(s.t);
    io_test_run_for(l, 20);
    assert_int_equal(c.n_closed, 0);
}

static void one_port_listens_and_connects(void **state)
{
    struct loop *l = *state;
    struct accepted relay = {.loop = l}, peer = {.loop = l, .stop_at = 1};
    struct tcp_listener *relay_s, *peer_s;
    struct addr any = io_test_addr("127.0.0.1");
    struct tcp_options share = {.share_port = true};
    assert_int_equal(tcp_listen(&relay_s, l, &any, &share, on_accept, &relay), OK);
    assert_int_equal(tcp_listen(&peer_s, l, &any, NULL, on_accept, &peer), OK);
    struct addr relay_at = tcp_listener_addr(relay_s), peer_at = tcp_listener_addr(peer_s);
    struct end out = {.loop = l}, in = {.loop = l};
    struct tcp_options from_relay = {.local = &relay_at, .share_port = true};
    assert_int_equal(tcp_connect(&out.t, l, &peer_at, &from_relay, &events, &out), OK);
    io_test_run(l);
    struct addr seen = tcp_peer(peer.t[0]);
    assert_true(addr_eq(&seen, &relay_at));
    relay.stop_at = 1;
    assert_int_equal(tcp_connect(&in.t, l, &relay_at, NULL, &events, &in), OK);
    io_test_run(l);
    assert_int_equal(relay.n, 1);
    tcp_close(out.t);
    tcp_close(in.t);
    tcp_close(relay.t[0]);
    tcp_close(peer.t[0]);
    tcp_listener_free(relay_s);
    tcp_listener_free(peer_s);
}

static int option(const struct tcp *t, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof v;
    assert_int_equal(getsockopt(t->fd, level, name, &v, &len), 0);
    return v;
}

/* What vanishes without a FIN cannot be acted on a loopback; that the kernel will ask can. */
static void a_silent_peer_is_asked_within_two_minutes(void **state)
{
    struct end c = {0};
    struct tcp *ends[] = {connect_pair(*state, &c), c.t};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(option(ends[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        int idle_s = option(ends[i], IPPROTO_TCP, TCP_KEEPIDLE);
        int probes = option(ends[i], IPPROTO_TCP, TCP_KEEPCNT);
        int probe_s = option(ends[i], IPPROTO_TCP, TCP_KEEPINTVL);
        assert_true(idle_s + probes * probe_s <= 120);
        tcp_close(ends[i]);
    }
}

static void an_address_in_use_is_an_error_at_once(void **state)
{
    struct loop *l = *state;
    struct tcp_listener *a, *b;
    struct addr at = io_test_addr("127.0.0.1");
    assert_int_equal(tcp_listen(&a, l, &at, NULL, on_accept, NULL), OK);
    at = tcp_listener_addr(a);
    assert_int_equal(tcp_listen(&b, l, &at, NULL, on_accept, NULL), ERR_SYSTEM);
    assert_int_equal(errno, EADDRINUSE);
    tcp_listener_free(a);
}

static uint64_t cpu_us(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void no_descriptors_left_does_not_spin(void **state)
{
    struct loop *l = *state;
    struct accepted acc = {.loop = l};
    struct tcp_listener *s;
    struct addr at = io_test_addr("127.0.0.1");
    struct end c = {.loop = l};
    struct rlimit old, none;
    assert_int_equal(tcp_listen(&s, l, &at, NULL, on_accept, &acc), OK);
    at = tcp_listener_addr(s);
    assert_int_equal(tcp_connect(&c.t, l, &at, NULL, &events, &c), OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int first_free = dup(0);
    assert_true(first_free > 0);
    assert_int_equal(close(first_free), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)first_free, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t before = cpu_us();
    io_test_run_for(l, 400);
    uint64_t used = cpu_us() - before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(acc.n, 0);
    assert_true(used < 150000);
    acc.stop_at = 1;
    io_test_run(l);
    assert_int_equal(acc.n, 1);
    tcp_close(acc.t[0]);
    tcp_close(c.t);
    tcp_listener_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(every_byte_arrives_in_order),
        IO_TEST(a_full_queue_refuses_more),
        IO_TEST(half_close_goes_both_ways),
        IO_TEST(a_refused_connection_says_so),
        IO_TEST(no_route_is_said_later_not_inside_the_call),
        IO_TEST(closing_inside_each_callback_is_fine),
        IO_TEST(bytes_not_taken_come_again),
        IO_TEST(a_paused_reader_stops_the_writer),
        IO_TEST(a_peer_that_acknowledges_nothing_is_given_up),
        IO_TEST(the_queue_outlives_close_when_sent),
        IO_TEST(one_port_listens_and_connects),
        IO_TEST(a_silent_peer_is_asked_within_two_minutes),
        IO_TEST(an_address_in_use_is_an_error_at_once),
        IO_TEST(no_descriptors_left_does_not_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
