/* How many and how often: the options that end in a number. */
#pragma once

#include "cmd/edge/conf.h"

/* False after conf_fail(). */
bool limits_read(struct edge_conf *e, struct conf *c);
