/* A byte stream as RTP x-data: whole, in order, and held back when it cannot go on. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/shm.h"
#include "run/xdata_run.h"

#include "tests/io/io_test.h"

enum {
    STREAM = 3 * 1024 * 1024
};

/* Both ends of one share in one process: `x` sends packets here, and is sent some. */
struct fixture {
    struct loop *loop;
    struct xdata_run *x;
    int fd[2]; /* [0] is the stream's end of x, [1] the test's */
    size_t got, n_packets, sent;
    uint16_t seq;
    bool full, held;
    const char *ended;
};

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static int take(struct slice packet, void *ctx)
{
    struct fixture *f = ctx;
    struct rtp_view v;
    assert_int_equal(rtp_parse(&v, packet), OK);
    assert_int_equal(v.payload_type, 127);
    assert_true(f->n_packets == 0 || v.seq == (uint16_t)(f->seq + 1));
    for (size_t i = 0; i < v.payload.len; i++) {
        assert_int_equal(v.payload.p[i], pattern(f->got + i));
    }
    f->seq = v.seq;
    f->got += v.payload.len;
    f->n_packets++;
    if (f->got == STREAM) {
        loop_stop(f->loop);
    }
    return OK;
}

static bool is_full(void *ctx)
{
    const struct fixture *f = ctx;
    return f->full;
}

static void hold(bool h, void *ctx)
{
    struct fixture *f = ctx;
    f->held = h;
    if (!h) {
        loop_stop(f->loop);
    }
}

static void ended(const char *why, void *ctx)
{
    struct fixture *f = ctx;
    f->ended = why;
    loop_stop(f->loop);
}

static struct fixture start(struct loop *l, struct fixture *f)
{
    *f = (struct fixture){.loop = l};
    assert_int_equal(io_stream_pair(f->fd), OK);
    const struct xdata_config cfg = {.fd = f->fd[0],
                                     .payload_type = 127,
                                     .send = take,
                                     .is_full = is_full,
                                     .hold = hold,
                                     .ended = ended,
                                     .ctx = f};
    assert_int_equal(xdata_run_new(&f->x, l, &cfg), OK);
    return *f;
}

static void finish(struct fixture *f)
{
    xdata_run_free(f->x);
    (void)close(f->fd[0]);
    if (f->fd[1] >= 0) {
        (void)close(f->fd[1]);
    }
}

/* Writes as much of the pattern as the stream takes. */
static void feed(void *ctx)
{
    struct fixture *f = ctx;
    uint8_t buf[5000];
    while (f->sent < STREAM) {
        size_t n = STREAM - f->sent < sizeof buf ? STREAM - f->sent : sizeof buf;
        for (size_t i = 0; i < n; i++) {
            buf[i] = pattern(f->sent + i);
        }
        ssize_t w = send(f->fd[1], buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (w < 0) {
            assert_int_equal(errno, EAGAIN);
            return;
        }
        f->sent += (size_t)w;
    }
}

static void on_writable(int events, void *ctx)
{
    (void)events;
    feed(ctx);
}

static void a_stream_becomes_packets_in_order(void **state)
{
    struct fixture f;
    struct loop_fd *w;
    (void)start(*state, &f);
    assert_int_equal(loop_fd_new(&w, f.loop, f.fd[1], on_writable, &f), OK);
    loop_fd_want(w, LOOP_WRITE);
    io_test_run(f.loop);
    assert_int_equal(f.got, STREAM);
    assert_int_equal(xdata_run_count(f.x).out_bytes, STREAM);
    loop_fd_free(w);
    finish(&f);
}

static void a_full_path_holds_the_stream_back(void **state)
{
    struct fixture f;
    (void)start(*state, &f);
    f.full = true;
    xdata_drained(f.x); /* looks again: still full */
    feed(&f);
    io_test_run_for(f.loop, 50);
    assert_int_equal(f.got, 0);
    assert_true(f.sent < STREAM); /* the socket's buffer is all that was taken */
    f.full = false;
    xdata_drained(f.x);
    io_test_run_for(f.loop, 50);
    assert_true(f.got > 0);
    finish(&f);
}

static int give(struct fixture *f, size_t len)
{
    static uint8_t body[32768];
    static uint8_t buf[sizeof body + RTP_HEAD_LEN];
    struct wr w = wr_over(buf, sizeof buf);
    for (size_t i = 0; i < len; i++) {
        body[i] = pattern(f->sent + i);
    }
    const struct rtp_view v = {
        .payload = slice_of(body, len), .seq = f->seq++, .payload_type = 127, .ssrc = 1};
    rtp_put(&w, &v);
    int err = xdata_packet(f->x, wr_done(&w));
    f->sent += err ? 0 : len;
    return err;
}

static void packets_become_a_stream_and_a_slow_reader_holds_the_path(void **state)
{
    struct fixture f;
    uint8_t buf[10000];
    size_t got = 0;
    (void)start(*state, &f);
    while (!f.held) {
        assert_int_equal(give(&f, 9001), OK);
    }
    size_t before = f.sent;
    while (got < before) {
        ssize_t n = recv(f.fd[1], buf, sizeof buf, MSG_DONTWAIT);
        if (n < 0) {
            io_test_run(f.loop); /* until `hold(false)`: what was pending is in the socket */
            assert_false(f.held);
            continue;
        }
        for (ssize_t i = 0; i < n; i++) {
            assert_int_equal(buf[i], pattern(got + (size_t)i));
        }
        got += (size_t)n;
    }
    assert_int_equal(got, before);
    assert_int_equal(xdata_run_count(f.x).lost, 0);
    finish(&f);
}

static void what_comes_in_spite_of_a_hold_is_bounded(void **state)
{
    struct fixture f;
    int err = OK;
    (void)start(*state, &f);
    for (int i = 0; i < 1000 && !err; i++) {
        err = give(&f, 32000);
    }
    assert_int_equal(err, ERR_LIMIT);
    finish(&f);
}

static void other_packets_are_refused(void **state)
{
    struct fixture f;
    (void)start(*state, &f);
    uint8_t rtp[16] = {0x80, 96};
    assert_int_equal(xdata_packet(f.x, slice_of(rtp, sizeof rtp)), ERR_MALFORMED);
    assert_int_not_equal(xdata_packet(f.x, slice_of(rtp, 5)), OK);
    assert_int_equal(xdata_run_count(f.x).in_packets, 0);
    finish(&f);
}

static void the_end_of_the_stream_is_told_once(void **state)
{
    struct fixture f;
    (void)start(*state, &f);
    (void)close(f.fd[1]);
    f.fd[1] = -1;
    io_test_run(f.loop);
    assert_non_null(f.ended);
    f.ended = NULL;
    (void)give(&f, 100);
    io_test_run_for(f.loop, 20);
    assert_null(f.ended);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_stream_becomes_packets_in_order),
        IO_TEST(a_full_path_holds_the_stream_back),
        IO_TEST(packets_become_a_stream_and_a_slow_reader_holds_the_path),
        IO_TEST(what_comes_in_spite_of_a_hold_is_bounded),
        IO_TEST(other_packets_are_refused),
        IO_TEST(the_end_of_the_stream_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
