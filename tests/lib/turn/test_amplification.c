/* What an answer over UDP to somebody unknown weighs against his request: computed from the
 * server, and compared with the table of docs/security.md, which is the first argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/turn/turn_bench.h"

enum {
    ROW_MAX = 200,
    DOC_MAX = 1 << 17
};

static const char *doc_path; /* of the program's arguments: cmocka's tests take none */

enum { /* how a request is signed */
    BARE,
    MISFIT,  /* not at all; an attribute has a wrong size */
    PRINTED, /* with FINGERPRINT */
    NO_NONCE,
    WRONG_REALM,
    WRONG_USER,
    WRONG_PASSWORD,
    STALE,
    NO_DATABASE,
    CROWDED /* too many wait for their keys already */
};

static const struct row {
    const char *name;
    enum stun_method method;
    int how;
    const char *client;
    uint8_t n_unknown;
    bool transport;
} rows[] = {
    {"Binding",                                STUN_BINDING,           BARE,           NULL,              0,  false},
    {"Binding with FINGERPRINT",               STUN_BINDING,           PRINTED,        NULL,              0,  false},
    {"Binding over IPv6",                      STUN_BINDING,           BARE,           "[2001:db8::7]:1", 0,  false},
    {"Binding, 1 unknown attribute",           STUN_BINDING,           BARE,           NULL,              1,  false},
    {"Binding, 20 unknown attributes",         STUN_BINDING,           BARE,           NULL,              20, false},
    {"Binding, an attribute of a wrong size",  STUN_BINDING,           MISFIT,         NULL,              0,  false},
    {"Allocate",                               STUN_ALLOCATE,          BARE,           NULL,              0,  true },
    {"Allocate with nothing in it",            STUN_ALLOCATE,          BARE,           NULL,              0,  false},
    {"Allocate with FINGERPRINT",              STUN_ALLOCATE,          PRINTED,        NULL,              0,  true },
    {"Refresh with nothing in it",             STUN_REFRESH,           BARE,           NULL,              0,  false},
    {"CreatePermission with nothing in it",    STUN_CREATE_PERMISSION, BARE,           NULL,              0,  false},
    {"ChannelBind with nothing in it",         STUN_CHANNEL_BIND,      BARE,           NULL,              0,  false},
    {"Connect with nothing in it",             STUN_CONNECT,           BARE,           NULL,              0,  false},
    {"ConnectionBind with nothing in it",      STUN_CONNECTION_BIND,   BARE,           NULL,              0,  false},
    {"Allocate, signed, without NONCE",        STUN_ALLOCATE,          NO_NONCE,       NULL,              0,  true },
    {"Allocate, signed, of another realm",     STUN_ALLOCATE,          WRONG_REALM,    NULL,              0,  true },
    {"Allocate, signed, of an unknown user",   STUN_ALLOCATE,          WRONG_USER,     NULL,              0,  true },
    {"Allocate, signed with a wrong password", STUN_ALLOCATE,          WRONG_PASSWORD, NULL,              0,  true },
    {"Allocate, signed, with an old NONCE",    STUN_ALLOCATE,          STALE,          NULL,              0,  true },
    {"Allocate, signed, no database answers",  STUN_ALLOCATE,          NO_DATABASE,    NULL,              0,  true },
    {"Allocate, signed, too many wait",        STUN_ALLOCATE,          CROWDED,        NULL,              0,  true },
};

static void sign(struct bench *b, struct stun_writer *w, int how)
{
    static const uint8_t nonce[44] = "00000000";
    struct stun_key key = b->key;
    const char *user = how == WRONG_USER ? "nobody" : "turn";
    stun_put_bytes(w, STUN_USERNAME, slice_str(user));
    stun_put_bytes(w, STUN_REALM, slice_str(how == WRONG_REALM ? "ELSEWHERE" : "TANDBERG"));
    if (how != NO_NONCE) {
        stun_put_bytes(w, STUN_NONCE, slice_of(nonce, sizeof nonce));
    }
    key.b[0] ^= how == WRONG_PASSWORD;
    stun_put_integrity(w, &key);
}

static struct slice write_request(struct bench *b, const struct row *r, uint8_t *buf,
                                  size_t cap)
{
    struct stun_writer w;
    struct stun_tid tid = {.len = 12};
    struct slice frame;
    stun_begin(&w, buf, cap, &stun_wire_rfc8489, STUN_REQUEST, (uint16_t)r->method, &tid);
    if (r->transport) {
        stun_put_u32(&w, STUN_REQUESTED_TRANSPORT, TURN_UDP);
    }
    for (uint32_t i = 0; i < r->n_unknown; i++) {
        wr_u32(&w.w, 0x7a000000 + (i << 16)); /* must be understood, and is not; empty */
    }
    if (r->how == MISFIT) {
        wr_u32(&w.w, 0x000c0000); /* an empty CHANNEL-NUMBER */
    }
    if (r->how > PRINTED) {
        sign(b, &w, r->how);
    }
    if (r->how == PRINTED) {
        stun_put_fingerprint(&w);
    }
    assert_int_equal(stun_end(&w, &frame), OK);
    return frame;
}

