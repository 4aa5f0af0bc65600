/* Two streams joined by a pipe. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/tcp.h"
#include "io/tcp_impl.h"

#include "tests/io/io_test.h"

static uint8_t pattern(uint64_t at, uint8_t salt)
{
    return (uint8_t)(at * 131 + at / 253 + salt);
}

/* A plain client outside: sends its pattern, checks the other's. */
struct client {
    struct tcp *t;
    struct loop *loop;
    struct loop_timer *wake; /* a reader that pauses now and then */
    uint8_t salt;
    uint64_t sent, to_send, received;
    bool fin_when_sent, pauses, n_closed;
    int n_ended;
};

static void client_pump(struct client *c)
{
    uint8_t block[16384];
    while (c->sent < c->to_send && !tcp_is_full(c->t)) {
        size_t n = 0;
        for (; n < sizeof block && c->sent + n < c->to_send; n++) {
            block[n] = pattern(c->sent + n, c->salt);
        }
        assert_int_equal(tcp_write(c->t, slice_of(block, n), slice_str("")), OK);
        c->sent += n;
    }
    if (c->sent == c->to_send && c->fin_when_sent) {
        c->fin_when_sent = false;
        tcp_shutdown(c->t);
    }
}

static void client_connected(struct tcp *t, void *ctx)
{
    (void)t;
    client_pump(ctx);
}

static size_t client_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct client *c = ctx;
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.p[i] != pattern(c->received + i, (uint8_t)(c->salt ^ 1))) {
            fail_msg("byte %llu is wrong", (unsigned long long)(c->received + i));
        }
    }
    uint64_t before = c->received;
    c->received += bytes.len;
    if (c->pauses && before >> 22 != c->received >> 22) {
        tcp_pause(t);
        loop_timer_at(c->wake, loop_now_ms(c->loop) + 20);
    }
    return bytes.len;
}

static void client_wakes(void *ctx)
{
    struct client *c = ctx;
    tcp_resume(c->t);
}

static void client_ended(struct tcp *t, void *ctx)
{
    struct client *c = ctx;
    (void)t;
    c->n_ended++;
}

static void client_drained(struct tcp *t, void *ctx)
{
    (void)t;
    client_pump(ctx);
}

static void client_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct client *c = ctx;
    (void)t;
    (void)sys_errno;
    c->t = NULL;
    c->n_closed = true;
}

static const struct tcp_events client_events = {client_connected, client_data, client_ended,
                                                client_drained, client_closed};

enum {
    WINDOW_MS = 4
};

struct brake { /* so many bytes every WINDOW_MS, each way; 0: no brake */
    struct loop *loop;
    size_t per_window, used[2];
    uint64_t window[2], n_asked, n_read;
};

struct relay {
    struct loop *loop;
    struct brake brake;
    struct client a, b;
    struct tcp *leg[2]; /* the relay's ends, towards a and b */
    size_t n;
    struct tcp_listener *listener;
    struct tcp_pipe *pipe;
    struct tcp_pipe_count count;
    int n_done;
};

static void leg_accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct relay *r = ctx;
    (void)peer;
    r->leg[r->n++] = t;
    loop_stop(r->loop);
}

static void pipe_done(struct tcp_pipe *p, void *ctx)
{
    struct relay *r = ctx;
    r->n_done++;
    r->count = tcp_pipe_count(p);
    loop_stop(r->loop);
}

static void set_up(struct relay *r, struct loop *l)
{
    struct addr at = io_test_addr("127.0.0.1");
    r->loop = r->a.loop = r->b.loop = l;
    r->b.salt = 1;
    assert_int_equal(tcp_listen(&r->listener, l, &at, NULL, leg_accepted, r), OK);
    at = tcp_listener_addr(r->listener);
    assert_int_equal(tcp_connect(&r->a.t, l, &at, NULL, &client_events, &r->a), OK);
    io_test_run(l);
    assert_int_equal(tcp_connect(&r->b.t, l, &at, NULL, &client_events, &r->b), OK);
    io_test_run(l);
    tcp_listener_free(r->listener);
    assert_int_equal(loop_timer_new(&r->a.wake, l, client_wakes, &r->a), OK);
    assert_int_equal(loop_timer_new(&r->b.wake, l, client_wakes, &r->b), OK);
}

static size_t brake_room(bool from_a, uint64_t *again_ms, void *ctx)
{
    struct brake *b = ctx;
    uint64_t window = loop_now_ms(b->loop) / WINDOW_MS;
    b->n_asked++;
    if (b->window[from_a] != window) {
        b->window[from_a] = window;
        b->used[from_a] = 0;
    }
    *again_ms = (window + 1) * WINDOW_MS;
    return b->per_window - b->used[from_a];
}

