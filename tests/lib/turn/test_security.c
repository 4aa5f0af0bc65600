/* What went wrong in other TURN servers, each by its name; docs/security.md has the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

struct set {
    struct bench b;
    struct turn_conn udp, tcp;
    turn_id tcp_relay;
    struct turn_policy open, closed;
};

static void both_families(struct turn_config *cfg)
{
    cfg->relay_ip6 = true;
    cfg->tcp_accept_any = true;
    cfg->max_permissions = cfg->max_channels = 64;
    cfg->max_allocations = cfg->max_per_user = 16;
}

static int allocate(struct set *t, const struct turn_conn *c, uint8_t family, uint8_t transport)
{
    struct ask a;
    ask_begin(&t->b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, transport);
    stun_put_u32(&a.w, STUN_REQUESTED_ADDRESS_FAMILY, family);
    return ask_end(&t->b, &a, c, &t->b.key);
}

/* A UDP and a TCP relay for peers of this family. */
static void begin(struct set *t, uint8_t family)
{
    struct turn_conn first = bench_udp("192.0.2.77:1");
    bench_start(&t->b, both_families);
    assert_int_equal(bench_allocate(&t->b, &first, TURN_UDP), 0); /* for a nonce */
    t->udp = bench_udp("192.0.2.9:1");
    t->tcp = bench_tcp(1);
    assert_int_equal(allocate(t, &t->udp, family, TURN_UDP), 0);
    assert_int_equal(allocate(t, &t->tcp, family, TURN_TCP), 0);
    t->tcp_relay = bench_did(&t->b, TURN_DO_RELAY_OPEN, 0)->relay;
    t->closed = (struct turn_policy){.n_own = 1, .n_deny = 1};
    t->closed.own[0] = bench_addr("198.51.100.1");
    t->closed.deny[0] = (struct addr_net){bench_addr("5.5.0.0"), 16};
    t->open = t->closed;
    t->open.n_deny = 0;
    t->open.n_own = 0;
    t->open.n_allow = 2;
    t->open.allow[0] = (struct addr_net){bench_addr("0.0.0.0"), 0};
    t->open.allow[1] = (struct addr_net){bench_addr("::"), 0};
    turn_server_set_policy(t->b.s, &t->closed);
}

static int ask_peer(struct set *t, const struct turn_conn *c, enum stun_method method,
                    const struct addr *peer)
{
    struct ask a;
    ask_begin(&t->b, &a, method);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, peer);
    if (method == STUN_CHANNEL_BIND) {
        stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, CHANNEL_MIN);
    }
    return ask_end(&t->b, &a, c, &t->b.key);
}

static bool relays(struct set *t, struct slice frame)
{
    assert_int_equal(turn_server_from_client(t->b.s, t->b.now_ms, &t->udp, dgram_of(frame)),
                     OK);
    bench_drain(&t->b);
    return bench_count(&t->b, TURN_DO_RELAY_SEND) == 1;
}

static bool send_to(struct set *t, const struct addr *peer)
{
    struct stun_writer w;
    uint8_t buf[128];
    struct slice frame;
    struct stun_tid tid = {.len = 12};
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION, STUN_SEND, &tid);
    stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, peer);
    stun_put_bytes(&w, STUN_DATA, slice_str("x"));
    assert_int_equal(stun_end(&w, &frame), OK);
    return relays(t, frame);
}

static bool channel_send(struct set *t)
{
    static const uint8_t frame[] = {0x40, 0, 0, 1, 'x'};
    return relays(t, slice_of(frame, sizeof frame));
}

enum way {
    WAY_PERMISSION,
    WAY_CHANNEL,
    WAY_CONNECT,
    WAY_ACCEPT,
    WAY_SEND,     /* with a permission of another policy's time */
    WAY_DATA,     /* with a channel of that time */
    WAY_DATAGRAM, /* from the peer, with a permission of that time */
    WAYS
};

