/* Runs the simulation, and makes what goes wrong small enough to read. */
#include "tests/sim/turn_sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/alloc_fault.h"

enum {
    SHRINK_RUNS = 500,
    PLANT_RUNS = 120, /* within which a planted fault must show */
    STEPS = 2000,
    STEPS_EACH = 40, /* for each of many clients */
    TELL_S = 5
};

/* What is running, for the last words of a process that ends in an assertion. */
static char last_words[64];

static void say_last_words(int sig)
{
    (void)sig;
    (void)!write(STDOUT_FILENO, last_words, strlen(last_words));
}

#ifdef __SANITIZE_ADDRESS__
void __sanitizer_set_death_callback(void (*callback)(void));

static void on_death(void)
{
    say_last_words(0);
}
#endif

static void listen_for_death(void)
{
    (void)signal(SIGABRT, say_last_words);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(on_death);
#endif
}

static void run_one(const struct sim_plan *plan, struct sim_result *r)
{
    (void)snprintf(last_words, sizeof last_words, "# ended in seed %" PRIu64 "\n", plan->seed);
    turn_sim_run(plan, r);
}

struct options {
    uint64_t seed, steps, runs, seconds, clients;
    const char *plant; /* NULL: none; "each": every one of them, one after the other */
};

static const char *const plant_names[] = {
    [PLANT_NONE] = "none",
#define PLANT(name, option, text) [PLANT_##name] = option,
#include "tests/sim/turn_plant.def"
#undef PLANT
};

static const char *const plant_texts[] = {
#define PLANT(name, option, text) [PLANT_##name] = text,
#include "tests/sim/turn_plant.def"
#undef PLANT
};

static const char *const counts[] = {
#define COUNT(name, text) [COUNT_##name] = text,
#include "tests/sim/turn_count.def"
#undef COUNT
};

/* Leaves out ever smaller pieces of the run as long as a fault shows; returns what is left. */
static size_t shrink(struct sim_plan *plan, bool *skip, struct sim_result *r)
{
    size_t n_runs = 0, left = 0;
    bool *was = calloc(plan->steps, sizeof *was);
    plan->skip = skip;
    plan->steps = r->step;
    for (size_t size = plan->steps / 2; was && size > 0; size /= 2) {
        for (size_t at = 0; at + size <= plan->steps && n_runs++ < SHRINK_RUNS; at += size) {
            memcpy(was, skip, plan->steps * sizeof *was);
            memset(skip + at, true, size * sizeof *skip);
            run_one(plan, r);
            if (r->fault[0]) {
                plan->steps = r->step;
            } else {
                memcpy(skip, was, plan->steps * sizeof *was);
            }
        }
    }
    free(was);
    for (size_t i = 0; i < plan->steps; i++) {
        left += !skip[i];
    }
    return left;
}

static void print_lines(const struct sim_result *r)
{
    size_t from = r->n_lines > MODEL_LINES ? r->n_lines - MODEL_LINES : 0;
    for (size_t i = from; i < r->n_lines; i++) {
        printf("# %s\n", r->line[i % MODEL_LINES]);
    }
}

static void tell_fault(struct sim_plan plan, struct sim_result *r)
{
    bool *skip = calloc(plan.steps, sizeof *skip);
    printf("# seed %" PRIu64 ", step %zu: %s\n", plan.seed, r->step, r->fault);
    printf("# again: turn_sim --seed %" PRIu64 " --steps %zu --clients %zu --runs 1\n",
           plan.seed, plan.steps, plan.n_clients);
    print_lines(r);
    if (skip) {
        size_t left = shrink(&plan, skip, r);
        run_one(&plan, r);
        printf("# %zu of its steps are enough for: %s\n", left, r->fault);
        print_lines(r);
    }
    free(skip);
}

static struct sim_plan plan_of(const struct options *o, uint64_t run, int plant)
{
    return (struct sim_plan){.seed = o->seed + run,
                             .steps = o->steps         ? o->steps
                                      : o->clients > 0 ? STEPS_EACH * o->clients
                                                       : STEPS,
                             .n_clients = o->clients,
                             .plant = plant};
}

