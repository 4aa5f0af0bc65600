/* The table of associations: real clients, lying clients, and memory that runs out. */
#include "lib/tls/dtls_hello.h"
#include "lib/tls/dtls_server.h"

#include "tests/lib/tls/make_certs.h"
#include "tests/sim/alloc_fault.h"
#include "tests/unit.h"

enum {
    QUEUE = 32,
    CLIENTS = 20
};

static struct certs certs;
static struct tls_context *server_ctx, *client_ctx;

struct told { /* the last of its kind */
    dtls_id id;
    char text[200];
    size_t n;
    bool has_begun;
};

struct client {
    struct dtls *dtls;
    struct addr addr;
    dtls_id id; /* the server's for it */
    uint8_t got[100];
    size_t got_len;
    bool is_nameless; /* asks for no name */
};

struct bench {
    struct dtls_server *s;
    struct client client[CLIENTS];
    size_t n_clients;
    uint64_t now_ms;
    dtls_id last_id;
    struct told begin, plain, end;
    size_t n_sent;
    struct slice to_server[QUEUE]; /* on the way, from `from` */
    const struct client *from[QUEUE];
    size_t n_queue;
    bool cuts_hellos;                 /* in fragments, each a datagram of its own */
    bool joins_cuts;                  /* or all in one */
    uint32_t fails_own, fails_crypto; /* this allocation of each input; 0: none */
    bool has_failed;
};

static struct addr local;

static struct addr at(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), OK);
    return a;
}

static void random_bytes(void *out, size_t len, void *ctx)
{
    (void)ctx;
    memset(out, 0x5a, len);
}

static dtls_id next_id(void *ctx)
{
    struct bench *b = ctx;
    return ++b->last_id;
}

static const struct dtls_server_config usual = {
    .max = 16, .max_per_prefix = 8, .max_unfinished = 4, .handshake_ms = 10000};

static void start(struct bench *b, const struct dtls_server_config *cfg)
{
    const struct dtls_server_env env = {.random = random_bytes, .next_id = next_id, .ctx = b};
    assert_int_equal(dtls_server_new(&b->s, cfg, &env), OK);
    dtls_server_set_context(b->s, server_ctx);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    b->now_ms = 100000;
    local = at("198.51.100.1:3478");
    start(b, &usual);
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    for (size_t i = 0; i < b->n_clients; i++) {
        dtls_free(b->client[i].dtls);
    }
    for (size_t i = 0; i < b->n_queue; i++) {
        exact_free(b->to_server[i]);
    }
    dtls_server_free(b->s);
    free(b);
    return 0;
}

static void tell(struct told *t, const struct dtls_action *a)
{
    *t = (struct told){.id = a->id, .n = t->n + 1, .has_begun = a->has_begun};
    struct slice s = a->what == DTLS_DO_END ? slice_str(a->why) : a->bytes;
    if (s.len > 0) {
        memcpy(t->text, s.p, s.len < sizeof t->text - 1 ? s.len : sizeof t->text - 1);
    }
}

static struct client *client_at(struct bench *b, const struct addr *addr)
{
    for (size_t i = b->n_clients; i-- > 0;) { /* the newest has it */
        if (addr_eq(&b->client[i].addr, addr)) {
            return &b->client[i];
        }
    }
    return NULL;
}

static void queue(struct bench *b, const struct client *c, struct slice s)
{
    assert_true(b->n_queue < QUEUE);
    b->from[b->n_queue] = c;
    b->to_server[b->n_queue++] = exact(s.p, s.len);
}

