/* Users in Redis, under coturn's keys. */
#pragma once

#include "lib/base/addr.h"

#include "run/user_store.h"

/* `where` as coturn has it: "ip=127.0.0.1 port=6379 dbname=0 user=... password=...", all but ip
 * optional; or "path=" of a socket in place of ip and port. Connects from the loop, and again
 * whenever the connection is lost. ERR_MALFORMED when user_redis_wrong() has something to say.
 */
MUST_USE int user_redis_new(struct user_store **out, struct loop *l, const struct log *log,
                            const char *where);
/* NULL, or what is wrong with it; the text is a literal. */
const char *user_redis_wrong(const char *where);
/* The address it is at; false: a socket. */
bool user_redis_host(const char *where, struct addr *out);
