/* The endpoint as a server: requests in, responses out (RFC 3261 8.2, 9.2, 13.3, 14.2, 15.1.2).
 */
#include "lib/base/text.h"

#include "lib/sip/ua_core.h"

void ua_reply(struct sip_ua *u, const struct sip_flow_info *flow, const struct sip_msg *m,
              uint16_t status, const char *headers)
{
    char tag[TAG_LEN + 1];
    ua_tag(u, tag);
    struct sip_answer a = {.status = status, .headers = slice_str(headers)};
    ua_send(u, flow, ua_write_response(u, flow, m, &a, slice_str(tag)));
}

/* The only answer of a request; over UDP it is kept for when the request comes again. */
static void reply_once(struct sip_ua *u, const struct sip_flow_info *flow,
                       const struct sip_msg *m, const struct sip_answer *a)
{
    char tag[TAG_LEN + 1];
    ua_tag(u, tag);
    struct slice bytes = ua_write_response(u, flow, m, a, slice_str(tag));
    ua_send(u, flow, bytes);
    if (flow->transport != SIP_UDP) {
        return;
    }
    struct tx *t = tx_new(u, flow, slice_of(NULL, 0));
    if (!t) {
        return;
    }
    if (blob_set(&t->last, bytes)) {
        tx_free(u, t);
        return;
    }
    t->state = TX_COMPLETED;
    tx_index_server(u, t, m);
    tx_times(u, t, 0, TX_END_MS); /* timer J */
}

static void reply_final(struct sip_ua *u, const struct sip_flow_info *flow,
                        const struct sip_msg *m, uint16_t status, const char *headers)
{
    struct sip_answer a = {.status = status, .headers = slice_str(headers)};
    reply_once(u, flow, m, &a);
}

int ua_answer_invite(struct sip_ua *u, struct tx *t, const struct sip_answer *a,
                     struct slice tag)
{
    struct sip_msg req;
    if (sip_msg_parse(blob_slice(&t->request), &req)) {
        return ERR_BADSTATE;
    }
    struct slice bytes = ua_write_response(u, &t->flow, &req, a, tag);
    if (bytes.len == 0) {
        return ERR_LIMIT;
    }
    int err = blob_set(&t->last, bytes);
    if (err) {
        return err;
    }
    ua_send(u, &t->flow, bytes);
    if (a->status >= 300) {
        t->state = TX_COMPLETED; /* timers G and H */
        tx_times(u, t, t->flow.transport == SIP_UDP ? T1_MS : 0, TX_END_MS);
        tx_detach(t);
    } else if (a->status >= 200) {
        t->state = TX_ACCEPTED; /* 13.3.1.4: repeated on any transport */
        tx_times(u, t, T1_MS, TX_END_MS);
        t->d->state = DIALOG_UP;
    }
    return OK;
}

void ua_refuse(struct sip_ua *u, struct dialog *d, uint16_t status, struct slice headers)
{
    struct sip_answer a = {.status = status, .headers = headers};
    if (d->ins && d->ins->state == TX_PROCEEDING) {
        (void)!ua_answer_invite(u, d->ins, &a, blob_slice(&d->local_tag));
    }
}

static void emit_invited(struct sip_ua *u, struct dialog *d, const struct sip_msg *m,
                         enum sip_do what)
{
    struct sip_action a = {.what = what,
                           .flow = d->flow.id,
                           .dialog = dialog_id(u, d),
                           .body = m->body,
                           .content_type = m->content_type,
                           .from_uri = sip_addr_uri(m->from),
                           .from_name = sip_addr_name(m->from)};
    (void)!sip_uri_split(m->uri, &a.target_user, &a.target_host);
    ua_emit(u, &a);
}

/* Begins the transaction of an INVITE with its 100. */
static struct tx *begin_invite(struct sip_ua *u, struct dialog *d, const struct sip_msg *m,
                               struct slice whole)
{
    struct tx *t = tx_new(u, &d->flow, whole);
    struct sip_answer trying = {.status = 100};
    if (!t) {
        return NULL;
    }
    t->state = TX_PROCEEDING;
    tx_index_server(u, t, m);
    if (ua_answer_invite(u, t, &trying, slice_of(NULL, 0))) {
        tx_free(u, t);
        return NULL;
    }
    t->d = d;
    d->ins = t;
    d->remote_cseq = m->cseq;
    return t;
}