/* A ClientHello of one record as two records, with 70 bytes of the message in the first. */
static void queue_cut(struct bench *b, const struct client *c, struct slice s)
{
    uint8_t out[2048];
    struct wr w = wr_over(out, sizeof out);
    size_t whole = s.len - 25, first = 70;
    wr_bytes(&w, slice_of(s.p, 11));
    wr_u16(&w, (uint16_t)(12 + first));
    wr_bytes(&w, slice_of(s.p + 13, 6));
    wr_uint(&w, 0, 3);
    wr_uint(&w, first, 3);
    wr_bytes(&w, slice_of(s.p + 25, first));
    size_t cut = w.len;
    wr_bytes(&w, slice_of(s.p, 10));
    wr_u8(&w, s.p[10] + 1);
    wr_u16(&w, (uint16_t)(12 + whole - first));
    wr_bytes(&w, slice_of(s.p + 13, 6));
    wr_uint(&w, first, 3);
    wr_uint(&w, whole - first, 3);
    wr_bytes(&w, slice_of(s.p + 25 + first, whole - first));
    assert_int_equal(w.err, OK);
    if (b->joins_cuts) {
        queue(b, c, wr_done(&w));
        return;
    }
    queue(b, c, slice_of(out, cut));
    queue(b, c, slice_of(out + cut, w.len - cut));
}

/* Makes room for another record after each: in epoch 0 nothing signs the numbers. */
static void spread_numbers(struct slice s)
{
    uint8_t *p = (uint8_t *)(uintptr_t)s.p;
    for (size_t i = 0; i + 13 <= s.len; i += 13 + (size_t)p[i + 11] * 256 + p[i + 12]) {
        if (p[i + 4] == 0) {
            p[i + 10] = (uint8_t)(2 * p[i + 10]);
        }
    }
}

static void client_out(struct bench *b, struct client *c)
{
    struct slice s;
    while (c->dtls && dtls_out(c->dtls, &s)) {
        if (!b->cuts_hellos) {
            queue(b, c, s);
            continue;
        }
        struct slice copy = exact(s.p, s.len);
        spread_numbers(copy);
        (copy.p[0] == 22 && copy.p[13] == 1 ? queue_cut : queue)(b, c, copy);
        exact_free(copy);
    }
}

static void client_in(struct bench *b, const struct addr *to, struct slice s)
{
    struct client *c = client_at(b, to);
    size_t len;
    b->n_sent++;
    if (!c || !c->dtls) {
        return;
    }
    struct slice copy = exact(s.p, s.len);
    (void)!dtls_in(c->dtls, b->now_ms, copy);
    while (dtls_read(c->dtls, c->got, sizeof c->got, &len)) {
        c->got_len = len;
    }
    exact_free(copy);
    client_out(b, c);
}

static void pull(struct bench *b)
{
    struct dtls_action a;
    while (dtls_server_next(b->s, &a)) {
        struct client *c = client_at(b, &a.client);
        switch (a.what) {
        case DTLS_DO_SEND:
            assert_true(addr_eq(&a.local, &local));
            client_in(b, &a.client, a.bytes);
            break;
        case DTLS_DO_BEGIN:
            tell(&b->begin, &a);
            assert_non_null(c);
            c->id = a.id;
            break;
        case DTLS_DO_PLAIN:
            assert_true(
                slice_eq(a.server_name, slice_str(c && c->is_nameless ? NULL : "localhost")));
            tell(&b->plain, &a);
            break;
        case DTLS_DO_END: tell(&b->end, &a); break;
        }
    }
}

static void from(struct bench *b, const struct addr *client, struct slice s)
{
    if (b->fails_own) {
        alloc_fault_at(b->fails_own);
    }
    if (b->fails_crypto) {
        alloc_fault_crypto_at(b->fails_crypto);
    }
    dtls_server_in(b->s, b->now_ms, client, &local, s);
    bool own = alloc_fault_done(), crypto = alloc_fault_crypto_done();
    b->has_failed |= (b->fails_own && own) || (b->fails_crypto && crypto);
    pull(b);
}

static void settle(struct bench *b)
{
    for (size_t i = 0; i < b->n_clients; i++) {
        client_out(b, &b->client[i]);
    }
    while (b->n_queue > 0) {
        struct slice s = b->to_server[0];
        struct addr who = b->from[0]->addr;
        b->n_queue--;
        memmove(b->to_server, b->to_server + 1, b->n_queue * sizeof *b->to_server);
        memmove(b->from, b->from + 1, b->n_queue * sizeof *b->from);
        from(b, &who, s);
        exact_free(s);
    }
}

