/* The demo's programs: their command lines, on which host each runs, and what they log. */
#pragma once

#include "io/loop.h"

#include "cmd/causeway/net.h"

enum member {
    MEMBER_EDGE,
    MEMBER_SKYPE_EDGE,
    MEMBER_MEET,
    MEMBER_FRONT_END,
    MEMBER_SHARE,
    MEMBER_COUNT
};

struct crew;

struct crew_event {
    enum member member;
    const char *name;  /* "share-live" */
    const char *level; /* "info" */
    const char *why;   /* its `why`, or "" */
};

struct crew_config {
    const struct net *net;
    const char *out; /* the folder for what the programs write; absolute */
    void (*event)(const struct crew_event *e, void *ctx);
    /* `how` is "ended with status 1", with its last lines behind it. */
    void (*gone)(enum member m, const char *how, void *ctx);
    void *ctx;
};

/* The demo's space, on the page http://NET_MEET:CREW_WEB_PORT/. */
#define CREW_SPACE "demo"
enum {
    CREW_WEB_PORT = 8080
};

/* "the edge (causeway-edge)". */
const char *crew_title(enum member m);

MUST_USE int crew_new(struct crew **out, struct loop *l, const struct crew_config *cfg);
/* ERR_NOTFOUND: the program is not built; ERR_SYSTEM. */
MUST_USE int crew_start(struct crew *c, enum member m);
bool crew_is_ready(const struct crew *c, enum member m); /* has said that it serves */
int crew_signal(struct crew *c, enum member m, int signo);
/* Ends all, with force after `grace_ms`; `gone` comes for each. */
void crew_stop(struct crew *c, uint32_t grace_ms);
bool crew_is_empty(const struct crew *c);
void crew_free(struct crew *c); /* empty by now; NULL is fine */
