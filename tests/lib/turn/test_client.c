/* The TURN client against a scripted server, in the order of a captured session. */
#include "lib/stun/stream.h"
#include "lib/turn/client.h"

#include "tests/unit.h"

static const char nonce_52[] = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdef";

struct script {
    struct turn_client *c;
    uint64_t now_ms;
    uint8_t seed;
    uint8_t sent[4096]; /* the last message sent, by either connection */
    size_t sent_len;
    struct stun_msg m; /* the same, read */
    struct turn_client_action a;
    struct stun_key key;
};

static void count_up(void *out, size_t len, void *ctx)
{
    struct script *s = ctx;
    memset(out, 0, len);
    *(uint8_t *)out = ++s->seed;
}

static struct turn_client_config config(void)
{
    return (struct turn_client_config){.username = slice_str("turn"),
                                       .password = slice_str("secret"),
                                       .software = slice_str("Acano"),
                                       .lifetime_s = 600,
                                       .keepalive_ms = 5000,
                                       .answer_ms = 10000,
                                       .max_data = 3};
}

static int start(void **state)
{
    static struct script s;
    s = (struct script){.now_ms = 1000};
    struct turn_client_config cfg = config();
    struct turn_client_env env = {count_up, &s};
    assert_int_equal(turn_client_new(&s.c, &cfg, &env), OK);
    assert_int_equal(stun_key_long_term(&s.key, slice_str("turn"), slice_str("TANDBERG"),
                                        slice_str("secret")),
                     OK);
    *state = &s;
    return 0;
}

static int stop(void **state)
{
    struct script *s = *state;
    turn_client_free(s->c);
    return 0;
}

/* The next action that is no report must be `what`; a sent message is read into s->m. */
static void expect(struct script *s, enum turn_client_do what)
{
    do {
        assert_true(turn_client_next(s->c, &s->a));
    } while (s->a.what == TURN_CLIENT_REPORT && what != TURN_CLIENT_REPORT);
    assert_int_equal(s->a.what, what);
    if (what == TURN_CLIENT_SEND || what == TURN_CLIENT_SEND_DATA) {
        s->sent_len = s->a.bytes.len;
        memcpy(s->sent, s->a.bytes.p, s->sent_len);
        assert_int_equal(stun_parse(&s->m, slice_of(s->sent, s->sent_len), &stun_wire_rfc8489),
                         OK);
        assert_true(stun_fingerprint_ok(&s->m));
    }
}

static void expect_nothing(struct script *s)
{
    while (turn_client_next(s->c, &s->a)) {
        assert_int_equal(s->a.what, TURN_CLIENT_REPORT);
    }
}

static void expect_failed(struct script *s, const char *word, uint16_t code)
{
    expect(s, TURN_CLIENT_FAILED);
    if (!strstr(s->a.why, word)) {
        fail_msg("\"%s\" does not say \"%s\"", s->a.why, word);
    }
    assert_int_equal(s->a.code, code);
    assert_false(turn_client_next(s->c, &s->a));
    assert_true(turn_client_deadline_ms(s->c) == UINT64_MAX);
}

/* The types of a message's attributes, in order. */
static void expect_order(struct script *s, const enum stun_attr *want, size_t n)
{
    assert_int_equal(s->m.n_attrs, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s->m.at[i].type, want[i]);
    }
}
#define EXPECT_ORDER(s, ...)                               \
    expect_order(s, (const enum stun_attr[]){__VA_ARGS__}, \
                 sizeof((const enum stun_attr[]){__VA_ARGS__}) / sizeof(enum stun_attr))

struct reply {
    uint16_t code;
    const char *nonce, *realm;
    const char *relayed;
    uint32_t lifetime_s, connection_id;
    bool no_integrity, bad_integrity;
};

