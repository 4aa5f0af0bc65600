/* A TLS client and a plain peer, joined: bytes, ends and back-pressure, with honest clients and
 * with such as break off or send noise. */
#include <sys/socket.h>

#include "io/tcp_impl.h"
#include "run/tls_stream.h"

#include "tests/io/io_test.h"
#include "tests/lib/tls/make_certs.h"

static struct certs certs;
static struct tls_context *server_ctx, *client_ctx;

static uint8_t pattern(uint64_t at, uint8_t salt)
{
    return (uint8_t)(at * 131 + at / 253 + salt);
}

/* One end outside: sends its pattern, checks the other's. */
struct end {
    struct tcp *t;
    struct loop_timer *wake; /* a reader that pauses now and then */
    struct loop *loop;
    uint8_t salt;
    uint64_t sent, to_send, received;
    bool fin_when_sent, pauses, has_ended, is_closed;
};

struct joint {
    struct loop *loop;
    struct end a, b;    /* a speaks TLS */
    struct tcp *leg[2]; /* our ends, towards a and b */
    size_t n;
    struct tcp_pipe *pipe;
    struct tcp_pipe_count count;
    int n_done;
};

static void pump(struct end *e)
{
    uint8_t block[16384];
    while (e->sent < e->to_send && !tcp_is_full(e->t)) {
        size_t n = 0;
        for (; n < sizeof block && e->sent + n < e->to_send; n++) {
            block[n] = pattern(e->sent + n, e->salt);
        }
        assert_int_equal(tcp_write(e->t, slice_of(block, n), slice_str("")), OK);
        e->sent += n;
    }
    if (e->sent == e->to_send && e->fin_when_sent) {
        e->fin_when_sent = false;
        tcp_shutdown(e->t);
    }
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct end *e = ctx;
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.p[i] != pattern(e->received + i, (uint8_t)(e->salt ^ 1))) {
            fail_msg("byte %llu is wrong", (unsigned long long)(e->received + i));
        }
    }
    uint64_t before = e->received;
    e->received += bytes.len;
    if (e->pauses && before >> 20 != e->received >> 20) {
        tcp_pause(t);
        loop_timer_at(e->wake, loop_now_ms(e->loop) + 20);
    }
    return bytes.len;
}

static void on_wake(void *ctx)
{
    struct end *e = ctx;
    if (e->t) {
        tcp_resume(e->t);
    }
}

static void on_ended(struct tcp *t, void *ctx)
{
    struct end *e = ctx;
    (void)t;
    e->has_ended = true;
}

static void on_drained(struct tcp *t, void *ctx)
{
    (void)t;
    pump(ctx);
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct end *e = ctx;
    (void)t;
    (void)sys_errno;
    e->t = NULL;
    e->is_closed = true;
}

static const struct tcp_events end_events = {
    .data = on_data, .ended = on_ended, .drained = on_drained, .closed = on_closed};

static void on_accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct joint *j = ctx;
    (void)peer;
    j->leg[j->n++] = t;
    loop_stop(j->loop);
}

static void on_done(struct tcp_pipe *p, void *ctx)
{
    struct joint *j = ctx;
    j->n_done++;
    j->count = tcp_pipe_count(p);
    loop_stop(j->loop);
}

static void wait_for_end(struct end *e)
{
    for (int i = 0; i < 2000 && !e->has_ended && !e->is_closed; i++) {
        io_test_run_for(e->loop, 10);
    }
    assert_true(e->has_ended);
}

static void begin_tls(struct tcp *t, bool is_server)
{
    struct tls *tls;
    assert_int_equal(tls_new(&tls, is_server ? server_ctx : client_ctx, is_server, NULL), OK);
    tls_stream_begin(t, tls, slice_str(""));
}

