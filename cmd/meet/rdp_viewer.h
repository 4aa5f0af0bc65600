/* The RDP viewer process of one share (causeway-rdp), seen from the meeting server: it gets a
 * byte stream, and a picture comes out. Nothing it says is trusted. */
#pragma once

#include "lib/share/picture.h"

#include "io/log.h"
#include "io/loop.h"

struct rdp_viewer;

enum rdp_event_type {
    RDP_STATE,   /* `state` */
    RDP_PICTURE, /* the picture has changed; `is_first`: there is one now */
    RDP_POINTER, /* `link`: the pointer's shape or place */
    RDP_ENDED    /* `why`. Nothing follows */
};

struct rdp_event {
    enum rdp_event_type type;
    enum link_state state;
    bool is_first;
    const struct link_msg *link;
    const char *why;
};

struct rdp_viewer_config {
    const char *program; /* path of causeway-rdp */
    const struct log *log;
    const char *tag; /* what the log lines belong to; outlives this */
    void (*event)(const struct rdp_event *e, void *ctx);
    void *ctx;
};

/* ERR_SYSTEM after a log line when the process cannot be started. */
MUST_USE int rdp_viewer_new(struct rdp_viewer **out, struct loop *l,
                            const struct rdp_viewer_config *cfg);
/* Ends the process too. NULL is fine; not inside its event. */
void rdp_viewer_free(struct rdp_viewer *v);
/* Our end of the RDP byte stream. */
int rdp_viewer_fd(const struct rdp_viewer *v);
struct picture *rdp_viewer_picture(struct rdp_viewer *v);