static void tick_to(struct bench *b, uint64_t now_ms)
{
    while (dtls_server_deadline_ms(b->s) <= now_ms) {
        b->now_ms = dtls_server_deadline_ms(b->s);
        dtls_server_tick(b->s, b->now_ms);
        pull(b);
    }
    b->now_ms = now_ms;
}

/* Its first datagram is ready, and not sent. */
static struct client *client(struct bench *b, const char *addr)
{
    assert_true(b->n_clients < CLIENTS);
    struct client *c = &b->client[b->n_clients++];
    *c = (struct client){.addr = at(addr)};
    assert_int_equal(dtls_connect(&c->dtls, client_ctx, b->now_ms, "localhost"), OK);
    return c;
}

static struct client *connected(struct bench *b, const char *addr)
{
    struct client *c = client(b, addr);
    settle(b);
    return c;
}

static void says(struct bench *b, struct client *c, const char *text)
{
    size_t before = b->plain.n;
    assert_int_equal(dtls_write(c->dtls, slice_str(text)), OK);
    settle(b);
    assert_int_equal(b->plain.n, before + 1);
    assert_string_equal(b->plain.text, text);
    assert_int_equal(b->plain.id, c->id);
}

static void hears(struct bench *b, struct client *c, const char *head, const char *body)
{
    struct dtls_action out;
    assert_int_equal(dtls_server_seal(b->s, c->id, slice_str(head), slice_str(body), &out), OK);
    assert_true(addr_eq(&out.client, &c->addr) && addr_eq(&out.local, &local));
    c->got_len = 0;
    client_in(b, &out.client, out.bytes);
    assert_int_equal(c->got_len, strlen(head) + strlen(body));
    assert_memory_equal(c->got, head, strlen(head));
    assert_memory_equal(c->got + strlen(head), body, strlen(body));
}

static void clients_talk_without_meeting_each_other(void **state)
{
    struct bench *b = *state;
    struct client *x = connected(b, "192.0.2.1:5000"), *y = connected(b, "192.0.2.1:5001"),
                  *z = connected(b, "[2001:db8::1]:5000");
    assert_int_equal(b->begin.n, 3);
    assert_true(x->id && y->id && z->id && x->id != y->id);
    says(b, x, "one");
    says(b, z, "three");
    says(b, y, "two");
    hears(b, y, "head", "body");
    hears(b, x, "", "x");
    hears(b, z, "z", "");
    assert_int_equal(dtls_server_stats(b->s).associations, 3);
    assert_int_equal(dtls_server_stats(b->s).begun_total, 3);
    assert_true(dtls_server_deadline_ms(b->s) == UINT64_MAX);
}

static void a_record_has_its_limit(void **state)
{
    static uint8_t big[DTLS_PLAIN_MAX];
    struct bench *b = *state;
    struct client *c = connected(b, "192.0.2.1:5000");
    struct dtls_action out;
    struct slice all = slice_of(big, sizeof big);
    assert_int_equal(dtls_server_seal(b->s, c->id, slice_of(NULL, 0), all, &out), OK);
    assert_int_equal(dtls_server_seal(b->s, c->id, slice_str("x"), all, &out), ERR_LIMIT);
    assert_int_equal(dtls_server_seal(b->s, c->id + 1, slice_str("x"), all, &out),
                     ERR_NOTFOUND);
    hears(b, c, "still", "there");
}

