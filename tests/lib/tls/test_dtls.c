/* Two ends of an association in memory, over a network that loses, repeats and turns around. */
#include "lib/tls/dtls.h"
#include "lib/tls/dtls_hello.h"

#include "tests/lib/tls/make_certs.h"
#include "tests/unit.h"

enum {
    WIRE_MAX = 256,
    DATAGRAM_MAX = 20000,
    LIMIT_MS = 200000
};

static struct certs certs;
static struct tls_context *server_ctx, *client_ctx;
static const uint8_t secret[32] = {42};

struct packet {
    bool to_server;
    uint8_t *b;
    size_t len;
};

struct world {
    struct dtls *server, *client;
    struct packet wire[WIRE_MAX];
    size_t n;
    uint64_t now_ms;
    uint32_t seed;
    unsigned loss, swap, twice; /* of 100 datagrams */
    size_t n_sent, longest;
    size_t lose;   /* this one of all that are sent; 0: none */
    bool says_1_0; /* the client, in its hellos */
    int err;       /* of the server's */
};

static struct tls_context *context(const struct tls_config *cfg)
{
    struct tls_context *c = NULL;
    char why[TLS_WHY_MAX];
    if (dtls_context_new(&c, cfg, why)) {
        fail_msg("%s", why);
    }
    return c;
}

static bool chance(struct world *w, unsigned percent)
{
    w->seed = w->seed * 1664525 + 1013904223;
    return w->seed >> 16 & 1 ? (w->seed >> 17) % 100 < percent
                             : (w->seed >> 18) % 100 < percent;
}

static void put(struct world *w, bool to_server, struct slice s)
{
    w->longest = s.len > w->longest ? s.len : w->longest;
    if (++w->n_sent == w->lose || chance(w, w->loss)) {
        return;
    }
    for (int i = chance(w, w->twice) ? 2 : 1; i > 0; i--) {
        assert_true(w->n < WIRE_MAX);
        struct slice copy = exact(s.p, s.len);
        if (w->says_1_0 && to_server && s.p[0] == 22 && s.p[13] == 1) {
            ((uint8_t *)(uintptr_t)copy.p)[13 + 12 + 1] = 0xff; /* client_version */
        }
        w->wire[w->n++] = (struct packet){
            .to_server = to_server, .b = (uint8_t *)(uintptr_t)copy.p, .len = copy.len};
    }
}

static void pump(struct world *w)
{
    struct slice s;
    while (dtls_out(w->client, &s)) {
        put(w, true, s);
    }
    while (w->server && dtls_out(w->server, &s)) {
        put(w, false, s);
    }
}

/* Without an association: what the server's door does. */
static void at_the_door(struct world *w, struct slice s)
{
    struct dtls_hello h;
    uint8_t verify[DTLS_VERIFY_LEN];
    const struct dtls_door door = {.secret = secret, .now_ms = w->now_ms};
    switch (dtls_door_knock(&door, s, &h, verify)) {
    case DTLS_VERIFY: put(w, false, slice_of(verify, sizeof verify)); break;
    case DTLS_PROVEN:
        w->err = dtls_accept(&w->server, server_ctx, w->now_ms, s, h.record_len);
        break;
    case DTLS_NO_HELLO:
    case DTLS_STRAY: break;
    }
}

static void deliver(struct world *w)
{
    size_t i = w->n > 1 && chance(w, w->swap) ? 1 : 0;
    struct packet p = w->wire[i];
    memmove(&w->wire[i], &w->wire[i + 1], (--w->n - i) * sizeof *w->wire);
    struct slice s = slice_of(p.b, p.len);
    if (!p.to_server) {
        (void)!dtls_in(w->client, w->now_ms, s);
    } else if (w->server) {
        int err = dtls_in(w->server, w->now_ms, s);
        w->err = err ? err : w->err;
    } else {
        at_the_door(w, s);
    }
    pump(w);
    free(p.b);
}

/* Until nothing is on its way; time passes only when nothing else happens. */
static void settle(struct world *w)
{
    pump(w);
    while (w->n > 0) {
        deliver(w);
    }
}

