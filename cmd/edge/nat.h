/* The option nat-discovery. */
#pragma once

#include "cmd/edge/conf.h"

/* After the listen addresses, to which it adds. False after conf_fail(). */
bool nat_read(struct edge_conf *e, struct conf *c);
