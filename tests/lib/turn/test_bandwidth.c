/* Token buckets: to the byte and the millisecond, and what the server makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/turn/bandwidth.h"

#include "tests/lib/turn/turn_bench.h"

static uint32_t next(uint32_t *rnd)
{
    *rnd = *rnd * 1664525 + 1013904223;
    return *rnd >> 8;
}

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    const struct bandwidth w = {.bytes_per_s = 7, .burst = 100};
    struct bucket b = {.is_begun = false};
    assert_int_equal(bucket_left(&b, &w, 5000), 100);
    bucket_take(&b, &w, 5000, 100);
    assert_int_equal(bucket_left(&b, &w, 5142), 0);
    assert_int_equal(bucket_when(&b, &w, 5142, 1), 5143); /* 1000 / 7 = 142.86 */
    assert_int_equal(bucket_left(&b, &w, 5143), 1);
    assert_int_equal(bucket_when(&b, &w, 5143, 7), 6000); /* nothing was rounded away */
    assert_int_equal(bucket_left(&b, &w, 6000), 7);
    assert_int_equal(bucket_left(&b, &w, 1000000), 100); /* no more than the burst */
    bucket_take(&b, &w, 1000000, 170);                   /* owed */
    assert_int_equal(bucket_left(&b, &w, 1009999), 0);
    assert_int_equal(bucket_left(&b, &w, 1010143), 1);
}

static void extremes_do_not_overflow(void **state)
{
    (void)state;
    const struct bandwidth most = {.bytes_per_s = BANDWIDTH_MAX, .burst = UINT32_MAX};
    const struct bandwidth none = {.bytes_per_s = 0};
    struct bucket b = {.is_begun = false}, c = {.is_begun = false};
    assert_int_equal(bucket_left(&b, &most, 0), UINT32_MAX);
    bucket_take(&b, &most, 0, UINT32_MAX);
    assert_int_equal(bucket_left(&b, &most, UINT64_MAX), UINT32_MAX);
    assert_true(bucket_left(&c, &none, 1) == SIZE_MAX);
    bucket_take(&c, &none, 1, SIZE_MAX);
    assert_true(bucket_left(&c, &none, 1) == SIZE_MAX);
}

/* Over random traffic: in no span more than burst + rate * t, and a sender who always wants
 * more gets all of it. */
static void no_span_has_more_than_it_may(void **state)
{
    enum {
        STEPS = 3000
    };
    (void)state;
    static uint64_t at[STEPS], sum[STEPS];
    uint32_t rnd = 7;
    for (int round = 0; round < 20; round++) {
        const struct bandwidth w = {.bytes_per_s = 1 + next(&rnd) % 100000,
                                    .burst = 1500 + next(&rnd) % 5000};
        struct bucket b = {.is_begun = false};
        uint64_t now_ms = next(&rnd), all = 0, begun_ms = now_ms;
        for (size_t i = 0; i < STEPS; i++) {
            now_ms += next(&rnd) % 40;
            size_t left = bucket_left(&b, &w, now_ms);
            size_t n = round % 2 ? left : next(&rnd) % 1500;
            n = n <= left ? n : 0;
            bucket_take(&b, &w, now_ms, n);
            all += n;
            at[i] = now_ms;
            sum[i] = all;
        }
        for (size_t i = 0; i < STEPS; i += 7) {
            for (size_t k = i + 1; k < STEPS; k += 13) {
                uint64_t most = w.burst + (at[k] - at[i]) * w.bytes_per_s / 1000 + 1;
                assert_true(sum[k] - sum[i] <= most);
            }
        }
        uint64_t could = (now_ms - begun_ms) * w.bytes_per_s / 1000;
        bool overflows = w.bytes_per_s * 40 / 1000 >= w.burst; /* between two steps */
        assert_true(round % 2 == 0 || overflows || all + 1 >= could);
    }
}

struct set {
    struct bench b;
    struct turn_conn c;
    turn_id relay;
    struct addr peer;
};

static void slow_allocation(struct turn_config *cfg)
{
    cfg->bandwidth[TURN_BANDWIDTH_ALLOC] = (struct bandwidth){1000, 3000};
}

static void slow_user(struct turn_config *cfg)
{
    cfg->bandwidth[TURN_BANDWIDTH_USER] = (struct bandwidth){1000, 3000};
    cfg->tcp_accept_any = true;
}

