/* Where clients come in: addresses, proxies before us, the web server beside us. */
#pragma once

#include "cmd/edge/conf.h"

/* Each false after conf_fail(). */
bool doors_read_listen(struct edge_conf *e, struct conf *c);
bool doors_read(struct edge_conf *e, struct conf *c);
/* One more. NULL, or what is wrong with it. */
const char *doors_put_listen(struct edge_conf *e, uint8_t realm, const struct addr *a);