/* The answer to what was sent last. */
static struct slice build(struct script *s, const struct reply *r, uint8_t *buf, size_t cap)
{
    struct stun_writer w;
    struct slice out;
    struct addr a;
    stun_begin(&w, buf, cap, &stun_wire_rfc8489, r->code ? STUN_ERROR : STUN_SUCCESS,
               s->m.method, &s->m.tid);
    if (r->nonce) {
        stun_put_bytes(&w, STUN_NONCE, slice_str(r->nonce));
    }
    if (r->realm) {
        stun_put_bytes(&w, STUN_REALM, slice_str(r->realm));
    }
    if (r->lifetime_s) {
        stun_put_u32(&w, STUN_LIFETIME, r->lifetime_s);
    }
    if (r->code) {
        stun_put_error(&w, r->code, "No");
    }
    if (r->relayed) {
        assert_int_equal(addr_parse(slice_str(r->relayed), &a), OK);
        stun_put_addr(&w, STUN_XOR_RELAYED_ADDRESS, &a);
        stun_put_addr(&w, STUN_XOR_MAPPED_ADDRESS, &a);
    }
    if (r->connection_id) {
        stun_put_u32(&w, STUN_CONNECTION_ID, r->connection_id);
    }
    if (!r->no_integrity) {
        struct stun_key wrong = {.len = 16};
        stun_put_integrity(&w, r->bad_integrity ? &wrong : &s->key);
    }
    stun_put_fingerprint(&w);
    assert_int_equal(stun_end(&w, &out), OK);
    return out;
}

static void answer(struct script *s, struct reply r)
{
    uint8_t buf[2048];
    size_t used;
    struct slice out = build(s, &r, buf, sizeof buf);
    struct slice in = exact(out.p, out.len);
    assert_int_equal(turn_client_recv(s->c, s->now_ms, in, &used), OK);
    assert_int_equal(used, out.len);
    exact_free(in);
}

static void answer_data(struct script *s, turn_data data, struct reply r)
{
    uint8_t buf[2048];
    size_t used;
    struct slice out = build(s, &r, buf, sizeof buf);
    assert_int_equal(turn_client_data_recv(s->c, s->now_ms, data, out, &used), OK);
    assert_int_equal(used, out.len);
}

static void attempt(struct script *s, uint32_t id, const char *peer, bool integrity)
{
    uint8_t buf[512];
    struct stun_writer w;
    struct slice out;
    struct addr a;
    struct stun_tid tid = {.len = 12};
    size_t used;
    assert_int_equal(addr_parse(slice_str(peer), &a), OK);
    stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, STUN_INDICATION,
               STUN_CONNECTION_ATTEMPT, &tid);
    stun_put_u32(&w, STUN_CONNECTION_ID, id);
    stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, &a);
    if (integrity) {
        stun_put_integrity(&w, &s->key);
    }
    assert_int_equal(stun_end(&w, &out), OK);
    assert_int_equal(turn_client_recv(s->c, s->now_ms, out, &used), OK);
}

static const struct reply challenge = {.code = 401,
                                       .nonce = nonce_52,
                                       .realm = "TANDBERG",
                                       .lifetime_s = 600,
                                       .no_integrity = true};
static const struct reply allocated = {.relayed = "10.48.54.229:24000", .lifetime_s = 600};
static const struct reply refreshed = {.lifetime_s = 600};

static void bring_up(struct script *s)
{
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    answer(s, challenge);
    expect(s, TURN_CLIENT_SEND);
    answer(s, allocated);
    expect(s, TURN_CLIENT_SEND);
    answer(s, refreshed);
    expect(s, TURN_CLIENT_ALLOCATED);
}

static void tick_to(struct script *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    turn_client_tick(s->c, now_ms);
}

static void messages_have_the_captures_shape(void **state)
{
    struct script *s = *state;
    uint32_t v;
    char text[ADDR_TEXT_MAX];
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->sent_len, 44);
    EXPECT_ORDER(s, STUN_REQUESTED_TRANSPORT, STUN_LIFETIME, STUN_FINGERPRINT);
    assert_int_equal(stun_get_u32(&s->m, STUN_REQUESTED_TRANSPORT, &v), OK);
    assert_int_equal(v, 6);
    answer(s, challenge);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->sent_len, 148);
    EXPECT_ORDER(s, STUN_USERNAME, STUN_REALM, STUN_NONCE, STUN_REQUESTED_TRANSPORT,
                 STUN_SOFTWARE, STUN_MESSAGE_INTEGRITY, STUN_FINGERPRINT);
    assert_int_equal(stun_check_integrity(&s->m, &s->key), OK);
    answer(s, allocated);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->m.method, STUN_REFRESH);
    assert_int_equal(s->sent_len, 136);
    EXPECT_ORDER(s, STUN_USERNAME, STUN_REALM, STUN_NONCE, STUN_LIFETIME,
                 STUN_MESSAGE_INTEGRITY, STUN_FINGERPRINT);
    answer(s, refreshed);
    expect(s, TURN_CLIENT_ALLOCATED);
    assert_string_equal(addr_text(&s->a.relayed, text), "10.48.54.229:24000");
    assert_int_equal(s->a.lifetime_s, 600);
    attempt(s, 7, "192.168.1.252:53577", true);
    expect(s, TURN_CLIENT_OPEN_DATA);
    assert_string_equal(addr_text(&s->a.peer, text), "192.168.1.252:53577");
    turn_data data = s->a.data;
    turn_client_data_opened(s->c, s->now_ms, data, true);
    expect(s, TURN_CLIENT_SEND_DATA);
    assert_true(s->a.data == data);
    assert_int_equal(s->sent_len, 136);
    EXPECT_ORDER(s, STUN_USERNAME, STUN_REALM, STUN_NONCE, STUN_CONNECTION_ID,
                 STUN_MESSAGE_INTEGRITY, STUN_FINGERPRINT);
    answer_data(s, data, (struct reply){.connection_id = 7});
    expect(s, TURN_CLIENT_PEER);
    assert_true(s->a.data == data);
    /* Five seconds after the allocation, and every five from there. */
    assert_int_equal(turn_client_deadline_ms(s->c), s->now_ms + 5000);
    tick_to(s, s->now_ms + 4999);
    expect_nothing(s);
    tick_to(s, s->now_ms + 1);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->sent_len, 28);
    EXPECT_ORDER(s, STUN_FINGERPRINT);
    assert_int_equal(s->m.cls, STUN_INDICATION);
    assert_int_equal(turn_client_deadline_ms(s->c), s->now_ms + 5000);
}

