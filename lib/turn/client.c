/* The TURN client: one allocation, from the first Allocate to its end. */
#include "lib/turn/client.h"

#include <stdlib.h>

#include "lib/base/crypto.h"

#include "lib/stun/stream.h"
#include "lib/turn/client_core.h"

int turn_client_new(struct turn_client **out, const struct turn_client_config *cfg,
                    const struct turn_client_env *env)
{
    *out = NULL;
    struct turn_client *c = calloc(1, sizeof *c);
    if (!c) {
        return ERR_NOMEM;
    }
    c->cfg = *cfg;
    c->env = *env;
    c->refresh_ms = c->keepalive_ms = c->perms_ms = TIMER_NEVER;
    c->main.deadline_ms = c->perm_txn.deadline_ms = TIMER_NEVER;
    int err =
        cfg->max_data < 1 || cfg->max_data > 1024 || cfg->username.len == 0 ? ERR_LIMIT : OK;
    err = err ? err : client_keep(&c->username, cfg->username, 513);
    err = err ? err : client_keep(&c->password, cfg->password, 256);
    err = err ? err : client_keep(&c->software, cfg->software, 128);
    c->cfg.username = client_text(&c->username);
    c->cfg.password = client_text(&c->password);
    c->cfg.software = client_text(&c->software);
    if (err) {
        turn_client_free(c);
        return err;
    }
    /* Opened and closed in one input, each; and as much again for reports. */
    c->q_cap = 4 * (size_t)cfg->max_data + 64;
    c->queue = calloc(c->q_cap, sizeof *c->queue);
    c->data = calloc(cfg->max_data, sizeof *c->data);
    if (!c->queue || !c->data) {
        turn_client_free(c);
        return ERR_NOMEM;
    }
    *out = c;
    return OK;
}

void turn_client_free(struct turn_client *c)
{
    if (!c) {
        return;
    }
    free(c->queue);
    free(c->data);
    free(c->arena);
    secret_wipe(c, sizeof *c);
    free(c);
}

void turn_client_start(struct turn_client *c, uint64_t now_ms)
{
    client_input(c);
    if (c->state == CLIENT_IDLE) {
        c->state = CLIENT_PROBING;
        client_report(c, "allocate", 0);
        client_send_probe(c, now_ms);
    }
}

bool client_txn_is(const struct client_txn *t, const struct stun_msg *m)
{
    return t->deadline_ms != TIMER_NEVER && t->method == m->method &&
           memcmp(t->tid.b, m->tid.b, m->tid.len) == 0 &&
           (m->cls == STUN_SUCCESS || m->cls == STUN_ERROR);
}

enum client_answer client_judge(struct turn_client *c, struct client_txn *t,
                                const struct stun_msg *m, uint16_t *code)
{
    struct slice reason;
    if (client_must_ignore(c, m)) {
        c->saw_forgery = true;
        return ANSWER_FORGED;
    }
    if (m->cls == STUN_SUCCESS) {
        /* RFC 8489 9.2.5 and 6.3.3: as if it had never come. */
        if (!client_is_authentic(c, m) || m->n_unknown > 0) {
            c->saw_forgery = true;
            return ANSWER_FORGED;
        }
        t->deadline_ms = TIMER_NEVER;
        t->n_stale = 0;
        return ANSWER_OK;
    }
    /* Errors may come without integrity (401 and 438 must be able to), so none is asked for. */
    t->deadline_ms = TIMER_NEVER;
    if (stun_get_error(m, code, &reason)) {
        *code = 0;
        return ANSWER_ERROR;
    }
    if (*code == 438 && t->n_stale < CLIENT_STALE_MAX && !client_take_challenge(c, m)) {
        t->n_stale++;
        client_report(c, "new nonce", 438);
        return ANSWER_REPEAT;
    }
    return ANSWER_ERROR;
}

static void on_challenge(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    uint16_t code = 0;
    struct slice reason;
    if (m->cls == STUN_SUCCESS) {
        client_fail(c, "the TURN server asks for no credentials: refusing to use it", 0);
        return;
    }
    if (stun_get_error(m, &code, &reason) == OK && code == 300) {
        client_redirect(c, m);
        return;
    }
    if (code != 401) {
        client_fail(c, client_error_text(code), code);
        return;
    }
    const char *wrong = stun_has(m, STUN_REALM)
                            ? client_take_challenge(c, m)
                            : "the TURN server's 401 has no usable realm and nonce";
    if (wrong) {
        client_fail(c, wrong, code);
        return;
    }
    client_report(c, "challenge", code);
    c->state = CLIENT_ALLOCATING;
    client_send_allocate(c, now_ms);
}

/* Sends what permissions are due, one batch at a time, and says when all are there. */
static void pump_permissions(struct turn_client *c, uint64_t now_ms)
{
    if (c->state != CLIENT_UP || c->perm_txn.deadline_ms != TIMER_NEVER) {
        return;
    }
    for (size_t i = 0; i < c->n_perms; i++) {
        if (c->perm[i].state == PERM_DUE) {
            client_send_permissions(c, now_ms);
            return;
        }
    }
    if (c->n_perms > 0 && c->perms_ms == TIMER_NEVER) {
        c->perms_ms = now_ms + CLIENT_PERM_REFRESH_MS;
    }
    if (c->permit_asked) {
        c->permit_asked = false;
        client_push(c, (struct turn_client_action){.what = TURN_CLIENT_PERMITTED});
    }
}

