/* Dialogs (RFC 3261 12): their table, their route set, and how they end. */
#include "lib/base/text.h"

#include "lib/sip/ua_core.h"

struct dialog *dialog_new(struct sip_ua *u, const struct sip_flow_info *flow)
{
    for (size_t i = 0; i < u->cfg.max_dialogs; i++) {
        struct dialog *d = &u->dialogs[i];
        if (!d->used) {
            *d = (struct dialog){.gen = d->gen + 1, .used = true, .flow = *flow};
            return d;
        }
    }
    return NULL;
}

void dialog_free(struct sip_ua *u, struct dialog *d)
{
    if (d->ins) {
        tx_detach(d->ins);
    }
    if (d->outs) {
        tx_detach(d->outs);
    }
    map_remove(&u->dialog_map, &d->link);
    struct blob *all[] = {&d->call_id, &d->local,  &d->remote, &d->local_tag, &d->remote_tag,
                          &d->target,  &d->routes, &d->user,   &d->bye};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        blob_free(all[i]);
    }
    *d = (struct dialog){.gen = d->gen};
}

sip_dialog dialog_id(const struct sip_ua *u, const struct dialog *d)
{
    return (sip_dialog)d->gen << 32 | ((uint32_t)(d - u->dialogs) + 1);
}

struct dialog *dialog_get(struct sip_ua *u, sip_dialog id)
{
    uint32_t place = (uint32_t)id;
    if (place == 0 || place > u->cfg.max_dialogs) {
        return NULL;
    }
    struct dialog *d = &u->dialogs[place - 1];
    return d->used && d->gen == id >> 32 && !d->hung_up ? d : NULL;
}

static uint64_t dialog_key(struct sip_ua *u, struct slice call_id, struct slice local_tag)
{
    struct slice part[] = {slice_str("dialog"), call_id, local_tag};
    return ua_key(u, part, 3);
}

void dialog_index(struct sip_ua *u, struct dialog *d)
{
    d->key = dialog_key(u, blob_slice(&d->call_id), blob_slice(&d->local_tag));
    map_add(&u->dialog_map, &d->link);
}

struct dialog *dialog_find(struct sip_ua *u, const struct sip_msg *m)
{
    uint64_t key = dialog_key(u, m->call_id, m->to_tag);
    struct dialog *d = MAP_ENTRY(map_find(&u->dialog_map, &key), struct dialog, link);
    return d && slice_eq(blob_slice(&d->remote_tag), m->from_tag) ? d : NULL;
}

/* Record-Route values as Route lines, in their order or in reverse. Only loose routers
 * (RFC 3261 16.12) are spoken to: a strict one would want the request URI rewritten. */
static int learn_routes(struct dialog *d, const struct sip_msg *m, bool is_uac)
{
    struct slice route[64];
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct slice list = m->h[i].value;
        while (m->h[i].id == SIP_H_RECORD_ROUTE && n < sizeof route / sizeof *route &&
               sip_value_next(&list, &route[n])) {
            n++;
        }
    }
    uint8_t text[SIP_HEAD_MAX];
    struct wr w = wr_over(text, sizeof text);
    for (size_t i = 0; i < n; i++) {
        wr_bytes(&w, slice_str("Route: "));
        wr_bytes(&w, route[is_uac ? n - 1 - i : i]);
        wr_bytes(&w, slice_str("\r\n"));
    }
    return w.err ? w.err : blob_set(&d->routes, wr_done(&w));
}

int dialog_learn(struct dialog *d, const struct sip_msg *m, bool is_uac)
{
    struct slice list = sip_msg_find(m, SIP_H_CONTACT), value, user, host;
    if (!sip_value_next(&list, &value) || sip_uri_split(sip_addr_uri(value), &user, &host)) {
        return ERR_MALFORMED;
    }
    int err = blob_set(&d->target, sip_addr_uri(value));
    /* 12.2: a later INVITE moves the target, never the route set. */
    return err || d->state == DIALOG_UP ? err : learn_routes(d, m, is_uac);
}

void dialog_bye(struct sip_ua *u, struct dialog *d, struct slice headers)
{
    struct request r = {.method = "BYE", .cseq = ++d->local_cseq, .headers = headers};
    struct slice bytes = ua_write_request(u, d, &r);
    struct tx *t = tx_new(u, &d->flow, bytes);
    ua_send(u, &d->flow, bytes);
    if (t) { /* without room for it the BYE is sent once */
        tx_index_client(u, t);
        tx_times(u, t, d->flow.transport == SIP_UDP ? T1_MS : 0, TX_END_MS);
    }
}

void dialog_end(struct sip_ua *u, struct dialog *d, const char *why, struct slice reason)
{
    if (!d->hung_up) {
        ua_emit(u, &(struct sip_action){.what = SIP_DO_ENDED,
                                        .flow = d->flow.id,
                                        .dialog = dialog_id(u, d),
                                        .why = why,
                                        .reason = reason});
    }
    dialog_free(u, d);
}
