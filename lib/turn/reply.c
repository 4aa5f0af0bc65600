/* The one way out: actions, replies, reports. */
#include <assert.h>

#include "lib/turn/core.h"

static const struct {
    uint16_t code;
    const char *text;
} reasons[] = {
    {300, "Try Alternate"                 },
    {400, "Bad Request"                   },
    {401, "Unauthorized"                  },
    {403, "Forbidden"                     },
    {405, "Mobility Forbidden"            },
    {420, "Unknown Attribute"             },
    {437, "Allocation Mismatch"           },
    {438, "Stale Nonce"                   },
    {440, "Address Family not Supported"  },
    {441, "Wrong Credentials"             },
    {442, "Unsupported Transport Protocol"},
    {443, "Peer Address Family Mismatch"  },
    {446, "Connection Already Exists"     },
    {447, "Connection Timeout or Failure" },
    {486, "Allocation Quota Reached"      },
    {500, "Server Error"                  },
    {508, "Insufficient Capacity"         },
};

const char *reason_of(uint16_t code)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].code == code) {
            return reasons[i].text;
        }
    }
    return "";
}

struct turn_action *action_put(struct turn_server *s, enum turn_do what)
{
    /* The ring has room for what one input can cause; the caller pulls before the next. */
    assert(s->ring_n < s->ring_cap);
    struct turn_action *a = &s->ring[(s->ring_at + s->ring_n++) % s->ring_cap];
    *a = (struct turn_action){.what = what};
    return a;
}

struct turn_action *action_last(struct turn_server *s)
{
    return &s->ring[(s->ring_at + s->ring_n - 1) % s->ring_cap];
}

struct turn_report *report_put(struct turn_server *s, const char *event, const char *why,
                               const struct alloc *a)
{
    struct turn_action *out = action_put(s, TURN_DO_REPORT);
    out->report.event = event;
    out->report.why = why;
    if (a) {
        out->relay = pool_id(&s->allocs, a);
        out->conn = a->conn.id;
        out->report.username = slice_of(a->user->name, a->user->name_len);
        out->report.client = a->conn.client;
        for (size_t i = 0, n = 0; i < ALLOC_RELAYS; i++) {
            if (a->relay[i].state == RELAY_OPEN) {
                out->report.relayed[n++] = a->relay[i].told;
            }
        }
    }
    return &out->report;
}

void message_send(struct turn_server *s, const struct turn_conn *conn, const struct wr *w)
{
    struct turn_action *a = action_put(s, TURN_DO_SEND);
    a->conn = conn->id;
    a->addr = conn->client;
    a->local = conn->local;
    a->body = wr_done(w);
}

static const uint16_t methods[] = {
    STUN_BINDING,      STUN_ALLOCATE, STUN_REFRESH,         STUN_CREATE_PERMISSION,
    STUN_CHANNEL_BIND, STUN_CONNECT,  STUN_CONNECTION_BIND,
};

enum {
    N_METHODS = sizeof methods / sizeof *methods,
    N_CODES = 1 + sizeof reasons / sizeof *reasons /* success comes first */
};
_Static_assert((size_t)N_METHODS <= ANSWER_METHODS && (size_t)N_CODES <= ANSWER_CODES,
               "answers[] is too small");

static void count_answer(struct turn_server *s, uint16_t method, uint16_t code)
{
    size_t m = 0, i = 0;
    while (m < N_METHODS && methods[m] != method) {
        m++;
    }
    while (i < N_CODES && (i == 0 ? 0 : reasons[i - 1].code) != code) {
        i++;
    }
    if (m < N_METHODS && i < N_CODES) {
        s->answers[m][i]++;
    }
}

bool turn_server_answers(const struct turn_server *s, size_t nth, struct turn_answers *out)
{
    size_t m = nth / N_CODES, i = nth % N_CODES;
    if (m >= N_METHODS) {
        return false;
    }
    *out = (struct turn_answers){
        .method = methods[m], .code = i == 0 ? 0 : reasons[i - 1].code, .n = s->answers[m][i]};
    return true;
}

