/* RFC 5780: answers from other sockets, to other ports, with padding; and what it may not be
 * misused for. */
#include "tests/lib/turn/turn_bench.h"
#include "tests/unit.h"

enum {
    CHANGE_IP = 4,
    CHANGE_PORT = 2
};

static const char *const first_ip[] = {"198.51.100.1", "2001:db8::1"};
static const char *const second_ip[] = {"198.51.100.2", "2001:db8::2"};

static void two_addresses(struct turn_config *cfg)
{
    for (size_t i = 0; i < 2; i++) {
        cfg->nat[i] = (struct turn_nat){
            .ip = {bench_addr(first_ip[i]), bench_addr(second_ip[i])},
              .port = {3478,                    3479                    }
        };
    }
    cfg->max_unproven_per_s = 6;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    bench_start(b, two_addresses);
    b->now_ms = 5000;
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    free(*state);
    return 0;
}

static struct turn_conn at(const char *client, const char *local)
{
    struct turn_conn c = bench_udp(client);
    c.local = bench_addr(local);
    c.dialect = &turn_dialect_rfc5780;
    return c;
}

struct request {
    uint8_t buf[1800];
    struct stun_writer w;
    size_t len;
};

static void begin(struct request *q)
{
    struct stun_tid tid = {
        .len = 12, .b = {1, 2, 3}
    };
    stun_begin(&q->w, q->buf, sizeof q->buf, &stun_wire_rfc5780, STUN_REQUEST, STUN_BINDING,
               &tid);
}

static void change(struct request *q, uint32_t what)
{
    begin(q);
    stun_put_u32(&q->w, STUN_CHANGE_REQUEST, what);
}

/* The answer's code; 0: success, 1: none. */
static int ask(struct bench *b, struct request *q, const struct turn_conn *c,
               struct stun_msg *out)
{
    struct slice frame, reason;
    uint16_t code;
    assert_int_equal(stun_end(&q->w, &frame), OK);
    q->len = frame.len;
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, c, dgram_of(frame)), OK);
    bench_drain(b);
    if (b->sent_len == 0) {
        return 1;
    }
    assert_int_equal(stun_parse(out, slice_of(b->sent, b->sent_len), &stun_wire_rfc5780), OK);
    return stun_get_error(out, &code, &reason) == OK ? code : 0;
}

static bool has(const struct stun_msg *m, enum stun_attr type, const char *text)
{
    struct addr got, want = bench_addr(text);
    return stun_get_addr(m, type, &got) == OK && addr_eq(&got, &want);
}

static void the_answer_names_its_origin_and_the_other_address(void **state)
{
    static const struct {
        const char *client, *local, *other;
    } rows[] = {
        {"192.0.2.7:1000",     "198.51.100.1:3478",  "198.51.100.2:3479" },
        {"192.0.2.7:1000",     "198.51.100.1:3479",  "198.51.100.2:3478" },
        {"192.0.2.7:1000",     "198.51.100.2:3479",  "198.51.100.1:3478" },
        {"[2001:db8::7]:1000", "[2001:db8::2]:3478", "[2001:db8::1]:3479"},
    };
    struct bench *b = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct turn_conn c = at(rows[i].client, rows[i].local);
        struct request q;
        struct stun_msg m;
        begin(&q);
        assert_int_equal(ask(b, &q, &c, &m), 0);
        assert_true(has(&m, STUN_RESPONSE_ORIGIN, rows[i].local));
        assert_true(has(&m, STUN_OTHER_ADDRESS, rows[i].other));
        assert_true(has(&m, STUN_XOR_MAPPED_ADDRESS, rows[i].client));
        /* As much as the RFC forces, and not a byte more. */
        size_t ip = i == 3 ? 24 : 12;
        assert_int_equal(b->sent_len, 20 + 3 * ip);
    }
}

static void the_answer_comes_from_where_it_was_asked_to(void **state)
{
    static const struct {
        uint32_t change;
        const char *from;
    } rows[] = {
        {0,                       "198.51.100.1:3478"},
        {CHANGE_PORT,             "198.51.100.1:3479"},
        {CHANGE_IP,               "198.51.100.2:3478"},
        {CHANGE_IP | CHANGE_PORT, "198.51.100.2:3479"},
    };
    struct bench *b = *state;
    struct turn_conn c = at("192.0.2.7:1000", "198.51.100.1:3478");
    for (size_t i = 0; i < 4; i++) {
        struct request q;
        struct stun_msg m;
        struct addr from = bench_addr(rows[i].from);
        change(&q, rows[i].change);
        assert_int_equal(ask(b, &q, &c, &m), 0);
        const struct turn_action *a = bench_did(b, TURN_DO_SEND, 0);
        assert_true(addr_eq(&a->local, &from));
        assert_true(addr_eq(&a->addr, &c.client));
        assert_true(has(&m, STUN_RESPONSE_ORIGIN, rows[i].from));
        assert_true(has(&m, STUN_OTHER_ADDRESS, "198.51.100.2:3479"));
    }
}