/* Bytes that RFC 8489 and RFC 8656 demand in this answer: the header, what tells an address,
 * the code without its phrase, and what a challenge consists of. */
static size_t forced(const struct stun_msg *m)
{
    size_t n = STUN_HEADER_LEN;
    for (size_t i = 0; i < m->n_attrs; i++) {
        size_t len = 4 + (m->at[i].value.len + 3) / 4 * 4;
        switch (m->at[i].type) {
        case STUN_ERROR_CODE: n += 8; break;
        case STUN_XOR_MAPPED_ADDRESS:
        case STUN_UNKNOWN_ATTRIBUTES:
        case STUN_REALM:
        case STUN_NONCE:
        case STUN_PASSWORD_ALGORITHMS: n += len; break;
        default: break;
        }
    }
    return n;
}

static void crowd(struct bench *b, struct slice frame)
{
    struct turn_conn c = bench_udp("192.0.2.99:1");
    for (int i = 0; i < 200; i++) {
        c.client.port++;
        assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(frame)), OK);
        bench_drain(b);
    }
}

static void ask(struct bench *b, const struct row *r, struct slice frame)
{
    struct turn_conn c = bench_udp(r->client ? r->client : "192.0.2.7:1234");
    b->answers_late = r->how == NO_DATABASE || r->how == CROWDED;
    if (r->how == CROWDED) {
        crowd(b, frame);
    }
    assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(frame)), OK);
    bench_drain(b);
    if (r->how == NO_DATABASE) {
        turn_server_keys(b->s, b->now_ms, bench_did(b, TURN_DO_FIND_KEY, 0)->key.ticket, NULL);
        bench_drain(b);
    }
    assert_true(b->sent_len > 0);
}

static void put_row(char *out, const struct row *r, size_t asked, const struct stun_msg *m)
{
    uint16_t code = 0;
    struct slice reason;
    char answer[8] = "success";
    size_t got = m->raw.len, must = forced(m);
    if (m->cls == STUN_ERROR) {
        assert_int_equal(stun_get_error(m, &code, &reason), OK);
        (void)snprintf(answer, sizeof answer, "%u", code);
    }
    (void)snprintf(out, ROW_MAX, "| %s | %zu | %s | %zu | %.2f | %zu | %zu | %.2f |", r->name,
                   asked, answer, got, (double)got / (double)asked, must, got - must,
                   (double)(got - must) / (double)asked);
}

static char *read_doc(void)
{
    FILE *f = fopen(doc_path, "r");
    char *text = calloc(1, DOC_MAX);
    assert_non_null(f);
    assert_non_null(text);
    size_t n = fread(text, 1, DOC_MAX - 1, f);
    assert_true(n > 0 && n < DOC_MAX - 1);
    (void)fclose(f);
    return text;
}

/* Never more than 1.5 times the request beyond what the RFCs force, and what the docs say. */
static void answers_to_strangers_are_as_short_as_the_docs_say(void **state)
{
    (void)state;
    char *doc = read_doc();
    size_t n_wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench *b = calloc(1, sizeof *b);
        uint8_t buf[512];
        char row[ROW_MAX];
        struct stun_msg m;
        assert_non_null(b);
        bench_start(b, NULL);
        struct slice frame = write_request(b, &rows[i], buf, sizeof buf);
        ask(b, &rows[i], frame);
        assert_int_equal(stun_parse(&m, slice_of(b->sent, b->sent_len), &stun_wire_rfc8489),
                         OK);
        put_row(row, &rows[i], frame.len, &m);
        assert_true(2 * (m.raw.len - forced(&m)) <= 3 * frame.len);
        if (!strstr(doc, row)) {
            print_error("not in %s:\n%s\n", doc_path, row);
            n_wrong++;
        }
        bench_stop(b);
        free(b);
    }
    free(doc);
    assert_int_equal(n_wrong, 0);
}

/* What is no request is not answered at all, nor is a request of a method that nobody knows. */
static void what_is_no_request_is_not_answered(void **state)
{
    static const enum stun_class classes[] = {STUN_INDICATION, STUN_SUCCESS, STUN_ERROR};
    (void)state;
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bench_start(b, NULL);
    struct turn_conn c = bench_udp("192.0.2.7:1234");
    for (uint16_t method = 0; method < 0x100; method++) {
        for (size_t k = 0; k < sizeof classes / sizeof *classes; k++) {
            uint8_t buf[64];
            struct stun_writer w;
            struct stun_tid tid = {.len = 12};
            struct slice frame;
            stun_begin(&w, buf, sizeof buf, &stun_wire_rfc8489, classes[k], method, &tid);
            assert_int_equal(stun_end(&w, &frame), OK);
            assert_int_equal(turn_server_from_client(b->s, b->now_ms, &c, dgram_of(frame)), OK);
            bench_drain(b);
            assert_int_equal(bench_count(b, TURN_DO_SEND), 0);
        }
    }
    bench_stop(b);
    free(b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_to_strangers_are_as_short_as_the_docs_say),
        cmocka_unit_test(what_is_no_request_is_not_answered),
    };
    if (argc != 2) {
        return 2;
    }
    doc_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
