/* The SIP endpoint: scripted peers, two endpoints facing each other, lost messages and time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/text.h"

#include "lib/sip/ua.h"

enum {
    SENT_MAX = 64,
    TEXT_MAX = 8192
};

struct end { /* one endpoint and what it did since the last look */
    struct sip_ua *ua;
    struct sip_flow_info flow;
    char sent[SENT_MAX][TEXT_MAX];
    size_t n_sent;
    struct sip_action seen[SENT_MAX];
    char reason[512], body[512];
    size_t n_seen;
};

static uint64_t now, seed;
static struct end *A, *B;

static void fake_random(void *out, size_t len, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)out)[i] = (uint8_t)(seed >> 33);
    }
}

static void copy(char *to, size_t cap, struct slice s)
{
    assert_true(s.len < cap);
    memcpy(to, s.p, s.len);
    to[s.len] = 0;
}

static void drain(struct end *e)
{
    struct sip_action a;
    while (sip_ua_next(e->ua, &a)) {
        if (a.what == SIP_DO_SEND) {
            assert_true(e->n_sent < SENT_MAX);
            copy(e->sent[e->n_sent++], TEXT_MAX, a.bytes);
        } else if (a.what != SIP_DO_REPORT) {
            assert_true(e->n_seen < SENT_MAX);
            copy(e->reason, sizeof e->reason, a.reason);
            copy(e->body, sizeof e->body, a.body);
            e->seen[e->n_seen++] = a;
        }
    }
}

static void forget(struct end *e)
{
    e->n_sent = e->n_seen = 0;
}

static struct end *end_new(enum sip_transport transport, uint8_t mine, uint8_t theirs,
                           uint32_t max)
{
    struct sip_ua_config cfg = {
        .user_agent = slice_str("test/1"), .max_dialogs = max, .max_transactions = max};
    struct sip_env env = {.random = fake_random};
    struct end *e = calloc(1, sizeof *e);
    assert_non_null(e);
    assert_int_equal(sip_ua_new(&e->ua, &cfg, &env), OK);
    e->flow = (struct sip_flow_info){.id = 7, .transport = transport};
    e->flow.local = (struct addr){
        .family = ADDR_IP4, .ip = {192, 0, 2, mine},
             .port = 5060
    };
    e->flow.remote = (struct addr){
        .family = ADDR_IP4, .ip = {192, 0, 2, theirs},
             .port = 5070
    };
    return e;
}

static void end_free(struct end *e)
{
    sip_ua_free(e->ua);
    free(e);
}

/* Gives `text`, in a buffer of exactly its size, to `e`. */
static int give(struct end *e, const char *text)
{
    size_t len = strlen(text);
    uint8_t *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    int err = sip_ua_recv(e->ua, now, &e->flow, slice_of(exact, len));
    free(exact);
    drain(e);
    return err;
}

static void tick(struct end *e, uint64_t at)
{
    now = at;
    sip_ua_tick(e->ua, now);
    drain(e);
}

/* A request of the scripted peer. `rest` goes between CSeq and the end. */
static const char *request(const char *method, unsigned cseq, const char *to_tag,
                           const char *branch, const char *rest)
{
    static char text[TEXT_MAX];
    const char *body = strcmp(method, "INVITE") == 0 ? "v=0\r\n" : "";
    snprintf(text, sizeof text,
             "%s sip:room@192.0.2.1 SIP/2.0\r\n"
             "Via: SIP/2.0/TCP 10.9.8.7:5060;rport;branch=z9hG4bK%s\r\n"
             "Via: SIP/2.0/TCP far.example;branch=z9hG4bKfar\r\n"
             "Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n"
             "From: \"Alice\" <sip:alice@sfb.example>;tag=at;epid=0123456789\r\n"
             "To: <sip:room@meet.example>;epid=77%s%s\r\n"
             "Call-ID: c1\r\nCSeq: %u %s\r\nMax-Forwards: 69\r\n"
             "Contact: <sip:alice@sfb.example;opaque=user:epid:x;gruu>\r\n%s"
             "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
             method, branch, *to_tag ? ";tag=" : "", to_tag, cseq, method, rest, strlen(body),
             body);
    return text;
}

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