static void slow_all(struct turn_config *cfg)
{
    cfg->bandwidth[TURN_BANDWIDTH_ALL] = (struct bandwidth){1000, 3000};
}

static struct set *begin(void (*tune)(struct turn_config *cfg))
{
    struct set *t = calloc(1, sizeof *t);
    assert_non_null(t);
    bench_start(&t->b, tune);
    t->c = bench_udp("192.0.2.9:1");
    t->peer = bench_addr("8.8.8.8:53");
    assert_int_equal(bench_allocate(&t->b, &t->c, TURN_UDP), 0);
    t->relay = bench_did(&t->b, TURN_DO_RELAY_OPEN, 0)->relay;
    assert_int_equal(bench_permit(&t->b, &t->c, "8.8.8.8"), 0);
    return t;
}

static void end(struct set *t)
{
    bench_stop(&t->b);
    free(t);
}

/* Did the client get it? */
static bool from_peer(struct set *t, size_t n)
{
    static const uint8_t data[1000];
    struct dgram d = {.data = slice_of(data, n)};
    assert_int_equal(turn_server_from_peer(t->b.s, t->b.now_ms, t->relay, &t->peer, d), OK);
    bench_drain(&t->b);
    return bench_count(&t->b, TURN_DO_SEND) == 1;
}

static bool to_peer(struct set *t, const struct turn_conn *c, size_t n)
{
    static const uint8_t data[1000];
    struct stun_writer w;
    uint8_t buf[1200];
    struct slice frame;
    struct stun_tid tid = {.len = 12};
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION, STUN_SEND, &tid);
    stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, &t->peer);
    stun_put_bytes(&w, STUN_DATA, slice_of(data, n));
    assert_int_equal(stun_end(&w, &frame), OK);
    struct dgram d = {.data = frame};
    assert_int_equal(turn_server_from_client(t->b.s, t->b.now_ms, c, d), OK);
    bench_drain(&t->b);
    return bench_count(&t->b, TURN_DO_RELAY_SEND) == 1;
}

static const struct turn_report *limit_report(const struct bench *b)
{
    for (size_t i = 0; i < b->n_did; i++) {
        if (b->did[i].what == TURN_DO_REPORT && strcmp(b->did[i].report.event, "limit") == 0) {
            return &b->did[i].report;
        }
    }
    return NULL;
}

static void datagrams_beyond_it_are_dropped_and_counted(void **state)
{
    (void)state;
    struct set *t = begin(slow_allocation);
    t->b.now_ms = 5000;
    assert_true(from_peer(t, 1000) && from_peer(t, 1000) && from_peer(t, 1000));
    assert_false(from_peer(t, 1));
    const struct turn_report *r = limit_report(&t->b);
    assert_true(r && slice_eq(r->username, slice_str("turn")));
    assert_string_equal(r->why, "bandwidth of the allocation");
    assert_true(to_peer(t, &t->c, 1000)); /* the other way has its own */
    t->b.now_ms = 5500;
    assert_false(from_peer(t, 501));
    assert_null(limit_report(&t->b)); /* said once */
    assert_true(from_peer(t, 500));
    t->b.now_ms = 15001;
    assert_true(from_peer(t, 1000) && from_peer(t, 1000) && from_peer(t, 1000));
    assert_false(from_peer(t, 1000));
    assert_non_null(limit_report(&t->b));
    struct turn_stats s = turn_server_stats(t->b.s);
    assert_int_equal(s.packets_held_back, 3);
    assert_int_equal(s.held_back[TURN_BANDWIDTH_ALLOC], 3);
    assert_int_equal(s.bytes_to_client, 6500);
    end(t);
}

static int allocate_as(struct set *t, const struct turn_conn *c, const struct stun_key *key)
{
    struct ask a;
    struct addr ip = t->peer;
    ask_begin(&t->b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    int code = ask_end(&t->b, &a, c, key);
    ask_begin(&t->b, &a, STUN_CREATE_PERMISSION);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &ip);
    return code ? code : ask_end(&t->b, &a, c, key);
}

