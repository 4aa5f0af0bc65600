/* Inside the SIP endpoint: transactions (RFC 3261 17), dialogs (12) and what they share. For
 * lib/sip/ua*.c only. Pointers stay inside one call or between a dialog and its INVITEs. */
#pragma once

#include "lib/base/map.h"
#include "lib/base/timerq.h"

#include "lib/sip/msg.h"
#include "lib/sip/stream.h"
#include "lib/sip/ua.h"

enum {
    T1_MS = 500, /* RFC 3261 17.1.1.1 and its table 4 */
    T2_MS = 4000,
    T4_MS = 5000,
    TX_END_MS = 64 * T1_MS,
    RINGING_MAX_MS = 180000, /* as timer C (16.6): an INVITE nobody answers is cancelled */
    TAG_LEN = 16,
    OUT_MAX = SIP_HEAD_MAX + SIP_BODY_MAX
};

#define SIP_BRANCH_COOKIE "z9hG4bK" /* RFC 3261 8.1.1.7 */
#define SIP_ALLOW         "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO"

struct blob { /* bytes owned */
    uint8_t *p;
    size_t len;
};

enum tx_state {
    TX_TRYING,     /* a client's request is out; "calling" for INVITE */
    TX_PROCEEDING, /* a provisional response went */
    TX_COMPLETED,  /* a final response went; of INVITE: not 2xx, waiting for the ACK (server) */
    TX_ACCEPTED,   /* INVITE: 2xx went (RFC 6026) */
    TX_CONFIRMED   /* a server's non-2xx has its ACK */
};

struct dialog;

struct tx {
    struct map_link link;
    uint64_t key;
    struct timer timer;
    struct tx *next_free;
    bool used, is_server, is_invite;
    bool want_cancel; /* the caller hung up before a provisional response came */
    enum tx_state state;
    struct sip_flow_info flow;
    struct dialog *d;          /* set exactly while it is the dialog's `ins` or `outs` */
    struct blob request, last; /* last: the response (server), the ACK (client) */
    uint64_t resend_ms, end_ms;
    uint32_t interval_ms;
};

enum dialog_state {
    DIALOG_INVITED, /* the peer's first INVITE waits for an answer */
    DIALOG_CALLING, /* ours does */
    DIALOG_UP
};

struct dialog {
    struct map_link link;
    uint64_t key;
    uint32_t gen;
    bool used, hung_up; /* hung_up: the caller let go, the wire is not done yet */
    enum dialog_state state;
    struct sip_flow_info flow;
    /* local, remote: From and To of our requests, whole; routes: whole header lines */
    struct blob call_id, local, remote, local_tag, remote_tag, target, routes, user, bye;
    uint32_t local_cseq, remote_cseq;
    struct tx *ins, *outs; /* the pending INVITE of the peer, and ours */
};

struct item { /* an action in the queue; the bytes of its slices follow */
    struct item *next;
    struct sip_action a;
};

struct sip_ua {
    struct sip_ua_config cfg;
    struct sip_env env;
    struct blob agent, events;
    uint8_t secret[16];
    struct dialog *dialogs;
    struct tx *txs, *free_tx;
    struct map dialog_map, tx_map;
    struct timerq timers;
    struct item *head, **tail, *given;
    uint8_t *in, *out; /* OUT_MAX each: the message being read, the one being written */
    uint8_t reason[512];
    uint64_t now_ms;
};

/* ua.c */
MUST_USE int blob_set(struct blob *b, struct slice s); /* the old bytes stay on ERR_NOMEM */
void blob_free(struct blob *b);
static inline struct slice blob_slice(const struct blob *b)
{
    return slice_of(b->p, b->len);
}
void ua_emit(struct sip_ua *u, const struct sip_action *a);
void ua_send(struct sip_ua *u, const struct sip_flow_info *flow, struct slice bytes);
void ua_report(struct sip_ua *u, const struct sip_flow_info *flow, const char *why,
               struct slice start);
