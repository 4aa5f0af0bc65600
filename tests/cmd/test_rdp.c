/* The whole way of a picture: the lab's X screen, FreeRDP's shadow server, a socket pair,
 * causeway-rdp in its jail, shared memory. And what hostile or dying peers do to it. */
/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/loop.h"

#include "cmd/lab/screen.h"

#include "tests/cmd/rdp_child.h"

enum {
    WIDTH = 1280,
    HEIGHT = 720,
    RECORD_MAX = 4 << 20,
    PATIENCE_MS = 60000,
    CHUNK = 16384
};

/* The path of causeway-rdp, and the bytes a real sharer sent. */
static const char *program;
static uint8_t *record;
static size_t record_len;

/* Between screen and viewer: one direction each, what does not fit waits. */
struct relay {
    struct loop_fd *a, *b;
    int fd_a, fd_b;
    uint8_t to_b[CHUNK], to_a[CHUNK];
    size_t n_to_b, n_to_a;
};

struct scene {
    struct loop *loop;
    struct screen *screen;
    struct rdp_child child;
    struct loop_fd *control;
    struct loop_timer *guard, *still;
    struct relay relay;
    bool is_frozen, failed;
    uint64_t started_ms, first_ms;
    double psnr_db;
};

/* `tee`: what passes is recorded. */
static void pump(int from, int to, uint8_t *buf, size_t *n, bool tee)
{
    if (*n == 0) {
        ssize_t got = recv(from, buf, CHUNK, 0);
        *n = got > 0 ? (size_t)got : 0;
        if (tee && record_len + *n <= RECORD_MAX) {
            memcpy(record + record_len, buf, *n);
            record_len += *n;
        }
    }
    ssize_t put = *n ? send(to, buf, *n, MSG_NOSIGNAL) : 0;
    if (put > 0) {
        *n -= (size_t)put;
        memmove(buf, buf + put, *n);
    }
}

static void on_relay(int events, void *ctx)
{
    struct relay *r = &((struct scene *)ctx)->relay;
    (void)events;
    pump(r->fd_a, r->fd_b, r->to_b, &r->n_to_b, true);
    pump(r->fd_b, r->fd_a, r->to_a, &r->n_to_a, false);
    loop_fd_want(r->a, (r->n_to_b ? 0 : LOOP_READ) | (r->n_to_a ? LOOP_WRITE : 0));
    loop_fd_want(r->b, (r->n_to_a ? 0 : LOOP_READ) | (r->n_to_b ? LOOP_WRITE : 0));
}

static double psnr(const struct picture *p, const uint8_t *other)
{
    double sum = 0;
    size_t n = (size_t)p->width * p->height;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < 3; c++) {
            double d = (double)p->pixels[i * 4 + c] - other[i * 4 + c];
            sum += d * d;
        }
    }
    return sum > 0 ? 10 * log10(255.0 * 255.0 * 3 * (double)n / sum) : 99;
}

static void scene_end(struct scene *s)
{
    loop_fd_free(s->relay.a);
    loop_fd_free(s->relay.b);
    loop_fd_free(s->control);
    loop_timer_free(s->guard);
    loop_timer_free(s->still);
    s->relay.a = s->relay.b = s->control = NULL;
    s->guard = s->still = NULL;
    screen_stop(s->screen);
}

static void scene_fail(void *ctx, const char *why)
{
    struct scene *s = ctx;
    print_message("# the scene failed: %s\n", why);
    s->failed = true;
    scene_end(s);
}

static void on_guard(void *ctx)
{
    struct scene *s = ctx;
    print_message("# psnr %.1f dB after %u damages\n", s->psnr_db, s->child.n_damage);
    scene_fail(ctx, "no matching picture in time");
}

/* The last pictures are still on their way when the screen stops, so this looks after each. */
static void compare(struct scene *s)
{
    struct picture p;
    picture_init(&p);
    assert_int_equal(screen_read(s->screen, &p), 0);
    if (s->child.width == p.width && s->child.height == p.height) {
        s->psnr_db = psnr(&p, s->child.mem);
    }
    picture_done(&p);
    if (s->psnr_db >= 40 && s->child.n_damage > 3) {
        scene_end(s);
    }
}

static void on_still(void *ctx)
{
    struct scene *s = ctx;
    screen_freeze(s->screen, true);
    s->is_frozen = true;
    compare(s);
}

static void on_control(int events, void *ctx)
{
    struct scene *s = ctx;
    (void)events;
    uint32_t before = s->child.n_damage;
    if (!rdp_child_read(&s->child)) {
        scene_fail(s, s->child.gone);
        return;
    }
    if (s->child.is_active && s->first_ms == 0) {
        s->first_ms = loop_now_ms(s->loop) - s->started_ms;
        loop_timer_at(s->still, loop_now_ms(s->loop) + 500); /* some movement first */
    }
    if (s->is_frozen && s->child.n_damage > before) {
        compare(s);
    }
}

