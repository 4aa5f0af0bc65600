/* The TURN server's figures, for Prometheus: GET /metrics. */
#pragma once

#include "io/log.h"
#include "run/turn_run.h"

struct turn_metrics;

/* ERR_SYSTEM after a log line. `run` outlives it. */
MUST_USE int turn_metrics_new(struct turn_metrics **out, struct loop *l, struct turn_run *run,
                              const struct addr *at, const struct log *log);
void turn_metrics_free(struct turn_metrics *m); /* NULL is fine */