static void join(struct joint *j, struct loop *l)
{
    struct addr at = io_test_addr("127.0.0.1");
    struct tcp_listener *listener;
    *j = (struct joint){
        .loop = l, .a = {.loop = l },
             .b = { .loop = l, .salt = 1}
    };
    assert_int_equal(tcp_listen(&listener, l, &at, NULL, on_accepted, j), OK);
    at = tcp_listener_addr(listener);
    assert_int_equal(tcp_connect(&j->a.t, l, &at, NULL, &end_events, &j->a), OK);
    io_test_run(l);
    assert_int_equal(tcp_connect(&j->b.t, l, &at, NULL, &end_events, &j->b), OK);
    io_test_run(l);
    tcp_listener_free(listener);
    begin_tls(j->leg[0], true);
    begin_tls(j->a.t, false);
    assert_int_equal(loop_timer_new(&j->a.wake, l, on_wake, &j->a), OK);
    assert_int_equal(loop_timer_new(&j->b.wake, l, on_wake, &j->b), OK);
    assert_int_equal(tcp_pipe_new(&j->pipe, j->leg[0], j->leg[1], on_done, j), OK);
    while (!tls_is_up(j->a.t->filter_ctx)) {
        io_test_run_for(l, 5);
    }
}

static void part(struct joint *j)
{
    if (j->a.t) {
        tcp_close(j->a.t);
    }
    if (j->b.t) {
        tcp_close(j->b.t);
    }
    loop_timer_free(j->a.wake);
    loop_timer_free(j->b.wake);
    io_test_run_for(j->loop, 20); /* what was closed is freed */
}

static void much_goes_both_ways_past_readers_that_pause(void **state)
{
    struct joint j;
    join(&j, *state);
    j.a.to_send = 8u << 20;
    j.b.to_send = (8u << 20) + 12345;
    j.a.fin_when_sent = j.b.fin_when_sent = j.a.pauses = j.b.pauses = true;
    pump(&j.a);
    pump(&j.b);
    io_test_run(*state);
    wait_for_end(&j.a);
    wait_for_end(&j.b);
    assert_int_equal(j.n_done, 1);
    assert_int_equal(j.count.a_to_b, j.a.to_send);
    assert_int_equal(j.count.b_to_a, j.b.to_send);
    assert_int_equal(j.b.received, j.a.to_send);
    assert_int_equal(j.a.received, j.b.to_send);
    part(&j);
}

static void half_close(struct loop *l, bool is_a_first)
{
    struct joint j;
    join(&j, l);
    struct end *first = is_a_first ? &j.a : &j.b, *second = is_a_first ? &j.b : &j.a;
    first->to_send = 1000;
    first->fin_when_sent = true;
    pump(first);
    wait_for_end(second);
    assert_int_equal(second->received, 1000);
    assert_false(first->has_ended);
    assert_int_equal(j.n_done, 0);
    second->to_send = 300000;
    second->fin_when_sent = true;
    pump(second);
    io_test_run(l);
    wait_for_end(first);
    assert_int_equal(first->received, 300000);
    assert_int_equal(j.n_done, 1);
    part(&j);
}

static void half_close_is_carried_through(void **state)
{
    half_close(*state, true);
    half_close(*state, false);
}

static void stop_reading(struct loop *l, bool is_a)
{
    struct joint j;
    join(&j, l);
    struct end *reader = is_a ? &j.a : &j.b, *writer = is_a ? &j.b : &j.a;
    struct tcp *in = j.leg[is_a ? 1 : 0], *out = j.leg[is_a ? 0 : 1];
    tcp_pause(reader->t);
    writer->to_send = 200u << 20;
    pump(writer);
    uint64_t stuck;
    do { /* until every buffer on the way is full, however slow the machine */
        stuck = writer->sent;
        io_test_run_for(l, 200);
    } while (writer->sent != stuck);
    assert_true(stuck > 0 && stuck < writer->to_send);
    assert_true(in->in_len <= LOOP_SCRATCH && out->out_len <= 2 * LOOP_SCRATCH);
    tcp_pipe_close(j.pipe);
    part(&j);
}

static void a_stopped_reader_stops_the_sender_and_bounds_memory(void **state)
{
    stop_reading(*state, true);
    stop_reading(*state, false);
}