static void on_allocated(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    if (stun_get_addr(m, STUN_XOR_RELAYED_ADDRESS, &c->relayed)) {
        client_fail(c, "the TURN server's answer to Allocate names no relay address", 0);
        return;
    }
    if (stun_get_addr(m, STUN_XOR_MAPPED_ADDRESS, &c->mapped)) {
        c->mapped = (struct addr){0};
    }
    client_report(c, "allocated", 0);
    c->state = CLIENT_CONFIRMING;
    c->keepalive_ms = now_ms + c->cfg.keepalive_ms;
    client_send_refresh(c, now_ms, c->cfg.lifetime_s);
}

static void on_refreshed(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    bool first = c->state == CLIENT_CONFIRMING;
    if (stun_get_u32(m, STUN_LIFETIME, &c->lifetime_s)) {
        c->lifetime_s = c->cfg.lifetime_s;
    }
    if (c->lifetime_s == 0) {
        client_fail(c, "the TURN server took the allocation back (lifetime 0)", 0);
        return;
    }
    uint64_t life_ms = (uint64_t)c->lifetime_s * 1000;
    c->refresh_ms = now_ms + (life_ms >= 120000 ? life_ms - 60000 : life_ms / 2);
    c->state = CLIENT_UP;
    client_report(c, "refreshed", 0);
    if (first) {
        client_push(c, (struct turn_client_action){.what = TURN_CLIENT_ALLOCATED,
                                                   .relayed = c->relayed,
                                                   .mapped = c->mapped,
                                                   .lifetime_s = c->lifetime_s});
    }
    pump_permissions(c, now_ms);
}

static void on_main(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    uint16_t code = 0;
    if (c->state == CLIENT_PROBING) {
        on_challenge(c, now_ms, m);
        return;
    }
    enum client_answer answer = client_judge(c, &c->main, m, &code);
    bool is_allocate = c->main.method == STUN_ALLOCATE;
    if (answer == ANSWER_FORGED) {
        return;
    }
    if (answer == ANSWER_ERROR && code == 300 && c->state == CLIENT_ALLOCATING) {
        client_redirect(c, m);
    } else if (answer == ANSWER_ERROR) {
        bool over = c->state == CLIENT_RELEASING;
        client_fail(c, over ? "released" : client_error_text(code), over ? 0 : code);
    } else if (c->state == CLIENT_RELEASING && answer == ANSWER_OK) {
        client_fail(c, "released", 0);
    } else if (answer == ANSWER_REPEAT && is_allocate) {
        client_send_allocate(c, now_ms);
    } else if (answer == ANSWER_REPEAT) {
        client_send_refresh(c, now_ms, c->state == CLIENT_RELEASING ? 0 : c->cfg.lifetime_s);
    } else if (is_allocate) {
        on_allocated(c, now_ms, m);
    } else {
        on_refreshed(c, now_ms, m);
    }
}

/* RFC 8656 9.3: a batch is refused as a whole. One forbidden address, a client's private one
 * say, must not cost the others, so each of them is asked for alone then. */
static void on_permissions(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    uint16_t code = 0;
    enum client_answer answer = client_judge(c, &c->perm_txn, m, &code);
    if (answer == ANSWER_FORGED) {
        return;
    }
    if (answer == ANSWER_ERROR && (code == 401 || code == 437 || code == 441)) {
        client_fail(c, client_error_text(code), code);
        return;
    }
    for (size_t i = 0; i < c->n_perms; i++) {
        struct client_perm *p = &c->perm[i];
        if (p->state != PERM_ASKED) {
            continue;
        }
        if (answer == ANSWER_ERROR && p->alone) {
            p->state = PERM_REFUSED;
            client_push(c, (struct turn_client_action){.what = TURN_CLIENT_REPORT,
                                                       .why = "a permission is refused",
                                                       .code = code,
                                                       .peer = p->addr});
            continue;
        }
        p->state = answer == ANSWER_OK ? PERM_DONE : PERM_DUE;
        p->alone = answer == ANSWER_ERROR || (p->alone && answer == ANSWER_REPEAT);
    }
    pump_permissions(c, now_ms);
}

static void on_message(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    bool allocated = c->state == CLIENT_UP || c->state == CLIENT_CONFIRMING;
    if (m->cls == STUN_INDICATION) {
        if (m->method == STUN_CONNECTION_ATTEMPT && allocated) {
            client_on_attempt(c, now_ms, m);
        }
        return;
    }
    if (client_txn_is(&c->main, m)) {
        on_main(c, now_ms, m);
        return;
    }
    if (client_txn_is(&c->perm_txn, m)) {
        on_permissions(c, now_ms, m);
        return;
    }
    struct client_data *d = client_data_by_tid(c, &m->tid);
    if (d && client_txn_is(&d->txn, m)) {
        client_on_connect(c, now_ms, d, m);
    }
}

