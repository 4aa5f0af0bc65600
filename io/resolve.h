/* Questions to the DNS, on the loop. */
#pragma once

#include "lib/base/dns.h"

#include "io/loop.h"

struct resolver;
struct resolve;

/* `server` (its port 0: 53) is asked in place of those that the system is set up with; NULL:
 * those, and the system's file of hosts. */
MUST_USE int resolver_new(struct resolver **out, struct loop *l, const struct addr *server);
/* Questions that are out are forgotten. NULL is fine. */
void resolver_free(struct resolver *r);

/* `fn` is called once, from the loop. No records: there are none, or nobody could be asked. The
 * records are good during the call. */
typedef void resolved(const struct dns_record *records, size_t n, void *ctx);
MUST_USE int resolver_ask(struct resolve **out, struct resolver *r, enum dns_type type,
                          const char *name, resolved *fn, void *ctx);
/* Not after `fn` was called. */
void resolve_cancel(struct resolve *q);