/* The state that each way leaves goes with its allocation. */
static bool passes(struct set *t, enum way way, const struct addr *peer)
{
    struct turn_server *s = t->b.s;
    struct dgram d = dgram_of(slice_str("x"));
    turn_id relay = 0;
    bool is_old = way >= WAY_SEND, passed = false;
    if (is_old) {
        turn_server_set_policy(s, &t->open);
        /* This machine's own are refused even then. */
        bool was = ask_peer(t, &t->udp, STUN_CREATE_PERMISSION, peer) == 0;
        assert_true(was || turn_policy_refuses(&t->open, peer));
        if (way == WAY_DATA && was) {
            assert_int_equal(ask_peer(t, &t->udp, STUN_CHANNEL_BIND, peer), 0);
        }
        turn_server_set_policy(s, &t->closed);
    }
    switch (way) {
    case WAY_PERMISSION:
        passed = ask_peer(t, &t->udp, STUN_CREATE_PERMISSION, peer) == 0;
        break;
    case WAY_CHANNEL: passed = ask_peer(t, &t->udp, STUN_CHANNEL_BIND, peer) == 0; break;
    case WAY_CONNECT:
        (void)ask_peer(t, &t->tcp, STUN_CONNECT, peer);
        passed = bench_did(&t->b, TURN_DO_TCP_CONNECT, 0) != NULL;
        break;
    case WAY_ACCEPT:
        passed = turn_server_tcp_accepted(s, t->b.now_ms, t->tcp_relay, peer) != 0;
        bench_drain(&t->b);
        break;
    case WAY_SEND: passed = send_to(t, peer); break;
    case WAY_DATA: passed = channel_send(t); break;
    case WAY_DATAGRAM:
        for (struct turn_session at = {.id = 0};
             turn_server_session_after(s, t->b.now_ms, at.id, &at);) {
            relay = addr_eq(&at.conn.client, &t->udp.client) ? at.id : relay;
        }
        assert_int_equal(turn_server_from_peer(s, t->b.now_ms, relay, peer, d), OK);
        bench_drain(&t->b);
        passed = bench_count(&t->b, TURN_DO_SEND) == 1;
        break;
    case WAYS: break;
    }
    return passed;
}

static bool passes_afresh(enum way way, const struct addr *peer)
{
    struct set *t = calloc(1, sizeof *t);
    assert_non_null(t);
    begin(t, peer->family);
    bool passed = passes(t, way, peer);
    bench_stop(&t->b);
    free(t);
    return passed;
}

static const struct spelling {
    const char *prefix;
    uint8_t at, flip;
    bool is_local; /* its prefix is no public one: refused whatever is in it */
} spellings[] = {
    {"::ffff:0:0",         12, 0,    false},
    {"::",                 12, 0,    false},
    {"::ffff:0:0:0",       12, 0,    false},
    {"64:ff9b::",          12, 0,    false},
    {"64:ff9b:1::",        12, 0,    true },
    {"2002::",             2,  0,    false},
    {"2001::",             12, 0xff, false},
    {"2a00::5efe:0:0",     12, 0,    false},
    {"2a00::200:5efe:0:0", 12, 0,    false},
};

static struct addr spell(const struct spelling *as, const struct addr *ip4)
{
    struct addr a = bench_addr(as->prefix);
    a.port = ip4->port;
    for (size_t k = 0; k < 4; k++) {
        a.ip[as->at + k] = ip4->ip[k] ^ as->flip;
    }
    return a;
}

static void check_spellings(const struct addr *ip4)
{
    char text[ADDR_TEXT_MAX];
    for (int way = 0; way < WAYS; way++) {
        bool may = passes_afresh((enum way)way, ip4);
        for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
            struct addr as = spell(&spellings[i], ip4);
            bool should = may && !spellings[i].is_local;
            if (passes_afresh((enum way)way, &as) != should) {
                fail_msg("way %d: %s is %s", way, addr_text(&as, text),
                         should ? "refused" : "let through");
            }
        }
    }
}

/* Also the pion issue 570: nobody asks the policy on the way of TCP. A random IPv4 address is
 * refused, in each spelling and on each way, if and only if it is. */
static void cve_2026_73212_every_way_asks_the_same_policy(void **state)
{
    static const char *const picked[] = {
        "127.0.0.1:80",      "0.0.0.0:80", "10.0.0.1:80",  "169.254.169.254:80", "100.64.0.1:1",
        "198.51.100.1:3478", "5.5.5.5:80", "224.0.0.1:80", "8.8.8.8:53",         "5.6.0.0:80",
    };
    (void)state;
    uint32_t rnd = 99;
    for (size_t i = 0; i < sizeof picked / sizeof *picked; i++) {
        struct addr a = bench_addr(picked[i]);
        check_spellings(&a);
    }
    for (int i = 0; i < 6; i++) {
        struct addr a = {.family = ADDR_IP4, .port = 80};
        for (size_t k = 0; k < 4; k++) {
            rnd = rnd * 1664525 + 1013904223;
            a.ip[k] = (uint8_t)(rnd >> 24);
        }
        check_spellings(&a);
    }
}

static void all_ways_refuse(const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct addr a = bench_addr(texts[i]);
        for (int way = 0; way < WAYS; way++) {
            if (passes_afresh((enum way)way, &a)) {
                fail_msg("%s is let through on way %d", texts[i], way);
            }
        }
    }
}