static void last_is(const struct end *e, const char *start)
{
    assert_true(e->n_sent > 0);
    if (strncmp(e->sent[e->n_sent - 1], start, strlen(start)) != 0) {
        fail_msg("sent \"%.60s\", not \"%s\"", e->sent[e->n_sent - 1], start);
    }
}

static void only_seen(const struct end *e, enum sip_do what)
{
    assert_int_equal(e->n_seen, 1);
    assert_int_equal(e->seen[0].what, what);
}

/* The tag that `e` gave in what it sent last. */
static const char *our_tag(const struct end *e)
{
    static char tag[64];
    const char *to = strstr(e->sent[e->n_sent - 1], "\r\nTo: ");
    assert_non_null(to);
    const char *at = strstr(to, ";tag=");
    assert_non_null(at);
    snprintf(tag, sizeof tag, "%.*s", (int)strcspn(at + 5, ";\r"), at + 5);
    return tag;
}

static int answer(struct end *e, sip_dialog d, uint16_t status)
{
    struct sip_answer a = {.status = status};
    if (status < 300) {
        a.content_type = slice_str("application/sdp");
        a.body = slice_str("answer");
    }
    int err = sip_ua_answer(e->ua, now, d, &a);
    drain(e);
    return err;
}

/* INVITE, 200, ACK; the dialog is left up. */
static sip_dialog invited_and_up(struct end *e)
{
    assert_int_equal(give(e, request("INVITE", 1, "", "inv1", "")), OK);
    sip_dialog d = e->seen[0].dialog;
    assert_int_equal(answer(e, d, 200), OK);
    assert_int_equal(give(e, request("ACK", 1, our_tag(e), "ack1", "")), OK);
    assert_int_equal(e->seen[e->n_seen - 1].what, SIP_DO_CONFIRMED);
    return d;
}

static void answers_an_invite(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    last_is(A, "SIP/2.0 100 Trying\r\n");
    only_seen(A, SIP_DO_INVITED);
    assert_string_equal(A->body, "v=0\r\n");
    assert_int_equal(answer(A, A->seen[0].dialog, 180), OK);
    last_is(A, "SIP/2.0 180 Ringing\r\n");
    assert_int_equal(answer(A, A->seen[0].dialog, 200), OK);
    const char *ok = A->sent[A->n_sent - 1];
    assert_true(has(ok, "SIP/2.0/TCP 10.9.8.7:5060;branch=z9hG4bKinv1;received=192.0.2.2;"
                        "rport=5070\r\nVia: SIP/2.0/TCP far.example;branch=z9hG4bKfar\r\n"));
    assert_true(has(ok, "From: \"Alice\" <sip:alice@sfb.example>;tag=at;epid=0123456789\r\n"));
    assert_true(has(ok, "To: <sip:room@meet.example>;epid=77;tag="));
    assert_true(has(ok, "Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n"));
    assert_true(has(ok, "Contact: <sip:room@192.0.2.1:5060>\r\n"));
    assert_true(has(ok, "Content-Type: application/sdp\r\nContent-Length: 6\r\n\r\nanswer"));
    assert_int_equal(answer(A, A->seen[0].dialog, 200), ERR_BADSTATE);
}

static void repeats_2xx_until_the_ack(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    answer(A, A->seen[0].dialog, 200);
    char tag[64];
    snprintf(tag, sizeof tag, "%s", our_tag(A));
    forget(A);
    tick(A, 499);
    assert_int_equal(A->n_sent, 0);
    tick(A, 500);
    tick(A, 1499);
    assert_int_equal(A->n_sent, 1);
    tick(A, 1500);
    last_is(A, "SIP/2.0 200");
    assert_int_equal(A->n_sent, 2);
    give(A, request("ACK", 2, tag, "other", "")); /* of no INVITE of ours */
    assert_int_equal(A->n_seen, 0);
    give(A, request("ACK", 1, tag, "ack", ""));
    only_seen(A, SIP_DO_CONFIRMED);
    forget(A);
    give(A, request("ACK", 1, tag, "ack", ""));
    tick(A, 31000);
    assert_int_equal(A->n_sent + A->n_seen, 0);
}

