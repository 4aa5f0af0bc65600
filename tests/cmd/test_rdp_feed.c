/* The viewer's end of the link, with this test as the meeting server. */
/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/shm.h"

#include "cmd/rdp/feed.h"

enum {
    W = 200,
    H = 100,
    STRIDE = W * 4 + 64 /* rows of the decoder may be longer */
};

struct stage {
    struct feed feed;
    int server;
    uint8_t *pixels;
    uint8_t buf[LINK_MESSAGE_MAX];
};

static int set_up(void **state)
{
    struct stage *s = calloc(1, sizeof *s);
    int fd[2];
    assert_non_null(s);
    assert_int_equal(io_message_pair(fd), 0);
    s->server = fd[0];
    s->feed.fd = fd[1];
    s->feed.mem = calloc(W * H, 4); /* to the byte: too far is seen */
    s->pixels = calloc(STRIDE, H);
    assert_non_null(s->feed.mem);
    assert_non_null(s->pixels);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;
    close(s->server);
    close(s->feed.fd);
    free(s->feed.mem);
    free(s->pixels);
    free(s);
    return 0;
}

/* The next message must be of this type. */
static struct link_msg expect(struct stage *s, enum link_type type)
{
    struct link_msg m;
    ssize_t n = recv(s->server, s->buf, sizeof s->buf, 0);
    assert_true(n > 0);
    assert_int_equal(link_parse(&m, slice_of(s->buf, (size_t)n)), 0);
    assert_int_equal(m.type, type);
    return m;
}

static void expect_nothing(struct stage *s)
{
    assert_true(recv(s->server, s->buf, sizeof s->buf, 0) < 0);
}

static void say(struct stage *s, const struct link_msg *m)
{
    uint8_t buf[LINK_MESSAGE_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    link_put(&w, m);
    assert_int_equal(send(s->server, w.buf, w.len, 0), w.len);
}

static void ack(struct stage *s, uint32_t seq)
{
    say(s, &(struct link_msg){.type = LINK_ACK, .seq = seq});
}

static void flush(struct stage *s, uint64_t now_ms)
{
    assert_int_equal(feed_flush(&s->feed, now_ms, s->pixels, STRIDE), 0);
}

static void begin(struct stage *s)
{
    assert_int_equal(feed_size(&s->feed, W, H), 0);
    struct link_msg m = expect(s, LINK_SIZE);
    assert_int_equal(m.width, W);
    assert_int_equal(m.height, H);
}

static void test_copies_only_what_changed(void **state)
{
    struct stage *s = *state;
    begin(s);
    memset(s->pixels, 0xab, (size_t)STRIDE * H);
    feed_damage(&s->feed, 10, 20, 30, 40);
    flush(s, 1);
    struct link_msg m = expect(s, LINK_DAMAGE);
    assert_int_equal(m.n_rects, 1);
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            bool inside = x >= 10 && x < 40 && y >= 20 && y < 60;
            assert_int_equal(s->feed.mem[(y * W + x) * 4], inside ? 0xab : 0);
        }
    }
}

static void test_memory_rests_until_acknowledged(void **state)
{
    struct stage *s = *state;
    begin(s);
    memset(s->pixels, 1, (size_t)STRIDE * H);
    feed_damage(&s->feed, 0, 0, W, H);
    flush(s, 1);
    struct link_msg m = expect(s, LINK_DAMAGE);
    expect(s, LINK_STATE);
    memset(s->pixels, 2, (size_t)STRIDE * H);
    feed_damage(&s->feed, 0, 0, 8, 8);
    feed_damage(&s->feed, 100, 50, 8, 8);
    flush(s, 2);
    expect_nothing(s);
    assert_int_equal(s->feed.mem[0], 1);
    ack(s, m.seq);
    assert_int_equal(feed_receive(&s->feed), 0);
    memset(s->pixels, 3, (size_t)STRIDE * H); /* what is copied then is the newest */
    flush(s, 3);
    struct link_msg next = expect(s, LINK_DAMAGE);
    assert_int_not_equal(next.seq, m.seq);
    assert_int_equal(next.n_rects, 2);
    assert_int_equal(s->feed.mem[0], 3);
    assert_int_equal(s->feed.mem[W * 4 * 20], 1);
}

static void test_damage_outside_is_cut_off(void **state)
{
    struct stage *s = *state;
    begin(s);
    feed_damage(&s->feed, W, 0, 10, 10);
    feed_damage(&s->feed, -20, -20, 10, 10);
    feed_damage(&s->feed, 5, 5, -3, 10);
    flush(s, 1);
    expect_nothing(s);
    feed_damage(&s->feed, -5, 90, 10, 0x7fffffff);
    feed_damage(&s->feed, 190, -1, 0x7fffffff, 6);
    flush(s, 1);
    struct link_msg m = expect(s, LINK_DAMAGE);
    assert_int_equal(m.n_rects, 2);
    assert_memory_equal(&m.rect[0], &((struct rect){0, 90, 5, 10}), sizeof m.rect[0]);
    assert_memory_equal(&m.rect[1], &((struct rect){190, 0, 10, 5}), sizeof m.rect[1]);
}