static void on_ready(void *ctx)
{
    struct scene *s = ctx;
    struct relay *r = &s->relay;
    s->started_ms = loop_now_ms(s->loop);
    rdp_child_start(&s->child, program);
    assert_int_equal(screen_connect(s->screen, &r->fd_a), 0);
    r->fd_b = s->child.stream;
    assert_int_equal(loop_fd_new(&r->a, s->loop, r->fd_a, on_relay, s), 0);
    assert_int_equal(loop_fd_new(&r->b, s->loop, r->fd_b, on_relay, s), 0);
    assert_int_equal(loop_fd_new(&s->control, s->loop, s->child.control, on_control, s), 0);
    loop_fd_want(r->a, LOOP_READ);
    loop_fd_want(r->b, LOOP_READ);
    loop_fd_want(s->control, LOOP_READ);
}

static void on_stopped(void *ctx)
{
    loop_stop(((struct scene *)ctx)->loop);
}

/* A whole share, recorded on the way for the tests that replay it. */
static void test_picture_is_the_screen(void **state)
{
    struct scene s = {.relay = {.fd_a = -1}};
    const struct screen_spec spec = {.width = WIDTH,
                                     .height = HEIGHT,
                                     .ready = on_ready,
                                     .failed = scene_fail,
                                     .stopped = on_stopped,
                                     .ctx = &s};
    (void)state;
    assert_int_equal(loop_new(&s.loop), 0);
    assert_int_equal(loop_timer_new(&s.guard, s.loop, on_guard, &s), 0);
    assert_int_equal(loop_timer_new(&s.still, s.loop, on_still, &s), 0);
    loop_timer_at(s.guard, loop_now_ms(s.loop) + PATIENCE_MS);
    assert_int_equal(screen_start(&s.screen, s.loop, &spec), 0);
    loop_run(s.loop);
    loop_free(s.loop);
    assert_false(s.failed);
    print_message("# first_picture_ms=%u psnr_db=%.1f damages=%u recorded=%zu\n",
                  (unsigned)s.first_ms, s.psnr_db, s.child.n_damage, record_len);
    assert_true(s.psnr_db >= 40);
    close(s.relay.fd_a);
    close(s.child.stream);
    s.child.stream = -1;
    int status = rdp_child_wait(&s.child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_string_equal(s.child.gone, "The sharer ended the screen share.");
    rdp_child_stop(&s.child);
}

/* Plays a sharer that says `len` bytes whatever it hears, and then hangs up. */
static int play(struct rdp_child *c, const uint8_t *p, size_t len)
{
    static uint8_t sink[CHUNK];
    rdp_child_start(c, program);
    for (size_t at = 0; at < len;) {
        struct pollfd f[] = {
            {.fd = c->stream,  .events = POLLIN | POLLOUT},
            {.fd = c->control, .events = POLLIN          }
        };
        assert_true(poll(f, 2, PATIENCE_MS) > 0);
        if ((f[0].revents & POLLIN) && recv(c->stream, sink, sizeof sink, 0) <= 0) {
            break;
        }
        ssize_t n =
            f[0].revents & POLLOUT ? send(c->stream, p + at, len - at, MSG_NOSIGNAL) : 0;
        at += n > 0 ? (size_t)n : 0;
        if ((n < 0 && errno != EAGAIN) || (f[1].revents && !rdp_child_read(c))) {
            break;
        }
    }
    shutdown(c->stream, SHUT_WR);
    return rdp_child_wait(c);
}

/* What every ending because of the sharer looks like. */
static void assert_ended_well(struct rdp_child *c, int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !c->gone[0]) {
        fail_msg("status %#x, reason '%s'", (unsigned)status, c->gone);
    }
    rdp_child_stop(c);
}

static void test_recording_alone_is_shown(void **state)
{
    struct rdp_child c;
    (void)state;
    assert_true(record_len > 4096);
    int status = play(&c, record, record_len);
    assert_true(c.is_active);
    assert_int_equal(c.width, WIDTH);
    assert_ended_well(&c, status);
}

/* Length of the PDU at `at`: TPKT (RFC 1006) or fast path (MS-RDPBCGR 2.2.9.1.2). */
static size_t pdu_len(size_t at)
{
    const uint8_t *p = record + at;
    if (record_len - at < 4) {
        return record_len - at;
    }
    size_t len = p[0] == 3     ? (size_t)p[2] << 8 | p[3]
                 : p[1] & 0x80 ? (size_t)(p[1] & 0x7f) << 8 | p[2]
                               : p[1];
    return len > 0 && len <= record_len - at ? len : record_len - at;
}