static int dialog_from_invite(struct sip_ua *u, struct dialog *d, const struct sip_msg *m)
{
    char tag[TAG_LEN + 1];
    uint8_t to[SIP_HEAD_MAX];
    struct wr w = wr_over(to, sizeof to);
    struct slice user, host;
    ua_tag(u, tag);
    wr_bytes(&w, m->to);
    wr_text(&w, ";tag=%s", tag);
    (void)!sip_uri_split(m->uri, &user, &host);
    if (w.err || blob_set(&d->call_id, m->call_id) || blob_set(&d->remote, m->from) ||
        blob_set(&d->remote_tag, m->from_tag) || blob_set(&d->local, wr_done(&w)) ||
        blob_set(&d->local_tag, slice_str(tag)) || blob_set(&d->user, user)) {
        return ERR_NOMEM;
    }
    dialog_index(u, d);
    return dialog_learn(d, m, false);
}

/* 8.2.2.2: the same request by another path of a forking proxy. */
static bool is_merged(const struct sip_ua *u, const struct sip_msg *m)
{
    for (size_t i = 0; i < u->cfg.max_dialogs; i++) {
        const struct dialog *d = &u->dialogs[i];
        if (d->used && d->remote_cseq == m->cseq &&
            slice_eq(blob_slice(&d->remote_tag), m->from_tag) &&
            slice_eq(blob_slice(&d->call_id), m->call_id)) {
            return true;
        }
    }
    return false;
}

static void on_first_invite(struct sip_ua *u, const struct sip_flow_info *flow,
                            const struct sip_msg *m, struct slice whole)
{
    if (is_merged(u, m)) {
        ua_reply(u, flow, m, 482, NULL);
        return;
    }
    struct dialog *d = dialog_new(u, flow);
    int err = d ? dialog_from_invite(u, d, m) : ERR_LIMIT;
    if (!err && !begin_invite(u, d, m, whole)) {
        err = ERR_LIMIT;
    }
    if (!err) {
        emit_invited(u, d, m, SIP_DO_INVITED);
        return;
    }
    if (d) {
        dialog_free(u, d);
    }
    if (err == ERR_MALFORMED) {
        ua_report(u, flow, "INVITE without a usable Contact", m->start);
        ua_reply(u, flow, m, 400, NULL);
    } else {
        ua_report(u, flow, "no room for another dialog", m->start);
        ua_reply(u, flow, m, 503, "Retry-After: 10\r\n");
    }
}

static void on_reinvite(struct sip_ua *u, struct dialog *d, const struct sip_msg *m,
                        struct slice whole)
{
    if (d->outs) { /* 14.2: glare */
        ua_reply(u, &d->flow, m, 491, NULL);
    } else if (d->ins || d->state != DIALOG_UP) {
        ua_reply(u, &d->flow, m, 500, "Retry-After: 5\r\n");
    } else if (sip_msg_find(m, SIP_H_CONTACT).len > 0 && dialog_learn(d, m, false)) {
        ua_reply(u, &d->flow, m, 400, NULL);
    } else if (!begin_invite(u, d, m, whole)) {
        ua_reply(u, &d->flow, m, 503, "Retry-After: 10\r\n");
    } else {
        emit_invited(u, d, m, SIP_DO_REINVITED);
    }
}

static void on_bye(struct sip_ua *u, struct dialog *d, const struct sip_msg *m)
{
    struct sip_flow_info flow = d->flow;
    reply_final(u, &flow, m, 200, NULL);
    ua_refuse(u, d, 487, slice_of(NULL, 0)); /* 15.1.2 */
    dialog_end(u, d, "BYE", ua_reason(u, m));
}

static void on_ack(struct sip_ua *u, const struct sip_flow_info *flow, const struct sip_msg *m)
{
    struct tx *t = tx_find_server(u, flow, m, slice_str("INVITE"));
    if (t && t->state == TX_COMPLETED) {
        t->state = TX_CONFIRMED;
        tx_times(u, t, 0, flow->transport == SIP_UDP ? T4_MS : 1); /* timer I */
        return;
    }
    struct dialog *d = dialog_find(u, m);
    if (!d || !d->ins || d->ins->state != TX_ACCEPTED || d->remote_cseq != m->cseq) {
        return;
    }
    t = d->ins;
    tx_detach(t);
    t->resend_ms = TIMER_NEVER;
    tx_times(u, t, 0, TX_END_MS); /* timer L of RFC 6026: takes in late INVITEs */
    if (d->hung_up) {
        dialog_bye(u, d, blob_slice(&d->bye));
        dialog_free(u, d);
        return;
    }
    ua_emit(u, &(struct sip_action){.what = SIP_DO_CONFIRMED,
                                    .flow = flow->id,
                                    .dialog = dialog_id(u, d),
                                    .body = m->body,
                                    .content_type = m->content_type});
}

