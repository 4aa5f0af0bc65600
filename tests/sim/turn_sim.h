/* A TURN server core in a world of its own: clients over UDP and TCP that speak proper STUN and
 * misbehave on purpose, peers, a network that loses, repeats and reorders, a driver that
 * answers late, twice or about what is gone, and a clock that is moved by hand. The model
 * judges every event. A run follows from its plan alone. */
#pragma once

#include "tests/sim/turn_model.h"

enum { /* what else a run may differ in: faults planted around the core */
    PLANT_NONE,
#define PLANT(name, option, text) PLANT_##name,
#include "tests/sim/turn_plant.def"
#undef PLANT
    PLANT_ALL
};

struct sim_plan {
    uint64_t seed;
    size_t steps;
    size_t n_clients; /* 0: a few */
    int plant;
    const bool *skip; /* steps left out; NULL: none */
};

struct sim_result {
    size_t step;            /* where it ended */
    char fault[MODEL_LINE]; /* empty: none */
    char line[MODEL_LINES][MODEL_LINE];
    size_t n_lines;
    uint64_t count[COUNT_ALL];
    uint64_t events;      /* inputs to the core */
    uint32_t most_allocs; /* that lived at once */
};

/* The counts are added to what is there. */
void turn_sim_run(const struct sim_plan *plan, struct sim_result *out);
