/* Two SIP endpoints on one loop over UDP, TCP and TLS, and raw peers that behave badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/text.h"

#include "io/tcp.h"
#include "run/sip_run.h"

#include "tests/lib/tls/make_certs.h"

struct side {
    struct sip_run *run;
    sip_dialog dialog;
    char heard[256]; /* a letter for each action */
    char why[128];
    void (*play)(struct side *s, const struct sip_action *a);
};

static struct certs certs;
static struct loop *loop;
static struct loop_timer *guard, *soon;
static struct side caller, callee;
static struct log logger = {.level = LOG_ERROR, .program = "test", .fd = 2};
static bool timed_out;

static void too_late(void *ctx)
{
    (void)ctx;
    timed_out = true;
    loop_stop(loop);
}

/* Runs until somebody stops the loop; fails when nobody does. */
static void run(void)
{
    timed_out = false;
    loop_timer_at(guard, loop_now_ms(loop) + 20000);
    loop_run(loop);
    loop_timer_at(guard, UINT64_MAX);
    if (timed_out) {
        fail_msg("stuck; caller saw %s, callee saw %s", caller.heard, callee.heard);
    }
}

static void on_action(const struct sip_action *a, void *ctx)
{
    static const char letters[] = "sIRCPAXEr"; /* in the order of enum sip_do */
    struct side *s = ctx;
    if (a->what == SIP_DO_REPORT) {
        return;
    }
    size_t n = strlen(s->heard);
    assert_true(n + 1 < sizeof s->heard);
    s->heard[n] = letters[a->what];
    s->dialog = a->dialog;
    if (a->why) {
        snprintf(s->why, sizeof s->why, "%s", a->why);
    }
    s->play(s, a);
}

static struct addr loopback(uint16_t port)
{
    return (struct addr){
        .family = ADDR_IP4, .ip = {127, 0, 0, 1},
             .port = port
    };
}

static struct sip_run_config config(struct side *s, enum sip_transport transport, size_t n)
{
    struct sip_run_config cfg = {
        .ua = {.user_agent = slice_str("test/1"), .max_dialogs = 10, .max_transactions = 50},
        .log = &logger,
        .tls_cert = certs.cert,
        .tls_key = certs.key,
        .tls_ca = certs.cert,
        .max_flows = 4,
        .idle_s = 60,
        .log_messages = true,
        .action = on_action,
        .ctx = s,
        .n_listen = n
    };
    cfg.listen[0].transport = transport;
    cfg.listen[0].at = loopback(0);
    return cfg;
}

static void start(struct side *s, const struct sip_run_config *cfg,
                  void (*play)(struct side *s, const struct sip_action *a))
{
    *s = (struct side){.play = play};
    assert_int_equal(sip_run_new(&s->run, loop, cfg), OK);
}

static void start_both(enum sip_transport transport,
                       void (*calls)(struct side *s, const struct sip_action *a),
                       void (*answers)(struct side *s, const struct sip_action *a))
{
    struct sip_run_config cfg = config(&caller, transport, transport == SIP_UDP);
    start(&caller, &cfg, calls);
    cfg = config(&callee, transport, 1);
    start(&callee, &cfg, answers);
    struct sip_invite inv = {.request_uri = slice_str("sip:room@localhost"),
                             .from = slice_str("sip:me@a.example"),
                             .to = slice_str("sip:room@localhost"),
                             .content_type = slice_str("application/sdp"),
                             .body =
                                 slice_str("v=0\r\na=crypto:1 AES_CM_128 inline:SECRET\r\n")};
    struct addr to = sip_run_addr(callee.run, 0);
    assert_int_equal(sip_run_invite(caller.run, &to, transport, &inv, &caller.dialog), OK);
}

static int reply(struct side *s, uint16_t status, const char *body)
{
    struct sip_answer a = {.status = status,
                           .content_type = slice_str("application/sdp"),
                           .body = slice_str(body)};
    return sip_run_answer(s->run, s->dialog, &a);
}

static void play_caller(struct side *s, const struct sip_action *a)
{
    if (a->what == SIP_DO_ANSWERED) {
        assert_true(slice_eq(a->body, slice_str("answer")));
    } else if (a->what == SIP_DO_REINVITED) {
        assert_true(slice_eq(a->body, slice_str("again")));
        assert_int_equal(reply(s, 200, "fine"), OK);
    } else if (a->what == SIP_DO_CONFIRMED) {
        sip_run_hangup(s->run, s->dialog, slice_of(NULL, 0));
    }
}

static void play_callee(struct side *s, const struct sip_action *a)
{
    if (a->what == SIP_DO_INVITED) {
        assert_int_equal(reply(s, 180, ""), OK);
        assert_int_equal(reply(s, 200, "answer"), OK);
    } else if (a->what == SIP_DO_CONFIRMED) {
        assert_int_equal(sip_run_reinvite(s->run, s->dialog, slice_str("application/sdp"),
                                          slice_str("again")),
                         OK);
    } else if (a->what == SIP_DO_ENDED) {
        loop_stop(loop);
    }
}