static void reply_put(struct turn_server *s, const struct call *c, struct turn_reply *reply)
{
    struct wr w = wr_over(s->reply, sizeof s->reply);
    /* A datagram's source is not proven before it is signed: what goes there unasked for must
     * be little, and seldom. */
    reply->is_terse = !c->key && !c->conn->is_proven;
    if (reply->is_terse && !quota_pass_answer(s, &c->conn->client)) {
        return;
    }
    reply->software = s->cfg.software;
    /* Room and sizes are ours, so this can fail only where libcrypto does: no answer then. */
    if (c->conn->dialect->write(&w, &c->req, reply, c->key) == OK) {
        message_send(s, c->conn, &w);
        count_answer(s, c->req.msg.method, reply->code);
    }
}

void reply_success(struct turn_server *s, const struct call *c, struct turn_reply *reply)
{
    reply->code = 0;
    reply_put(s, c, reply);
}

static void report_denied(struct turn_server *s, const struct call *c, uint16_t code,
                          const char *why)
{
    struct turn_report *r = report_put(s, "deny", why, c->alloc);
    r->code = code;
    action_last(s)->conn = c->conn->id;
    r->client = c->conn->client;
    r->peer = c->req.has_peer ? c->req.peer : (struct addr){0};
    r->is_noise = !c->key;
    s->stats.denied_total++;
}

void reply_error(struct turn_server *s, const struct call *c, uint16_t code, const char *why)
{
    struct turn_reply reply = {.code = code, .reason = reason_of(code)};
    reply_put(s, c, &reply);
    report_denied(s, c, code, why);
}

void reply_elsewhere(struct turn_server *s, const struct call *c, const char *why)
{
    bool is_ip6 = c->conn->client.family == ADDR_IP6;
    const struct addr *first = &s->cfg.alternate[is_ip6], *second = &s->cfg.alternate[!is_ip6];
    if (!first->family) {
        reply_error(s, c, 508, why);
        return;
    }
    /* RFC 8489 10: the client's own family first. */
    struct turn_reply reply = {
        .code = 300,
        .reason = reason_of(300),
        .alternate = {first, second->family ? second : NULL}
    };
    /* Nor may a domain be told that SHA-256 does not vouch for. */
    if (c->key && c->key->hash == STUN_SHA256) {
        reply.alternate_domain = s->cfg.alternate_domain;
    }
    reply_put(s, c, &reply);
    report_denied(s, c, 300, why);
}

void reply_challenge(struct turn_server *s, const struct call *c, uint16_t code,
                     const char *why)
{
    struct turn_reply reply = {.code = code,
                               .reason = reason_of(code),
                               .realm = s->cfg.realms[c->conn->realm],
                               .nonce = slice_of(s->nonce, s->nonce_len),
                               .algorithms = slice_of(s->cfg.algorithms, s->cfg.n_algorithms),
                               .third_party = s->cfg.third_party};
    reply_put(s, c, &reply);
    report_denied(s, c, code, why);
}

void attempt_send(struct turn_server *s, const struct peer *p)
{
    const struct alloc *a = p->alloc;
    struct stun_tid tid = server_tid(s);
    struct wr w = wr_over(s->reply, sizeof s->reply);
    struct turn_reply what = {
        .connection_id = p->cid, .peer = p->addr, .software = s->cfg.software};
    if (a->conn.dialect->write_attempt(&w, &tid, &what, &a->key) == OK) {
        message_send(s, &a->conn, &w);
    }
}

struct call call_again(const struct alloc *a, enum stun_method method,
                       const struct stun_tid *tid)
{
    return (struct call){
        .conn = &a->conn,
        .key = &a->key,
        .req.msg = {.wire = a->conn.dialect->wire,
                    .tid = *tid,
                    .cls = STUN_REQUEST,
                    .method = (uint16_t)method}
    };
}