int turn_client_recv(struct turn_client *c, uint64_t now_ms, struct slice bytes, size_t *used)
{
    client_input(c);
    *used = 0;
    while (c->state != CLIENT_DONE) {
        struct slice frame;
        struct stun_msg m;
        size_t n;
        enum parse p = stun_stream_next(slice_from(bytes, *used), &frame, &n);
        if (p == PARSE_MORE && n <= CLIENT_MSG_MAX) {
            return OK;
        }
        if (p != PARSE_OK || stun_parse(&m, frame, &stun_wire_rfc8489)) {
            client_fail(c, "what the TURN server sends is not STUN: is it the right port?", 0);
            return ERR_MALFORMED;
        }
        *used += n;
        on_message(c, now_ms, &m);
    }
    *used = bytes.len;
    return OK;
}

void turn_client_control_closed(struct turn_client *c, uint64_t now_ms)
{
    (void)now_ms;
    client_input(c);
    client_fail(c,
                c->state == CLIENT_RELEASING ? "released"
                                             : "the TURN server closed the control connection",
                0);
}

static int add_permission(struct turn_client *c, const struct addr *peer)
{
    for (size_t i = 0; i < c->n_perms; i++) {
        if (addr_ip_eq(&c->perm[i].addr, peer)) {
            return OK;
        }
    }
    if (c->n_perms == CLIENT_PERMS_MAX) {
        return ERR_LIMIT;
    }
    c->perm[c->n_perms++] = (struct client_perm){.addr = *peer, .state = PERM_DUE};
    return OK;
}

int turn_client_permit(struct turn_client *c, uint64_t now_ms, const struct addr *peers,
                       size_t n)
{
    int err = OK;
    client_input(c);
    if (c->state == CLIENT_DONE || c->state == CLIENT_RELEASING) {
        return ERR_BADSTATE;
    }
    for (size_t i = 0; i < n && !err; i++) {
        err = add_permission(c, &peers[i]);
    }
    c->permit_asked = true;
    pump_permissions(c, now_ms);
    return err;
}

void turn_client_release(struct turn_client *c, uint64_t now_ms)
{
    client_input(c);
    if (c->state == CLIENT_UP || c->state == CLIENT_CONFIRMING) {
        c->state = CLIENT_RELEASING;
        client_send_refresh(c, now_ms, 0);
    } else if (c->state != CLIENT_RELEASING) {
        client_fail(c, "released", 0);
    }
}

static void renew_permissions(struct turn_client *c, uint64_t now_ms)
{
    c->perms_ms = TIMER_NEVER;
    for (size_t i = 0; i < c->n_perms; i++) {
        if (c->perm[i].state == PERM_DONE) {
            c->perm[i].state = PERM_DUE;
        }
    }
    pump_permissions(c, now_ms);
}

static const char *late_text(const struct turn_client *c)
{
    if (c->state == CLIENT_RELEASING) {
        return "released";
    }
    return c->saw_forgery ? "the TURN server's answers fail the integrity check: compare the "
                            "passwords"
                          : "the TURN server does not answer";
}

void turn_client_tick(struct turn_client *c, uint64_t now_ms)
{
    client_input(c);
    if (c->state == CLIENT_DONE) {
        return;
    }
    if (now_ms >= c->main.deadline_ms || now_ms >= c->perm_txn.deadline_ms) {
        client_fail(c, late_text(c), 0);
        return;
    }
    client_data_tick(c, now_ms);
    if (c->state == CLIENT_UP && now_ms >= c->refresh_ms) {
        c->refresh_ms = TIMER_NEVER;
        client_send_refresh(c, now_ms, c->cfg.lifetime_s);
    }
    if (c->state == CLIENT_UP && now_ms >= c->perms_ms) {
        renew_permissions(c, now_ms);
    }
    if (now_ms >= c->keepalive_ms) {
        c->keepalive_ms = now_ms + c->cfg.keepalive_ms;
        client_send_keepalive(c);
    }
}

bool turn_client_next(struct turn_client *c, struct turn_client_action *out)
{
    if (c->q_at == c->q_len) {
        return false;
    }
    struct client_action *q = &c->queue[c->q_at++];
    *out = q->a;
    if (out->bytes.len > 0) {
        out->bytes.p = c->arena + q->bytes_at;
    }
    return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t turn_client_deadline_ms(const struct turn_client *c)
{
    uint64_t at = sooner(c->main.deadline_ms, c->perm_txn.deadline_ms);
    if (c->state == CLIENT_DONE) {
        return TIMER_NEVER;
    }
    at = sooner(at, c->keepalive_ms);
    if (c->state == CLIENT_UP) {
        at = sooner(at, sooner(c->refresh_ms, c->perms_ms));
    }
    for (size_t i = 0; i < c->cfg.max_data; i++) {
        if (c->data[i].state != DATA_FREE) {
            at = sooner(at, c->data[i].txn.deadline_ms);
        }
    }
    return at;
}