/* RFC 6347 4.2.1: whoever has not shown its cookie costs nothing but the answer. */
static void strangers_cost_no_memory(void **state)
{
    struct bench *b = *state;
    struct client *c = client(b, "192.0.2.1:5000");
    struct slice hello;
    assert_true(dtls_out(c->dtls, &hello));
    hello = exact(hello.p, hello.len);
    b->n_clients = 0; /* nobody gets the answers */
    struct client keep = *c;
    alloc_fault_forbid(true);
    for (uint32_t i = 0; i < 20000; i++) {
        struct addr a = keep.addr;
        memcpy(a.ip, &i, 3);
        from(b, &a, hello);
    }
    alloc_fault_forbid(false);
    assert_int_equal(b->n_sent, 20000);
    assert_int_equal(dtls_server_stats(b->s).verify_total, 20000);
    assert_int_equal(dtls_server_stats(b->s).associations, 0);
    assert_true(dtls_server_deadline_ms(b->s) == UINT64_MAX);
    exact_free(hello);
    b->n_clients = 1;
}

static void a_hello_may_come_in_pieces(void **state)
{
    struct bench *b = *state;
    b->cuts_hellos = true;
    struct client *c = connected(b, "192.0.2.1:5000");
    assert_int_equal(b->begin.n, 1);
    says(b, c, "in two datagrams");
    b->joins_cuts = true;
    c = connected(b, "192.0.2.1:5001");
    assert_int_equal(b->begin.n, 2);
    says(b, c, "in one");
}

static void a_client_that_begins_anew_replaces_itself(void **state)
{
    struct bench *b = *state;
    struct client *old = connected(b, "192.0.2.1:5000");
    dtls_id first = old->id;
    struct client *fresh = client(b, "192.0.2.1:5000");
    struct slice hello;
    assert_true(dtls_out(fresh->dtls, &hello));
    hello = exact(hello.p, hello.len);
    /* Its first hello, which anybody could have sent, changes nothing. */
    b->n_clients--;
    from(b, &old->addr, hello);
    exact_free(hello);
    assert_int_equal(b->end.n, 0);
    says(b, old, "still here");
    b->n_clients++;
    dtls_free(fresh->dtls);
    assert_int_equal(dtls_connect(&fresh->dtls, client_ctx, b->now_ms, NULL), OK);
    fresh->is_nameless = true;
    settle(b);
    assert_int_equal(b->end.n, 1);
    assert_int_equal(b->end.id, first);
    assert_true(b->end.has_begun);
    assert_int_equal(b->begin.n, 2);
    assert_true(fresh->id != first);
    says(b, fresh, "here again");
    assert_int_equal(dtls_server_stats(b->s).associations, 1);
}

/* Whoever saw the hello with its cookie go by could send it again. */
static void a_hello_that_comes_twice_changes_nothing(void **state)
{
    struct bench *b = *state;
    struct client *c = client(b, "192.0.2.1:5000");
    struct slice s, proven = {0};
    assert_true(dtls_out(c->dtls, &s));
    s = exact(s.p, s.len);
    from(b, &c->addr, s);
    exact_free(s);
    assert_int_equal(b->n_queue, 1);
    proven = exact(b->to_server[0].p, b->to_server[0].len);
    settle(b);
    assert_int_equal(b->begin.n, 1);
    from(b, &c->addr, proven);
    exact_free(proven);
    assert_int_equal(b->end.n, 0);
    says(b, c, "unmoved");
}

static void ends_are_told_and_answered(void **state)
{
    struct bench *b = *state;
    struct client *c = connected(b, "192.0.2.1:5000");
    assert_int_equal(dtls_write(c->dtls, slice_str("last words")), OK);
    dtls_shutdown(c->dtls);
    settle(b);
    assert_string_equal(b->plain.text, "last words");
    assert_int_equal(b->end.id, c->id);
    assert_true(b->end.has_begun);
    assert_string_equal(b->end.text, "the client closed it");
    assert_true(dtls_peer_closed(c->dtls));
    c = connected(b, "192.0.2.1:5001");
    struct dtls_action out;
    assert_true(dtls_server_close(b->s, c->id, &out));
    assert_false(dtls_peer_closed(c->dtls));
    client_in(b, &out.client, out.bytes);
    assert_true(dtls_peer_closed(c->dtls));
    assert_int_equal(b->end.n, 1);
    assert_false(dtls_server_close(b->s, c->id, &out));
    assert_int_equal(dtls_server_stats(b->s).associations, 0);
}