/* Uses all of it up on the first allocation: who else is held back? */
static void check_shared(void (*tune)(struct turn_config *cfg), bool his, bool others)
{
    struct set *t = begin(tune);
    struct turn_conn same = bench_udp("192.0.2.9:2"), other = bench_udp("192.0.2.9:3");
    assert_int_equal(allocate_as(t, &same, &t->b.key), 0);
    assert_int_equal(allocate_as(t, &other, &t->b.other_key), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(to_peer(t, &t->c, 1000));
    }
    assert_false(to_peer(t, &t->c, 1000));
    assert_int_equal(to_peer(t, &same, 1000), !his);
    assert_int_equal(to_peer(t, &other, 1000), !others);
    end(t);
}

static void it_is_shared_by_those_whose_it_is(void **state)
{
    (void)state;
    check_shared(slow_allocation, false, false);
    check_shared(slow_user, true, false);
    check_shared(slow_all, true, true);
}

/* To end an allocation and make another gives the user nothing back. */
static void what_a_user_has_used_outlives_his_allocations(void **state)
{
    (void)state;
    struct set *t = begin(slow_user);
    struct turn_conn other = bench_udp("192.0.2.9:3");
    for (int i = 0; i < 3; i++) {
        assert_true(to_peer(t, &t->c, 1000));
    }
    assert_int_equal(bench_refresh(&t->b, &t->c, 0), 0);
    assert_int_equal(allocate_as(t, &t->c, &t->b.key), 0);
    assert_false(to_peer(t, &t->c, 1000));
    assert_int_equal(allocate_as(t, &other, &t->b.other_key), 0);
    assert_true(to_peer(t, &other, 1000));
    t->b.now_ms += 1000;
    assert_true(to_peer(t, &t->c, 1000));
    assert_false(to_peer(t, &t->c, 1000));
    end(t);
}

/* Streams and datagrams of a user share; a stream asks before it reads. */
static void streams_wait_for_room(void **state)
{
    (void)state;
    struct set *t = begin(slow_user);
    struct turn_conn tcp = bench_tcp(1);
    assert_int_equal(bench_allocate(&t->b, &tcp, TURN_TCP), 0);
    turn_id relay = bench_did(&t->b, TURN_DO_RELAY_OPEN, 0)->relay;
    turn_id link = turn_server_tcp_accepted(t->b.s, 1000, relay, &t->peer);
    assert_true(link != 0);
    bench_drain(&t->b);
    uint64_t again_ms;
    assert_int_equal(turn_server_tcp_room(t->b.s, 5000, link, false, &again_ms), 3000);
    turn_server_tcp_took(t->b.s, 5000, link, false, 2000);
    /* It waits for 1500 bytes, not for one. */
    assert_int_equal(turn_server_tcp_room(t->b.s, 5000, link, false, &again_ms), 0);
    assert_int_equal(again_ms, 5500);
    bench_drain(&t->b);
    assert_string_equal(limit_report(&t->b)->why, "bandwidth of the user");
    assert_int_equal(turn_server_tcp_room(t->b.s, 5499, link, false, &again_ms), 0);
    assert_int_equal(turn_server_tcp_room(t->b.s, 5500, link, false, &again_ms), 1500);
    assert_int_equal(turn_server_tcp_room(t->b.s, 5500, link, true, &again_ms), 3000);
    bench_drain(&t->b);
    t->b.now_ms = 5500;
    assert_true(from_peer(t, 1000));
    assert_int_equal(turn_server_tcp_room(t->b.s, 5500, link, false, &again_ms), 0);
    assert_int_equal(again_ms, 6500);
    turn_server_tcp_took(t->b.s, 5500, link, false, 1500); /* a TLS record more */
    assert_int_equal(turn_server_tcp_room(t->b.s, 6500, link, false, &again_ms), 0);
    assert_int_equal(again_ms, 8000);
    bench_drain(&t->b);
    /* One that is gone is not waited for. */
    turn_server_tcp_closed(t->b.s, 8000, link);
    bench_drain(&t->b);
    assert_true(turn_server_tcp_room(t->b.s, 8000, link, false, &again_ms) == SIZE_MAX);
    turn_server_tcp_took(t->b.s, 8000, link, false, 100);
    end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test(extremes_do_not_overflow),
        cmocka_unit_test(no_span_has_more_than_it_may),
        cmocka_unit_test(datagrams_beyond_it_are_dropped_and_counted),
        cmocka_unit_test(it_is_shared_by_those_whose_it_is),
        cmocka_unit_test(what_a_user_has_used_outlives_his_allocations),
        cmocka_unit_test(streams_wait_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