/* Hangs up before, inside and after each of the first PDUs: every stage of the set-up. */
static void test_hang_up_at_every_stage(void **state)
{
    (void)state;
    assert_true(record_len > 4096);
    size_t at = 0;
    for (int i = 0; i < 14 && at < record_len; i++) {
        size_t len = pdu_len(at);
        const size_t cut[] = {at, at + len / 2};
        for (size_t k = 0; k < sizeof cut / sizeof *cut; k++) {
            struct rdp_child c;
            int status = play(&c, record, cut[k]);
            assert_ended_well(&c, status);
        }
        at += len;
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void test_random_bytes(void **state)
{
    static uint8_t noise[65536];
    uint32_t seed = 1;
    (void)state;
    for (int i = 0; i < 8; i++) {
        for (size_t k = 0; k < sizeof noise; k++) {
            noise[k] = (uint8_t)next_random(&seed);
        }
        if (i % 2) { /* so that it gets past the first look */
            memcpy(noise, (const uint8_t[]){3, 0, 0, 19, 14, 0xd0}, 6);
        }
        struct rdp_child c;
        int status = play(&c, noise, i % 4 < 2 ? sizeof noise : 64);
        assert_ended_well(&c, status);
    }
}

/* A recording with some bytes changed. Status 3 says that FreeRDP itself stumbled: that must
 * end this process and no other, and with a reason as well. */
static void test_damaged_recordings(void **state)
{
    uint32_t seed = 7;
    uint8_t *bad = malloc(record_len);
    unsigned n_crashed = 0;
    (void)state;
    assert_true(record_len > 4096);
    assert_non_null(bad);
    for (int i = 0; i < 24; i++) {
        memcpy(bad, record, record_len);
        size_t span = i % 2 ? 2048 : record_len; /* the set-up is short */
        for (int k = 0; k < 1 + i % 5; k++) {
            bad[next_random(&seed) % span] = (uint8_t)next_random(&seed);
        }
        struct rdp_child c;
        int status = play(&c, bad, record_len);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
            n_crashed++;
            status = 1 << 8;
        }
        assert_ended_well(&c, status);
    }
    free(bad);
    print_message("# FreeRDP crashed on %u of 24\n", n_crashed);
}

/* The desktop's size in the server's bitmap capabilities (MS-RDPBCGR 2.2.7.1.2). */
static void test_too_large_desktop_is_refused(void **state)
{
    static const uint8_t head[] = {0x02, 0x00, 0x1c, 0x00};
    static const uint8_t size[] = {WIDTH & 0xff, WIDTH >> 8, HEIGHT & 0xff, HEIGHT >> 8};
    uint8_t *big = malloc(record_len);
    size_t at = 0;
    (void)state;
    assert_true(record_len > 4096);
    assert_non_null(big);
    memcpy(big, record, record_len);
    while (at + 16 < record_len && (memcmp(big + at, head, sizeof head) != 0 ||
                                    memcmp(big + at + 12, size, sizeof size) != 0)) {
        at++;
    }
    assert_true(at + 16 < record_len);
    memcpy(big + at + 12, (const uint8_t[]){0x88, 0x13, 0xb8, 0x0b}, 4); /* 5000 x 3000 */
    struct rdp_child c;
    int status = play(&c, big, record_len);
    assert_string_equal(c.gone, "The shared screen has 5000 x 3000 pixels; at most 3840 x 2160 "
                                "can be shown.");
    assert_ended_well(&c, status);
    free(big);
}

static void wait_message(struct rdp_child *c)
{
    struct pollfd p = {.fd = c->control, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_true(rdp_child_read(c));
}

/* The line of /proc/PID/status that begins with `key`. */
static int status_of(pid_t pid, const char *key)
{
    char path[64], line[256];
    int value = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = atoi(line + strlen(key));
        }
    }
    fclose(f);
    return value;
}

static void test_waits_in_its_jail(void **state)
{
    struct rdp_child c;
    (void)state;
    rdp_child_start(&c, program);
    wait_message(&c); /* LINK_CONNECTING */
    assert_int_equal(status_of(c.pid, "Seccomp:"), 2);
    assert_int_equal(status_of(c.pid, "NoNewPrivs:"), 1);
    /* The first request is there and waits for a sharer. */
    struct pollfd p = {.fd = c.stream, .events = POLLIN};
    uint8_t tpkt = 0;
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(recv(c.stream, &tpkt, 1, 0), 1);
    assert_int_equal(tpkt, 3);
    /* A server that goes away takes it along, however silent the sharer is. */
    int pid = c.pid, status;
    shutdown(c.control, SHUT_RDWR);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    c.pid = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rdp_child_stop(&c);
}

int main(int argc, char **argv)
{
    (void)unsetenv("HOME"); /* as in a service */
    if (argc != 2) {
        fprintf(stderr, "usage: test_rdp CAUSEWAY-RDP\n");
        return 2;
    }
    program = argv[1];
    record = malloc(RECORD_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_in_its_jail),
        cmocka_unit_test(test_picture_is_the_screen),
        cmocka_unit_test(test_recording_alone_is_shown),
        cmocka_unit_test(test_hang_up_at_every_stage),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_damaged_recordings),
        cmocka_unit_test(test_too_large_desktop_is_refused),
    };
    int failed = record ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    free(record);
    return failed;
}
