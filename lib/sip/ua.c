/* The SIP endpoint's edge: messages and time in, actions out. libosip2's transaction machines
 * read the system's clock, so that the core could be neither pure nor tested in virtual time;
 * the four machines are ours (ua_tx.c, ua_server.c, ua_client.c). */
#include "lib/sip/ua.h"

#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/sip/ua_core.h"

int blob_set(struct blob *b, struct slice s)
{
    uint8_t *p = malloc(s.len ? s.len : 1);
    if (!p) {
        return ERR_NOMEM;
    }
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    free(b->p);
    *b = (struct blob){.p = p, .len = s.len};
    return OK;
}

void blob_free(struct blob *b)
{
    free(b->p);
    *b = (struct blob){0};
}

static void keep(struct slice *s, uint8_t **at)
{
    if (s->len > 0) {
        memcpy(*at, s->p, s->len);
    }
    s->p = *at;
    *at += s->len;
}

void ua_emit(struct sip_ua *u, const struct sip_action *a)
{
    size_t len = a->bytes.len + a->body.len + a->content_type.len + a->target_user.len +
                 a->target_host.len + a->from_uri.len + a->from_name.len + a->reason.len;
    struct item *it = malloc(sizeof *it + len);
    if (!it) {
        return; /* as a lost datagram: timers find out */
    }
    it->next = NULL;
    it->a = *a;
    uint8_t *at = (uint8_t *)(it + 1);
    keep(&it->a.bytes, &at);
    keep(&it->a.body, &at);
    keep(&it->a.content_type, &at);
    keep(&it->a.target_user, &at);
    keep(&it->a.target_host, &at);
    keep(&it->a.from_uri, &at);
    keep(&it->a.from_name, &at);
    keep(&it->a.reason, &at);
    *u->tail = it;
    u->tail = &it->next;
}

void ua_send(struct sip_ua *u, const struct sip_flow_info *flow, struct slice bytes)
{
    if (bytes.len > 0) {
        ua_emit(u, &(struct sip_action){.what = SIP_DO_SEND, .flow = flow->id, .bytes = bytes});
    }
}

void ua_report(struct sip_ua *u, const struct sip_flow_info *flow, const char *why,
               struct slice start)
{
    start.len = start.len < 256 ? start.len : 256;
    ua_emit(u, &(struct sip_action){
                   .what = SIP_DO_REPORT, .flow = flow->id, .why = why, .bytes = start});
}

void ua_tag(struct sip_ua *u, char out[TAG_LEN + 1])
{
    uint8_t raw[TAG_LEN / 2];
    u->env.random(raw, sizeof raw, u->env.ctx);
    for (size_t i = 0; i < TAG_LEN; i++) {
        out[i] = "0123456789abcdef"[raw[i / 2] >> (i % 2 ? 0 : 4) & 15];
    }
    out[TAG_LEN] = 0;
}

uint64_t ua_key(const struct sip_ua *u, const struct slice *part, size_t n)
{
    uint64_t v[2] = {n, 0};
    for (size_t i = 0; i < n; i++) {
        v[1] = siphash(u->secret, part[i]);
        v[0] = siphash(u->secret, slice_of(v, sizeof v));
    }
    return v[0];
}

static void add_reason(struct wr *w, struct slice name, struct slice value)
{
    /* One too long is left out whole: half a diagnostic misleads. */
    if (w->cap - w->len > name.len + value.len + 4) {
        wr_bytes(w, slice_str(w->len > 0 ? "; " : ""));
        wr_bytes(w, name);
        wr_bytes(w, slice_str(name.len > 0 ? ": " : ""));
        wr_bytes(w, value);
    }
}