static void bytes_may_come_one_by_one(void **state)
{
    struct script *s = *state;
    uint8_t buf[512];
    size_t used;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    struct slice out = build(s, &challenge, buf, sizeof buf);
    for (size_t n = 0; n < out.len; n++) {
        assert_int_equal(turn_client_recv(s->c, 1, slice_of(out.p, n), &used), OK);
        assert_int_equal(used, 0);
        expect_nothing(s);
    }
    assert_int_equal(turn_client_recv(s->c, 1, out, &used), OK);
    expect(s, TURN_CLIENT_SEND);
}

static void integrity_on_a_401_is_neither_needed_nor_refused(void **state)
{
    struct script *s = *state;
    struct reply r = challenge;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    r.no_integrity = false;
    r.bad_integrity = true;
    answer(s, r);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->sent_len, 148);
}

static void second_401_is_a_wrong_password(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    answer(s, challenge);
    expect(s, TURN_CLIENT_SEND);
    answer(s, challenge);
    expect_failed(s, "password", 401);
}

static void first_answers_that_end_it(void **state)
{
    static const struct {
        struct reply r;
        const char *word;
    } row[] = {
        {{.code = 300, .no_integrity = true},               "another one"    },
        {{.code = 442, .no_integrity = true},               "RFC 6062"       },
        {{.code = 401, .no_integrity = true},               "no usable"      },
        {{.code = 401, .nonce = "n", .no_integrity = true}, "no usable"      },
        {{.code = 508, .no_integrity = true},               "range"          },
        {{.code = 499, .no_integrity = true},               "code of its own"},
        {{.relayed = "10.0.0.1:5", .no_integrity = true},   "no credentials" },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct script *s = *state;
        turn_client_start(s->c, s->now_ms);
        expect(s, TURN_CLIENT_SEND);
        answer(s, row[i].r);
        expect_failed(s, row[i].word, row[i].r.code);
        stop(state);
        start(state);
    }
}

static void forged_success_is_not_believed(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    answer(s, challenge);
    expect(s, TURN_CLIENT_SEND);
    struct reply bad = allocated;
    bad.bad_integrity = true;
    answer(s, bad);
    expect_nothing(s);
    bad.no_integrity = true;
    answer(s, bad);
    expect_nothing(s);
    tick_to(s, s->now_ms + 10000);
    expect_failed(s, "integrity", 0);
}

static void true_answer_after_a_forged_one_counts(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    answer(s, challenge);
    expect(s, TURN_CLIENT_SEND);
    struct reply bad = allocated;
    bad.bad_integrity = true;
    answer(s, bad);
    answer(s, allocated);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->m.method, STUN_REFRESH);
}

