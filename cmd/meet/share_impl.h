/* The inside of a share, for the files of this folder. */
#pragma once

#include "lib/sdp/sdp.h"

#include "run/share_run.h"

#include "cmd/meet/meeting.h"
#include "cmd/meet/rdp_viewer.h"

enum share_phase {
    SHARE_GATHERING, /* relay and host candidates; the INVITE is unanswered */
    SHARE_ANSWERED,  /* 200 is out; the peer's connection and ICE */
    SHARE_PATH,      /* a path is selected; the second offer should come */
    SHARE_RDP,       /* the viewer's bytes flow; no picture yet */
    SHARE_LIVE,
    SHARE_OVER /* waits for the loop to free it */
};

struct share {
    struct share *next;
    struct meeting *meeting;
    struct space *space;
    sip_dialog dialog;
    struct share_run *media;
    struct rdp_viewer *viewer;
    struct loop_timer *timer;
    enum share_phase phase;
    uint64_t invited_ms;
    uint64_t session; /* of o=, with its version */
    uint32_t sdp_version;
    bool must_answer; /* an INVITE of the peer waits for us */
    bool has_relay;
    size_t offer_len;
    uint8_t *offer; /* the offer to answer, or the last answered one */
    char tag[SPACE_NAME_MAX + 1];
    char sharer[128];
};
