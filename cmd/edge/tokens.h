/* Third-party authorization (RFC 7635): who makes tokens for us, and the keys that we share. */
#pragma once

#include "cmd/edge/conf.h"

/* False after conf_fail(). */
bool tokens_read(struct edge_conf *e, struct conf *c);
void tokens_done(struct edge_conf *e);
/* For the user chain. */
bool tokens_find_key(const struct edge_conf *e, struct slice id, struct oauth_key *out);
