/* [realm.NAME]: users that are apart from the others, found by SNI or listening address. */
#pragma once

#include "cmd/edge/conf.h"

extern const struct conf_option realm_options[];

/* Behind the default realm, which has index 0; users come later. False after conf_fail(). */
bool realms_read(struct edge_conf *e, struct conf *c);
/* Are the realms the same? Then a reload may bring other users. */
bool realms_same(const struct edge_conf *a, const struct edge_conf *b);
