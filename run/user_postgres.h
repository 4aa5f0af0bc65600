/* Users in PostgreSQL, in coturn's tables. */
#pragma once

#include "lib/base/addr.h"

#include "run/user_store.h"

/* `conninfo` as libpq has it; addresses only, since looking up a name would hold the loop.
 * Connects from the loop, and again whenever the connection is lost. ERR_MALFORMED when
 * user_postgres_wrong() has something to say. */
MUST_USE int user_postgres_new(struct user_store **out, struct loop *l, const struct log *log,
                               const char *conninfo);
/* NULL, or what is wrong with it; the text is a literal. */
const char *user_postgres_wrong(const char *conninfo);
/* The address it is at; false: a socket, or the default. */
bool user_postgres_host(const char *conninfo, struct addr *out);
