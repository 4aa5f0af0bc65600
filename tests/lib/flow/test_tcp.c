/* TCP reassembly: scripts, and random orders against the bytes that were sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/text.h"

#include "lib/flow/tcp.h"

enum {
    CLIENT = 0,
    SERVER = 1
};

static struct flow *new_flow(uint32_t max_conns, size_t max_held)
{
    struct flow *f;
    struct flow_config cfg = {
        .max_conns = max_conns, .max_held = max_held, .max_parts = 64, .secret = {1, 2, 3}
    };
    assert_int_equal(flow_new(&f, &cfg), 0);
    return f;
}

static struct addr end_of(int side, uint16_t port)
{
    return side == CLIENT ? (struct addr){.family = ADDR_IP4, .ip = {10, 0, 0, 1}, .port = port}
                          : (struct addr){.family = ADDR_IP4, .ip = {10, 0, 0, 2}, .port = 3478};
}

/* Feeds one packet and writes down what comes out: "O", "d0:abc", "g1:7", "e0", "C", "R". */
static void feed_port(struct flow *f, struct wr *log, uint16_t port, int from, uint8_t flags,
                      uint32_t seq, const char *text)
{
    size_t len = strlen(text);
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, text, len);
    struct packet p = {.from = end_of(from, port),
                       .to = end_of(from ^ 1, port),
                       .proto = PACKET_TCP,
                       .seq = seq,
                       .flags = flags,
                       .payload = slice_of(exact, len)};
    assert_int_equal(flow_packet(f, 5, &p), 0);
    struct flow_event e;
    while (flow_next(f, &e)) {
        switch (e.what) {
        case FLOW_OPENED: wr_text(log, "O%s ", e.whole ? "" : "?"); break;
        case FLOW_DATA:
            wr_text(log, "d%d:%.*s ", e.dir, (int)e.bytes.len, (const char *)e.bytes.p);
            break;
        case FLOW_GAP: wr_text(log, "g%d:%d ", e.dir, (int)e.lost); break;
        case FLOW_ENDED: wr_text(log, "e%d ", e.dir); break;
        case FLOW_CLOSED: wr_text(log, e.reset ? "R " : "C "); break;
        }
    }
    free(exact);
}

static void feed(struct flow *f, struct wr *log, int from, uint8_t flags, uint32_t seq,
                 const char *text)
{
    feed_port(f, log, 40000, from, flags, seq, text);
}

static void expect(struct wr *log, const char *want)
{
    wr_u8(log, 0);
    assert_int_equal(log->err, 0);
    assert_string_equal((char *)log->buf, want);
    log->len = 0;
}

static void an_orderly_connection(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 1000);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed(f, &log, CLIENT, TCP_SYN, 99, "");
    feed(f, &log, SERVER, TCP_SYN | TCP_ACK, 499, "");
    feed(f, &log, CLIENT, TCP_ACK, 100, "");
    feed(f, &log, CLIENT, TCP_ACK, 100, "abc");
    feed(f, &log, SERVER, TCP_ACK, 500, "xy");
    feed(f, &log, CLIENT, TCP_ACK | TCP_FIN, 103, "d");
    feed(f, &log, SERVER, TCP_ACK | TCP_FIN, 502, "");
    feed(f, &log, CLIENT, TCP_ACK, 105, ""); /* the last ACK begins nothing */
    expect(&log, "O d0:abc d1:xy d0:d e0 e1 C ");
    flow_free(f);
}

/* Bytes behind the FIN are nobody's, also when a reset lets everything go. */
static void nothing_comes_after_the_end(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 1000);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed(f, &log, CLIENT, TCP_SYN, 99, "");
    feed(f, &log, CLIENT, TCP_ACK, 200, "forged");
    feed(f, &log, CLIENT, TCP_ACK | TCP_FIN, 100, "ab");
    feed(f, &log, SERVER, TCP_ACK, 500, "xy");
    feed(f, &log, SERVER, TCP_ACK | TCP_RST, 502, "");
    expect(&log, "O d0:ab e0 d1:xy R ");
    flow_free(f);
}

static void order_is_restored_and_the_first_copy_counts(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 1000);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed(f, &log, CLIENT, TCP_SYN, 0xFFFFFFFC, ""); /* and the numbers wrap */
    feed(f, &log, CLIENT, TCP_ACK, 0x00000003, "GH");
    feed(f, &log, CLIENT, TCP_ACK, 0x00000000, "DE");
    feed(f, &log, CLIENT, TCP_ACK, 0x00000000, "deFg!I"); /* over both, and past them */
    feed(f, &log, CLIENT, TCP_ACK, 0xFFFFFFFD, "ABC");
    expect(&log, "O d0:ABC d0:DE d0:F d0:GH d0:I ");
    feed(f, &log, CLIENT, TCP_ACK, 0xFFFFFFFD, "abc"); /* all old */
    feed(f, &log, CLIENT, TCP_ACK, 0x00000005, "iJ");  /* half old */
    expect(&log, "d0:J ");
    flow_free(f);
}

static void a_hole_that_stays_becomes_a_gap(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 8);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed(f, &log, CLIENT, TCP_SYN, 99, "");
    feed(f, &log, CLIENT, TCP_ACK, 107, "12345678");
    expect(&log, "O ");
    feed(f, &log, CLIENT, TCP_ACK, 115, "9"); /* 9 bytes held: one too many */
    expect(&log, "g0:7 d0:12345678 d0:9 ");
    feed(f, &log, CLIENT, TCP_ACK, 118, "z");
    feed(f, &log, CLIENT, TCP_ACK | TCP_RST, 116, "");
    expect(&log, "g0:2 d0:z R ");
    flow_free(f);
}