static void brake_took(bool from_a, size_t n, void *ctx)
{
    struct brake *b = ctx;
    b->used[from_a] += n;
    b->n_read += n;
    assert_true(b->used[from_a] <= b->per_window);
}

static void join(struct relay *r)
{
    const struct tcp_pipe_limit limit = {brake_room, brake_took, &r->brake};
    assert_int_equal(tcp_pipe_new(&r->pipe, r->leg[0], r->leg[1], pipe_done, r), OK);
    r->brake.loop = r->loop;
    if (r->brake.per_window) {
        assert_int_equal(tcp_pipe_set_limit(r->pipe, &limit), OK);
    }
}

static void clean_up(struct relay *r)
{
    if (r->a.t) {
        tcp_close(r->a.t);
    }
    if (r->b.t) {
        tcp_close(r->b.t);
    }
    loop_timer_free(r->a.wake);
    loop_timer_free(r->b.wake);
}

/* The pipe may be done while the last bytes are with the kernel. */
static void until_both_ended(struct relay *r)
{
    for (int i = 0; i < 1000 && r->a.n_ended + r->b.n_ended < 2; i++) {
        io_test_run_for(r->loop, 10);
    }
}

static void much_goes_both_ways_past_a_reader_that_pauses(void **state)
{
    struct relay r = {0};
    set_up(&r, *state);
    join(&r);
    r.a.to_send = 50u << 20;
    r.b.to_send = (50u << 20) + 12345;
    r.a.fin_when_sent = r.b.fin_when_sent = r.b.pauses = true;
    client_pump(&r.a);
    client_pump(&r.b);
    io_test_run(*state);
    assert_int_equal(r.n_done, 1);
    assert_int_equal(r.count.a_to_b, r.a.to_send);
    assert_int_equal(r.count.b_to_a, r.b.to_send);
    until_both_ended(&r);
    assert_int_equal(r.b.received, r.a.to_send);
    assert_int_equal(r.a.received, r.b.to_send);
    assert_int_equal(r.a.n_ended, 1);
    assert_int_equal(r.b.n_ended, 1);
    assert_int_equal(r.n_done, 1);
    clean_up(&r);
}

static size_t take_three(struct tcp *t, struct slice bytes, void *ctx)
{
    (void)t;
    loop_stop(ctx);
    return bytes.len >= 10 ? 3 : 0;
}

static void bytes_held_before_go_first(void **state)
{
    struct relay r = {0};
    static const struct tcp_events early = {.data = take_three};
    set_up(&r, *state);
    r.a.to_send = 10;
    tcp_start(r.leg[0], &early, *state);
    /* What the relay itself still has to send to b goes before a's bytes. */
    uint8_t own[3];
    for (size_t i = 0; i < sizeof own; i++) {
        own[i] = pattern(i, 0);
    }
    client_pump(&r.a);
    io_test_run(*state);
    assert_int_equal(tcp_write(r.leg[1], slice_of(own, sizeof own), slice_str("")), OK);
    join(&r);
    r.a.to_send = 5000;
    r.a.fin_when_sent = r.b.fin_when_sent = true;
    client_pump(&r.a);
    client_pump(&r.b);
    io_test_run(*state);
    until_both_ended(&r);
    assert_int_equal(r.count.a_to_b, 5000 - 3);
    assert_int_equal(r.b.received, 5000);
    clean_up(&r);
}

/* Sends the pattern until the kernel takes no more; gives how much that was. */
static uint64_t fill_kernel(struct tcp *t, uint64_t from)
{
    uint8_t block[1000];
    uint64_t at = from;
    ssize_t n;
    do {
        for (size_t i = 0; i < sizeof block; i++) {
            block[i] = pattern(at + i, 0);
        }
        n = send(t->fd, block, sizeof block, MSG_NOSIGNAL);
        at += n > 0 ? (uint64_t)n : 0;
    } while (n > 0);
    return at - from;
}