/* As far as its hello with the cookie, and then silence. */
static void half_connected(struct bench *b, const char *addr)
{
    struct client *c = client(b, addr);
    struct slice s;
    assert_true(dtls_out(c->dtls, &s));
    s = exact(s.p, s.len);
    from(b, &c->addr, s);
    exact_free(s);
    assert_int_equal(b->n_queue, 1);
    dtls_free(c->dtls);
    c->dtls = NULL;
    s = b->to_server[--b->n_queue];
    from(b, &c->addr, s);
    exact_free(s);
}

static void handshakes_are_repeated_and_then_given_up(void **state)
{
    struct bench *b = *state;
    half_connected(b, "192.0.2.1:5000");
    size_t flight = b->n_sent - 1;
    assert_true(flight >= 1);
    assert_int_equal(dtls_server_deadline_ms(b->s), b->now_ms + 1000);
    uint64_t began = b->now_ms;
    tick_to(b, began + 7000); /* after 1, 2 and 4 seconds */
    assert_int_equal(b->n_sent, 1 + 4 * flight);
    assert_int_equal(dtls_server_deadline_ms(b->s), began + 10000);
    tick_to(b, began + 9999);
    assert_int_equal(b->end.n, 0);
    tick_to(b, began + 10000);
    assert_int_equal(b->end.n, 1);
    assert_false(b->end.has_begun);
    assert_string_equal(b->end.text, "the handshake took too long");
    assert_int_equal(dtls_server_stats(b->s).failed_total, 1);
    assert_int_equal(dtls_server_stats(b->s).associations, 0);
}

/* One byte of a message that is announced as `whole` long, before its turn. */
static void says_part(struct bench *b, const char *addr, uint16_t message_seq, size_t whole)
{
    enum {
        CLIENT_KEY_EXCHANGE = 16
    };
    struct addr who = at(addr);
    uint8_t part[26];
    struct wr w = wr_over(part, sizeof part);
    wr_u8(&w, 22);
    wr_u16(&w, 0xfefd);
    wr_u64(&w, message_seq);
    wr_u16(&w, 12 + 1);
    wr_u8(&w, CLIENT_KEY_EXCHANGE);
    wr_uint(&w, whole, 3);
    wr_u16(&w, message_seq);
    wr_uint(&w, 0, 3);
    wr_uint(&w, 1, 3);
    wr_u8(&w, 0);
    assert_int_equal(w.err, OK);
    from(b, &who, wr_done(&w));
}

/* Who announces much would get the memory for it, ten times over, and need not send it. */
static void a_message_has_its_limit(void **state)
{
    struct bench *b = *state;
    half_connected(b, "192.0.2.1:5000");
    says_part(b, "192.0.2.1:5000", 4, 4000);
    assert_int_equal(b->end.n, 0);
    says_part(b, "192.0.2.1:5000", 5, 20000);
    assert_int_equal(b->end.n, 1);
    assert_false(b->end.has_begun);
}

static void one_address_has_its_share(void **state)
{
    struct bench *b = *state;
    char text[32];
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "192.0.2.1:%d", 1000 + i);
        half_connected(b, text);
    }
    (void)connected(b, "192.0.2.1:2000");
    assert_int_equal(b->end.n, 1);
    assert_int_equal(b->end.id, 0);
    assert_string_equal(b->end.text, "too many handshakes from one address");
    (void)connected(b, "192.0.2.2:2000");
    assert_int_equal(b->begin.n, 1);
    tick_to(b, b->now_ms + 10000);
    assert_int_equal(dtls_server_stats(b->s).associations, 1);
    for (int i = 0; i < 9; i++) {
        snprintf(text, sizeof text, "[2001:db8::%d]:2000", i + 1);
        (void)connected(b, text);
    }
    assert_int_equal(dtls_server_stats(b->s).associations, 1 + 8);
    assert_string_equal(b->end.text, "too many associations of one address");
    (void)connected(b, "[2001:db8:0:1::1]:2000");
    assert_int_equal(dtls_server_stats(b->s).associations, 1 + 9);
    assert_int_equal(dtls_server_stats(b->s).refused_total, 2);
}

