/* The endpoint as a client: INVITE, CANCEL, and what comes back (RFC 3261 8.1, 9.1, 13.2). */
#include "lib/base/text.h"

#include "lib/sip/ua_core.h"

static int fill_dialog(struct sip_ua *u, struct dialog *d, const struct sip_invite *inv)
{
    char tag[TAG_LEN + 1], call[TAG_LEN + 1], ip[ADDR_TEXT_MAX];
    uint8_t buf[2048];
    struct wr w = wr_over(buf, sizeof buf);
    struct slice user, host;
    ua_tag(u, tag);
    ua_tag(u, call);
    if (sip_uri_split(inv->from, &user, &host) || inv->request_uri.len == 0 ||
        inv->to.len == 0) {
        return ERR_MALFORMED;
    }
    wr_text(&w, "%s@%s", call, addr_ip_text(&inv->flow.local, ip));
    size_t call_end = w.len;
    wr_text(&w, "<");
    wr_bytes(&w, inv->from);
    wr_text(&w, ">;tag=%s", tag);
    size_t local_end = w.len;
    wr_text(&w, "<");
    wr_bytes(&w, inv->to);
    wr_text(&w, ">");
    if (w.err) {
        return ERR_LIMIT;
    }
    if (blob_set(&d->call_id, slice_of(buf, call_end)) ||
        blob_set(&d->local, slice_of(buf + call_end, local_end - call_end)) ||
        blob_set(&d->remote, slice_of(buf + local_end, w.len - local_end)) ||
        blob_set(&d->local_tag, slice_str(tag)) || blob_set(&d->user, user) ||
        blob_set(&d->target, inv->request_uri)) {
        return ERR_NOMEM;
    }
    return OK;
}

/* Sends an INVITE of the dialog and begins its transaction. */
static int send_invite(struct sip_ua *u, struct dialog *d, const struct request *r)
{
    struct slice bytes = ua_write_request(u, d, r);
    struct sip_msg m;
    if (bytes.len == 0) {
        return ERR_LIMIT;
    }
    if (sip_msg_parse(bytes, &m)) {
        return ERR_MALFORMED; /* the caller's extra headers, say */
    }
    struct tx *t = tx_new(u, &d->flow, bytes);
    if (!t) {
        return ERR_LIMIT;
    }
    ua_send(u, &d->flow, bytes);
    tx_index_client(u, t);
    t->d = d;
    d->outs = t;
    tx_times(u, t, d->flow.transport == SIP_UDP ? T1_MS : 0, TX_END_MS); /* timers A, B */
    return OK;
}

int sip_ua_invite(struct sip_ua *u, uint64_t now_ms, const struct sip_invite *inv,
                  sip_dialog *out)
{
    u->now_ms = now_ms;
    *out = 0;
    struct dialog *d = dialog_new(u, &inv->flow);
    if (!d) {
        return ERR_LIMIT;
    }
    d->state = DIALOG_CALLING;
    int err = fill_dialog(u, d, inv);
    if (!err) {
        dialog_index(u, d);
        struct request r = {.method = "INVITE",
                            .cseq = ++d->local_cseq,
                            .headers = inv->headers,
                            .content_type = inv->content_type,
                            .body = inv->body};
        err = send_invite(u, d, &r);
    }
    if (err) {
        dialog_free(u, d);
        return err;
    }
    *out = dialog_id(u, d);
    return OK;
}

int sip_ua_reinvite(struct sip_ua *u, uint64_t now_ms, sip_dialog id, struct slice content_type,
                    struct slice body)
{
    u->now_ms = now_ms;
    struct dialog *d = dialog_get(u, id);
    if (!d || d->state != DIALOG_UP || d->ins || d->outs) {
        return ERR_BADSTATE;
    }
    struct request r = {.method = "INVITE",
                        .cseq = ++d->local_cseq,
                        .content_type = content_type,
                        .body = body};
    return send_invite(u, d, &r);
}

void ua_cancel(struct sip_ua *u, struct tx *t)
{
    struct slice bytes = ua_write_hop(u, t, "CANCEL", slice_of(NULL, 0));
    struct tx *c = tx_new(u, &t->flow, bytes);
    ua_send(u, &t->flow, bytes);
    if (c) {
        tx_index_client(u, c);
        tx_times(u, c, t->flow.transport == SIP_UDP ? T1_MS : 0, TX_END_MS);
    }
    t->want_cancel = false;
    tx_times(u, t, 0, TX_END_MS); /* 9.1: an INVITE that gets no 487 ends all the same */
}

void ua_no_answer(struct sip_ua *u, struct tx *t)
{
    struct dialog *d = t->d;
    bool is_new = d->state == DIALOG_CALLING;
    struct sip_action a = {.what = SIP_DO_REFUSED,
                           .flow = t->flow.id,
                           .dialog = dialog_id(u, d),
                           .status = 408,
                           .reason = slice_str("no answer came")};
    if (is_new && !d->hung_up) {
        ua_emit(u, &a);
    }
    if (is_new && !d->hung_up && t->state == TX_PROCEEDING) {
        d->hung_up = true;
        ua_cancel(u, t);
        return;
    }
    if (!is_new) { /* 12.2.1.2: a dialog whose peer no longer answers is over */
        dialog_bye(u, d, slice_of(NULL, 0));
        dialog_end(u, d, "no answer to the re-INVITE", slice_of(NULL, 0));
    } else {
        dialog_free(u, d);
    }
    tx_free(u, t);
}