/* The way to b is full when the two are joined: in the kernel, or with a queue before it. */
static void join_with_the_way_full(struct loop *l, bool with_queue)
{
    struct relay r = {0};
    uint64_t own = 0, n, more = 1u << 20; /* beyond what the kernel can hide */
    set_up(&r, l);
    tcp_pause(r.b.t);
    int size = 16384; /* said outright, it does not grow by itself any more */
    assert_int_equal(setsockopt(r.leg[1]->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    do { /* the receiver's still does */
        n = fill_kernel(r.leg[1], own);
        own += n;
        io_test_run_for(l, 10);
    } while (n > 0);
    for (; with_queue && own % 100000 != 0; own++) {
        uint8_t b = pattern(own, 0);
        assert_int_equal(tcp_write(r.leg[1], slice_of(&b, 1), slice_str("")), OK);
    }
    join(&r);
    r.a.sent = own; /* a goes on where the relay's own bytes end */
    r.a.to_send = own + more;
    r.a.fin_when_sent = r.b.fin_when_sent = true;
    client_pump(&r.a);
    client_pump(&r.b);
    io_test_run_for(l, 50);
    assert_int_equal(r.n_done, 0);
    tcp_resume(r.b.t);
    io_test_run(l);
    io_test_run_for(l, 20);
    assert_int_equal(r.b.received, r.a.to_send);
    assert_int_equal(r.count.a_to_b, more);
    clean_up(&r);
}

static void nothing_is_lost_when_the_way_is_full(void **state)
{
    join_with_the_way_full(*state, false);
    join_with_the_way_full(*state, true);
}

static void half_close_is_carried_through(void **state)
{
    struct relay r = {0};
    set_up(&r, *state);
    join(&r);
    r.a.fin_when_sent = true;
    client_pump(&r.a);
    io_test_run_for(*state, 50);
    assert_int_equal(r.b.n_ended, 1);
    assert_int_equal(r.a.n_ended, 0);
    assert_int_equal(r.n_done, 0);
    r.b.to_send = 300000;
    r.b.fin_when_sent = true;
    client_pump(&r.b);
    io_test_run(*state);
    io_test_run_for(*state, 20);
    assert_int_equal(r.a.received, 300000);
    assert_int_equal(r.a.n_ended, 1);
    assert_int_equal(r.n_done, 1);
    clean_up(&r);
}

static void a_stopped_reader_stops_the_sender_and_bounds_memory(void **state)
{
    struct relay r = {0};
    set_up(&r, *state);
    join(&r);
    tcp_pause(r.b.t);
    r.a.to_send = 200u << 20;
    client_pump(&r.a);
    uint64_t stuck;
    do { /* until every buffer on the way is full, however slow the machine */
        stuck = r.a.sent;
        io_test_run_for(*state, 200);
    } while (r.a.sent != stuck);
    assert_true(stuck < r.a.to_send);
    assert_true(r.leg[0]->in_len <= TCP_IN_MAX);
    assert_int_equal(r.leg[1]->out_len, 0);
    tcp_pipe_close(r.pipe);
    io_test_run_for(*state, 50);
    assert_int_equal(r.n_done, 0);
    clean_up(&r);
}

static void a_reset_ends_both_and_the_last_bytes_still_go(void **state)
{
    struct relay r = {0};
    set_up(&r, *state);
    join(&r);
    r.a.to_send = 1000;
    client_pump(&r.a);
    io_test_run_for(*state, 20);
    struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(r.a.t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    tcp_close(r.a.t);
    r.a.t = NULL;
    io_test_run(*state);
    assert_int_equal(r.n_done, 1);
    io_test_run_for(*state, 20);
    assert_int_equal(r.b.received, 1000);
    assert_true(r.b.n_ended == 1 || r.b.n_closed);
    clean_up(&r);
}

/* a says all it has to say and closes; b, who reads late, writes meanwhile and is answered with
 * a reset. Over one connection b would still read all of a's bytes, and so it must here. */
static void what_was_sent_before_a_close_outlives_the_reset(void **state)
{
    struct relay r = {0};
    int size = 8192;
    set_up(&r, *state);
    assert_int_equal(setsockopt(r.leg[1]->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(setsockopt(r.b.t->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    join(&r);
    tcp_pause(r.b.t);
    r.a.to_send = 150000;
    client_pump(&r.a);
    io_test_run_for(*state, 50);
    assert_int_equal(r.a.t->out_len, 0);
    tcp_close(r.a.t);
    r.a.t = NULL;
    for (int i = 0; i < 3; i++) {
        r.b.to_send += 100;
        client_pump(&r.b);
        io_test_run_for(*state, 20);
    }
    assert_int_equal(r.n_done, 0);
    tcp_resume(r.b.t);
    io_test_run(*state);
    assert_int_equal(r.n_done, 1);
    assert_int_equal(r.count.a_to_b, 150000);
    io_test_run_for(*state, 20);
    assert_int_equal(r.b.received, 150000);
    assert_int_equal(r.b.n_ended, 1);
    clean_up(&r);
}

/* Not a byte more than there is room for, none lost, FIN behind the last one; and who has to
 * wait is not asked again and again. */
static void a_limit_holds_both_ways_and_loses_nothing(void **state)
{
    struct relay r = {.brake = {.per_window = 1000}};
    set_up(&r, *state);
    join(&r);
    r.a.to_send = 60000;
    r.b.to_send = 30000;
    r.a.fin_when_sent = r.b.fin_when_sent = true;
    uint64_t begun_ms = loop_now_ms(*state);
    client_pump(&r.a);
    client_pump(&r.b);
    io_test_run(*state);
    assert_true(loop_now_ms(*state) - begun_ms >= (60000 / 1000 - 2) * WINDOW_MS);
    until_both_ended(&r);
    assert_int_equal(r.b.received, 60000);
    assert_int_equal(r.a.received, 30000);
    assert_int_equal(r.a.n_ended + r.b.n_ended, 2);
    assert_int_equal(r.brake.n_read, 90000);
    assert_true(r.brake.n_asked <= 3 * 90000 / 1000 + 20);
    clean_up(&r);
}

static size_t join_behind_three(struct tcp *t, struct slice bytes, void *ctx)
{
    struct relay *r = ctx;
    (void)t;
    (void)bytes;
    join(r);
    loop_stop(r->loop);
    return 3;
}

/* As a request that makes the pipe, with what is for the peer right behind it. */
static void a_limit_counts_what_came_with_the_request_for_the_pipe(void **state)
{
    static const struct tcp_events early = {.data = join_behind_three};
    struct relay r = {.brake = {.per_window = 50000}};
    set_up(&r, *state);
    r.b.received = 3; /* of its pattern, that is */
    tcp_start(r.leg[0], &early, &r);
    r.a.to_send = 10003;
    client_pump(&r.a);
    io_test_run(*state);
    r.a.to_send += 5000;
    client_pump(&r.a);
    io_test_run_for(*state, 50);
    assert_int_equal(r.b.received, 15003);
    assert_int_equal(r.brake.n_read, 15000);
    tcp_pipe_close(r.pipe);
    clean_up(&r);
}

static void a_limit_asks_nothing_of_who_is_silent(void **state)
{
    struct relay r = {.brake = {.per_window = 0x10000}};
    set_up(&r, *state);
    join(&r);
    r.a.to_send = 5000;
    client_pump(&r.a);
    io_test_run_for(*state, 50);
    assert_int_equal(r.b.received, 5000);
    assert_true(r.brake.n_asked <= 5);
    tcp_pipe_close(r.pipe);
    clean_up(&r);
}

/* As what_was_sent_before_a_close_outlives_the_reset, at the pace that is allowed. */
static void a_limit_holds_for_what_is_left_of_a_broken_stream(void **state)
{
    struct relay r = {.brake = {.per_window = 2000}};
    int size = 8192;
    set_up(&r, *state);
    assert_int_equal(setsockopt(r.leg[1]->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    join(&r);
    r.a.to_send = 100000;
    client_pump(&r.a);
    assert_int_equal(r.a.t->out_len, 0); /* all of it is in the kernel */
    tcp_close(r.a.t);
    r.a.t = NULL;
    for (int i = 0; i < 3; i++) {
        r.b.to_send += 100;
        client_pump(&r.b);
        io_test_run_for(*state, 5);
    }
    uint64_t asked = r.brake.n_asked;
    io_test_run(*state);
    assert_int_equal(r.count.a_to_b, 100000);
    io_test_run_for(*state, 20);
    assert_int_equal(r.b.received, 100000);
    assert_true(r.brake.n_asked - asked <= 3 * 100000 / 2000 + 20);
    clean_up(&r);
}

static void a_leg_that_cannot_connect_ends_the_pipe(void **state)
{
    struct relay r = {0};
    set_up(&r, *state);
    struct addr gone = io_test_addr("127.0.0.1:1");
    struct tcp *t;
    tcp_close(r.leg[1]);
    assert_int_equal(tcp_connect(&t, *state, &gone, NULL, &client_events, NULL), OK);
    r.leg[1] = t;
    join(&r);
    assert_int_equal(r.n_done, 0);
    io_test_run(*state);
    assert_int_equal(r.n_done, 1);
    clean_up(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(much_goes_both_ways_past_a_reader_that_pauses),
        IO_TEST(bytes_held_before_go_first),
        IO_TEST(nothing_is_lost_when_the_way_is_full),
        IO_TEST(half_close_is_carried_through),
        IO_TEST(a_stopped_reader_stops_the_sender_and_bounds_memory),
        IO_TEST(a_reset_ends_both_and_the_last_bytes_still_go),
        IO_TEST(what_was_sent_before_a_close_outlives_the_reset),
        IO_TEST(a_limit_holds_both_ways_and_loses_nothing),
        IO_TEST(a_limit_counts_what_came_with_the_request_for_the_pipe),
        IO_TEST(a_limit_asks_nothing_of_who_is_silent),
        IO_TEST(a_limit_holds_for_what_is_left_of_a_broken_stream),
        IO_TEST(a_leg_that_cannot_connect_ends_the_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
