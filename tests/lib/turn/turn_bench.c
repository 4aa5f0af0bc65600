/* A TURN server core on a bench. */
#include "tests/lib/turn/turn_bench.h"

#include <assert.h>
#include <stdlib.h>

static uint64_t next_random(struct bench *b)
{
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return b->seed >> 24;
}

static void bench_random(void *out, size_t len, void *ctx)
{
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)next_random(ctx);
    }
}

static uint64_t bench_unix_s(void *ctx)
{
    const struct bench *b = ctx;
    return b->unix_s;
}

struct addr bench_addr(const char *text)
{
    struct addr a;
    int err = addr_parse(slice_str(text), &a);
    assert(!err);
    (void)err;
    return a;
}

void bench_start(struct bench *b, void (*tune)(struct turn_config *cfg))
{
    *b = (struct bench){.now_ms = 1000,
                        .seed = 1,
                        .unix_s = 1700000000,
                        .relay_port = 24000,
                        .opens = true,
                        .realm = "TANDBERG"};
    b->policy.own[0] = bench_addr("198.51.100.1");
    b->policy.n_own = 1;
    struct turn_config cfg = {.realms = {slice_str("TANDBERG")},
                              .n_realms = 1,
                              .software = slice_str("Causeway"),
                              .nonce_life_s = 3600,
                              .max_allocations = 8,
                              .max_per_user = 4,
                              .max_unbound = 2,
                              .max_connections = 4,
                              .max_permissions = 4,
                              .max_channels = 3,
                              .lifetime_default_s = 600,
                              .lifetime_max_s = 3600,
                              .relay_ip4 = true,
                              .policy = &b->policy};
    if (tune) {
        tune(&cfg);
    }
    const struct turn_env env = {.random = bench_random, .unix_s = bench_unix_s, .ctx = b};
    int err = turn_server_new(&b->s, &cfg, &env);
    struct slice realm = slice_str("TANDBERG"), password = slice_str("secret");
    err = err ? err : stun_key_long_term(&b->key, slice_str("turn"), realm, password);
    err = err ? err : stun_key_long_term(&b->other_key, slice_str("other"), realm, password);
    assert(!err);
    (void)err;
}

void bench_stop(struct bench *b)
{
    turn_server_free(b->s);
}

struct turn_conn bench_tcp(turn_id id)
{
    struct turn_conn c = {.id = id,
                          .client = bench_addr("192.0.2.10:5000"),
                          .local = bench_addr("198.51.100.1:3478"),
                          .transport = TURN_TCP,
                          .is_proven = true,
                          .dialect = &turn_dialect_rfc8656};
    c.client.port = (uint16_t)(c.client.port + id);
    return c;
}

struct turn_conn bench_udp(const char *client)
{
    return (struct turn_conn){.client = bench_addr(client),
                              .local = bench_addr("198.51.100.1:3478"),
                              .transport = TURN_UDP,
                              .dialect = &turn_dialect_rfc8656};
}

static void answer_key(struct bench *b, const struct turn_action *a)
{
    bool is_turn = slice_eq(a->key.username, slice_str("turn"));
    bool is_other = slice_eq(a->key.username, slice_str("other"));
    turn_server_key(b->s, b->now_ms, a->key.ticket,
                    is_turn    ? &b->key
                    : is_other ? &b->other_key
                               : NULL);
}

static void take(struct bench *b, const struct turn_action *a)
{
    if (a->what == TURN_DO_SEND && a->head_len == 0) {
        assert(a->body.len <= sizeof b->sent);
        memcpy(b->sent, a->body.p, a->body.len);
        b->sent_len = a->body.len;
    }
    if (a->what == TURN_DO_FIND_KEY && !b->answers_late) {
        answer_key(b, a);
    }
    if (a->what == TURN_DO_RELAY_OPEN && b->opens) {
        bool is_ip6 = a->open.family == ADDR_IP6;
        struct addr at = bench_addr(is_ip6 ? "2001:db8::1" : "198.51.100.1");
        at.port = b->relay_port++;
        turn_server_relay_opened(b->s, b->now_ms, a->relay,
                                 a->open.family == b->no_family ? NULL : &at);
    }
    assert(b->n_did < BENCH_ACTIONS);
    b->did[b->n_did++] = *a;
}