static void ends_without_an_ack(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    answer(A, A->seen[0].dialog, 200);
    forget(A);
    while (sip_ua_deadline_ms(A->ua) < 32000) {
        tick(A, sip_ua_deadline_ms(A->ua));
    }
    assert_int_equal(A->n_sent, 10); /* 0.5 1.5 3.5 7.5 and each 4 s after */
    tick(A, 32000);
    last_is(A, "BYE sip:alice@sfb.example;opaque=user:epid:x;gruu SIP/2.0\r\n");
    only_seen(A, SIP_DO_ENDED);
}

static void our_requests_follow_the_route_set(void **state)
{
    (void)state;
    sip_dialog d = invited_and_up(A);
    forget(A);
    sip_ua_hangup(A->ua, now, d, slice_str("Reason: SIP;cause=200\r\n"));
    drain(A);
    const char *bye = A->sent[0];
    assert_true(has(bye, "Route: <sip:p1.example;lr>\r\nRoute: <sip:p2.example;lr>\r\n"));
    assert_true(has(bye, "To: \"Alice\" <sip:alice@sfb.example>;tag=at;epid=0123456789\r\n"));
    assert_true(has(bye, "From: <sip:room@meet.example>;epid=77;tag="));
    assert_true(has(bye, "Reason: SIP;cause=200\r\n"));
    assert_int_equal(A->n_seen, 0);
    assert_int_equal(sip_ua_reinvite(A->ua, now, d, slice_of(NULL, 0), slice_of(NULL, 0)),
                     ERR_BADSTATE);
}

static void the_same_request_gets_the_same_answer(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    answer(A, A->seen[0].dialog, 486);
    forget(A);
    give(A, request("INVITE", 1, "", "inv1", ""));
    last_is(A, "SIP/2.0 486 Busy Here\r\n");
    assert_int_equal(A->n_seen, 0);
    tick(A, 500); /* UDP: timer G */
    assert_int_equal(A->n_sent, 2);
    give(A, request("ACK", 1, our_tag(A), "inv1", ""));
    forget(A);
    tick(A, 4000);
    assert_int_equal(A->n_sent, 0);
}

static void merged_requests_loop(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "path1", ""));
    give(A, request("INVITE", 1, "", "path2", ""));
    last_is(A, "SIP/2.0 482");
    assert_int_equal(A->n_seen, 1);
}

static void cancel_ends_a_pending_invite(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    sip_dialog d = A->seen[0].dialog;
    forget(A);
    give(A,
         request("CANCEL", 1, "", "inv1", "ms-client-diagnostics: 52094;reason=\"gone\"\r\n"));
    assert_int_equal(A->n_sent, 2);
    assert_true(has(A->sent[0], "SIP/2.0 200") && has(A->sent[0], "1 CANCEL"));
    assert_true(has(A->sent[1], "SIP/2.0 487") && has(A->sent[1], "1 INVITE"));
    only_seen(A, SIP_DO_ENDED);
    assert_string_equal(A->seen[0].why, "CANCEL");
    assert_true(has(A->reason, "52094;reason=\"gone\""));
    assert_int_equal(answer(A, d, 200), ERR_BADSTATE);
    give(A, request("CANCEL", 1, "", "none", ""));
    last_is(A, "SIP/2.0 481");
}

static void cancel_after_200_changes_nothing(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    answer(A, A->seen[0].dialog, 200);
    forget(A);
    give(A, request("CANCEL", 1, "", "inv1", ""));
    assert_int_equal(A->n_sent, 1);
    assert_int_equal(A->n_seen, 0);
}

static void bye_tells_why(void **state)
{
    (void)state;
    sip_dialog d = invited_and_up(A);
    char tag[64];
    snprintf(tag, sizeof tag, "%s", our_tag(A));
    forget(A);
    give(A, request("BYE", 2, tag, "bye",
                    "ms-diagnostics-public: 21002;reason=\"Attendees cannot share in this "
                    "conference\";component=\"ASMCU\"\r\n"));
    last_is(A, "SIP/2.0 200 OK\r\n");
    only_seen(A, SIP_DO_ENDED);
    assert_true(A->seen[0].dialog == d);
    assert_true(has(A->reason, "21002;reason=\"Attendees cannot share"));
    give(A, request("BYE", 3, tag, "bye3", ""));
    last_is(A, "SIP/2.0 481");
}

