/* What turn_run asks of the file that knows DTLS. All take NULL: there is none. */
#pragma once

#include "run/turn_run.h"

struct turn_dtls;

MUST_USE int turn_dtls_new(struct turn_dtls **out, struct turn_run *r);
void turn_dtls_free(struct turn_dtls *d); /* with a farewell to each client */
/* Is it DTLS? Then it was dealt with. */
MUST_USE bool turn_dtls_take(struct turn_dtls *d, const struct addr *from,
                             const struct addr *local, struct dgram datagram);
/* For an action whose `conn` may be an association; nothing happens when it is none. */
void turn_dtls_send(struct turn_dtls *d, const struct turn_action *a);
void turn_dtls_close(struct turn_dtls *d, turn_id conn);
void turn_dtls_sweep(struct turn_dtls *d); /* closes those that idle */