static void shake_hands(struct world *w)
{
    settle(w);
    while (w->now_ms < LIMIT_MS &&
           !(w->server && dtls_is_up(w->server) && dtls_is_up(w->client))) {
        uint64_t a = dtls_deadline_ms(w->client);
        uint64_t b = w->server ? dtls_deadline_ms(w->server) : UINT64_MAX;
        uint64_t next = a < b ? a : b;
        if (next == UINT64_MAX) {
            return;
        }
        w->now_ms = next > w->now_ms ? next : w->now_ms;
        dtls_tick(w->client, w->now_ms);
        if (w->server) {
            dtls_tick(w->server, w->now_ms);
        }
        settle(w);
    }
}

static void begin(struct world *w, const char *name)
{
    *w = (struct world){.seed = 1, .now_ms = 5000};
    assert_int_equal(dtls_connect(&w->client, client_ctx, w->now_ms, name), OK);
}

static void finish(struct world *w)
{
    while (w->n > 0) {
        free(w->wire[--w->n].b);
    }
    dtls_free(w->client);
    dtls_free(w->server);
}

static void contexts(const struct tls_config *s, const struct tls_config *c)
{
    server_ctx = context(s);
    client_ctx = context(c);
}

static int setup(void **state)
{
    (void)state;
    const struct tls_config s = {
        .cert_file = certs.cert, .key_file = certs.key, .alpn = "stun.turn,stun.nat-discovery"};
    const struct tls_config c = {.ca_file = certs.cert, .alpn = "stun.nat-discovery"};
    contexts(&s, &c);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_context_free(server_ctx);
    tls_context_free(client_ctx);
    return 0;
}

static void says(struct world *w, struct dtls *from, struct dtls *to, struct slice text)
{
    static uint8_t got[DTLS_PLAIN_MAX];
    size_t len;
    assert_int_equal(dtls_write(from, text), OK);
    struct slice s;
    assert_true(dtls_out(from, &s));
    assert_true(s.len <= text.len + DTLS_RECORD_HEAD_MAX);
    struct slice copy = exact(s.p, s.len);
    assert_false(dtls_out(from, &s));
    assert_int_equal(dtls_in(to, w->now_ms, copy), OK);
    assert_true(dtls_read(to, got, sizeof got, &len));
    assert_int_equal(len, text.len);
    assert_memory_equal(got, text.p, len);
    assert_false(dtls_read(to, got, sizeof got, &len));
    /* A second time it is nothing. */
    assert_int_equal(dtls_in(to, w->now_ms, copy), OK);
    assert_false(dtls_read(to, got, sizeof got, &len));
    exact_free(copy);
}

static void says_all(struct world *w)
{
    static uint8_t big[DTLS_PLAIN_MAX + 1];
    says(w, w->client, w->server, slice_str("question"));
    says(w, w->server, w->client, slice_str("answer"));
    memset(big, 7, sizeof big);
    says(w, w->server, w->client, slice_of(big, 1500));
    says(w, w->client, w->server, slice_of(big, DTLS_PLAIN_MAX));
    assert_int_equal(dtls_write(w->server, slice_of(big, sizeof big)), ERR_LIMIT);
    says(w, w->server, w->client, slice_str("more"));
}

static void talks_and_agrees_on_what(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "localhost");
    assert_int_equal(dtls_write(w.client, slice_str("too early")), ERR_BADSTATE);
    shake_hands(&w);
    assert_true(dtls_is_up(w.client) && dtls_is_up(w.server));
    assert_int_equal(w.now_ms, 5000); /* without waiting for anything */
    assert_true(dtls_deadline_ms(w.client) == UINT64_MAX);
    assert_true(dtls_deadline_ms(w.server) == UINT64_MAX);
    assert_true(w.longest <= DTLS_MTU);
    assert_true(slice_eq(dtls_alpn(w.server), slice_str("stun.nat-discovery")));
    assert_true(slice_eq(dtls_alpn(w.client), slice_str("stun.nat-discovery")));
    says_all(&w);
    dtls_shutdown(w.client);
    settle(&w);
    assert_true(dtls_peer_closed(w.server));
    finish(&w);
}

static void any_one_datagram_may_get_lost(void **state)
{
    (void)state;
    size_t n = 1;
    for (size_t lose = 0; lose <= n; lose++) {
        struct world w;
        begin(&w, "localhost");
        w.lose = lose;
        shake_hands(&w);
        n = lose ? n : w.n_sent;
        assert_true(dtls_is_up(w.client) && dtls_is_up(w.server));
        assert_true(w.now_ms <= 7000);
        says_all(&w);
        finish(&w);
    }
    assert_true(n >= 6);
}