static void stale_nonce_is_renewed_but_not_for_ever(void **state)
{
    struct script *s = *state;
    struct slice nonce;
    bring_up(s);
    tick_to(s, turn_client_deadline_ms(s->c));
    expect(s, TURN_CLIENT_SEND); /* keep-alive */
    tick_to(s, 1000 + 540000);   /* 600 s less 60 */
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->m.method, STUN_REFRESH);
    struct reply stale = {.code = 438, .nonce = "other", .realm = "TANDBERG"};
    for (int i = 0; i < 3; i++) {
        answer(s, stale);
        expect(s, TURN_CLIENT_SEND);
        while (s->m.method != STUN_REFRESH) { /* the keep-alive that was due as well */
            expect(s, TURN_CLIENT_SEND);
        }
        assert_int_equal(stun_get_bytes(&s->m, STUN_NONCE, &nonce), OK);
        assert_true(slice_eq(nonce, slice_str("other")));
        assert_int_equal(stun_check_integrity(&s->m, &s->key), OK);
    }
    answer(s, stale);
    expect_failed(s, "stale", 438);
}

static void short_lifetimes_are_refreshed_at_half(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    answer(s, challenge);
    expect(s, TURN_CLIENT_SEND);
    answer(s, allocated);
    expect(s, TURN_CLIENT_SEND);
    answer(s, (struct reply){.lifetime_s = 6});
    expect(s, TURN_CLIENT_ALLOCATED);
    assert_int_equal(s->a.lifetime_s, 6);
    assert_int_equal(turn_client_deadline_ms(s->c), s->now_ms + 3000);
    tick_to(s, s->now_ms + 3000);
    expect(s, TURN_CLIENT_SEND);
    answer(s, (struct reply){.code = 437, .no_integrity = true});
    expect_failed(s, "437", 437);
}

static void silence_is_noticed(void **state)
{
    struct script *s = *state;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(turn_client_deadline_ms(s->c), s->now_ms + 10000);
    tick_to(s, s->now_ms + 10000);
    expect_failed(s, "does not answer", 0);
}