static void call_over(enum sip_transport transport)
{
    start_both(transport, play_caller, play_callee);
    run();
    assert_string_equal(caller.heard, "PARC");
    assert_string_equal(callee.heard, "ICAE");
    assert_string_equal(callee.why, "BYE");
}

static void a_call_over_udp(void **state)
{
    (void)state;
    call_over(SIP_UDP);
}

static void a_call_over_tcp(void **state)
{
    (void)state;
    call_over(SIP_TCP);
}

static void a_call_over_tls(void **state)
{
    (void)state;
    call_over(SIP_TLS);
}

static void the_log_keeps_secrets(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    char text[65536];
    assert_non_null(f);
    logger.level = LOG_DEBUG;
    logger.fd = fileno(f);
    call_over(SIP_TCP);
    logger.level = LOG_ERROR;
    logger.fd = 2;
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_non_null(strstr(text, "listening"));
    assert_non_null(strstr(text, "INVITE sip:room@localhost SIP/2.0"));
    assert_null(strstr(text, "SECRET"));
}

static void play_impatient(struct side *s, const struct sip_action *a)
{
    if (a->what == SIP_DO_PROGRESS) {
        sip_run_hangup(s->run, s->dialog, slice_of(NULL, 0));
    }
}

static void play_ringing(struct side *s, const struct sip_action *a)
{
    if (a->what == SIP_DO_INVITED) {
        assert_int_equal(reply(s, 180, ""), OK);
    } else if (a->what == SIP_DO_ENDED) {
        loop_stop(loop);
    }
}

static void a_cancelled_call(void **state)
{
    (void)state;
    start_both(SIP_TCP, play_impatient, play_ringing);
    run();
    assert_string_equal(callee.heard, "IE");
    assert_string_equal(callee.why, "CANCEL");
}

static void kill_caller(void *ctx)
{
    (void)ctx;
    sip_run_free(caller.run);
    caller.run = NULL;
}

static void play_nothing(struct side *s, const struct sip_action *a)
{
    (void)s;
    (void)a;
}

static void play_survivor(struct side *s, const struct sip_action *a)
{
    if (a->what == SIP_DO_INVITED) {
        assert_int_equal(reply(s, 200, "answer"), OK);
    } else if (a->what == SIP_DO_CONFIRMED) {
        loop_timer_at(soon, 0);
    } else if (a->what == SIP_DO_ENDED) {
        loop_stop(loop);
    }
}

static void a_peer_that_dies_ends_its_call(void **state)
{
    static const enum sip_transport over[] = {SIP_TCP, SIP_TLS};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(loop_timer_new(&soon, loop, kill_caller, NULL), OK);
        start_both(over[i], play_nothing, play_survivor);
        run();
        assert_string_equal(callee.heard, "ICE");
        assert_string_equal(callee.why, "the connection is gone");
        loop_timer_free(soon);
        soon = NULL;
        sip_run_free(callee.run);
        callee.run = NULL;
    }
}

static void stop_when_over(struct side *s, const struct sip_action *a)
{
    (void)s;
    if (a->what == SIP_DO_ENDED || a->what == SIP_DO_REFUSED) {
        loop_stop(loop);
    }
}

static void a_server_with_a_strange_certificate_is_not_called(void **state)
{
    (void)state;
    struct sip_run_config cfg = config(&callee, SIP_TLS, 1);
    cfg.tls_cert = certs.other;
    cfg.tls_key = certs.other_key;
    start(&callee, &cfg, play_nothing);
    cfg = config(&caller, SIP_TLS, 0);
    start(&caller, &cfg, stop_when_over);
    struct sip_invite inv = {.request_uri = slice_str("sip:room@localhost"),
                             .from = slice_str("sip:me@a.example"),
                             .to = slice_str("sip:room@localhost")};
    struct addr to = sip_run_addr(callee.run, 0);
    assert_int_equal(sip_run_invite(caller.run, &to, SIP_TLS, &inv, &caller.dialog), OK);
    run();
    assert_string_equal(caller.heard, "E");
    assert_string_equal(callee.heard, "");
}

/* A peer of its own, without the endpoint. */
static struct raw {
    const char *says;
    char got[65536];
    size_t n_got, stop_at;
    bool closed, never_reads;
    struct tcp *tcp;
} raw;

static void raw_floods(struct raw *p)
{
    struct slice s = slice_str(p->says);
    while (!tcp_is_full(p->tcp)) {
        assert_int_equal(tcp_write(p->tcp, s, slice_of(NULL, 0)), OK);
    }
}

static void raw_connected(struct tcp *t, void *ctx)
{
    struct raw *p = ctx;
    if (p->never_reads) {
        tcp_pause(t);
        raw_floods(p);
        return;
    }
    assert_int_equal(tcp_write(t, slice_str(p->says), slice_of(NULL, 0)), OK);
}

static void raw_drained(struct tcp *t, void *ctx)
{
    (void)t;
    raw_floods(ctx);
}