static int become_up(struct dialog *d, const struct sip_msg *m)
{
    if (d->state == DIALOG_CALLING) {
        int err = blob_set(&d->remote, m->to);
        err = err ? err : blob_set(&d->remote_tag, m->to_tag);
        err = err ? err : dialog_learn(d, m, true);
        if (!err) {
            d->state = DIALOG_UP;
        }
        return err;
    }
    return sip_msg_find(m, SIP_H_CONTACT).len > 0 ? dialog_learn(d, m, true) : OK;
}

static void on_accepted(struct sip_ua *u, struct tx *t, const struct sip_msg *m)
{
    struct dialog *d = t->d;
    if (become_up(d, m)) {
        ua_report(u, &t->flow, "2xx without a usable Contact", m->start);
        if (d->state == DIALOG_CALLING && !d->hung_up) {
            ua_emit(u, &(struct sip_action){.what = SIP_DO_REFUSED,
                                            .flow = t->flow.id,
                                            .dialog = dialog_id(u, d),
                                            .status = 500,
                                            .reason = slice_str("2xx without a Contact")});
        }
        dialog_free(u, d);
        tx_free(u, t);
        return;
    }
    struct request ack = {.method = "ACK", .cseq = m->cseq};
    struct slice bytes = ua_write_request(u, d, &ack);
    ua_send(u, &t->flow, bytes);
    t->state = TX_ACCEPTED;
    tx_detach(t);
    if (blob_set(&t->last, bytes)) {
        tx_free(u, t); /* a 2xx that comes again finds no ACK, and the peer gives up */
    } else {
        tx_times(u, t, 0, TX_END_MS); /* timer M of RFC 6026 */
    }
    if (d->hung_up) { /* our CANCEL came too late (9.1) */
        dialog_bye(u, d, blob_slice(&d->bye));
        dialog_free(u, d);
        return;
    }
    ua_emit(u, &(struct sip_action){.what = SIP_DO_ANSWERED,
                                    .flow = d->flow.id,
                                    .dialog = dialog_id(u, d),
                                    .status = m->status,
                                    .body = m->body,
                                    .content_type = m->content_type,
                                    .reason = m->phrase});
}

static void on_refused(struct sip_ua *u, struct tx *t, const struct sip_msg *m)
{
    struct dialog *d = t->d;
    struct slice ack = ua_write_hop(u, t, "ACK", m->to);
    bool is_new = d && d->state == DIALOG_CALLING;
    ua_send(u, &t->flow, ack);
    t->state = TX_COMPLETED;
    tx_detach(t);
    if (t->flow.transport != SIP_UDP || blob_set(&t->last, ack)) {
        tx_free(u, t);
    } else {
        tx_times(u, t, 0, TX_END_MS); /* timer D */
    }
    if (!d) {
        return;
    }
    if (!is_new && (m->status == 481 || m->status == 408)) { /* 12.2.1.2 */
        dialog_bye(u, d, slice_of(NULL, 0));
        dialog_end(u, d, "the peer no longer knows the dialog", ua_reason(u, m));
        return;
    }
    if (!d->hung_up) {
        ua_emit(u, &(struct sip_action){.what = SIP_DO_REFUSED,
                                        .flow = d->flow.id,
                                        .dialog = dialog_id(u, d),
                                        .status = m->status,
                                        .reason = ua_reason(u, m)});
    }
    if (is_new) {
        dialog_free(u, d);
    }
}

static void on_provisional(struct sip_ua *u, struct tx *t, const struct sip_msg *m)
{
    bool is_first = t->state == TX_TRYING;
    t->state = TX_PROCEEDING;
    if (is_first) {
        tx_times(u, t, 0, RINGING_MAX_MS);
    }
    if (t->want_cancel) {
        ua_cancel(u, t);
    }
    if (m->status > 100 && t->d && !t->d->hung_up) {
        ua_emit(u, &(struct sip_action){.what = SIP_DO_PROGRESS,
                                        .flow = t->flow.id,
                                        .dialog = dialog_id(u, t->d),
                                        .status = m->status,
                                        .body = m->body,
                                        .content_type = m->content_type,
                                        .reason = m->phrase});
    }
}

static void on_invite_response(struct sip_ua *u, struct tx *t, const struct sip_msg *m)
{
    if (t->state == TX_ACCEPTED || t->state == TX_COMPLETED) {
        bool is_2xx = m->status >= 200 && m->status < 300;
        if (m->status >= 200 && is_2xx == (t->state == TX_ACCEPTED)) {
            tx_resend(u, t); /* the ACK was lost */
        }
    } else if (m->status < 200) {
        on_provisional(u, t, m);
    } else if (m->status >= 300) {
        on_refused(u, t, m);
    } else if (t->d) {
        on_accepted(u, t, m);
    } else {
        tx_free(u, t); /* a re-INVITE of a dialog that had its BYE */
    }
}

void ua_response(struct sip_ua *u, const struct sip_msg *m)
{
    struct tx *t = tx_find_client(u, m);
    if (!t) {
        return; /* 18.1.2: a late or stray one */
    }
    if (t->is_invite) {
        on_invite_response(u, t, m);
    } else if (m->status >= 200) {
        tx_free(u, t);
    } else if (t->resend_ms != TIMER_NEVER) {
        t->interval_ms = T2_MS; /* 17.1.2.2 */
    }
}
