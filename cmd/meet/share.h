/* One share: a SIP dialog that offers a screen, from its INVITE to its BYE. */
#pragma once

#include "run/sip_run.h"

#include "cmd/meet/meeting.h"

struct share;

/* Answers or refuses the new INVITE `a` to `space`. On OK the share is the space's, which
 * `share_detach` may take from it; it frees itself after its end. Otherwise it was refused. */
MUST_USE int share_new(struct share **out, struct space *space, const struct sip_action *a);
/* SIP events of its dialog. */
void share_sip(struct share *s, const struct sip_action *a);
/* Hangs up, says so on the page and in the log, and frees itself from the loop. `why`: one
 * sentence, a literal. `headers` go into the BYE, or into the 480 when it was not answered. */
void share_end(struct share *s, const char *why, const char *headers);
/* As share_end, and at once: the program is closing. */
void share_kill(struct share *s);
