/* Which error code a request gets: a row for each pair of method and code that the RFCs name.
 * 447 needs a peer that fails, and is with the TCP relays' tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

enum scene {
    UDP,       /* a 5-tuple that has nothing */
    TCP,       /* a connection that has nothing */
    UDP_RELAY, /* UDP, a relay, channel 0x4000 to 8.8.8.8:7000 */
    TCP_RELAY, /* TCP, a TCP relay, a connection to 8.8.8.8:80 that waits */
    FULL,      /* UDP_RELAY with all the permissions and channels there may be */
    NO_PORT,   /* UDP, and none is free */
    DRAINED    /* UDP, and the server goes */
};

struct attr {
    enum stun_attr type;
    uint32_t number;
    const char *text; /* an address, or a ticket */
};

struct row {
    const char *of; /* the section */
    void (*tune)(struct turn_config *cfg);
    enum scene scene;
    enum stun_method method;
    int code;
    struct attr at[5];
};

static void both_families(struct turn_config *cfg)
{
    cfg->relay_ip6 = true;
}

static void only_ip6(struct turn_config *cfg)
{
    cfg->relay_ip4 = false;
    cfg->relay_ip6 = true;
}

static void mobile(struct turn_config *cfg)
{
    cfg->mobility = true;
}

static void none_for_a_user(struct turn_config *cfg)
{
    cfg->max_per_user = 0;
}

static void elsewhere(struct turn_config *cfg)
{
    cfg->alternate[0] = bench_addr("203.0.113.9:3478");
}

static void passive(struct turn_config *cfg)
{
    cfg->tcp.connect = TURN_CONNECT_NONE;
}

static void one_connection(struct turn_config *cfg)
{
    cfg->max_unbound = 1;
}

static void one_for_a_user(struct turn_config *cfg)
{
    cfg->tcp.per_user = 1;
}

#define TO(a)                       \
    {                               \
        STUN_XOR_PEER_ADDRESS, 0, a \
    }
#define RELAY(p)                          \
    {                                     \
        STUN_REQUESTED_TRANSPORT, p, NULL \
    }
#define ONE(f)                                 \
    {                                          \
        STUN_REQUESTED_ADDRESS_FAMILY, f, NULL \
    }
#define ALSO(f)                                 \
    {                                           \
        STUN_ADDITIONAL_ADDRESS_FAMILY, f, NULL \
    }
#define EVEN(r)                 \
    {                           \
        STUN_EVEN_PORT, r, NULL \
    }
#define KEPT                            \
    {                                   \
        STUN_RESERVATION_TOKEN, 7, NULL \
    }
#define DF                          \
    {                               \
        STUN_DONT_FRAGMENT, 0, NULL \
    }
#define TICKET(t)                  \
    {                              \
        STUN_MOBILITY_TICKET, 0, t \
    }
#define CHANNEL(n)                   \
    {                                \
        STUN_CHANNEL_NUMBER, n, NULL \
    }
#define CID                         \
    {                               \
        STUN_CONNECTION_ID, 7, NULL \
    }