static void there_is_a_most_in_all(void **state)
{
    struct bench *b = *state;
    struct dtls_server_config cfg = usual;
    char text[32];
    dtls_server_free(b->s);
    cfg.max = 3;
    start(b, &cfg);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "192.0.2.%d:1", i + 1);
        (void)connected(b, text);
    }
    assert_int_equal(b->begin.n, 3);
    assert_string_equal(b->end.text, "too many associations");
    /* One that is there may begin anew. */
    (void)connected(b, "192.0.2.2:1");
    assert_int_equal(b->begin.n, 4);
    struct dtls_server_info info;
    size_t n = 0;
    for (dtls_id id = 0; dtls_server_after(b->s, id, &info); id = info.id) {
        assert_true(id == 0 || info.id < id);
        n++;
    }
    assert_int_equal(n, 3);
}

static void without_a_certificate_nobody_begins(void **state)
{
    struct bench *b = *state;
    struct client *c = connected(b, "192.0.2.1:5000");
    dtls_server_set_context(b->s, NULL);
    size_t sent = b->n_sent;
    (void)connected(b, "192.0.2.1:5001");
    assert_int_equal(b->n_sent, sent);
    says(b, c, "goes on");
    dtls_server_set_context(b->s, server_ctx);
    (void)connected(b, "192.0.2.1:5002");
    assert_int_equal(b->begin.n, 2);
}

/* Each allocation of ours, and then each of libcrypto's, fails once in a handshake. What is
 * left over is a server that serves the next. */
static void memory_that_runs_out_costs_a_handshake(void **state)
{
    for (int crypto = 0; crypto < 2; crypto++) {
        bool failed = true;
        size_t n_failed = 0;
        for (uint32_t n = 1; failed && n < 2000; n++) {
            void *own = NULL;
            assert_int_equal(setup(&own), 0);
            struct bench *b = own;
            struct client *c = client(b, "192.0.2.1:5000");
            *(crypto ? &b->fails_crypto : &b->fails_own) = n;
            settle(b);
            failed = b->has_failed;
            b->fails_own = b->fails_crypto = 0;
            tick_to(b, b->now_ms + 20000);
            struct client *d = connected(b, "192.0.2.1:5001");
            says(b, d, "works");
            (void)c;
            assert_int_equal(teardown(&own), 0);
            n_failed += failed;
        }
        assert_true(n_failed >= (crypto ? 100 : 3));
    }
    (void)state;
}

static int group_setup(void **state)
{
    char why[TLS_WHY_MAX];
    (void)state;
    if (!alloc_fault_hook_crypto() || !certs_make(&certs)) {
        return 1;
    }
    const struct tls_config s = {
        .cert_file = certs.cert, .key_file = certs.key, .alpn = "stun.turn"};
    const struct tls_config c = {.ca_file = certs.cert, .alpn = "stun.turn"};
    return dtls_context_new(&server_ctx, &s, why) || dtls_context_new(&client_ctx, &c, why);
}

static int group_teardown(void **state)
{
    (void)state;
    tls_context_free(server_ctx);
    tls_context_free(client_ctx);
    certs_remove(&certs);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(clients_talk_without_meeting_each_other),
        T(a_record_has_its_limit),
        T(strangers_cost_no_memory),
        T(a_hello_may_come_in_pieces),
        T(a_client_that_begins_anew_replaces_itself),
        T(a_hello_that_comes_twice_changes_nothing),
        T(ends_are_told_and_answered),
        T(handshakes_are_repeated_and_then_given_up),
        T(a_message_has_its_limit),
        T(one_address_has_its_share),
        T(there_is_a_most_in_all),
        T(without_a_certificate_nobody_begins),
        T(memory_that_runs_out_costs_a_handshake),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
