/* Who may be a peer: networks, named pools, and what is our own. */
#pragma once

#include "cmd/edge/conf.h"

extern const struct conf_option peers_options[]; /* of a section [peers.NAME] */

/* False after conf_fail(). */
bool peers_read(struct edge_conf *e, struct conf *c);
/* Adds those of coturn's tables in the file of users. After all else: it needs the realms. */
bool peers_read_database(struct edge_conf *e, struct conf *c);
/* A reload: what may be a peer, and addresses that became our own. Those that are stay: the
 * sockets are where they are. False: there are too many of our own. */
MUST_USE bool peers_take(struct edge_conf *e, const struct edge_conf *fresh);