static void bye_ends_a_pending_reinvite(void **state)
{
    (void)state;
    invited_and_up(A);
    char tag[64];
    snprintf(tag, sizeof tag, "%s", our_tag(A));
    forget(A);
    give(A, request("INVITE", 2, tag, "re", ""));
    only_seen(A, SIP_DO_REINVITED);
    forget(A);
    give(A, request("BYE", 3, tag, "bye", ""));
    assert_int_equal(A->n_sent, 2);
    assert_true(has(A->sent[0], "SIP/2.0 200") && has(A->sent[1], "SIP/2.0 487"));
    only_seen(A, SIP_DO_ENDED);
}

static void refuses_what_it_must(void **state)
{
    static const struct {
        const char *method, *tag, *rest, *status, *header;
    } row[] = {
        {"OPTIONS",   "",        "",                           "SIP/2.0 200", "Allow: INVITE"          },
        {"OPTIONS",   "",        "",                           "SIP/2.0 200", "Accept: application/sdp"},
        {"MESSAGE",   "",        "",                           "SIP/2.0 405", "Allow: INVITE"          },
        {"SERVICE",   "",        "",                           "SIP/2.0 405", "Allow: INVITE"          },
        {"invite",    "",        "",                           "SIP/2.0 405", "Allow: INVITE"          }, /* methods mind their case */
        {"SUBSCRIBE", "",        "",                           "SIP/2.0 489", "CSeq"                   },
        {"BYE",       "unknown", "",                           "SIP/2.0 481", "CSeq"                   },
        {"INVITE",    "unknown", "",                           "SIP/2.0 481", "CSeq"                   },
        {"INFO",      "",        "",                           "SIP/2.0 481", "CSeq"                   },
        {"INVITE",    "",        "Require: magic\r\n",         "SIP/2.0 420", "Unsupported: magic\r\n" },
        {"INVITE",    "",        "Content-Encoding: gzip\r\n", "SIP/2.0 415", "Accept-Encoding"        },
        {"INVITE",    "",        "To: <sip:other@x>\r\n",      "SIP/2.0 400", "CSeq"                   },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char branch[16];
        snprintf(branch, sizeof branch, "row%zu", i);
        forget(A);
        (void)!give(A, request(row[i].method, 1, row[i].tag, branch, row[i].rest));
        last_is(A, row[i].status);
        assert_true(has(A->sent[0], row[i].header));
        assert_int_equal(A->n_seen, 0);
    }
}

static void in_dialog_requests(void **state)
{
    (void)state;
    invited_and_up(A);
    char tag[64];
    snprintf(tag, sizeof tag, "%s", our_tag(A));
    give(A, request("INFO", 5, tag, "info", ""));
    last_is(A, "SIP/2.0 200");
    give(A, request("INFO", 4, tag, "old", ""));
    last_is(A, "SIP/2.0 500");
}

static void a_full_table_says_when_to_come_back(void **state)
{
    (void)state;
    struct end *e = end_new(SIP_TCP, 1, 2, 1);
    give(e, request("INVITE", 1, "", "one", ""));
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "%s", request("INVITE", 2, "", "two", ""));
    give(e, text);
    last_is(e, "SIP/2.0 503");
    assert_true(has(e->sent[e->n_sent - 1], "Retry-After: 10\r\n"));
    assert_int_equal(e->n_seen, 1);
    end_free(e);
}

static void a_lost_flow_ends_its_dialogs(void **state)
{
    (void)state;
    invited_and_up(A);
    forget(A);
    sip_ua_flow_gone(A->ua, now, 8);
    drain(A);
    assert_int_equal(A->n_seen, 0);
    sip_ua_flow_gone(A->ua, now, A->flow.id);
    drain(A);
    only_seen(A, SIP_DO_ENDED);
    assert_true(sip_ua_deadline_ms(A->ua) == UINT64_MAX);
}

