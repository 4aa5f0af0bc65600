/* The media of a share, both sides in one process over loopback: gather, describe, connect,
 * carry a stream; and each way to end. */
#include <sys/socket.h>
#include <unistd.h>

#include "io/shm.h"
#include "run/share_run.h"

#include "tests/io/io_test.h"

enum {
    STREAM = 2 * 1024 * 1024
};

struct side {
    struct pair *pair;
    struct share_run *run;
    int fd[2];
    bool gathered, ready, connected;
    const char *missing, *ended;
};

struct pair {
    struct loop *loop;
    struct log log;
    struct side sharer, viewer;
    size_t sent, got;
};

/* What one side would put into SDP, through SDP. */
static void describe(struct side *from, enum sdp_role role, struct side *to)
{
    uint8_t buf[8192];
    struct wr w = wr_over(buf, sizeof buf);
    struct sdp_share mine = {.session_id = slice_str("1"),
                             .rtpmap = slice_str("x-data/90000"),
                             .role = role,
                             .payload_type = 127};
    struct sdp_offer read;
    const char *why;
    share_run_local(from->run, &mine);
    sdp_put(&w, 1, 1, &mine, NULL);
    assert_int_equal(w.err, OK);
    assert_int_equal(sdp_read(wr_done(&w), &read, &why), OK);
    assert_int_equal(share_run_remote(to->run, &read.share), OK);
}

static void on_event(const struct share_event *e, void *ctx)
{
    struct side *s = ctx;
    struct pair *p = s->pair;
    assert_null(s->ended);
    switch (e->type) {
    case SHARE_GATHERED:
        s->gathered = true;
        s->missing = e->why;
        if (p->sharer.gathered && p->viewer.gathered) {
            loop_stop(p->loop);
        }
        break;
    case SHARE_READY: s->ready = true; break;
    case SHARE_CONNECTED:
        s->connected = true;
        if (p->sharer.connected && p->viewer.connected) {
            loop_stop(p->loop);
        }
        break;
    case SHARE_ENDED:
        s->ended = e->why;
        loop_stop(p->loop);
        break;
    }
}

static struct share_run_config config(struct pair *p, struct side *s, bool is_sharer)
{
    s->pair = p;
    return (struct share_run_config){.log = &p->log,
                                     .tag = is_sharer ? "sharer" : "viewer",
                                     .controlling = is_sharer,
                                     .may_connect = is_sharer,
                                     .host = {io_test_addr("127.0.0.1")},
                                     .n_hosts = 1,
                                     .turn_ms = 300,
                                     .patience_ms = 400,
                                     .event = on_event,
                                     .ctx = s};
}

static void start(struct loop *l, struct pair *p)
{
    *p = (struct pair){
        .loop = l, .log = {.level = LOG_ERROR, .program = "test", .fd = 2}
    };
    struct share_run_config a = config(p, &p->sharer, true), b = config(p, &p->viewer, false);
    assert_int_equal(share_run_new(&p->sharer.run, l, &a), OK);
    assert_int_equal(share_run_new(&p->viewer.run, l, &b), OK);
    io_test_run(l);
    assert_null(p->sharer.missing);
}

static void connect_sides(struct pair *p)
{
    describe(&p->sharer, SDP_SHARER, &p->viewer);
    describe(&p->viewer, SDP_VIEWER, &p->sharer);
    io_test_run(p->loop);
    assert_true(p->sharer.connected && p->viewer.connected);
    assert_true(p->viewer.ready);
}

static void finish(struct pair *p)
{
    share_run_free(p->sharer.run);
    share_run_free(p->viewer.run);
}

static void on_readable(int events, void *ctx)
{
    struct pair *p = ctx;
    uint8_t buf[16384];
    ssize_t n = recv(p->viewer.fd[1], buf, sizeof buf, MSG_DONTWAIT);
    (void)events;
    for (ssize_t i = 0; i < n; i++) {
        assert_int_equal(buf[i], (uint8_t)((p->got + (size_t)i) * 31));
    }
    p->got += n > 0 ? (size_t)n : 0;
    if (p->got == STREAM) {
        loop_stop(p->loop);
    }
}

static void on_writable(int events, void *ctx)
{
    struct pair *p = ctx;
    uint8_t buf[4096];
    (void)events;
    for (size_t i = 0; i < sizeof buf; i++) {
        buf[i] = (uint8_t)((p->sent + i) * 31);
    }
    ssize_t n = p->sent < STREAM
                    ? send(p->sharer.fd[1], buf, sizeof buf, MSG_NOSIGNAL | MSG_DONTWAIT)
                    : 0;
    p->sent += n > 0 ? (size_t)n : 0;
}