void bench_drain(struct bench *b)
{
    struct turn_action a;
    b->n_did = 0;
    b->sent_len = 0;
    while (turn_server_next(b->s, &a)) {
        take(b, &a);
    }
}

void bench_tick_to(struct bench *b, uint64_t now_ms)
{
    struct turn_action a;
    b->now_ms = now_ms;
    b->n_did = 0;
    b->sent_len = 0;
    while (turn_server_deadline_ms(b->s) <= now_ms) {
        turn_server_tick(b->s, now_ms);
        while (turn_server_next(b->s, &a)) {
            take(b, &a);
        }
    }
}

void ask_begin(struct bench *b, struct ask *a, enum stun_method method)
{
    struct stun_tid tid = {.len = 12};
    uint32_t n = ++b->next_tid;
    memcpy(tid.b, &n, sizeof n);
    stun_begin(&a->w, a->buf, sizeof a->buf, &stun_wire_rfc8489, STUN_REQUEST, (uint16_t)method,
               &tid);
}

int ask_end(struct bench *b, struct ask *a, const struct turn_conn *c,
            const struct stun_key *key)
{
    struct slice frame, reason;
    uint16_t code = 1;
    if (key) {
        stun_put_bytes(&a->w, STUN_USERNAME,
                       slice_str(key == &b->other_key ? "other" : "turn"));
        stun_put_bytes(&a->w, STUN_REALM, slice_str(b->realm));
        stun_put_bytes(&a->w, STUN_NONCE, slice_of(b->nonce, b->nonce_len));
        stun_put_integrity(&a->w, key);
    }
    stun_put_fingerprint(&a->w);
    int err = stun_end(&a->w, &frame);
    err = err ? err : turn_server_from_client(b->s, b->now_ms, c, dgram_of(frame));
    assert(!err);
    (void)err;
    bench_drain(b);
    if (b->sent_len == 0) {
        return 1;
    }
    struct stun_msg m = bench_sent(b);
    if (m.cls == STUN_SUCCESS) {
        return 0;
    }
    return stun_get_error(&m, &code, &reason) == OK ? code : 1;
}

int bench_allocate(struct bench *b, const struct turn_conn *c, enum turn_transport transport)
{
    struct ask a;
    if (b->nonce_len == 0) {
        struct slice nonce;
        ask_begin(b, &a, STUN_ALLOCATE);
        stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, transport);
        (void)ask_end(b, &a, c, NULL);
        struct stun_msg m = bench_sent(b);
        if (stun_get_bytes(&m, STUN_NONCE, &nonce) == OK && nonce.len <= sizeof b->nonce) {
            memcpy(b->nonce, nonce.p, nonce.len);
            b->nonce_len = nonce.len;
        }
    }
    ask_begin(b, &a, STUN_ALLOCATE);
    stun_put_u32(&a.w, STUN_REQUESTED_TRANSPORT, transport);
    return ask_end(b, &a, c, &b->key);
}

int bench_permit(struct bench *b, const struct turn_conn *c, const char *peer)
{
    struct ask a;
    struct addr p = bench_addr(peer);
    ask_begin(b, &a, STUN_CREATE_PERMISSION);
    stun_put_addr(&a.w, STUN_XOR_PEER_ADDRESS, &p);
    return ask_end(b, &a, c, &b->key);
}

int bench_refresh(struct bench *b, const struct turn_conn *c, uint32_t lifetime_s)
{
    struct ask a;
    ask_begin(b, &a, STUN_REFRESH);
    stun_put_u32(&a.w, STUN_LIFETIME, lifetime_s);
    return ask_end(b, &a, c, &b->key);
}

const struct turn_action *bench_did(const struct bench *b, enum turn_do what, size_t n)
{
    for (size_t i = 0; i < b->n_did; i++) {
        if (b->did[i].what == what && n-- == 0) {
            return &b->did[i];
        }
    }
    return NULL;
}

size_t bench_count(const struct bench *b, enum turn_do what)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_did; i++) {
        n += b->did[i].what == what;
    }
    return n;
}

struct stun_msg bench_sent(const struct bench *b)
{
    struct stun_msg m;
    int err = stun_parse(&m, slice_of(b->sent, b->sent_len), &stun_wire_rfc8489);
    assert(!err && stun_fingerprint_ok(&m));
    (void)err;
    return m;
}