static void on_cancel(struct sip_ua *u, const struct sip_flow_info *flow,
                      const struct sip_msg *m)
{
    struct tx *t = tx_find_server(u, flow, m, slice_str("INVITE"));
    reply_final(u, flow, m, t && t->is_invite ? 200 : 481, NULL);
    if (!t || !t->d || t->state != TX_PROCEEDING) {
        return; /* 9.2: too late to matter */
    }
    struct dialog *d = t->d;
    ua_refuse(u, d, 487, slice_of(NULL, 0));
    if (d->state == DIALOG_INVITED) {
        dialog_end(u, d, "CANCEL", ua_reason(u, m));
    } else {
        ua_report(u, flow, "re-INVITE cancelled", m->start);
    }
}

static void on_options(struct sip_ua *u, const struct sip_flow_info *flow,
                       const struct sip_msg *m)
{
    reply_final(u, flow, m, 200,
                "Accept: application/sdp, multipart/alternative\r\n"
                "Accept-Encoding: identity\r\nAccept-Language: en\r\n");
}

static void in_dialog(struct sip_ua *u, const struct sip_flow_info *flow,
                      const struct sip_msg *m, struct slice whole)
{
    struct dialog *d = dialog_find(u, m);
    if (!d) {
        reply_final(u, flow, m, 481, NULL);
        return;
    }
    if (m->cseq < d->remote_cseq) { /* 12.2.2 */
        reply_final(u, flow, m, 500, NULL);
        return;
    }
    d->flow = *flow; /* the peer may have come back on another connection */
    if (text_is(m->method, "INVITE")) {
        on_reinvite(u, d, m, whole);
        return;
    }
    if (text_is(m->method, "BYE")) {
        on_bye(u, d, m);
        return;
    }
    if (!d->ins) { /* the ACK of a pending INVITE still carries the INVITE's number */
        d->remote_cseq = m->cseq;
    }
    if (text_is(m->method, "OPTIONS")) {
        on_options(u, flow, m);
    } else {
        reply_final(u, flow, m, 200, NULL); /* INFO */
    }
}

/* 8.2.1 to 8.2.3: what no request may do, whatever it is for. False after a refusal. */
static bool is_fit(struct sip_ua *u, const struct sip_flow_info *flow, const struct sip_msg *m)
{
    static const char *const known[] = {"INVITE", "CANCEL", "BYE", "OPTIONS", "INFO"};
    size_t i = 0, n = sizeof known / sizeof *known;
    struct slice user, host, required = sip_msg_find(m, SIP_H_REQUIRE);
    while (i < n && !slice_eq(m->method, slice_str(known[i]))) {
        i++;
    }
    if (i == n) { /* Allow is in every response */
        bool is_event = text_is(m->method, "SUBSCRIBE");
        reply_final(u, flow, m, is_event ? 489 : 405, NULL);
        return false;
    }
    if (sip_uri_split(m->uri, &user, &host) == ERR_UNSUPPORTED) {
        reply_final(u, flow, m, 416, NULL);
        return false;
    }
    if (required.len > 0 && !text_is(m->method, "CANCEL")) {
        char line[256];
        struct wr w = wr_over((uint8_t *)line, sizeof line - 1);
        wr_bytes(&w, slice_str("Unsupported: "));
        wr_bytes(&w, required);
        wr_bytes(&w, slice_str("\r\n"));
        line[w.err ? 0 : w.len] = 0;
        reply_final(u, flow, m, 420, line);
        return false;
    }
    if (sip_msg_find(m, SIP_H_CONTENT_ENCODING).len > 0 &&
        !text_is(sip_msg_find(m, SIP_H_CONTENT_ENCODING), "identity")) {
        reply_final(u, flow, m, 415, "Accept-Encoding: identity\r\n");
        return false;
    }
    return true;
}

void ua_request(struct sip_ua *u, const struct sip_flow_info *flow, const struct sip_msg *m,
                struct slice whole)
{
    if (m->start.len < 8 || !text_is(slice_from(m->start, m->start.len - 8), " SIP/2.0")) {
        if (!text_is(m->method, "ACK")) {
            ua_reply(u, flow, m, 505, NULL);
        }
        return;
    }
    if (text_is(m->method, "ACK")) {
        on_ack(u, flow, m);
        return;
    }
    struct tx *t = tx_find_server(u, flow, m, m->method);
    if (t) { /* it came again: so does its answer */
        tx_resend(u, t);
    } else if (!is_fit(u, flow, m)) {
        return;
    } else if (text_is(m->method, "CANCEL")) {
        on_cancel(u, flow, m);
    } else if (m->to_tag.len > 0) {
        in_dialog(u, flow, m, whole);
    } else if (text_is(m->method, "INVITE")) {
        on_first_invite(u, flow, m, whole);
    } else if (text_is(m->method, "OPTIONS")) {
        on_options(u, flow, m);
    } else {
        reply_final(u, flow, m, 481, NULL); /* BYE, INFO: only within a dialog */
    }
}