static void other_bytes_are_no_turn_server(void **state)
{
    struct script *s = *state;
    size_t used;
    turn_client_start(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(turn_client_recv(s->c, 1, slice_str("HTTP/1.1 400 Bad\r\n\r\n"), &used),
                     ERR_MALFORMED);
    expect_failed(s, "not STUN", 0);
}

static void close_takes_the_data_connections_along(void **state)
{
    struct script *s = *state;
    bring_up(s);
    attempt(s, 1, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_OPEN_DATA);
    turn_client_control_closed(s->c, s->now_ms);
    expect(s, TURN_CLIENT_CLOSE_DATA);
    expect_failed(s, "closed", 0);
}

static void too_many_peers_are_turned_away(void **state)
{
    struct script *s = *state;
    bring_up(s);
    for (uint32_t i = 1; i <= 3; i++) {
        attempt(s, i, "10.0.0.1:1", i % 2);
        expect(s, TURN_CLIENT_OPEN_DATA);
        attempt(s, i, "10.0.0.1:1", false); /* the same again */
        expect_nothing(s);
    }
    attempt(s, 4, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_REPORT);
    assert_non_null(strstr(s->a.why, "too many"));
    turn_data gone = s->a.data;
    turn_client_data_opened(s->c, s->now_ms, gone, true); /* names nothing */
    expect_nothing(s);
    tick_to(s, s->now_ms + 10000);
    for (int i = 0; i < 3; i++) {
        expect(s, TURN_CLIENT_CLOSE_DATA);
    }
    attempt(s, 5, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_SEND); /* keep-alive */
    expect(s, TURN_CLIENT_OPEN_DATA);
}

static void peers_bytes_stay_after_the_bind_answer(void **state)
{
    struct script *s = *state;
    uint8_t buf[512];
    size_t used;
    bring_up(s);
    attempt(s, 9, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_OPEN_DATA);
    turn_data data = s->a.data;
    turn_client_data_opened(s->c, s->now_ms, data, true);
    expect(s, TURN_CLIENT_SEND_DATA);
    struct reply r = {0};
    struct slice out = build(s, &r, buf, sizeof buf);
    memcpy(buf + out.len, "\x00\x01\x00\x00!\x12\xa4\x42", 8); /* looks like STUN */
    assert_int_equal(turn_client_data_recv(s->c, 1, data, slice_of(buf, out.len + 8), &used),
                     OK);
    assert_int_equal(used, out.len);
    expect(s, TURN_CLIENT_PEER);
    assert_int_equal(turn_client_data_recv(s->c, 1, data, slice_of(buf, 8), &used),
                     ERR_BADSTATE);
    turn_client_data_closed(s->c, 1, data);
    expect_nothing(s);
    assert_int_equal(turn_client_data_recv(s->c, 1, data, slice_of(buf, 8), &used),
                     ERR_NOTFOUND);
}

static void bind_troubles_cost_one_connection_only(void **state)
{
    struct script *s = *state;
    bring_up(s);
    attempt(s, 1, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_OPEN_DATA);
    turn_data data = s->a.data;
    turn_client_data_opened(s->c, s->now_ms, data, true);
    expect(s, TURN_CLIENT_SEND_DATA);
    answer_data(s, data, (struct reply){.code = 438, .nonce = "n2", .realm = "TANDBERG"});
    expect(s, TURN_CLIENT_SEND_DATA);
    answer_data(s, data, (struct reply){.code = 400});
    expect(s, TURN_CLIENT_CLOSE_DATA);
    assert_int_equal(s->a.code, 400);
    attempt(s, 2, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_OPEN_DATA);
    turn_client_data_opened(s->c, s->now_ms, s->a.data, false);
    expect(s, TURN_CLIENT_CLOSE_DATA);
    attempt(s, 3, "10.0.0.1:1", false);
    expect(s, TURN_CLIENT_OPEN_DATA);
    data = s->a.data;
    turn_client_data_opened(s->c, s->now_ms, data, true);
    expect(s, TURN_CLIENT_SEND_DATA);
    answer_data(s, data, (struct reply){.bad_integrity = true});
    expect(s, TURN_CLIENT_CLOSE_DATA);
    assert_non_null(strstr(s->a.why, "integrity"));
}

static size_t peers_in(const struct script *s)
{
    struct addr a;
    size_t n = 0;
    while (!stun_get_nth_addr(&s->m, STUN_XOR_PEER_ADDRESS, n, &a)) {
        n++;
    }
    return n;
}

static void permissions_go_in_batches_and_are_renewed(void **state)
{
    struct script *s = *state;
    struct addr peer[33];
    for (uint8_t i = 0; i < 33; i++) {
        peer[i] = (struct addr){
            ADDR_IP4, {10, 0, 0, i},
             i
        };
    }
    assert_int_equal(turn_client_permit(s->c, s->now_ms, peer, 20), OK); /* before it is up */
    expect_nothing(s);
    bring_up(s);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->m.method, STUN_CREATE_PERMISSION);
    assert_int_equal(peers_in(s), 16);
    answer(s, (struct reply){0});
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(peers_in(s), 4);
    answer(s, (struct reply){0});
    expect(s, TURN_CLIENT_PERMITTED);
    assert_int_equal(turn_client_permit(s->c, s->now_ms, peer, 3), OK); /* nothing new */
    expect(s, TURN_CLIENT_PERMITTED);
    expect_nothing(s);
    uint64_t begun = s->now_ms;
    for (uint64_t t = begun; t < begun + 240000; t = turn_client_deadline_ms(s->c)) {
        tick_to(s, t);
        while (turn_client_next(s->c, &s->a)) {
            assert_int_equal(s->a.bytes.len, 28); /* keep-alives */
        }
    }
    tick_to(s, begun + 240000);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(peers_in(s), 16);
    assert_int_equal(turn_client_permit(s->c, s->now_ms, peer, 33), ERR_LIMIT);
}

static void one_forbidden_peer_does_not_cost_the_others(void **state)
{
    struct script *s = *state;
    struct addr peer[3] = {
        {ADDR_IP4, {10, 0, 0, 1}, 0},
        {ADDR_IP4, {10, 0, 0, 2}, 0},
        {ADDR_IP4, {10, 0, 0, 3}, 0}
    };
    int asked = 0;
    bring_up(s);
    assert_int_equal(turn_client_permit(s->c, s->now_ms, peer, 3), OK);
    expect(s, TURN_CLIENT_SEND);
    answer(s, (struct reply){.code = 403});
    for (; asked < 3; asked++) {
        struct addr a;
        expect(s, TURN_CLIENT_SEND);
        assert_int_equal(peers_in(s), 1);
        assert_int_equal(stun_get_addr(&s->m, STUN_XOR_PEER_ADDRESS, &a), OK);
        answer(s, a.ip[3] == 2 ? (struct reply){.code = 403} : (struct reply){0});
    }
    expect(s, TURN_CLIENT_PERMITTED);
    expect_nothing(s);
}