static void cve_2020_26262_this_machine_is_no_peer(void **state)
{
    static const char *const texts[] = {"0.0.0.0:80",     "0.1.2.3:80", "127.0.0.1:80",
                                        "127.255.0.9:80", "[::]:80",    "[::1]:80"};
    (void)state;
    all_ways_refuse(texts, sizeof texts / sizeof *texts);
}

static void cve_2026_27624_nor_is_it_when_it_is_mapped(void **state)
{
    static const char *const texts[] = {"[::ffff:127.0.0.1]:80", "[::ffff:0.0.0.0]:80",
                                        "[::127.0.0.1]:80"};
    (void)state;
    all_ways_refuse(texts, sizeof texts / sizeof *texts);
}

/* Also CVE-2018-4058: with no word in the configuration nothing inside can be reached. */
static void cve_2020_3482_the_inside_is_closed_unless_named(void **state)
{
    static const char *const texts[] = {
        "10.1.2.3:80",   "172.16.0.1:80", "192.168.1.1:80",    "169.254.169.254:80",
        "100.64.0.1:80", "[fd00::1]:80",  "[fe80::1]:80",      "[fec0::1]:80",
        "[ff02::1]:80",  "240.0.0.1:80",  "255.255.255.255:80"};
    (void)state;
    all_ways_refuse(texts, sizeof texts / sizeof *texts);
}

/* A range whose bytes are compared one by one lets most of itself through. */
static void coturn_6c13608c_a_denied_network_has_no_holes(void **state)
{
    (void)state;
    struct turn_policy p = {.n_deny = 2};
    p.deny[0] = (struct addr_net){bench_addr("2a00:1:2:3f80::"), 57};
    p.deny[1] = (struct addr_net){bench_addr("8.8.240.0"), 20};
    static const char *const in[] = {"2a00:1:2:3f80::",     "2a00:1:2:3fff:ffff::1",
                                     "2a00:1:2:3f90:0:1::", "8.8.240.0",
                                     "8.8.255.255",         "8.8.241.0"};
    static const char *const out[] = {"2a00:1:2:3f7f:ffff:ffff:ffff:ffff",
                                      "2a00:1:2:4000::", "8.8.239.255", "8.9.0.0"};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        struct addr a = bench_addr(in[i]);
        assert_non_null(turn_policy_refuses(&p, &a));
    }
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        struct addr a = bench_addr(out[i]);
        assert_null(turn_policy_refuses(&p, &a));
    }
}

/* A loop from relay to relay, or from a relay to a listener. */
static void turn_to_self_is_refused(void **state)
{
    static const char *const texts[] = {"198.51.100.1:3478", "198.51.100.1:24000",
                                        "[::ffff:198.51.100.1]:24001"};
    (void)state;
    all_ways_refuse(texts, sizeof texts / sizeof *texts);
}

static size_t write_all(uint8_t *buf, size_t cap, uint8_t poison, size_t len)
{
    static const uint8_t bytes[40] = "0123456789012345678901234567890123456789";
    struct stun_writer w;
    struct stun_tid tid = {.len = 12};
    struct slice out, text = slice_of(bytes, len);
    char reason[41] = "";
    struct addr a = bench_addr("192.0.2.1:1"), b = bench_addr("[2001:db8::1]:1");
    memset(buf, poison, cap);
    memcpy(reason, bytes, len);
    stun_begin(&w, buf, cap, &stun_wire_rfc8489, STUN_ERROR, STUN_ALLOCATE, &tid);
    stun_put_bytes(&w, STUN_NONCE, text);
    stun_put_bytes(&w, STUN_REALM, text);
    stun_put_bytes(&w, STUN_SOFTWARE, text);
    stun_put_bytes(&w, STUN_DATA, text);
    stun_put_error(&w, 400, reason);
    stun_put_addr(&w, STUN_XOR_MAPPED_ADDRESS, &a);
    stun_put_addr(&w, STUN_XOR_RELAYED_ADDRESS, &b);
    stun_put_u32(&w, STUN_LIFETIME, 1);
    stun_put_u32(&w, STUN_CHANNEL_NUMBER, CHANNEL_MIN);
    stun_put_u32(&w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    stun_put_u32(&w, STUN_REQUESTED_ADDRESS_FAMILY, 1);
    stun_put_u32(&w, STUN_EVEN_PORT, 0x80);
    stun_put_u64(&w, STUN_RESERVATION_TOKEN, 1);
    stun_put_addr_error(&w, ADDR_IP6, 440, reason);
    stun_put_flag(&w, STUN_DONT_FRAGMENT);
    stun_put_fingerprint(&w);
    assert_int_equal(stun_end(&w, &out), OK);
    return out.len;
}

/* Padding and reserved bytes: what was in the buffer before must not show. */
static void cve_2026_104074_no_byte_is_left_from_before(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 40; len++) {
        uint8_t one[1024], other[1024];
        size_t n = write_all(one, sizeof one, 0xaa, len);
        assert_int_equal(write_all(other, sizeof other, 0x55, len), n);
        assert_memory_equal(one, other, n);
    }
}