void ua_tag(struct sip_ua *u, char out[TAG_LEN + 1]);
/* One number for several texts, for the maps. */
uint64_t ua_key(const struct sip_ua *u, const struct slice *part, size_t n);
/* The phrase, and what the peer's diagnostic headers add to it; in u->reason. */
struct slice ua_reason(struct sip_ua *u, const struct sip_msg *m);

/* ua_write.c: into u->out, good until the next is written; empty when it does not fit */
struct slice ua_write_response(struct sip_ua *u, const struct sip_flow_info *flow,
                               const struct sip_msg *req, const struct sip_answer *a,
                               struct slice tag);
struct request {
    const char *method;
    uint32_t cseq;
    struct slice headers, content_type, body;
};
struct slice ua_write_request(struct sip_ua *u, const struct dialog *d,
                              const struct request *r);
/* CANCEL, or the ACK of a refusal, of the same hop as `t` (RFC 3261 9.1, 17.1.1.3). */
struct slice ua_write_hop(struct sip_ua *u, const struct tx *t, const char *method,
                          struct slice to);

/* ua_tx.c */
struct tx *tx_new(struct sip_ua *u, const struct sip_flow_info *flow, struct slice request);
void tx_free(struct sip_ua *u, struct tx *t);
struct tx *tx_find_server(struct sip_ua *u, const struct sip_flow_info *flow,
                          const struct sip_msg *m, struct slice method);
struct tx *tx_find_client(struct sip_ua *u, const struct sip_msg *m);
void tx_index_server(struct sip_ua *u, struct tx *t, const struct sip_msg *m);
void tx_index_client(struct sip_ua *u, struct tx *t);
void tx_detach(struct tx *t);
/* Sets the timers: the first repetition (0: none) and the end, both from now. */
void tx_times(struct sip_ua *u, struct tx *t, uint32_t resend_ms, uint32_t end_ms);
void tx_resend(struct sip_ua *u, struct tx *t);
void tx_due(struct sip_ua *u, struct tx *t);

/* ua_dialog.c */
struct dialog *dialog_new(struct sip_ua *u, const struct sip_flow_info *flow);
void dialog_free(struct sip_ua *u, struct dialog *d);
sip_dialog dialog_id(const struct sip_ua *u, const struct dialog *d);
struct dialog *dialog_get(struct sip_ua *u, sip_dialog id);
void dialog_index(struct sip_ua *u, struct dialog *d);
/* The dialog a request within one belongs to, or NULL. */
struct dialog *dialog_find(struct sip_ua *u, const struct sip_msg *m);
/* The peer's Contact and route set; UAC: in reverse (RFC 3261 12.1). */
MUST_USE int dialog_learn(struct dialog *d, const struct sip_msg *m, bool is_uac);
void dialog_bye(struct sip_ua *u, struct dialog *d, struct slice headers);
/* Frees it, and tells the caller unless he hung up himself. */
void dialog_end(struct sip_ua *u, struct dialog *d, const char *why, struct slice reason);

/* ua_server.c, ua_client.c */
void ua_request(struct sip_ua *u, const struct sip_flow_info *flow, const struct sip_msg *m,
                struct slice whole);
void ua_reply(struct sip_ua *u, const struct sip_flow_info *flow, const struct sip_msg *m,
              uint16_t status, const char *headers);
/* The final response of a pending INVITE, and the timers that go with it. */
MUST_USE int ua_answer_invite(struct sip_ua *u, struct tx *t, const struct sip_answer *a,
                              struct slice tag);
void ua_refuse(struct sip_ua *u, struct dialog *d, uint16_t status, struct slice headers);
void ua_response(struct sip_ua *u, const struct sip_msg *m);
void ua_cancel(struct sip_ua *u, struct tx *t);
void ua_no_answer(struct sip_ua *u, struct tx *t);
