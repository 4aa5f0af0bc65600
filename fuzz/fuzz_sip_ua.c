/* A SIP endpoint under fire. The input is a script: each step gives a message, lets time pass,
 * answers, hangs up, or loses the flow. The endpoint calls once first, so that responses find a
 * transaction; "$T" in a message stands for the tag it used last. */
#include <stdlib.h>

#include "lib/sip/stream.h"
#include "lib/sip/ua.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    TAG_LEN = 16
};

struct world {
    struct sip_ua *ua;
    struct sip_flow_info flow;
    uint64_t now_ms;
    uint8_t next_random;
    sip_dialog last;
    char tag[TAG_LEN];
};

static void count_up(void *out, size_t len, void *ctx)
{
    struct world *w = ctx;
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = w->next_random++;
    }
}

static void drain(struct world *w)
{
    struct sip_action a;
    while (sip_ua_next(w->ua, &a)) {
        w->last = a.dialog ? a.dialog : w->last;
        struct slice sent = a.bytes;
        /* Whatever is sent must be a message that our own reader takes off a stream. */
        struct slice message;
        size_t used;
        if (a.what == SIP_DO_SEND && (sip_stream_next(a.bytes, &message, &used) == PARSE_BAD)) {
            abort();
        }
        for (size_t i = 0; i + 5 + TAG_LEN <= sent.len; i++) {
            if (memcmp(sent.p + i, ";tag=", 5) == 0) {
                memcpy(w->tag, sent.p + i + 5, TAG_LEN);
            }
        }
    }
}

/* `s` with each "$T" replaced. */
static struct slice expand(const struct world *w, struct slice s, uint8_t *out, size_t cap)
{
    struct wr o = wr_over(out, cap);
    for (size_t i = 0; i < s.len; i++) {
        if (i + 1 < s.len && s.p[i] == '$' && s.p[i + 1] == 'T') {
            wr_bytes(&o, slice_of(w->tag, TAG_LEN));
            i++;
        } else {
            wr_u8(&o, s.p[i]);
        }
    }
    return wr_done(&o);
}

static void give(struct world *w, struct slice s)
{
    static uint8_t buf[SIP_HEAD_MAX + SIP_BODY_MAX];
    struct slice text = expand(w, s, buf, sizeof buf);
    uint8_t *exact = malloc(text.len ? text.len : 1);
    if (exact) {
        if (text.len > 0) {
            memcpy(exact, text.p, text.len);
        }
        (void)!sip_ua_recv(w->ua, w->now_ms, &w->flow, slice_of(exact, text.len));
        free(exact);
    }
}

static void step(struct world *w, uint8_t what, struct slice s)
{
    static const uint16_t statuses[] = {180, 200, 200, 486};
    struct sip_answer a = {.status = statuses[what >> 4 & 3], .body = slice_str("x")};
    a.content_type = slice_str("application/sdp");
    switch (what & 7) {
    case 0: (void)!sip_ua_answer(w->ua, w->now_ms, w->last, &a); break;
    case 1: sip_ua_hangup(w->ua, w->now_ms, w->last, slice_of(NULL, 0)); break;
    case 2: (void)!sip_ua_reinvite(w->ua, w->now_ms, w->last, a.content_type, a.body); break;
    case 3:
        w->now_ms += 100u * (what >> 3);
        sip_ua_tick(w->ua, w->now_ms);
        break;
    case 4: sip_ua_flow_gone(w->ua, w->now_ms, w->flow.id); break;
    default: give(w, s); break;
    }
    drain(w);
}

static void call(struct world *w)
{
    struct sip_invite inv = {.flow = w->flow,
                             .request_uri = slice_str("sip:b@h"),
                             .from = slice_str("sip:a@h"),
                             .to = slice_str("sip:b@h")};
    (void)!sip_ua_invite(w->ua, 0, &inv, &w->last);
    drain(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {
        .flow = {.id = 1, .transport = SIP_UDP}
    };
    struct sip_ua_config cfg = {.max_dialogs = 3, .max_transactions = 6};
    struct sip_env env = {.random = count_up, .ctx = &w};
    w.flow.local = w.flow.remote = (struct addr){
        .family = ADDR_IP4, .ip = {127, 0, 0, 1}
    };
    if (sip_ua_new(&w.ua, &cfg, &env)) {
        return 0;
    }
    call(&w);
    /* Steps: what to do, two bytes of length, that many bytes of message. */
    struct rd r = rd_over(slice_of(data, size));
    while (rd_left(&r) > 0) {
        uint8_t what = rd_u8(&r);
        size_t len = (what & 7) > 4 ? rd_u16(&r) : 0;
        struct slice s = rd_take(&r, len < rd_left(&r) ? len : rd_left(&r));
        step(&w, what, s);
    }
    sip_ua_free(w.ua);
    return 0;
}