/* The server's own answers: the second comes out of a buffer in which the first one was. */
static void cve_2020_4067_answers_do_not_leak_the_one_before(void **state)
{
    (void)state;
    struct set *t = calloc(1, sizeof *t);
    uint8_t before[BENCH_FRAME];
    struct addr bad = bench_addr("127.0.0.1:80");
    assert_non_null(t);
    begin(t, ADDR_IP4);
    assert_int_equal(ask_peer(t, &t->tcp, STUN_CREATE_PERMISSION, &bad), 403);
    t->b.next_tid--; /* the same request again */
    size_t n = t->b.sent_len;
    memcpy(before, t->b.sent, n);
    assert_int_equal(bench_refresh(&t->b, &t->tcp, 3600), 0);
    t->b.next_tid--;
    assert_int_equal(ask_peer(t, &t->tcp, STUN_CREATE_PERMISSION, &bad), 403);
    assert_int_equal(t->b.sent_len, n);
    assert_memory_equal(t->b.sent, before, n);
    bench_stop(&t->b);
    free(t);
}

/* A flood of unauthenticated requests: no object, no timer, no question to a database. */
static void coturn_1999_strangers_leave_nothing_behind(void **state)
{
    (void)state;
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bench_start(b, NULL);
    for (uint32_t i = 0; i < 20000; i++) {
        struct turn_conn c = bench_udp("192.0.2.1:1");
        struct ask a;
        c.client.ip[1] = (uint8_t)(i >> 8);
        c.client.ip[2] = (uint8_t)i;
        ask_begin(b, &a, STUN_ALLOCATE);
        stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
        assert_int_equal(ask_end(b, &a, &c, NULL), 401);
        assert_null(bench_did(b, TURN_DO_FIND_KEY, 0));
    }
    struct turn_stats s = turn_server_stats(b->s);
    assert_int_equal(s.allocations + s.permissions + s.channels + s.tcp_connections, 0);
    assert_true(turn_server_deadline_ms(b->s) == UINT64_MAX);
    /* A nonce of one stranger serves another one: nothing was kept for either. */
    struct turn_conn last = bench_udp("203.0.113.1:1");
    assert_int_equal(bench_allocate(b, &last, TURN_UDP), 0);
    bench_stop(b);
    free(b);
}

/* EVEN-PORT without the next one: a port each, and all of them come back. */
static void coturn_4adbd82e_even_ports_come_back(void **state)
{
    (void)state;
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bench_start(b, NULL);
    struct turn_conn c = bench_udp("192.0.2.1:1");
    size_t opened = 0, closed = 0;
    assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
    assert_int_equal(bench_refresh(b, &c, 0), 0);
    for (int i = 0; i < 100; i++) {
        struct ask a;
        ask_begin(b, &a, STUN_ALLOCATE);
        stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
        stun_put_u32(&a.w, STUN_EVEN_PORT, i % 2 ? 0x80 : 0);
        assert_int_equal(ask_end(b, &a, &c, &b->key), 0);
        const struct turn_action *open = bench_did(b, TURN_DO_RELAY_OPEN, 0);
        opened += open && open->open.reserve ? 2 : 1;
        assert_int_equal(bench_refresh(b, &c, 0), 0);
        closed += bench_count(b, TURN_DO_RELAY_CLOSE);
        bench_tick_to(b, b->now_ms + 31000); /* the kept one's time is over */
        closed += bench_count(b, TURN_DO_RELAY_CLOSE);
    }
    assert_int_equal(opened, closed);
    bench_stop(b);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cve_2020_26262_this_machine_is_no_peer),
        cmocka_unit_test(cve_2026_27624_nor_is_it_when_it_is_mapped),
        cmocka_unit_test(cve_2026_73212_every_way_asks_the_same_policy),
        cmocka_unit_test(cve_2020_3482_the_inside_is_closed_unless_named),
        cmocka_unit_test(coturn_6c13608c_a_denied_network_has_no_holes),
        cmocka_unit_test(turn_to_self_is_refused),
        cmocka_unit_test(cve_2026_104074_no_byte_is_left_from_before),
        cmocka_unit_test(cve_2020_4067_answers_do_not_leak_the_one_before),
        cmocka_unit_test(coturn_1999_strangers_leave_nothing_behind),
        cmocka_unit_test(coturn_4adbd82e_even_ports_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
