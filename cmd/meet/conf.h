/* Options of causeway-meet. */
#pragma once

#include "io/conf.h"

#include "cmd/meet/meeting.h"

extern const struct conf_program meet_program;

/* Checks across options, for conf_load(). */
bool meet_conf_validate(struct conf *c);
void meet_conf_read(const struct conf *c, struct meeting_config *cfg, struct log *log);
