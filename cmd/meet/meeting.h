/* The meeting server: its spaces, and which SIP dialog belongs to which. */
#pragma once

#include "lib/turn/uri.h"

#include "io/log.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "run/sip_run.h"
#include "run/web_run.h"

enum {
    SPACE_NAME_MAX = 64,
    MEETING_HOSTS_MAX = 8
};

struct share;

struct meeting_config {
    const struct log *log;
    const char *domain;       /* of sip:NAME@DOMAIN; NULL: any */
    struct turn_uri turn_uri; /* empty host: there is no server */
    struct addr dns;          /* family 0: the system's */
    struct slice turn_username, turn_password;
    struct addr media_host[MEETING_HOSTS_MAX];
    size_t n_media_hosts;
    uint32_t max_shares; /* at a time, in all spaces */
    bool allow_unencrypted;
    const char *rdp_program;
    struct sip_run_config sip; /* action and ctx are filled in here */
    struct web_config web;
};

struct space {
    struct space *next;
    struct meeting *meeting;
    struct share *share; /* NULL: nobody shares */
    char name[SPACE_NAME_MAX + 1];
};

struct meeting {
    struct loop *loop;
    struct meeting_config cfg;
    struct resolver *resolver;
    struct sip_run *sip;
    struct web *web;
    struct space *spaces;
    struct log_limit reports;
    struct share *shares; /* all, those of spaces and those that are ending */
};

MUST_USE int meeting_new(struct meeting **out, struct loop *l,
                         const struct meeting_config *cfg);
void meeting_free(struct meeting *m); /* hangs up */
/* ERR_LIMIT: the name is empty or too long. ERR_BADSTATE: there is one already. */
MUST_USE int meeting_add_space(struct meeting *m, const char *name);
/* Answers the dialog's INVITE; logs it when that cannot be done. */
void meeting_answer(struct meeting *m, sip_dialog d, const struct sip_answer *a);