static void connects_to_a_peer(void **state)
{
    struct script *s = *state;
    struct addr peer = {
        ADDR_IP4, {10, 0, 0, 1},
         24000
    };
    turn_data data, other;
    assert_int_equal(turn_client_connect(s->c, s->now_ms, &peer, &data), ERR_BADSTATE);
    bring_up(s);
    assert_int_equal(turn_client_connect(s->c, s->now_ms, &peer, &data), OK);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(s->m.method, STUN_CONNECT);
    answer(s, (struct reply){.connection_id = 77});
    expect(s, TURN_CLIENT_OPEN_DATA);
    assert_true(s->a.data == data);
    turn_client_data_opened(s->c, s->now_ms, data, true);
    expect(s, TURN_CLIENT_SEND_DATA);
    answer_data(s, data, (struct reply){0});
    expect(s, TURN_CLIENT_PEER);
    assert_true(addr_eq(&s->a.peer, &peer));
    assert_int_equal(turn_client_connect(s->c, s->now_ms, &peer, &other), OK);
    expect(s, TURN_CLIENT_SEND);
    answer(s, (struct reply){.code = 447});
    expect(s, TURN_CLIENT_CLOSE_DATA);
    assert_int_equal(s->a.code, 447);
    assert_true(s->a.data == other);
}

static void release_ends_with_or_without_an_answer(void **state)
{
    struct script *s = *state;
    uint32_t v;
    bring_up(s);
    turn_client_release(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    assert_int_equal(stun_get_u32(&s->m, STUN_LIFETIME, &v), OK);
    assert_int_equal(v, 0);
    answer(s, (struct reply){0});
    expect_failed(s, "released", 0);
    stop(state);
    start(state);
    bring_up(s);
    turn_client_release(s->c, s->now_ms);
    expect(s, TURN_CLIENT_SEND);
    tick_to(s, s->now_ms + 1000);
    expect_failed(s, "released", 0);
}

static void a_flood_of_attempts_is_bounded(void **state)
{
    struct script *s = *state;
    size_t used, n = 0;
    bring_up(s);
    uint8_t *buf = malloc(40 * 2000);
    assert_non_null(buf);
    for (uint32_t i = 0; i < 2000; i++) {
        struct stun_writer w;
        struct slice out;
        struct addr a = {
            ADDR_IP4, {10, 0, 0, 1},
             1
        };
        struct stun_tid tid = {.len = 12};
        stun_begin(&w, buf + 40 * i, 40, &stun_wire_rfc8489, STUN_INDICATION,
                   STUN_CONNECTION_ATTEMPT, &tid);
        stun_put_u32(&w, STUN_CONNECTION_ID, i);
        stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, &a);
        assert_int_equal(stun_end(&w, &out), OK);
    }
    assert_int_equal(turn_client_recv(s->c, 1, slice_of(buf, (size_t)40 * 2000), &used), OK);
    assert_int_equal(used, 80000);
    while (turn_client_next(s->c, &s->a)) {
        assert_int_not_equal(s->a.what, TURN_CLIENT_FAILED);
        n++;
    }
    assert_in_range(n, 4, 200);
    free(buf);
}

static void refuses_configs_out_of_bounds(void **state)
{
    struct script *s = *state;
    struct turn_client *c;
    struct turn_client_env env = {count_up, s};
    struct turn_client_config cfg = config();
    cfg.max_data = 0;
    assert_int_equal(turn_client_new(&c, &cfg, &env), ERR_LIMIT);
    cfg = config();
    cfg.username = slice_of(s->sent, 514);
    assert_int_equal(turn_client_new(&c, &cfg, &env), ERR_LIMIT);
    assert_null(c);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_have_the_captures_shape),
        CASE(bytes_may_come_one_by_one),
        CASE(integrity_on_a_401_is_neither_needed_nor_refused),
        CASE(second_401_is_a_wrong_password),
        CASE(first_answers_that_end_it),
        CASE(forged_success_is_not_believed),
        CASE(true_answer_after_a_forged_one_counts),
        CASE(stale_nonce_is_renewed_but_not_for_ever),
        CASE(short_lifetimes_are_refreshed_at_half),
        CASE(silence_is_noticed),
        CASE(other_bytes_are_no_turn_server),
        CASE(close_takes_the_data_connections_along),
        CASE(too_many_peers_are_turned_away),
        CASE(peers_bytes_stay_after_the_bind_answer),
        CASE(bind_troubles_cost_one_connection_only),
        CASE(permissions_go_in_batches_and_are_renewed),
        CASE(one_forbidden_peer_does_not_cost_the_others),
        CASE(connects_to_a_peer),
        CASE(release_ends_with_or_without_an_answer),
        CASE(a_flood_of_attempts_is_bounded),
        CASE(refuses_configs_out_of_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