static void a_stream_goes_over_the_selected_path(void **state)
{
    struct pair p;
    struct loop_fd *r, *w;
    struct ice_cand local, remote;
    start(*state, &p);
    assert_int_equal(share_run_selected(p.viewer.run, &local, &remote), ERR_BADSTATE);
    assert_int_equal(share_run_carry(p.viewer.run, 0, 127), ERR_BADSTATE);
    connect_sides(&p);
    assert_int_equal(share_run_selected(p.viewer.run, &local, &remote), OK);
    assert_int_equal(local.type, ICE_HOST);
    assert_int_equal(io_stream_pair(p.sharer.fd), OK);
    assert_int_equal(io_stream_pair(p.viewer.fd), OK);
    assert_int_equal(share_run_carry(p.viewer.run, p.viewer.fd[0], 127), OK);
    assert_int_equal(share_run_carry(p.sharer.run, p.sharer.fd[0], 127), OK);
    assert_int_equal(loop_fd_new(&r, p.loop, p.viewer.fd[1], on_readable, &p), OK);
    assert_int_equal(loop_fd_new(&w, p.loop, p.sharer.fd[1], on_writable, &p), OK);
    loop_fd_want(r, LOOP_READ);
    loop_fd_want(w, LOOP_WRITE);
    io_test_run(p.loop);
    assert_int_equal(p.got, STREAM);
    assert_int_equal(share_run_count(p.viewer.run).in_bytes, STREAM);
    loop_fd_free(r);
    loop_fd_free(w);
    finish(&p);
    for (int i = 0; i < 2; i++) {
        (void)close(p.sharer.fd[i]);
        (void)close(p.viewer.fd[i]);
    }
}

static void the_other_side_leaving_ends_it(void **state)
{
    struct pair p;
    start(*state, &p);
    connect_sides(&p);
    share_run_free(p.sharer.run);
    p.sharer.run = NULL;
    io_test_run(p.loop);
    assert_non_null(p.viewer.ended);
    finish(&p);
}

static void nobody_coming_ends_it_in_time(void **state)
{
    struct pair p;
    start(*state, &p);
    describe(&p.sharer, SDP_SHARER, &p.viewer);
    io_test_run(p.loop);
    assert_non_null(p.viewer.ended);
    finish(&p);
}

static void without_the_turn_server_it_goes_on(void **state)
{
    struct pair p = {
        .loop = *state, .log = {.level = LOG_ERROR, .program = "test", .fd = 2}
    };
    struct share_run_config cfg = config(&p, &p.viewer, false);
    p.log.level = LOG_ERROR;
    p.sharer.gathered = true;
    cfg.turn_server = io_test_addr("127.0.0.1:1"); /* nobody listens there */
    cfg.turn_username = slice_str("turn");
    cfg.turn_password = slice_str("secret");
    assert_int_equal(share_run_new(&p.viewer.run, p.loop, &cfg), OK);
    io_test_run(p.loop);
    assert_true(p.viewer.gathered);
    assert_non_null(p.viewer.missing);
    struct sdp_share mine = {0};
    share_run_local(p.viewer.run, &mine);
    assert_int_equal(mine.n_cand, 1);
    assert_int_equal(mine.cand[0].type, ICE_HOST);
    share_run_free(p.viewer.run);
}

static void it_can_be_freed_at_any_time(void **state)
{
    for (int step = 0; step < 3; step++) {
        struct pair p = {.loop = *state};
        if (step == 0) {
            struct share_run_config a = config(&p, &p.sharer, true);
            assert_int_equal(share_run_new(&p.sharer.run, p.loop, &a), OK);
        } else {
            start(*state, &p);
        }
        if (step == 2) {
            describe(&p.sharer, SDP_SHARER, &p.viewer);
            describe(&p.viewer, SDP_VIEWER, &p.sharer);
        }
        finish(&p);
        io_test_run_for(*state, 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_stream_goes_over_the_selected_path),
        IO_TEST(the_other_side_leaving_ends_it),
        IO_TEST(nobody_coming_ends_it_in_time),
        IO_TEST(without_the_turn_server_it_goes_on),
        IO_TEST(it_can_be_freed_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
