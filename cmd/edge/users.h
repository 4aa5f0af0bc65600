/* Who may allocate: from the options and the user file, kept as keys, and from databases. */
#pragma once

#include "cmd/edge/conf.h"

/* False after conf_fail(). */
bool users_read(struct edge_conf *e, struct conf *c);
void users_done(struct edge_conf *e);
/* Moves `fresh`'s users and secrets into `e`, and the old ones the other way. */
void users_take(struct edge_conf *e, struct edge_conf *fresh);

/* Joins what users_read() found, and the databases, to a server: who is asked. */
struct users {
    const struct edge_conf *conf; /* a reload may put another in its place */
    struct user_chain *chain;
    struct turn_run *server; /* who asks */
};

/* Before the server is made; sets what e->run needs to ask. Fails after a log line. */
MUST_USE int users_start(struct users *u, struct edge_conf *e, struct loop *l);
void users_stop(struct users *u); /* after the server is gone */