struct slice ua_reason(struct sip_ua *u, const struct sip_msg *m)
{
    struct wr w = wr_over(u->reason, sizeof u->reason);
    if (m->phrase.len > 0) {
        add_reason(&w, slice_of(NULL, 0), m->phrase);
    }
    for (size_t i = 0; i < m->n; i++) {
        const struct sip_header *h = &m->h[i];
        if (h->id == SIP_H_WARNING || h->id == SIP_H_REASON || h->id == SIP_H_MS_DIAG ||
            h->id == SIP_H_MS_DIAG_PUBLIC || h->id == SIP_H_MS_DIAG_CLIENT) {
            add_reason(&w, h->name, h->value);
        }
    }
    return wr_done(&w);
}

static int make_tables(struct sip_ua *u)
{
    size_t n_d = u->cfg.max_dialogs, n_tx = u->cfg.max_transactions;
    u->dialogs = calloc(n_d ? n_d : 1, sizeof *u->dialogs);
    u->txs = calloc(n_tx ? n_tx : 1, sizeof *u->txs);
    u->in = malloc(OUT_MAX);
    u->out = malloc(OUT_MAX);
    if (!u->dialogs || !u->txs || !u->in || !u->out || blob_set(&u->agent, u->cfg.user_agent) ||
        blob_set(&u->events, u->cfg.allow_events) || timerq_init(&u->timers, n_tx) ||
        map_init(&u->dialog_map, n_d, MAP_KEY(struct dialog, link, key), sizeof(uint64_t),
                 u->secret) ||
        map_init(&u->tx_map, n_tx, MAP_KEY(struct tx, link, key), sizeof(uint64_t),
                 u->secret)) {
        return ERR_NOMEM;
    }
    for (size_t i = n_tx; i-- > 0;) {
        u->txs[i].next_free = u->free_tx;
        u->free_tx = &u->txs[i];
    }
    return OK;
}

int sip_ua_new(struct sip_ua **out, const struct sip_ua_config *cfg, const struct sip_env *env)
{
    *out = NULL;
    struct sip_ua *u = calloc(1, sizeof *u);
    if (!u) {
        return ERR_NOMEM;
    }
    u->cfg = *cfg;
    u->env = *env;
    u->tail = &u->head;
    env->random(u->secret, sizeof u->secret, env->ctx);
    if (make_tables(u)) {
        sip_ua_free(u);
        return ERR_NOMEM;
    }
    *out = u;
    return OK;
}

static void free_items(struct item **list)
{
    while (*list) {
        struct item *it = *list;
        *list = it->next;
        free(it);
    }
}

void sip_ua_free(struct sip_ua *u)
{
    if (!u) {
        return;
    }
    for (size_t i = 0; u->dialogs && i < u->cfg.max_dialogs; i++) {
        if (u->dialogs[i].used) {
            dialog_free(u, &u->dialogs[i]);
        }
    }
    for (size_t i = 0; u->txs && i < u->cfg.max_transactions; i++) {
        blob_free(&u->txs[i].request);
        blob_free(&u->txs[i].last);
    }
    free_items(&u->head);
    free_items(&u->given);
    map_done(&u->dialog_map);
    map_done(&u->tx_map);
    timerq_done(&u->timers);
    blob_free(&u->agent);
    blob_free(&u->events);
    free(u->dialogs);
    free(u->txs);
    free(u->in);
    free(u->out);
    secret_wipe(u->secret, sizeof u->secret);
    free(u);
}

/* What comes from outside begins here, and frees what the last such thing led to. The calls of
 * the program do not: it may still hold slices of the action it is answering. */
static void enter(struct sip_ua *u, uint64_t now_ms)
{
    free_items(&u->given);
    u->now_ms = now_ms;
}

static int malformed(struct sip_ua *u, const struct sip_flow_info *flow,
                     const struct sip_msg *m)
{
    ua_report(u, flow, m->fault, m->start);
    /* RFC 3261 16.3, 8.2: a response and an ACK are never answered. */
    if (m->has_essentials && m->status == 0 && m->method.len > 0 &&
        !text_is(m->method, "ACK")) {
        ua_reply(u, flow, m, 400, NULL);
    }
    return ERR_MALFORMED;
}