static void no_truncation_hurts(void **state)
{
    (void)state;
    char text[TEXT_MAX], cut[TEXT_MAX];
    snprintf(text, sizeof text, "%s", request("INVITE", 1, "", "cut", ""));
    for (size_t n = 0; n < strlen(text); n++) {
        forget(A);
        snprintf(cut, n + 1, "%s", text);
        assert_int_equal(give(A, cut), ERR_MALFORMED);
        assert_int_equal(A->n_seen, 0);
    }
}

/* Flips bytes of a dialog's messages: nothing may crash, and no table may overflow. */
static void no_noise_hurts(void **state)
{
    static const char *const methods[] = {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO"};
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        char text[TEXT_MAX];
        uint32_t r[3];
        fake_random(r, sizeof r, NULL);
        snprintf(text, sizeof text, "%s", request(methods[r[0] % 6], i / 6, "", "noise", ""));
        for (unsigned k = 0; k < r[1] % 4; k++) {
            uint32_t where;
            fake_random(&where, sizeof where, NULL);
            char c = (char)(where >> 24);
            text[where % strlen(text)] = c ? c : '\r';
        }
        (void)!give(A, text);
        if (A->n_seen > 0 && A->seen[0].what == SIP_DO_INVITED) {
            (void)!answer(A, A->seen[0].dialog, r[2] % 2 ? 200 : 486);
        }
        forget(A);
        tick(A, now + r[2] % 2000);
        forget(A);
    }
}

/* What the one sent goes to the other, but `lose` (counted from 0; -1: nothing). */
static void exchange(struct end *from, struct end *to, int lose)
{
    size_t n = from->n_sent;
    from->n_sent = 0;
    for (size_t i = 0; i < n; i++) {
        if ((int)i != lose) {
            assert_int_equal(give(to, from->sent[i]), OK);
        }
    }
}

static sip_dialog call(struct end *e)
{
    struct sip_invite inv = {.flow = e->flow,
                             .request_uri = slice_str("sip:room@192.0.2.2"),
                             .from = slice_str("sip:me@a.example"),
                             .to = slice_str("sip:room@b.example"),
                             .content_type = slice_str("application/sdp"),
                             .body = slice_str("offer"),
                             .headers = slice_str("X-Own: 1\r\n")};
    sip_dialog d;
    assert_int_equal(sip_ua_invite(e->ua, now, &inv, &d), OK);
    drain(e);
    return d;
}

static void two_ends_talk(void **state)
{
    (void)state;
    sip_dialog a = call(A);
    assert_true(has(A->sent[0], "X-Own: 1\r\n"));
    exchange(A, B, -1);
    only_seen(B, SIP_DO_INVITED);
    assert_string_equal(B->body, "offer");
    sip_dialog b = B->seen[0].dialog;
    answer(B, b, 180);
    answer(B, b, 200);
    exchange(B, A, -1);
    assert_int_equal(A->seen[0].what, SIP_DO_PROGRESS);
    assert_int_equal(A->seen[1].what, SIP_DO_ANSWERED);
    assert_string_equal(A->body, "answer");
    forget(B);
    exchange(A, B, -1);
    assert_int_equal(B->seen[0].what, SIP_DO_CONFIRMED);
    forget(A);
    forget(B);
    /* re-INVITE the other way, then the BYE from the first */
    assert_int_equal(
        sip_ua_reinvite(B->ua, now, b, slice_str("application/sdp"), slice_str("again")), OK);
    drain(B);
    exchange(B, A, -1);
    only_seen(A, SIP_DO_REINVITED);
    assert_true(A->seen[0].dialog == a);
    answer(A, a, 488);
    exchange(A, B, -1);
    only_seen(B, SIP_DO_REFUSED);
    assert_int_equal(B->seen[0].status, 488);
    exchange(B, A, -1);
    forget(A);
    forget(B);
    sip_ua_hangup(A->ua, now, a, slice_of(NULL, 0));
    drain(A);
    exchange(A, B, -1);
    only_seen(B, SIP_DO_ENDED);
    exchange(B, A, -1);
    tick(A, now + 40000);
    tick(B, now);
    assert_int_equal(A->n_sent + B->n_sent, 0);
    assert_true(sip_ua_deadline_ms(A->ua) == UINT64_MAX);
    assert_true(sip_ua_deadline_ms(B->ua) == UINT64_MAX);
}