static size_t raw_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct raw *p = ctx;
    (void)t;
    assert_true(p->n_got + bytes.len < sizeof p->got);
    memcpy(p->got + p->n_got, bytes.p, bytes.len);
    p->n_got += bytes.len;
    if (p->stop_at > 0 && p->n_got >= p->stop_at) {
        loop_stop(loop);
    }
    return bytes.len;
}

static void raw_over(struct tcp *t, void *ctx)
{
    struct raw *p = ctx;
    tcp_close(t);
    p->closed = true;
    p->tcp = NULL;
    loop_stop(loop);
}

static void raw_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct raw *p = ctx;
    (void)t;
    (void)sys_errno;
    p->closed = true;
    p->tcp = NULL;
    loop_stop(loop);
}

static const struct tcp_events raw_events = {.connected = raw_connected,
                                             .data = raw_data,
                                             .ended = raw_over,
                                             .drained = raw_drained,
                                             .closed = raw_closed};

static void raw_peer(const char *says, size_t stop_at)
{
    raw = (struct raw){.says = says, .stop_at = stop_at};
    struct addr to = sip_run_addr(callee.run, 0);
    assert_int_equal(
        tcp_connect(&raw.tcp, loop, &to, &(struct tcp_options){0}, &raw_events, &raw), OK);
}

static void raw_end(void)
{
    if (raw.tcp) {
        tcp_close(raw.tcp);
        raw.tcp = NULL;
    }
}

static void start_callee(uint32_t max_flows, uint32_t idle_s)
{
    struct sip_run_config cfg = config(&callee, SIP_TCP, 1);
    cfg.max_flows = max_flows;
    cfg.idle_s = idle_s;
    start(&callee, &cfg, play_nothing);
}

static void a_ping_gets_its_pong(void **state)
{
    (void)state;
    start_callee(4, 60);
    raw_peer("\r\n\r\n\r\n\r\n", 4);
    run();
    assert_int_equal(raw.n_got, 4);
    assert_memory_equal(raw.got, "\r\n\r\n", 4);
    raw_end();
}

static void other_protocols_are_shown_out(void **state)
{
    (void)state;
    start_callee(4, 60);
    raw_peer("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    run();
    assert_true(raw.closed);
    assert_int_equal(raw.n_got, 0);
}

static void a_silent_connection_is_closed(void **state)
{
    (void)state;
    start_callee(4, 1);
    uint64_t begun = loop_now_ms(loop);
    raw_peer("OPT", 0);
    run();
    assert_true(raw.closed);
    assert_true(loop_now_ms(loop) - begun >= 1000);
}

/* Half a message is not enough to keep a place for `idle_s`. */
static void a_connection_that_never_spoke_goes_sooner(void **state)
{
    (void)state;
    struct sip_run_config cfg = config(&callee, SIP_TCP, 1);
    cfg.silent_s = 1;
    start(&callee, &cfg, play_nothing);
    uint64_t begun = loop_now_ms(loop);
    raw_peer("OPT", 0);
    run();
    assert_true(raw.closed);
    assert_true(loop_now_ms(loop) - begun >= 1000);
}

static void connections_are_capped(void **state)
{
    (void)state;
    start_callee(1, 60);
    raw_peer("\r\n\r\n", 2);
    run();
    struct raw first = raw;
    raw_peer("\r\n\r\n", 2);
    run();
    assert_true(raw.closed);
    assert_int_equal(raw.n_got, 0);
    tcp_close(first.tcp);
}

static void a_peer_that_does_not_read_is_dropped(void **state)
{
    (void)state;
    static char text[10240];
    char pad[8000];
    memset(pad, 'x', sizeof pad - 1);
    pad[sizeof pad - 1] = 0;
    snprintf(text, sizeof text,
             "OPTIONS sip:a@localhost SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1;p=%s\r\n"
             "From: <sip:x@y>;tag=1\r\nTo: <sip:a@localhost>\r\nCall-ID: 1\r\n"
             "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
             pad);
    start_callee(4, 60);
    raw_peer(text, 0);
    raw.never_reads = true;
    run();
    assert_true(raw.closed);
}

static int setup(void **state)
{
    (void)state;
    caller = callee = (struct side){0};
    assert_int_equal(loop_new(&loop), OK);
    assert_int_equal(loop_timer_new(&guard, loop, too_late, NULL), OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    raw_end();
    sip_run_free(caller.run);
    sip_run_free(callee.run);
    loop_timer_free(guard);
    loop_free(loop);
    return 0;
}

static int make(void **state)
{
    (void)state;
    return certs_make(&certs) ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    certs_remove(&certs);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_call_over_udp),
        T(a_call_over_tcp),
        T(a_call_over_tls),
        T(the_log_keeps_secrets),
        T(a_cancelled_call),
        T(a_peer_that_dies_ends_its_call),
        T(a_server_with_a_strange_certificate_is_not_called),
        T(a_ping_gets_its_pong),
        T(other_protocols_are_shown_out),
        T(a_silent_connection_is_closed),
        T(a_connection_that_never_spoke_goes_sooner),
        T(connections_are_capped),
        T(a_peer_that_does_not_read_is_dropped),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
