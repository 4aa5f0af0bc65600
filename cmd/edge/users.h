/* Who may allocate: from the options and the user file, kept as keys. */
#pragma once

#include "cmd/edge/conf.h"

/* False after conf_fail(). */
bool users_read(struct edge_conf *e, struct conf *c);
void users_done(struct edge_conf *e);