static void bad_networks_only_take_longer(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        struct world w;
        begin(&w, "localhost");
        w.seed = seed;
        w.loss = seed % 4 * 10;
        w.swap = seed % 3 * 30;
        w.twice = seed % 5 * 15;
        shake_hands(&w);
        if (!dtls_is_up(w.client) || !w.server || !dtls_is_up(w.server)) {
            fail_msg("seed %u: %s", seed, w.server ? dtls_why(w.server) : "no server");
        }
        says_all(&w);
        finish(&w);
    }
}

static void a_lost_flight_comes_again_ever_more_slowly(void **state)
{
    (void)state;
    struct world w;
    uint64_t wait_ms = 1000;
    begin(&w, "localhost");
    w.loss = 100;
    pump(&w);
    assert_int_equal(w.n_sent, 1);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(dtls_deadline_ms(w.client), w.now_ms + wait_ms);
        dtls_tick(w.client, w.now_ms + wait_ms - 1);
        pump(&w);
        assert_int_equal(w.n_sent, i + 1);
        w.now_ms += wait_ms;
        dtls_tick(w.client, w.now_ms);
        pump(&w);
        assert_int_equal(w.n_sent, i + 2);
        wait_ms = 2 * wait_ms < 60000 ? 2 * wait_ms : 60000;
    }
    finish(&w);
}

static void the_name_is_checked(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "elsewhere.example");
    shake_hands(&w);
    assert_false(dtls_is_up(w.client));
    assert_non_null(strstr(dtls_why(w.client), "ostname mismatch"));
    assert_int_equal(w.err, ERR_MALFORMED); /* the alert came */
    finish(&w);
}

static void who_offers_only_other_names_is_refused(void **state)
{
    const struct tls_config c = {.ca_file = certs.cert, .alpn = "webrtc"};
    struct world w;
    (void)state;
    tls_context_free(client_ctx);
    client_ctx = context(&c);
    begin(&w, "localhost");
    shake_hands(&w);
    assert_non_null(w.server);
    assert_int_equal(w.err, ERR_MALFORMED);
    assert_false(dtls_is_up(w.client));
    assert_non_null(strstr(dtls_why(w.client), "alert"));
    finish(&w);
}

static void noise_does_not_end_what_is_up(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "localhost");
    shake_hands(&w);
    for (uint32_t i = 0; i < 3000; i++) {
        uint8_t noise[64];
        size_t len = 1 + i % sizeof noise;
        for (size_t k = 0; k < len; k++) {
            (void)chance(&w, 0);
            noise[k] = (uint8_t)(w.seed >> 16);
        }
        noise[0] = (uint8_t)(20 + i % 4);
        if (i % 2 && len > 13) { /* a record of this epoch, by its head */
            static const uint8_t head[] = {0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 9, 9, 0};
            memcpy(noise + 1, head, sizeof head);
            noise[12] = (uint8_t)(len - 13);
        }
        struct slice s = exact(noise, len), more;
        size_t got;
        assert_int_equal(dtls_in(w.server, w.now_ms, s), OK);
        assert_false(dtls_read(w.server, noise, sizeof noise, &got));
        while (dtls_out(w.server, &more)) {
        }
        exact_free(s);
    }
    says_all(&w);
    finish(&w);
}

static void only_dtls_1_2(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "localhost");
    w.says_1_0 = true;
    shake_hands(&w);
    assert_int_equal(w.err, ERR_MALFORMED);
    assert_non_null(strstr(dtls_why(w.server), "unsupported protocol"));
    finish(&w);
}

static int group_setup(void **state)
{
    (void)state;
    return certs_make(&certs) ? 0 : 1;
}

static int group_teardown(void **state)
{
    (void)state;
    certs_remove(&certs);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(talks_and_agrees_on_what),      T(any_one_datagram_may_get_lost),
        T(bad_networks_only_take_longer), T(a_lost_flight_comes_again_ever_more_slowly),
        T(the_name_is_checked),           T(who_offers_only_other_names_is_refused),
        T(noise_does_not_end_what_is_up), T(only_dtls_1_2),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
