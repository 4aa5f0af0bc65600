/* The addresses of this machine. */
#pragma once

#include "cmd/edge/conf.h"

/* edge_conf_add_own() for each of them. False: too many. */
bool own_add_all(struct edge_conf *e);
/* The address that packets to the Internet leave from; nothing is sent to find it. False: there
 * is no route. */
bool own_find(uint8_t family, struct addr *out);