static void the_answer_goes_to_another_port_of_the_same_address(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = at("192.0.2.7:2000", "198.51.100.1:3478");
    struct addr to = bench_addr("192.0.2.7:4242");
    struct request q;
    struct stun_msg m;
    begin(&q);
    stun_put_u32(&q.w, STUN_RESPONSE_PORT, 4242);
    assert_int_equal(ask(b, &q, &c, &m), 0);
    assert_true(addr_eq(&bench_did(b, TURN_DO_SEND, 0)->addr, &to));
    assert_true(has(&m, STUN_XOR_MAPPED_ADDRESS, "192.0.2.7:2000"));
    begin(&q);
    stun_put_u32(&q.w, STUN_RESPONSE_PORT, 53);
    assert_int_equal(ask(b, &q, &c, &m), 400);
    assert_true(addr_eq(&bench_did(b, TURN_DO_SEND, 0)->addr, &c.client));
}

static void padding_comes_back_and_makes_nothing_longer(void **state)
{
    static const uint8_t zeros[1600];
    static const size_t sizes[] = {4, 20, 500, 1500};
    struct bench *b = *state;
    struct turn_conn c = at("192.0.2.7:2000", "198.51.100.1:3478");
    for (size_t i = 0; i < 4; i++) {
        struct request q;
        struct stun_msg m;
        struct slice padding;
        begin(&q);
        stun_put_bytes(&q.w, STUN_PADDING, slice_of(zeros, sizes[i]));
        assert_int_equal(ask(b, &q, &c, &m), 0);
        bool comes = stun_get_bytes(&m, STUN_PADDING, &padding) == OK;
        assert_int_equal(comes, sizes[i] > 100);
        assert_true(!comes || b->sent_len <= q.len);
        assert_true(sizes[i] != 1500 || b->sent_len > 1400);
    }
    struct request q;
    struct stun_msg m;
    begin(&q);
    stun_put_bytes(&q.w, STUN_PADDING, slice_of(zeros, 100));
    stun_put_u32(&q.w, STUN_RESPONSE_PORT, 4242);
    assert_int_equal(ask(b, &q, &c, &m), 400);
}

/* Answers are few for one address, wherever they come from and whichever port they go to. */
static void the_limit_of_answers_counts(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = at("192.0.2.7:2000", "198.51.100.1:3478");
    int n = 0;
    for (uint32_t i = 0; i < 20; i++) {
        struct request q;
        struct stun_msg m;
        change(&q, i % 4 * 2);
        stun_put_u32(&q.w, STUN_RESPONSE_PORT, 2000 + i);
        c.client.port++;
        n += ask(b, &q, &c, &m) == 0;
    }
    assert_int_equal(n, 6);
}

static void a_connection_has_one_way_back(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_tcp(1), d = at("192.0.2.7:2000", "198.51.100.1:3478");
    struct request q;
    struct stun_msg m;
    c.dialect = &turn_dialect_rfc5780;
    d.id = 2;
    d.is_proven = true;
    const struct turn_conn *both[] = {&c, &d};
    for (size_t i = 0; i < 2; i++) {
        change(&q, CHANGE_PORT);
        assert_int_equal(ask(b, &q, both[i], &m), 400);
        begin(&q);
        stun_put_u32(&q.w, STUN_RESPONSE_PORT, 4242);
        assert_int_equal(ask(b, &q, both[i], &m), 400);
        change(&q, 0);
        assert_int_equal(ask(b, &q, both[i], &m), 0);
        assert_true(has(&m, STUN_OTHER_ADDRESS, "198.51.100.2:3479"));
    }
}

static void elsewhere_the_attributes_are_unknown(void **state)
{
    struct bench *b = *state;
    struct turn_conn c = bench_udp("192.0.2.7:2000");
    struct request q;
    struct stun_msg m;
    change(&q, CHANGE_IP);
    assert_int_equal(ask(b, &q, &c, &m), 420);
    begin(&q);
    assert_int_equal(ask(b, &q, &c, &m), 0);
    /* The dialect is for the sockets of the configuration only: here is none of them. */
    c.local = bench_addr("198.51.100.9:3478");
    begin(&q);
    assert_int_equal(ask(b, &q, &c, &m), 0);
    assert_false(stun_has(&m, STUN_OTHER_ADDRESS));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_answer_names_its_origin_and_the_other_address),
        T(the_answer_comes_from_where_it_was_asked_to),
        T(the_answer_goes_to_another_port_of_the_same_address),
        T(padding_comes_back_and_makes_nothing_longer),
        T(the_limit_of_answers_counts),
        T(a_connection_has_one_way_back),
        T(elsewhere_the_attributes_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
