/* What the core reports, as log lines. */
#include "run/turn_run_impl.h"

enum {
    DENIALS_PER_S = 20,   /* of those that anybody can cause, and of those that clients can */
    RENEWALS_PER_S = 200, /* a client may refresh as often as it likes */
    EVENTS_PER_S = 1000   /* of all others: what begins and ends */
};

static bool is(const struct turn_report *p, const char *event)
{
    return strcmp(p->event, event) == 0;
}

/* Fields in the order of the log line; what is not set is left out. */
struct fields {
    struct log_field f[20];
    size_t n;
    char text[5][ADDR_TEXT_MAX], id[3][TURN_ID_TEXT];
    size_t n_text, n_id;
};

static void put(struct fields *f, struct log_field field)
{
    f->f[f->n++] = field;
}

static void put_addr(struct fields *f, const char *key, const struct addr *a)
{
    if (a->family) {
        char *text = f->text[f->n_text++];
        put(f, LOG_S(key, addr_text(a, text)));
    }
}

static void put_id(struct fields *f, const char *key, turn_id id)
{
    if (id) {
        put(f, LOG_S(key, turn_id_text(id, f->id[f->n_id++])));
    }
}

static void put_counts(struct fields *f, struct turn_run *r, const struct turn_action *a)
{
    const struct turn_report *p = &a->report;
    if (is(p, "close")) {
        struct tcp_pipe_count n = turn_run_link_count(r, a->peer_conn);
        put(f, LOG_N("to_peer", n.a_to_b));
        put(f, LOG_N("to_client", n.b_to_a));
    }
    bool is_end = is(p, "expire") || is(p, "release") || is(p, "kick");
    if (is_end) {
        put(f, LOG_N("to_peers", p->to_peers));
        put(f, LOG_N("to_client", p->to_client));
    }
    if (is_end || is(p, "relay-end")) {
        uint64_t dropped = 0, to_peers = 0, to_client = 0;
        for (size_t i = 0; i < 2; i++) {
            const struct relay *rl = relay_find(r, p->relays[i]);
            dropped += rl ? rl->dropped : 0;
            to_peers += rl ? rl->ended.a_to_b : 0;
            to_client += rl ? rl->ended.b_to_a : 0;
        }
        put(f, LOG_N("dropped", dropped));
        put(f, LOG_N("tcp_to_peers", to_peers));
        put(f, LOG_N("tcp_to_client", to_client));
    }
}

static bool may_log(struct turn_run *r, const struct turn_report *p, uint32_t *held)
{
    uint64_t now_s = loop_now_ms(r->loop) / 1000;
    if (is(p, "refresh") || is(p, "permission") || is(p, "channel")) {
        return log_limit_pass(&r->renewals, now_s, RENEWALS_PER_S, held);
    }
    if (!is(p, "deny")) {
        return log_limit_pass(&r->events, now_s, EVENTS_PER_S, held);
    }
    return log_limit_pass(p->is_noise ? &r->noise : &r->denials, now_s, DENIALS_PER_S, held);
}

void run_count_refusal(struct turn_run *r, const char *why)
{
    size_t i = 0;
    while (i < r->n_refusals && strcmp(r->refusals[i].why, why) != 0) {
        i++;
    }
    if (i == r->n_refusals && i < REFUSALS_MAX) {
        r->refusals[r->n_refusals++].why = why;
    }
    if (i < REFUSALS_MAX) {
        r->refusals[i].n++;
    }
}

bool turn_run_refusals(const struct turn_run *r, size_t n, struct turn_refusals *out)
{
    if (n < r->n_refusals) {
        *out = r->refusals[n];
    }
    return n < r->n_refusals;
}

void run_report(struct turn_run *r, const struct turn_action *a)
{
    const struct turn_report *p = &a->report;
    uint32_t held;
    /* A first request without credentials is how every client begins. */
    bool is_usual = p->code == 401 && p->why && strcmp(p->why, "no credentials") == 0;
    if (is(p, "deny") && p->why) {
        run_count_refusal(r, p->why);
    }
    enum log_level level = is_usual ? LOG_DEBUG : LOG_INFO;
    if (level > r->cfg.log->level || !may_log(r, p, &held)) {
        return;
    }
    struct fields f = {.n = 0};
    put_id(&f, "id", a->relay);
    put_id(&f, "conn", a->conn);
    put_id(&f, "link", a->peer_conn);
    if (p->username.len > 0) {
        put(&f, LOG_B("user", p->username));
    }
    put_addr(&f, "client", &p->client);
    put_addr(&f, "was", &p->was);
    put_addr(&f, "relay", &p->relayed[0]);
    put_addr(&f, "relay2", &p->relayed[1]);
    put_addr(&f, "peer", &p->peer);
    if (p->lifetime_s) {
        put(&f, LOG_N("lifetime_s", p->lifetime_s));
    }
    if (p->code) {
        put(&f, LOG_N("code", p->code));
    }
    put_counts(&f, r, a);
    if (p->why) {
        put(&f, LOG_S("why", p->why));
    }
    if (held) {
        put(&f, LOG_N("held_back", held));
    }
    log_event(r->cfg.log, level, p->event, f.f);
}