static void test_active_when_all_was_painted(void **state)
{
    struct stage *s = *state;
    begin(s);
    feed_damage(&s->feed, 0, 0, W, 64);
    flush(s, 1000);
    ack(s, expect(s, LINK_DAMAGE).seq);
    assert_int_equal(feed_receive(&s->feed), 0);
    expect_nothing(s);
    feed_damage(&s->feed, 0, 64, W, H - 64);
    flush(s, 1010);
    expect(s, LINK_DAMAGE);
    assert_int_equal(expect(s, LINK_STATE).state, LINK_ACTIVE);
    assert_true(feed_deadline_ms(&s->feed) == UINT64_MAX);
}

static void test_active_although_a_part_is_never_painted(void **state)
{
    struct stage *s = *state;
    begin(s);
    assert_true(feed_deadline_ms(&s->feed) == UINT64_MAX);
    feed_damage(&s->feed, 0, 0, 64, 64);
    flush(s, 1000);
    expect(s, LINK_DAMAGE);
    assert_int_equal(feed_deadline_ms(&s->feed), 1000 + FEED_FIRST_MS);
    flush(s, 1000 + FEED_FIRST_MS - 1);
    expect_nothing(s);
    flush(s, 1000 + FEED_FIRST_MS);
    assert_int_equal(expect(s, LINK_STATE).state, LINK_ACTIVE);
}

static void test_new_size_forgets_old_damage(void **state)
{
    struct stage *s = *state;
    begin(s);
    feed_damage(&s->feed, 150, 90, 50, 10);
    assert_int_equal(feed_size(&s->feed, 100, 50), 0);
    expect(s, LINK_SIZE);
    flush(s, 1);
    expect_nothing(s);
}

static void test_server_that_breaks_the_rules(void **state)
{
    struct stage *s = *state;
    begin(s);
    ack(s, 1); /* of nothing */
    assert_int_equal(feed_receive(&s->feed), ERR_SYSTEM);
    feed_damage(&s->feed, 0, 0, 8, 8);
    flush(s, 1);
    struct link_msg m = expect(s, LINK_DAMAGE);
    ack(s, m.seq + 1); /* of another */
    assert_int_equal(feed_receive(&s->feed), ERR_SYSTEM);
    say(s, &(struct link_msg){.type = LINK_POINTER}); /* not the server's to say */
    assert_int_equal(feed_receive(&s->feed), ERR_SYSTEM);
}

static void test_server_that_is_gone(void **state)
{
    struct stage *s = *state;
    begin(s);
    shutdown(s->server, SHUT_RDWR);
    assert_int_equal(feed_receive(&s->feed), ERR_SYSTEM);
    assert_int_equal(feed_state(&s->feed, LINK_CONNECTING, ""), ERR_SYSTEM);
}

static void test_pointer_tells_the_newest_only(void **state)
{
    struct stage *s = *state;
    begin(s);
    s->feed.pointer.has_place = true;
    s->feed.pointer.x = 7;
    s->feed.pointer.y = 8;
    flush(s, 1);
    struct link_msg m = expect(s, LINK_POINTER);
    assert_int_equal(m.x, 7);
    assert_int_equal(m.y, 8);
    s->feed.pointer.has_shape = true;
    s->feed.pointer.width = 2;
    s->feed.pointer.height = 1;
    s->feed.pointer.pixels[7] = 0xff;
    flush(s, 2);
    m = expect(s, LINK_CURSOR);
    assert_int_equal(m.pixels.len, 8);
    assert_int_equal(m.pixels.p[7], 0xff);
    s->feed.pointer.has_place = true;
    s->feed.pointer.x = W; /* outside of the picture */
    flush(s, 3);
    expect_nothing(s);
}

/* An acknowledgement that crosses the last message must not hide it. */
static void test_gone_arrives_whatever_is_unread(void **state)
{
    struct stage *s = *state;
    begin(s);
    ack(s, 1);
    feed_gone(s->feed.fd, "bye");
    close(s->feed.fd);
    s->feed.fd = -1;
    struct link_msg m = expect(s, LINK_GONE);
    assert_true(slice_eq(m.text, slice_str("bye")));
    assert_int_equal(recv(s->server, s->buf, sizeof s->buf, 0), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_copies_only_what_changed),
        T(test_memory_rests_until_acknowledged),
        T(test_damage_outside_is_cut_off),
        T(test_active_when_all_was_painted),
        T(test_active_although_a_part_is_never_painted),
        T(test_new_size_forgets_old_damage),
        T(test_server_that_breaks_the_rules),
        T(test_server_that_is_gone),
        T(test_pointer_tells_the_newest_only),
        T(test_gone_arrives_whatever_is_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