static void what_the_snap_length_cut_is_a_gap(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 100);
    struct packet p = {.from = end_of(CLIENT, 1),
                       .to = end_of(SERVER, 1),
                       .proto = PACKET_TCP,
                       .seq = 10,
                       .flags = TCP_ACK,
                       .payload = slice_str("ab"),
                       .cut = 30};
    struct flow_event e;
    assert_int_equal(flow_packet(f, 0, &p), 0);
    assert_true(flow_next(f, &e) && e.what == FLOW_OPENED && !e.whole);
    assert_true(flow_next(f, &e) && e.what == FLOW_DATA);
    assert_true(flow_next(f, &e) && e.what == FLOW_GAP && e.lost == 30);
    assert_false(flow_next(f, &e));
    p.seq = 42;
    p.cut = 0;
    assert_int_equal(flow_packet(f, 0, &p), 0);
    assert_true(flow_next(f, &e) && e.what == FLOW_DATA && e.bytes.len == 2);
    assert_false(flow_next(f, &e));
    flow_free(f);
}

static void ports_used_again_begin_a_new_connection(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 100);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed(f, &log, CLIENT, TCP_SYN, 99, "");
    feed(f, &log, CLIENT, TCP_SYN, 99, ""); /* only sent again */
    feed(f, &log, CLIENT, TCP_ACK, 100, "old");
    feed(f, &log, CLIENT, TCP_SYN, 7000, "");
    feed(f, &log, CLIENT, TCP_ACK, 7001, "new");
    expect(&log, "O d0:old C O d0:new ");
    flow_free(f);
}

static void the_server_end_is_known_from_its_syn_ack(void **state)
{
    (void)state;
    struct flow *f = new_flow(4, 100);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed(f, &log, SERVER, TCP_SYN | TCP_ACK, 499, "");
    feed(f, &log, CLIENT, TCP_ACK, 100, "a");
    feed(f, &log, SERVER, TCP_ACK, 500, "b");
    expect(&log, "O d0:a d1:b ");
    flow_free(f);
}

static void a_full_table_lets_the_quietest_go(void **state)
{
    (void)state;
    struct flow *f = new_flow(2, 100);
    uint8_t buf[256];
    struct wr log = wr_over(buf, sizeof buf);
    feed_port(f, &log, 1, CLIENT, TCP_SYN, 0, "");
    feed_port(f, &log, 2, CLIENT, TCP_SYN, 0, "");
    feed_port(f, &log, 1, CLIENT, TCP_ACK, 1, "a");
    feed_port(f, &log, 3, CLIENT, TCP_SYN, 0, ""); /* port 2 goes */
    feed_port(f, &log, 1, CLIENT, TCP_ACK, 2, "b");
    expect(&log, "O O d0:a C O d0:b ");
    flow_free(f);
}

/* A stream cut into pieces that overlap, sent in a shuffled order with some repeated, comes out
 * whole: the network did its worst but lost nothing. */
static void random_orders_give_the_stream_back(void **state)
{
    (void)state;
    enum {
        LEN = 600,
        PIECES = 90
    };
    uint8_t sent[LEN], got[LEN];
    for (size_t i = 0; i < LEN; i++) {
        sent[i] = (uint8_t)(i * 7 + i / 256);
    }
    srand(20);
    for (int round = 0; round < 300; round++) {
        struct flow *f = new_flow(1, LEN * 2);
        uint32_t isn = (uint32_t)rand() * 3u;
        struct packet p = {.from = end_of(CLIENT, 1),
                           .to = end_of(SERVER, 1),
                           .proto = PACKET_TCP,
                           .seq = isn,
                           .flags = TCP_SYN};
        struct flow_event e;
        assert_int_equal(flow_packet(f, 0, &p), 0);
        assert_true(flow_next(f, &e));
        assert_false(flow_next(f, &e));
        size_t n = 0;
        for (int i = 0; i < PIECES; i++) {
            /* The last LEN / 10 pieces cover all of it, in ascending order. */
            bool sweep = i >= PIECES - LEN / 10;
            size_t at = sweep ? (size_t)(i - (PIECES - LEN / 10)) * 10 : (size_t)rand() % LEN;
            size_t len = sweep ? 10 : 1 + (size_t)rand() % 80;
            len = at + len > LEN ? LEN - at : len;
            p.seq = isn + 1 + (uint32_t)at;
            p.flags = TCP_ACK;
            p.payload = slice_of(sent + at, len);
            assert_int_equal(flow_packet(f, 0, &p), 0);
            while (flow_next(f, &e)) {
                assert_int_equal(e.what, FLOW_DATA);
                assert_true(n + e.bytes.len <= LEN);
                memcpy(got + n, e.bytes.p, e.bytes.len);
                n += e.bytes.len;
            }
        }
        assert_int_equal(n, LEN);
        assert_memory_equal(got, sent, LEN);
        flow_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_orderly_connection),
        cmocka_unit_test(nothing_comes_after_the_end),
        cmocka_unit_test(order_is_restored_and_the_first_copy_counts),
        cmocka_unit_test(a_hole_that_stays_becomes_a_gap),
        cmocka_unit_test(what_the_snap_length_cut_is_a_gap),
        cmocka_unit_test(ports_used_again_begin_a_new_connection),
        cmocka_unit_test(the_server_end_is_known_from_its_syn_ack),
        cmocka_unit_test(a_full_table_lets_the_quietest_go),
        cmocka_unit_test(random_orders_give_the_stream_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