/* clang-format off */
static const struct row rows[] = {
    /* The steps of 7.2 in their order: where two apply, the first one answers. */
    {"8656 7.2 (2)",  NULL,            UDP_RELAY, STUN_ALLOCATE, 437, {RELAY(17)}},
    {"8656 7.2 (2)",  NULL,            UDP_RELAY, STUN_ALLOCATE, 437, {ALSO(1)}},
    {"8656 7.2 (3)",  NULL,            UDP,       STUN_ALLOCATE, 400, {KEPT}},
    {"8656 7.2 (3)",  NULL,            UDP,       STUN_ALLOCATE, 442, {RELAY(132)}},
    {"8656 7.2 (3)",  NULL,            UDP,       STUN_ALLOCATE, 442, {RELAY(0)}},
    {"8656 7.2 (3)",  NULL,            UDP,       STUN_ALLOCATE, 442, {RELAY(132), DF}},
    {"8656 7.2 (4)",  NULL,            UDP,       STUN_ALLOCATE, 420, {RELAY(17), DF}},
    {"8656 7.2 (4)",  NULL,            UDP,       STUN_ALLOCATE, 420, {RELAY(17), DF, KEPT, EVEN(0)}},
    {"8656 7.2 (5)",  NULL,            UDP,       STUN_ALLOCATE, 400, {RELAY(17), KEPT, EVEN(0)}},
    {"8656 7.2 (5)",  both_families,   UDP,       STUN_ALLOCATE, 400, {RELAY(17), KEPT, ONE(1)}},
    {"8656 7.2 (5)",  both_families,   UDP,       STUN_ALLOCATE, 400, {RELAY(17), KEPT, ALSO(2)}},
    {"8656 7.2 (5)",  NULL,            UDP,       STUN_ALLOCATE, 508, {RELAY(17), KEPT}},
    {"8656 7.2 (6)",  NULL,            UDP,       STUN_ALLOCATE, 400, {RELAY(17), ONE(2), ALSO(2)}},
    {"8656 7.2 (7)",  NULL,            UDP,       STUN_ALLOCATE, 440, {RELAY(17), ONE(2)}},
    {"8656 7.2 (7)",  both_families,   UDP,       STUN_ALLOCATE, 440, {RELAY(17), ONE(7)}},
    {"8656 7.2 (7)",  both_families,   UDP,       STUN_ALLOCATE, 440, {RELAY(17), ONE(0)}},
    {"8656 7.2 (7)",  only_ip6,        UDP,       STUN_ALLOCATE, 440, {RELAY(17), ONE(1)}},
    {"8656 7.2 (7)",  only_ip6,        UDP,       STUN_ALLOCATE, 440, {RELAY(17)}},
    {"8656 7.2 (7)",  only_ip6,        TCP,       STUN_ALLOCATE, 440, {RELAY(6)}},
    {"8656 7.2 (8)",  both_families,   UDP,       STUN_ALLOCATE, 400, {RELAY(17), EVEN(0x80), ALSO(2)}},
    {"8656 7.2 (8)",  NULL,            NO_PORT,   STUN_ALLOCATE, 508, {RELAY(17), EVEN(0)}},
    {"8656 7.2 (9)",  both_families,   UDP,       STUN_ALLOCATE, 400, {RELAY(17), ALSO(1)}},
    {"8656 7.2 (9)",  only_ip6,        UDP,       STUN_ALLOCATE, 0,   {RELAY(17), ALSO(2)}},
    {"8656 7.2 (10)", none_for_a_user, UDP,       STUN_ALLOCATE, 486, {RELAY(17)}},
    {"8656 7.2 (11)", elsewhere,       DRAINED,   STUN_ALLOCATE, 300, {RELAY(17)}},
    {"8656 7.2",      NULL,            DRAINED,   STUN_ALLOCATE, 508, {RELAY(17)}},
    {"6062 5.1",      NULL,            UDP,       STUN_ALLOCATE, 400, {RELAY(6)}},
    {"6062 5.1",      NULL,            TCP,       STUN_ALLOCATE, 400, {RELAY(6), DF}},
    {"6062 5.1",      NULL,            TCP,       STUN_ALLOCATE, 400, {RELAY(6), EVEN(0)}},
    {"6062 5.1",      NULL,            TCP,       STUN_ALLOCATE, 400, {RELAY(6), KEPT}},
    {"8016 3.1.2",    NULL,            UDP,       STUN_ALLOCATE, 405, {RELAY(17), TICKET("")}},
    {"8016 3.1.2",    mobile,          UDP,       STUN_ALLOCATE, 400, {RELAY(17), TICKET("mine")}},

    {"8656 5",        NULL,            UDP,       STUN_REFRESH,  437, {{0}}},
    {"8656 8.2",      NULL,            UDP_RELAY, STUN_REFRESH,  443, {ONE(2)}},
    {"8656 8.2",      NULL,            UDP_RELAY, STUN_REFRESH,  443, {ONE(0)}},
    {"8656 8.2",      NULL,            UDP_RELAY, STUN_REFRESH,  0,   {ONE(1)}},
    {"8016 3.2.2",    NULL,            UDP,       STUN_REFRESH,  405, {TICKET("any")}},
    {"8016 3.2.2",    mobile,          UDP_RELAY, STUN_REFRESH,  400, {TICKET("any")}},
    {"8016 3.2.2",    mobile,          UDP,       STUN_REFRESH,  400, {TICKET("any")}},

    {"8656 5",        NULL,      UDP,       STUN_CREATE_PERMISSION, 437, {TO("8.8.8.8")}},
    {"8656 10.2",     NULL,      UDP_RELAY, STUN_CREATE_PERMISSION, 400, {{0}}},
    {"8656 10.2",     NULL,      UDP_RELAY, STUN_CREATE_PERMISSION, 403, {TO("10.0.0.1")}},
    {"8656 10.2",     NULL,      UDP_RELAY, STUN_CREATE_PERMISSION, 403, {TO("8.8.4.4"), TO("10.0.0.1")}},
    {"8656 10.2",     NULL,      UDP_RELAY, STUN_CREATE_PERMISSION, 443, {TO("2001:4860::1")}},
    {"8656 10.2",     NULL,      FULL,      STUN_CREATE_PERMISSION, 508, {TO("1.1.1.1")}},
    {"8656 10.2",     NULL,      FULL,      STUN_CREATE_PERMISSION, 0,   {TO("8.8.8.8")}},

    {"8656 5",        NULL,      UDP,       STUN_CHANNEL_BIND, 437, {CHANNEL(0x4000), TO("8.8.8.8:7000")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 400, {TO("8.8.8.8:7000")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 400, {CHANNEL(0x4000)}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 400, {CHANNEL(0x3fff), TO("8.8.8.8:1")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 400, {CHANNEL(0x8000), TO("8.8.8.8:1")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 400, {CHANNEL(0x4000), TO("8.8.8.8:1")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 400, {CHANNEL(0x4001), TO("8.8.8.8:7000")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 403, {CHANNEL(0x4001), TO("10.0.0.1:1")}},
    {"8656 12.2",     NULL,      UDP_RELAY, STUN_CHANNEL_BIND, 443, {CHANNEL(0x4001), TO("[2001:4860::1]:1")}},
    {"8656 12.2",     NULL,      FULL,      STUN_CHANNEL_BIND, 508, {CHANNEL(0x4fff), TO("8.8.8.8:9")}},
    {"8656 12.2",     NULL,      FULL,      STUN_CHANNEL_BIND, 0,   {CHANNEL(0x4000), TO("8.8.8.8:7000")}},
    {"6062 5",        NULL,      TCP_RELAY, STUN_CHANNEL_BIND, 400, {CHANNEL(0x4000), TO("8.8.8.8:1")}},

    {"6062 5.2",      NULL,      TCP,       STUN_CONNECT, 437, {TO("8.8.8.8:80")}},
    {"6062 5.2",      NULL,      TCP_RELAY, STUN_CONNECT, 446, {TO("8.8.8.8:80")}},
    {"6062 5.2",      NULL,      TCP_RELAY, STUN_CONNECT, 400, {{0}}},
    {"6062 5.2",      NULL,      UDP_RELAY, STUN_CONNECT, 400, {TO("8.8.8.8:80")}},
    {"6062 5.2",      NULL,      TCP_RELAY, STUN_CONNECT, 403, {TO("10.0.0.1:80")}},
    {"6062 5.2",      NULL,      TCP_RELAY, STUN_CONNECT, 443, {TO("[2001:4860::1]:80")}},
    {"6062 5.2",      one_connection, TCP_RELAY, STUN_CONNECT, 508, {TO("8.8.8.8:81")}},
    {"6062 5.2",      one_for_a_user, TCP_RELAY, STUN_CONNECT, 486, {TO("8.8.8.8:81")}},

    {"6062 5.4",      NULL,      TCP,       STUN_CONNECTION_BIND, 400, {{0}}},
    {"6062 5.4",      NULL,      TCP,       STUN_CONNECTION_BIND, 400, {CID}},
    {"6062 5.4",      NULL,      UDP,       STUN_CONNECTION_BIND, 400, {CID}},
    {"6062 5.4",      NULL,      TCP_RELAY, STUN_CONNECTION_BIND, 400, {CID}},
};
/* clang-format on */

static void put(struct ask *a, const struct attr *at)
{
    struct addr addr;
    switch (at->type) {
    case STUN_XOR_PEER_ADDRESS:
        addr = bench_addr(at->text);
        stun_put_addr(&a->w, at->type, &addr);
        break;
    case STUN_DONT_FRAGMENT: stun_put_flag(&a->w, at->type); break;
    case STUN_RESERVATION_TOKEN: stun_put_u64(&a->w, at->type, at->number); break;
    case STUN_MOBILITY_TICKET: stun_put_bytes(&a->w, at->type, slice_str(at->text)); break;
    default: stun_put_u32(&a->w, at->type, at->number); break;
    }
}

static bool is_there(const struct attr *at)
{
    return at->type != (enum stun_attr)0; /* MAPPED-ADDRESS, which no row has */
}

static int ask(struct bench *b, const struct turn_conn *c, const struct row *r)
{
    struct ask a;
    ask_begin(b, &a, r->method);
    for (size_t i = 0; i < sizeof r->at / sizeof *r->at && is_there(&r->at[i]); i++) {
        put(&a, &r->at[i]);
    }
    return ask_end(b, &a, c, &b->key);
}

static int bind_channel(struct bench *b, const struct turn_conn *c, uint16_t number,
                        uint16_t port)
{
    struct addr peer = bench_addr("8.8.8.8");
    struct ask a;
    peer.port = port;
    ask_begin(b, &a, STUN_CHANNEL_BIND);
    stun_put_u32(&a.w, STUN_CHANNEL_NUMBER, number);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &peer);
    return ask_end(b, &a, c, &b->key);
}

static void fill(struct bench *b, const struct turn_conn *c)
{
    static const char *const peers[] = {"8.8.8.1", "8.8.8.2", "8.8.8.3"};
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        assert_int_equal(bench_permit(b, c, peers[i]), 0);
    }
    assert_int_equal(bind_channel(b, c, 0x4001, 7001), 0);
    assert_int_equal(bind_channel(b, c, 0x4002, 7002), 0);
}

static void connect_one(struct bench *b, const struct turn_conn *c)
{
    struct addr peer = bench_addr("8.8.8.8:80");
    struct ask a;
    ask_begin(b, &a, STUN_CONNECT);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &peer);
    (void)ask_end(b, &a, c, &b->key);
    assert_non_null(bench_did(b, TURN_DO_TCP_CONNECT, 0));
}

/* The scene's connection. Its nonce is there, too. */
static struct turn_conn set(struct bench *b, enum scene scene)
{
    bool is_tcp = scene == TCP || scene == TCP_RELAY;
    struct turn_conn c = is_tcp ? bench_tcp(1) : bench_udp("192.0.2.7:5000");
    struct turn_conn other = bench_udp("192.0.2.8:5000");
    (void)bench_allocate(b, &other, (enum turn_transport)132); /* for the nonce */
    switch (scene) {
    case UDP:
    case TCP: break;
    case TCP_RELAY:
        assert_int_equal(bench_allocate(b, &c, TURN_TCP), 0);
        connect_one(b, &c);
        break;
    case UDP_RELAY:
    case FULL:
        assert_int_equal(bench_allocate(b, &c, TURN_UDP), 0);
        assert_int_equal(bind_channel(b, &c, 0x4000, 7000), 0);
        if (scene == FULL) {
            fill(b, &c);
        }
        break;
    case NO_PORT: b->no_family = ADDR_IP4; break;
    case DRAINED: turn_server_drain(b->s); break;
    }
    return c;
}

static void a_request_gets_its_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench b;
        bench_start(&b, rows[i].tune);
        struct turn_conn c = set(&b, rows[i].scene);
        int code = ask(&b, &c, &rows[i]);
        bench_stop(&b);
        if (code != rows[i].code) {
            fail_msg("row %zu, RFC %s: %d in place of %d", i, rows[i].of, code, rows[i].code);
        }
    }
}

static void connect_off_is_forbidden(void **state)
{
    const struct row r = {.method = STUN_CONNECT, .at = {TO("8.8.8.8:80")}};
    struct bench b;
    (void)state;
    bench_start(&b, passive);
    struct turn_conn c = bench_tcp(1);
    assert_int_equal(bench_allocate(&b, &c, TURN_TCP), 0);
    assert_int_equal(ask(&b, &c, &r), 403);
    bench_stop(&b);
}

static const enum stun_method methods[] = {
    STUN_ALLOCATE,     STUN_REFRESH, STUN_CREATE_PERMISSION,
    STUN_CHANNEL_BIND, STUN_CONNECT, STUN_CONNECTION_BIND,
};

enum fault {
    NO_CREDENTIALS,
    NO_NAME,
    WRONG_PASSWORD,
    OLD_NONCE,
    UNKNOWN,
    MISFIT,
    OTHER_USER,
    FAULTS
};

static int ask_with(struct bench *b, const struct turn_conn *c, enum stun_method method,
                    enum fault fault)
{
    static const uint8_t unknown[] = {0x7f, 0xf1, 0, 0};
    static const uint8_t misfit[] = {0x00, 0x12, 0, 8, 0, 7, 0, 1, 1, 2, 3, 4}; /* family 7 */
    struct stun_key wrong = b->key;
    struct ask a;
    wrong.b[0] ^= 1;
    ask_begin(b, &a, method);
    if (fault == UNKNOWN) {
        wr_bytes(&a.w.w, slice_of(unknown, sizeof unknown));
    } else if (fault == MISFIT) {
        wr_bytes(&a.w.w, slice_of(misfit, sizeof misfit));
    } else if (fault == OLD_NONCE) {
        b->unix_s += 3601;
    } else if (fault == NO_NAME) {
        stun_put_integrity(&a.w, &b->key);
    }
    bool is_bare = fault == NO_CREDENTIALS || fault == NO_NAME;
    return ask_end(b, &a, c,
                   is_bare                   ? NULL
                   : fault == WRONG_PASSWORD ? &wrong
                   : fault == OTHER_USER     ? &b->other_key
                                             : &b->key);
}

/* RFC 8489 9.2.4 and 6.3.1, RFC 8656 5: the same for all. Only an Allocate of another user is
 * told that the 5-tuple is taken (RFC 8656 7.2, step 2), as its own user is. */
static void every_method_wants_its_credentials(void **state)
{
    static const int codes[FAULTS] = {401, 400, 401, 438, 420, 400, 441};
    static const enum scene scenes[] = {UDP_RELAY, TCP_RELAY};
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods * FAULTS * 2; i++) {
        enum stun_method method = methods[i / FAULTS / 2];
        enum fault fault = (enum fault)(i / 2 % FAULTS);
        struct bench b;
        bench_start(&b, NULL);
        struct turn_conn c = set(&b, scenes[i % 2]);
        int code = ask_with(&b, &c, method, fault);
        int right = fault == OTHER_USER && method == STUN_ALLOCATE ? 437 : codes[fault];
        bench_stop(&b);
        if (code != right) {
            fail_msg("method %d, fault %d: %d in place of %d", method, fault, code, right);
        }
    }
}

