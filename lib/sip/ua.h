/* A SIP endpoint (RFC 3261): dialogs, INVITE and re-INVITE both ways, BYE, CANCEL, OPTIONS. No
 * sockets: whole messages and time go in, actions come out. */
#pragma once

#include "lib/base/addr.h"
#include "lib/base/wire.h"

struct sip_ua;
typedef uint64_t sip_dialog; /* never 0 */
typedef uint64_t
    sip_flow; /* one TLS or TCP connection, or one UDP remote; the caller's number */

enum sip_transport {
    SIP_UDP,
    SIP_TCP,
    SIP_TLS
};

struct sip_flow_info {
    sip_flow id;
    enum sip_transport transport;
    struct addr local, remote;
};

struct sip_ua_config {
    struct slice user_agent;   /* copied */
    struct slice allow_events; /* unused headers stay empty */
    uint32_t max_dialogs, max_transactions;
};

struct sip_env {
    void (*random)(void *out, size_t len, void *ctx);
    void *ctx;
};

enum sip_do {
    SIP_DO_SEND,      /* `bytes` on `flow` */
    SIP_DO_INVITED,   /* a new dialog asks: answer it. 100 has been sent already */
    SIP_DO_REINVITED, /* within the dialog: answer it */
    SIP_DO_CONFIRMED, /* the ACK of our 2xx came */
    SIP_DO_PROGRESS,  /* 1xx of our INVITE: status */
    SIP_DO_ANSWERED,  /* 2xx of our INVITE or re-INVITE; the ACK has been sent */
    SIP_DO_REFUSED,   /* 3xx-6xx or no answer (408): a new dialog is over, an old one goes on */
    SIP_DO_ENDED,     /* BYE, CANCEL, or the flow is gone: `why`; the dialog is over */
    SIP_DO_REPORT     /* a step, for the log: `why`, `bytes` the start line */
};

struct sip_action {
    enum sip_do what;
    sip_flow flow;
    sip_dialog dialog;
    uint16_t status;
    struct slice bytes; /* SEND; all slices: good until the next recv, tick or flow_gone */
    struct slice body, content_type;
    struct slice target_user, target_host; /* INVITED: of the request URI */
    struct slice from_uri, from_name;      /* INVITED */
    struct slice reason; /* phrase of a response; REFUSED and ENDED: and what Warning or
                            ms-diagnostics(-public) said, if anything did */
    const char *why;     /* a literal */
};

struct sip_answer {
    uint16_t status;
    struct slice reason;  /* phrase; empty: the usual one */
    struct slice headers; /* whole extra lines, CRLF each; may be empty */
    struct slice content_type, body;
};

struct sip_invite {
    struct sip_flow_info flow;
    struct slice request_uri, from, to; /* "sip:a@b"; copied */
    struct slice content_type, body;
    struct slice headers; /* whole extra lines */
};

MUST_USE int sip_ua_new(struct sip_ua **out, const struct sip_ua_config *cfg,
                        const struct sip_env *env);
void sip_ua_free(struct sip_ua *u);

/* One whole message. What cannot be read is answered with 400 where RFC 3261 wants that, and
 * reported; ERR_MALFORMED then, and a stream should be closed. */
MUST_USE int sip_ua_recv(struct sip_ua *u, uint64_t now_ms, const struct sip_flow_info *flow,
                         struct slice message);
void sip_ua_flow_gone(struct sip_ua *u, uint64_t now_ms, sip_flow flow);
/* 1xx, 2xx or a refusal of the dialog's pending INVITE. ERR_BADSTATE when there is none (it may
 * have been cancelled meanwhile). 2xx is repeated until the ACK (RFC 3261 13.3.1.4). */
MUST_USE int sip_ua_answer(struct sip_ua *u, uint64_t now_ms, sip_dialog d,
                           const struct sip_answer *a);
MUST_USE int sip_ua_invite(struct sip_ua *u, uint64_t now_ms, const struct sip_invite *inv,
                           sip_dialog *out);
/* Within the dialog, with a new body. ERR_BADSTATE while another is pending. */
MUST_USE int sip_ua_reinvite(struct sip_ua *u, uint64_t now_ms, sip_dialog d,
                             struct slice content_type, struct slice body);
/* BYE, CANCEL or 487/603, whatever the dialog's state asks for; `d` is no more after it, and no
 * action names it again. `headers`: extra lines. */
void sip_ua_hangup(struct sip_ua *u, uint64_t now_ms, sip_dialog d, struct slice headers);
void sip_ua_tick(struct sip_ua *u, uint64_t now_ms);
bool sip_ua_next(struct sip_ua *u, struct sip_action *out);
uint64_t sip_ua_deadline_ms(const struct sip_ua *u);
/* A dialog, or an INVITE on its way to one, uses the flow. */
bool sip_ua_flow_in_use(const struct sip_ua *u, sip_flow flow);
