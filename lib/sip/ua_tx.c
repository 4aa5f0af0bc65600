/* Transactions: finding them, repeating what was sent, and giving up (RFC 3261 17, RFC 6026).
 */
#include <assert.h>

#include "lib/base/text.h"

#include "lib/sip/ua_core.h"

struct tx *tx_new(struct sip_ua *u, const struct sip_flow_info *flow, struct slice request)
{
    struct tx *t = u->free_tx;
    if (!t || blob_set(&t->request, request)) {
        return NULL;
    }
    u->free_tx = t->next_free;
    t->used = true;
    t->flow = *flow;
    return t;
}

void tx_detach(struct tx *t)
{
    if (t->d && t->d->ins == t) {
        t->d->ins = NULL;
    } else if (t->d) {
        assert(t->d->outs == t);
        t->d->outs = NULL;
    }
    t->d = NULL;
}

void tx_free(struct sip_ua *u, struct tx *t)
{
    tx_detach(t);
    timerq_clear(&u->timers, &t->timer);
    map_remove(&u->tx_map, &t->link);
    blob_free(&t->request);
    blob_free(&t->last);
    *t = (struct tx){.next_free = u->free_tx};
    u->free_tx = t;
}

/* RFC 3261 17.2.3. Without the cookie (RFC 2543) the branch alone does not tell requests apart.
 * The flow is in the key: nobody gets at another connection's transactions. */
static uint64_t server_key(struct sip_ua *u, const struct sip_flow_info *flow,
                           const struct sip_msg *m, struct slice method)
{
    struct slice via = sip_msg_find(m, SIP_H_VIA), top = slice_of(NULL, 0);
    (void)sip_value_next(&via, &top);
    struct slice sent_by = text_split(&top, ';');
    struct slice part[9] = {slice_str("server"), slice_of(&flow->id, sizeof flow->id), method,
                            m->branch, sent_by};
    size_t n = 5;
    if (!text_starts(m->branch, SIP_BRANCH_COOKIE)) {
        part[n++] = m->call_id;
        part[n++] = m->from_tag;
        part[n++] = m->uri;
        part[n++] = slice_of(&m->cseq, sizeof m->cseq);
    }
    return ua_key(u, part, n);
}

static struct tx *find(struct sip_ua *u, uint64_t key)
{
    return MAP_ENTRY(map_find(&u->tx_map, &key), struct tx, link);
}

struct tx *tx_find_server(struct sip_ua *u, const struct sip_flow_info *flow,
                          const struct sip_msg *m, struct slice method)
{
    return find(u, server_key(u, flow, m, method));
}

static uint64_t client_key(struct sip_ua *u, const struct sip_msg *m)
{
    struct slice part[] = {slice_str("client"), m->branch, m->cseq_method};
    return ua_key(u, part, 3);
}

struct tx *tx_find_client(struct sip_ua *u, const struct sip_msg *m)
{
    return find(u, client_key(u, m));
}

void tx_index_server(struct sip_ua *u, struct tx *t, const struct sip_msg *m)
{
    t->is_server = true;
    t->is_invite = text_is(m->method, "INVITE");
    t->key = server_key(u, &t->flow, m, m->method);
    map_add(&u->tx_map, &t->link);
}

void tx_index_client(struct sip_ua *u, struct tx *t)
{
    struct sip_msg m;
    int err = sip_msg_parse(blob_slice(&t->request), &m);
    assert(!err);
    (void)err;
    t->is_invite = text_is(m.method, "INVITE");
    t->key = client_key(u, &m);
    map_add(&u->tx_map, &t->link);
}

static void arm(struct sip_ua *u, struct tx *t)
{
    uint64_t at = t->resend_ms < t->end_ms ? t->resend_ms : t->end_ms;
    if (at == TIMER_NEVER) {
        timerq_clear(&u->timers, &t->timer);
    } else {
        timerq_set(&u->timers, &t->timer, at);
    }
}

void tx_times(struct sip_ua *u, struct tx *t, uint32_t resend_ms, uint32_t end_ms)
{
    t->interval_ms = resend_ms;
    t->resend_ms = resend_ms ? u->now_ms + resend_ms : TIMER_NEVER;
    t->end_ms = end_ms ? u->now_ms + end_ms : TIMER_NEVER;
    arm(u, t);
}

void tx_resend(struct sip_ua *u, struct tx *t)
{
    bool is_ack = !t->is_server && t->last.len > 0;
    ua_send(u, &t->flow, blob_slice(t->is_server || is_ack ? &t->last : &t->request));
}

/* A transaction's time is over without what it waited for. */
static void ended(struct sip_ua *u, struct tx *t)
{
    struct dialog *d = t->d;
    if (d && t->is_server && t->state == TX_ACCEPTED) {
        /* RFC 3261 13.3.1.4: no ACK ever came. */
        dialog_bye(u, d, blob_slice(&d->bye));
        dialog_end(u, d, "no ACK came for the 2xx", slice_of(NULL, 0));
    } else if (d && !t->is_server) {
        ua_no_answer(u, t);
        return;
    }
    tx_free(u, t);
}

void tx_due(struct sip_ua *u, struct tx *t)
{
    if (u->now_ms >= t->end_ms) {
        ended(u, t);
        return;
    }
    tx_resend(u, t);
    /* 17.1.1.2: an INVITE's interval grows without bound; everything else stops at T2. */
    t->interval_ms *= 2;
    bool is_calling = !t->is_server && t->is_invite;
    if (!is_calling && t->interval_ms > T2_MS) {
        t->interval_ms = T2_MS;
    }
    t->resend_ms = u->now_ms + t->interval_ms;
    arm(u, t);
}