static bool run_all(const struct options *o, int plant, struct sim_result *r)
{
    time_t begun = time(NULL), told = begun, now = begun;
    for (uint64_t i = 0; o->seconds ? now < begun + (time_t)o->seconds : i < o->runs; i++) {
        struct sim_plan plan = plan_of(o, i, plant);
        run_one(&plan, r);
        now = time(NULL);
        if (now >= told + TELL_S) {
            told = now;
            printf("# %lld s, seed %" PRIu64 ": %" PRIu64 " events, up to %u allocations\n",
                   (long long)(now - begun), plan.seed, r->events, r->most_allocs);
            (void)fflush(stdout);
        }
        if (r->fault[0]) {
            tell_fault(plan, r);
            return false;
        }
    }
    return true;
}

/* What did not happen was not tested. */
static bool all_happened(const struct sim_result *r)
{
    bool all = true;
    for (size_t i = 0; i < COUNT_ALL; i++) {
        printf("# %8" PRIu64 " %s\n", r->count[i], counts[i]);
        all &= r->count[i] > 0;
    }
    return all;
}

static bool plant_shows(const struct options *o, int plant, struct sim_result *r)
{
    for (uint64_t i = 0; i < PLANT_RUNS; i++) {
        struct sim_plan plan = plan_of(o, i, plant);
        run_one(&plan, r);
        if (r->fault[0]) {
            printf("# seed %" PRIu64 ", step %zu: %s\n", plan.seed, r->step, r->fault);
            return true;
        }
    }
    return false;
}

static int test_plants(const struct options *o, struct sim_result *r)
{
    int failed = 0;
    printf("1..%d\n", PLANT_ALL - 1);
    for (int i = 1; i < PLANT_ALL; i++) {
        bool ok = plant_shows(o, i, r);
        printf("%s %d seen: %s\n", ok ? "ok" : "not ok", i, plant_texts[i]);
        failed += !ok;
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int find_plant(const char *name)
{
    int found = PLANT_ALL;
    for (int i = 0; i < PLANT_ALL; i++) {
        found = strcmp(plant_names[i], name) == 0 ? i : found;
    }
    return found;
}

static int test_runs(const struct options *o, struct sim_result *r)
{
    int plant = o->plant ? find_plant(o->plant) : PLANT_NONE;
    if (plant == PLANT_ALL) {
        fprintf(stderr, "turn_sim: no such plant: %s\n", o->plant);
        return EXIT_FAILURE;
    }
    printf("1..2\n");
    bool ok = run_all(o, plant, r);
    printf("%s 1 %" PRIu64 " events, each as the model says\n", ok ? "ok" : "not ok",
           r->events);
    bool all = all_happened(r);
    if (o->clients >
        0) { /* what is rare is for the small worlds; this one is there to be full */
        all = r->most_allocs >= o->clients / 2;
        printf("%s 2 half of the clients had an allocation at once (%u)\n",
               all ? "ok" : "not ok", r->most_allocs);
    } else {
        printf("%s 2 everything there is to happen did\n", all ? "ok" : "not ok");
    }
    return ok && all ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {
        {"--seed",    &o->seed   },
        {"--steps",   &o->steps  },
        {"--runs",    &o->runs   },
        {"--seconds", &o->seconds},
        {"--clients", &o->clients}
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        char *end = argv[i + 1];
        bool known = strcmp(argv[i], "--plant") == 0;
        o->plant = known ? argv[i + 1] : o->plant;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            if (strcmp(argv[i], numbers[k].name) == 0) {
                *numbers[k].to = strtoull(argv[i + 1], &end, 10);
                known = end > argv[i + 1] && *end == 0;
            }
        }
        if (!known) {
            return false;
        }
    }
    return argc % 2 == 1 && (o->clients == 0 || (o->clients >= 100 && o->clients <= 50000));
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .runs = 50};
    struct sim_result *r = calloc(1, sizeof *r);
    listen_for_death();
    if (!r || !alloc_fault_hook_crypto() || !read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: turn_sim [--seed N] [--steps N] [--runs N] [--seconds S] "
                        "[--clients 100-50000] [--plant NAME | --plant each]\n");
        free(r);
        return 2;
    }
    int status =
        o.plant && strcmp(o.plant, "each") == 0 ? test_plants(&o, r) : test_runs(&o, r);
    free(r);
    return status;
}