int sip_ua_recv(struct sip_ua *u, uint64_t now_ms, const struct sip_flow_info *flow,
                struct slice message)
{
    struct sip_msg m;
    enter(u, now_ms);
    if (message.len > OUT_MAX) {
        ua_report(u, flow, "message too long", slice_of(NULL, 0));
        return ERR_MALFORMED;
    }
    if (message.len > 0) {
        memcpy(u->in, message.p, message.len);
    }
    sip_msg_unfold(u->in, message.len);
    struct slice whole = slice_of(u->in, message.len);
    if (sip_msg_parse(whole, &m)) {
        return malformed(u, flow, &m);
    }
    if (m.status > 0) {
        ua_response(u, &m);
    } else {
        ua_request(u, flow, &m, whole);
    }
    return OK;
}

void sip_ua_flow_gone(struct sip_ua *u, uint64_t now_ms, sip_flow flow)
{
    enter(u, now_ms);
    for (size_t i = 0; i < u->cfg.max_transactions; i++) {
        struct tx *t = &u->txs[i];
        if (t->used && t->flow.id == flow) {
            tx_free(u, t);
        }
    }
    for (size_t i = 0; i < u->cfg.max_dialogs; i++) {
        struct dialog *d = &u->dialogs[i];
        if (d->used && d->flow.id == flow) {
            dialog_end(u, d, "the connection is gone", slice_of(NULL, 0));
        }
    }
}

int sip_ua_answer(struct sip_ua *u, uint64_t now_ms, sip_dialog id, const struct sip_answer *a)
{
    u->now_ms = now_ms;
    struct dialog *d = dialog_get(u, id);
    if (!d || !d->ins || d->ins->state != TX_PROCEEDING || a->status < 101 || a->status > 699) {
        return ERR_BADSTATE;
    }
    int err = ua_answer_invite(u, d->ins, a, blob_slice(&d->local_tag));
    if (!err && a->status >= 300 && d->state == DIALOG_INVITED) {
        dialog_free(u, d);
    }
    return err;
}

void sip_ua_hangup(struct sip_ua *u, uint64_t now_ms, sip_dialog id, struct slice headers)
{
    u->now_ms = now_ms;
    struct dialog *d = dialog_get(u, id);
    if (!d) {
        return;
    }
    if (d->state == DIALOG_CALLING) {
        d->hung_up = true;
        (void)!blob_set(&d->bye, headers); /* for a 2xx that crosses the CANCEL */
        d->outs->want_cancel = true;
        if (d->outs->state == TX_PROCEEDING) {
            ua_cancel(u, d->outs);
        }
        return;
    }
    if (d->ins && d->ins->state == TX_ACCEPTED) {
        /* RFC 3261 15: no BYE before the ACK of our 2xx came, or its time is over. */
        d->hung_up = true;
        (void)!blob_set(&d->bye, headers);
        return;
    }
    if (d->ins) {
        ua_refuse(u, d, d->state == DIALOG_INVITED ? 603 : 487, headers);
    }
    if (d->state == DIALOG_UP) {
        dialog_bye(u, d, headers);
    }
    dialog_free(u, d);
}

void sip_ua_tick(struct sip_ua *u, uint64_t now_ms)
{
    enter(u, now_ms);
    struct timer *t;
    while ((t = timerq_due(&u->timers, now_ms))) {
        tx_due(u, TIMER_OWNER(t, struct tx, timer));
    }
}

bool sip_ua_next(struct sip_ua *u, struct sip_action *out)
{
    struct item *it = u->head;
    if (!it) {
        return false;
    }
    u->head = it->next;
    if (!u->head) {
        u->tail = &u->head;
    }
    it->next = u->given;
    u->given = it;
    *out = it->a;
    return true;
}

uint64_t sip_ua_deadline_ms(const struct sip_ua *u)
{
    return timerq_next_ms(&u->timers);
}

bool sip_ua_flow_in_use(const struct sip_ua *u, sip_flow flow)
{
    for (size_t i = 0; i < u->cfg.max_dialogs; i++) {
        if (u->dialogs[i].used && u->dialogs[i].flow.id == flow) {
            return true;
        }
    }
    return false;
}