static void a_caller_reverses_the_route_set(void **state)
{
    (void)state;
    call(A);
    exchange(A, B, -1);
    answer(B, B->seen[0].dialog, 200);
    const char *ok = B->sent[B->n_sent - 1];
    char routed[TEXT_MAX];
    size_t line = strcspn(ok, "\n") + 1;
    snprintf(routed, sizeof routed,
             "%.*sRecord-Route: <sip:p1;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n%s",
             (int)line, ok, ok + line);
    give(A, routed);
    last_is(A, "ACK sip:room@192.0.2.2:5060 SIP/2.0\r\n");
    assert_true(has(A->sent[A->n_sent - 1], "Route: <sip:p3;lr>\r\nRoute: <sip:p2;lr>\r\n"
                                            "Route: <sip:p1;lr>\r\n"));
}

static void a_lost_ack_is_sent_again(void **state)
{
    (void)state;
    call(A);
    exchange(A, B, -1);
    answer(B, B->seen[0].dialog, 200);
    exchange(B, A, -1);
    forget(A); /* the ACK is lost */
    forget(B);
    tick(B, 500);
    exchange(B, A, -1);
    assert_int_equal(A->n_seen, 0);
    last_is(A, "ACK ");
    exchange(A, B, -1);
    only_seen(B, SIP_DO_CONFIRMED);
}

static void a_lost_invite_is_sent_again_until_nobody_answers(void **state)
{
    (void)state;
    sip_dialog d = call(A);
    forget(A);
    while (sip_ua_deadline_ms(A->ua) < 32000) {
        tick(A, sip_ua_deadline_ms(A->ua));
    }
    assert_int_equal(A->n_sent, 6); /* 0.5 1.5 3.5 7.5 15.5 31.5 */
    assert_int_equal(A->n_seen, 0);
    tick(A, 32000);
    only_seen(A, SIP_DO_REFUSED);
    assert_int_equal(A->seen[0].status, 408);
    assert_int_equal(sip_ua_reinvite(A->ua, now, d, slice_of(NULL, 0), slice_of(NULL, 0)),
                     ERR_BADSTATE);
    assert_true(sip_ua_deadline_ms(A->ua) == UINT64_MAX);
}

static void hanging_up_early_cancels(void **state)
{
    (void)state;
    sip_dialog d = call(A);
    sip_ua_hangup(A->ua, now, d, slice_of(NULL, 0));
    drain(A);
    assert_int_equal(A->n_sent, 1); /* no CANCEL before a provisional response (9.1) */
    exchange(A, B, -1);
    exchange(B, A, -1);
    last_is(A, "CANCEL ");
    forget(B);
    exchange(A, B, -1);
    only_seen(B, SIP_DO_ENDED);
    exchange(B, A, -1);
    last_is(A, "ACK ");
    exchange(A, B, -1);
    assert_int_equal(A->n_seen, 0);
    tick(A, 40000);
    tick(B, 40000);
    assert_true(sip_ua_deadline_ms(A->ua) == UINT64_MAX);
    assert_true(sip_ua_deadline_ms(B->ua) == UINT64_MAX);
}

static void a_200_that_crosses_the_cancel_gets_a_bye(void **state)
{
    (void)state;
    sip_dialog d = call(A);
    exchange(A, B, -1);
    exchange(B, A, -1); /* 100 */
    answer(B, B->seen[0].dialog, 200);
    sip_ua_hangup(A->ua, now, d, slice_of(NULL, 0));
    drain(A);
    last_is(A, "CANCEL ");
    forget(A); /* lost */
    exchange(B, A, -1);
    assert_int_equal(A->n_sent, 2);
    assert_true(has(A->sent[0], "ACK ") && has(A->sent[1], "BYE "));
    forget(B);
    exchange(A, B, -1);
    assert_int_equal(B->seen[1].what, SIP_DO_ENDED);
    assert_int_equal(A->n_seen, 0);
}

