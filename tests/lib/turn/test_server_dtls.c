/* Clients that are connections made of datagrams: DTLS. */
#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

static void one_answer(struct turn_config *cfg)
{
    cfg->max_unproven_per_s = 1;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    bench_start(b, one_answer);
    b->now_ms = 5000;
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static struct turn_conn dtls(turn_id id, const char *client)
{
    struct turn_conn c = bench_udp(client);
    c.id = id;
    c.is_proven = true;
    return c;
}

static size_t bind_without_key(struct bench *b, const struct turn_conn *c)
{
    uint8_t buf[STUN_HEADER_LEN];
    struct stun_writer w;
    struct slice frame;
    struct stun_tid tid = {.len = 12};
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, STUN_REQUEST, STUN_BINDING, &tid);
    assert_int_equal(stun_end(&w, &frame), OK);
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, c, dgram_of(frame)), OK);
    bench_drain(b);
    return b->sent_len;
}

static void a_proven_address_is_answered_in_full_and_always(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = dtls(7, "192.0.2.7:1"), plain = bench_udp("192.0.2.7:1");
    assert_int_equal(bind_without_key(b, &plain), 20 + 12);
    assert_int_equal(bind_without_key(b, &plain), 0);
    for (int i = 0; i < 5; i++) {
        /* XOR-MAPPED-ADDRESS, FINGERPRINT and some SOFTWARE */
        assert_true(bind_without_key(b, &c) > 20 + 12 + 8);
        assert_int_equal(bench_did(b, TURN_DO_SEND, 0)->conn, 7);
    }
}

static void the_association_tells_clients_apart_not_the_address(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = dtls(7, "192.0.2.7:1"), plain = bench_udp("192.0.2.7:1"),
                     again = dtls(8, "192.0.2.7:1");
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    assert_int_equal(bench_did(b, TURN_DO_SEND, 0)->conn, 7);
    b->now_ms += 1000;
    assert_int_equal(bench_refresh(b, &plain, 600), 437);
    assert_int_equal(bench_refresh(b, &again, 600), 437);
    assert_int_equal(bench_allocate(b, &again, TURN_UDP), 0);
    assert_int_equal(bench_allocate(b, &plain, TURN_UDP), 0);
    assert_int_equal(turn_server_stats(b->s).allocations, 3);
    turn_server_conn_gone(b->s, b->now_ms, 7);
    bench_drain(b);
    assert_int_equal(bench_count(b, TURN_DO_RELAY_CLOSE), 1);
    assert_int_equal(bench_refresh(b, &c, 600), 437);
    assert_int_equal(bench_refresh(b, &again, 600), 0);
    assert_int_equal(bench_refresh(b, &plain, 600), 0);
}

static void no_tcp_relay_over_datagrams(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = dtls(7, "192.0.2.7:1");
    assert_int_equal(bench_allocate(b, &c, TURN_TCP), 400);
}

static void the_association_ends_with_its_allocation(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = dtls(7, "192.0.2.7:1");
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    bench_tick_to(b, b->now_ms + 600000);
    assert_int_equal(bench_count(b, TURN_DO_CONN_CLOSE), 1);
    assert_int_equal(bench_did(b, TURN_DO_CONN_CLOSE, 0)->conn, 7);
}

/* What came before the end of an association is not answered on the next. */
static void nothing_waits_for_an_association_that_is_gone(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = dtls(7, "192.0.2.7:1");
    (void)bench_allocate(b, &c, TURN_UDP); /* for the nonce */
    assert_int_equal(bench_refresh(b, &c, 0), 0);
    b->answers_late = true;
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 1);
    turn_id ticket = bench_did(b, TURN_DO_FIND_KEY, 0)->key.ticket;
    assert_true(turn_server_conn_waits(b->s, 7));
    assert_int_equal(turn_server_ticket_conn(b->s, ticket), 7);
    turn_server_conn_gone(b->s, b->now_ms, 7);
    assert_false(turn_server_conn_waits(b->s, 7));
    turn_server_key(b->s, b->now_ms, ticket, &b->key);
    bench_drain(b);
    assert_int_equal(b->n_did, 0);
}

static void channel_data_needs_no_padding(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = dtls(7, "192.0.2.7:1");
    struct addr peer = bench_addr("8.8.8.8:7000");
    struct ask a;
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    turn_id relay = bench_did(b, TURN_DO_RELAY_OPEN, 0)->relay;
    ask_begin(b, &a, STUN_CHANNEL_BIND);
    stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, 0x4000);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &peer);
    assert_int_equal(ask_end(b, &a, &c, &b->key), 0);
    assert_int_equal(
        turn_server_from_peer(b->s, b->now_ms, relay, &peer, dgram_of(slice_str("hello"))), OK);
    bench_drain(b);
    const struct turn_action *out = bench_did(b, TURN_DO_SEND, 0);
    assert_non_null(out);
    assert_int_equal(out->conn, 7);
    assert_int_equal(out->head_len, 4);
    assert_int_equal(out->tail_len, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_proven_address_is_answered_in_full_and_always),
        T(the_association_tells_clients_apart_not_the_address),
        T(no_tcp_relay_over_datagrams),
        T(the_association_ends_with_its_allocation),
        T(nothing_waits_for_an_association_that_is_gone),
        T(channel_data_needs_no_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