/* Sends what it must and, when all of it is out, `noise` past TLS; then FIN, if `cut`. */
static void break_off(struct loop *l, struct slice noise, bool cut)
{
    struct joint j;
    join(&j, l);
    j.a.to_send = 300000;
    pump(&j.a);
    do {
        io_test_run_for(l, 10);
    } while (j.b.received < j.a.to_send);
    assert_int_equal(send(j.a.t->fd, noise.p, noise.len, MSG_NOSIGNAL), noise.len);
    if (cut) {
        assert_int_equal(shutdown(j.a.t->fd, SHUT_WR), 0);
    }
    io_test_run(l);
    wait_for_end(&j.b);
    assert_int_equal(j.n_done, 1);
    assert_int_equal(j.b.received, j.a.to_send);
    part(&j);
}

static void what_breaks_off_ends_the_peers_after_all_that_came(void **state)
{
    break_off(*state, slice_str(""), true);
    break_off(*state, slice_of("\x17\x03\x03\x00\x10half", 9), true);
    break_off(*state, slice_str("no record at all"), false);
    break_off(*state, slice_of("\x17\x03\x03\xff\xff", 5), false); /* beyond any record */
    uint8_t forged[5 + 32] = {0x17, 0x03, 0x03, 0x00, 0x20};
    break_off(*state, slice_of(forged, sizeof forged), false);
}

/* What came whole before the noise, in the same segment, is not lost. */
static void good_bytes_before_noise_still_go(void **state)
{
    struct joint j;
    join(&j, *state);
    io_test_run_for(*state, 20);
    struct tls *tls = j.a.t->filter_ctx;
    uint8_t segment[4096], plain[1000];
    assert_true(tls_is_up(tls));
    for (size_t i = 0; i < sizeof plain; i++) {
        plain[i] = pattern(i, 0);
    }
    assert_int_equal(tls_write(tls, slice_of(plain, sizeof plain)), OK);
    struct slice out = tls_out(tls);
    assert_true(out.len + 5 < sizeof segment);
    memcpy(segment, out.p, out.len);
    memcpy(segment + out.len, "noise", 5);
    tls_out_done(tls, out.len);
    assert_int_equal(send(j.a.t->fd, segment, out.len + 5, MSG_NOSIGNAL), out.len + 5);
    io_test_run(*state);
    wait_for_end(&j.b);
    assert_int_equal(j.n_done, 1);
    assert_int_equal(j.b.received, sizeof plain);
    part(&j);
}

/* Head and body leave as one record: there are clients that take a record for a message. */
static void a_small_message_is_one_record(void **state)
{
    struct joint j;
    join(&j, *state);
    io_test_run_for(*state, 20);
    struct tls *tls = j.a.t->filter_ctx;
    tcp_pause(j.a.t);
    assert_int_equal(tcp_write(j.leg[0], slice_str("head"), slice_str("body")), OK);
    uint8_t wire[256], plain[16];
    ssize_t n;
    do {
        io_test_run_for(*state, 5);
        n = recv(j.a.t->fd, wire, sizeof wire, MSG_DONTWAIT);
    } while (n < 0);
    assert_true(n > 5 && n == 5 + (wire[3] << 8 | wire[4]));
    assert_int_equal(tls_in(tls, slice_of(wire, (size_t)n)), OK);
    assert_int_equal(tls_read(tls, plain, sizeof plain), 8);
    assert_memory_equal(plain, "headbody", 8);
    tcp_pipe_close(j.pipe);
    part(&j);
}

static int make(void **state)
{
    char why[TLS_WHY_MAX];
    (void)state;
    if (!certs_make(&certs)) {
        return -1;
    }
    struct tls_config server = {.cert_file = certs.cert, .key_file = certs.key};
    struct tls_config client = {.insecure = true};
    int err = tls_context_new(&server_ctx, &server, why);
    return err ? err : tls_context_new(&client_ctx, &client, why);
}

static int unmake(void **state)
{
    (void)state;
    tls_context_free(server_ctx);
    tls_context_free(client_ctx);
    certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(much_goes_both_ways_past_readers_that_pause),
        IO_TEST(half_close_is_carried_through),
        IO_TEST(a_stopped_reader_stops_the_sender_and_bounds_memory),
        IO_TEST(what_breaks_off_ends_the_peers_after_all_that_came),
        IO_TEST(good_bytes_before_noise_still_go),
        IO_TEST(a_small_message_is_one_record),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