static void glare_gets_491(void **state)
{
    (void)state;
    sip_dialog a = call(A);
    exchange(A, B, -1);
    sip_dialog b = B->seen[0].dialog;
    answer(B, b, 200);
    exchange(B, A, -1);
    exchange(A, B, -1);
    forget(A);
    forget(B);
    struct slice type = slice_str("application/sdp"), body = slice_str("x");
    assert_int_equal(sip_ua_reinvite(A->ua, now, a, type, body), OK);
    assert_int_equal(sip_ua_reinvite(A->ua, now, a, type, body), ERR_BADSTATE);
    assert_int_equal(sip_ua_reinvite(B->ua, now, b, type, body), OK);
    drain(A);
    drain(B);
    char crossing[TEXT_MAX];
    snprintf(crossing, sizeof crossing, "%s", B->sent[0]);
    forget(B);
    exchange(A, B, -1);
    last_is(B, "SIP/2.0 491");
    give(A, crossing);
    last_is(A, "SIP/2.0 491");
    exchange(B, A, -1);
    only_seen(A, SIP_DO_REFUSED);
    assert_int_equal(A->seen[0].status, 491);
    forget(A);
    assert_int_equal(sip_ua_reinvite(A->ua, now, a, type, body), OK); /* the dialog goes on */
}

static void a_refusal_tells_why(void **state)
{
    (void)state;
    call(A);
    exchange(A, B, -1);
    struct sip_answer no = {.status = 488,
                            .headers =
                                slice_str("Warning: 304 h \"Media type not available\"\r\n"
                                          "ms-diagnostics: 52017;reason=\"bad SDP\"\r\n")};
    assert_int_equal(sip_ua_answer(B->ua, now, B->seen[0].dialog, &no), OK);
    drain(B);
    exchange(B, A, -1);
    only_seen(A, SIP_DO_REFUSED);
    assert_string_equal(A->reason, "Not Acceptable Here; Warning: 304 h \"Media type not "
                                   "available\"; ms-diagnostics: 52017;reason=\"bad SDP\"");
    last_is(A, "ACK ");
}

static void hanging_up_waits_for_the_ack(void **state)
{
    (void)state;
    give(A, request("INVITE", 1, "", "inv1", ""));
    sip_dialog d = A->seen[0].dialog;
    answer(A, d, 200);
    char tag[64];
    snprintf(tag, sizeof tag, "%s", our_tag(A));
    forget(A);
    sip_ua_hangup(A->ua, now, d, slice_of(NULL, 0));
    drain(A);
    assert_int_equal(A->n_sent, 0); /* RFC 3261 15 */
    give(A, request("ACK", 1, tag, "ack", ""));
    last_is(A, "BYE ");
    assert_int_equal(A->n_seen, 0);
}

static int setup(void **state)
{
    (void)state;
    now = 0;
    seed = 1;
    A = end_new(SIP_UDP, 1, 2, 20);
    B = end_new(SIP_UDP, 2, 1, 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end_free(A);
    end_free(B);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers_an_invite),
        T(repeats_2xx_until_the_ack),
        T(ends_without_an_ack),
        T(our_requests_follow_the_route_set),
        T(the_same_request_gets_the_same_answer),
        T(merged_requests_loop),
        T(cancel_ends_a_pending_invite),
        T(cancel_after_200_changes_nothing),
        T(bye_tells_why),
        T(bye_ends_a_pending_reinvite),
        T(refuses_what_it_must),
        T(in_dialog_requests),
        T(a_full_table_says_when_to_come_back),
        T(a_lost_flow_ends_its_dialogs),
        T(no_truncation_hurts),
        T(no_noise_hurts),
        T(two_ends_talk),
        T(a_caller_reverses_the_route_set),
        T(a_lost_ack_is_sent_again),
        T(a_lost_invite_is_sent_again_until_nobody_answers),
        T(hanging_up_early_cancels),
        T(a_200_that_crosses_the_cancel_gets_a_bye),
        T(glare_gets_491),
        T(a_refusal_tells_why),
        T(hanging_up_waits_for_the_ack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