/* RFC 8489 14.8: ours, not the client's; the connection's state stays. */
static void every_method_may_find_no_user_database(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const struct turn_keys none = {0};
        struct slice reason;
        uint16_t code = 0;
        struct bench b;
        bench_start(&b, NULL);
        struct turn_conn c = set(&b, TCP);
        b.answers_late = true;
        (void)ask_with(&b, &c, methods[i], OTHER_USER);
        const struct turn_action *key = bench_did(&b, TURN_DO_FIND_KEY, 0);
        assert_non_null(key);
        turn_server_keys(b.s, b.now_ms, key->key.ticket, NULL);
        bench_drain(&b);
        struct stun_msg m = bench_sent(&b);
        assert_int_equal(stun_get_error(&m, &code, &reason), OK);
        assert_int_equal(code, 500);
        turn_server_keys(b.s, b.now_ms, 0, &none); /* nobody waits any more */
        bench_drain(&b);
        assert_int_equal(b.sent_len, 0);
        bench_stop(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_gets_its_code),
        cmocka_unit_test(connect_off_is_forbidden),
        cmocka_unit_test(every_method_wants_its_credentials),
        cmocka_unit_test(every_method_may_find_no_user_database),
    };
    return cmocka_run_group_tests_name("turn errors", tests, NULL, NULL);
}
