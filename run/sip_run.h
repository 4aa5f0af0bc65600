/* Runs a sip_ua: listens on UDP, TCP and TLS, keeps flows, feeds messages and time in and
 * carries the actions out. What is for the program comes through one function. */
#pragma once

#include "lib/sip/ua.h"

#include "io/log.h"
#include "io/loop.h"

struct sip_run;

enum {
    SIP_LISTEN_MAX = 16
};

struct sip_run_config {
    struct sip_ua_config ua;
    const struct log *log;
    struct {
        enum sip_transport transport;
        struct addr at;
    } listen[SIP_LISTEN_MAX];
    size_t n_listen;
    const char *tls_cert, *tls_key, *tls_ca; /* PEM files; NULL: none */
    bool tls_require_peer_cert;
    uint32_t max_flows; /* connections, in all */
    uint32_t idle_s;    /* a connection without a dialog is closed after this */
    uint32_t silent_s;  /* and one that has never said anything after this; 0: idle_s */
    bool log_messages;  /* start lines, at debug level */
    /* All actions but SEND. Slices are good until it returns. It may call sip_run_* freely. */
    void (*action)(const struct sip_action *a, void *ctx);
    void *ctx;
};

/* ERR_SYSTEM after a log line that says what could not be done. */
MUST_USE int sip_run_new(struct sip_run **out, struct loop *l,
                         const struct sip_run_config *cfg);
void sip_run_free(struct sip_run *r);
/* The n-th listener's address, with the port it got. */
struct addr sip_run_addr(const struct sip_run *r, size_t n);

/* As the sip_ua_* of the same name, and then carries out what follows. `to` and `transport`:
 * where the flow of a new dialog leads; a connection is made, or an open one used. */
MUST_USE int sip_run_answer(struct sip_run *r, sip_dialog d, const struct sip_answer *a);
MUST_USE int sip_run_invite(struct sip_run *r, const struct addr *to,
                            enum sip_transport transport, struct sip_invite *inv,
                            sip_dialog *out);
MUST_USE int sip_run_reinvite(struct sip_run *r, sip_dialog d, struct slice content_type,
                              struct slice body);
void sip_run_hangup(struct sip_run *r, sip_dialog d, struct slice headers);
