/* The options about relays' addresses and ports. */
#pragma once

#include "cmd/edge/conf.h"

/* After the listen addresses, the first of which is the default. False after conf_fail(). */
bool relays_read(struct edge_conf *e, struct conf *c);
