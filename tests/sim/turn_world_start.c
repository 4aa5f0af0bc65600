/* A world from a seed: its random numbers, its people, and the server. */
#include "tests/sim/alloc_fault.h"
#include "tests/sim/turn_world.h"

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    SMALL_SLOTS = 32 /* allocations in a world of a few clients, at most */
};

uint64_t world_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t next(uint64_t *state)
{
    return world_mix((*state)++);
}

uint32_t world_pick(struct world *w, uint32_t n)
{
    return (uint32_t)((next(&w->rng) >> 32) % n);
}

bool world_chance(struct world *w, uint32_t percent)
{
    return world_pick(w, 100) < percent;
}

uint64_t world_some_time(struct world *w)
{
    uint64_t due = model_deadline_ms(&w->m), now = w->m.now_ms;
    /* Where thousands live, an hour at once would be the end of them all. */
    uint32_t how = world_pick(w, world_is_large(w) ? 98 : 100);
    if (how < 15 && due != UINT64_MAX && due > now) {
        return due - now; /* to the moment */
    }
    if (how < 20 && due != UINT64_MAX && due > now) {
        return due - now - 1; /* and just before it */
    }
    return how < 80              ? world_pick(w, SECOND)
           : how < 98            ? world_pick(w, MINUTE)
           : world_chance(w, 80) ? world_pick(w, 60 * MINUTE)
                                 : 24ull * 60 * MINUTE;
}

static void core_random(void *out, size_t len, void *ctx)
{
    struct world *w = ctx;
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)next(&w->core_rng);
    }
}

static uint64_t core_unix_s(void *ctx)
{
    const struct world *w = ctx;
    return w->plant == PLANT_NONCE_FOREVER ? 1700000000 : w->m.unix_s;
}

static void make_users(struct world *w)
{
    static const struct m_user users[MODEL_USERS] = {
        {.name = "alice",      .password = "one",   .is_known = true},
        {.name = "bob",                    .password = "two",                           .is_known = true},
        {.name = "carol",    .password = "three",.is_known = true},
        {.name = "mallory",.password = "four"    },
    };
    memcpy(w->m.users, users, sizeof users);
    for (size_t i = 0; i < MODEL_USERS; i++) {
        struct m_user *u = &w->m.users[i];
        u->is_modern = w->m.cfg.n_algorithms > 0 && world_chance(w, 50);
        u->is_hidden = u->is_modern && world_chance(w, 50);
        enum stun_algorithm with = u->is_modern ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5;
        if (stun_key_made(&u->key, with, slice_str(u->name), w->m.cfg.realms[0],
                          slice_str(u->password)) ||
            stun_userhash(u->hash, slice_str(u->name), w->m.cfg.realms[0])) {
            model_fault(&w->m, "no key for %s", u->name);
        }
    }
}

/* 0, which is none, but for `percent` of the worlds. */
static uint32_t pick_limit(struct world *w, uint32_t percent, uint32_t most)
{
    return world_chance(w, percent) ? 1 + world_pick(w, most) : 0;
}

static struct turn_config make_config(struct world *w)
{
    struct turn_config cfg = {.realms = {slice_str("sim.example")},
                              .n_realms = 1,
                              .software = slice_str("simulated"),
                              .nonce_life_s = world_chance(w, 50) ? 600 : 3600,
                              .max_allocations = 2 + world_pick(w, SMALL_SLOTS - 1),
                              .max_per_user = 1 + world_pick(w, 12),
                              .max_unbound = 1 + world_pick(w, 3),
                              .max_connections = 2 + world_pick(w, 3),
                              .max_permissions = 1 + world_pick(w, 4),
                              .max_channels = 1 + world_pick(w, 3),
                              .max_unproven_per_s =
                                  world_chance(w, 50) ? 0 : 1 + world_pick(w, 5),
                              .lifetime_default_s = 600,
                              .lifetime_max_s = 3600,
                              .mobility = world_chance(w, 70),
                              .tcp_accept_any = world_chance(w, 50),
                              .relay_ip6 = world_chance(w, 60),
                              .policy = &w->policy};
    cfg.can_df = world_chance(w, 80);
    cfg.relay_ip4 = !cfg.relay_ip6 || world_chance(w, 90);
    cfg.tcp = (struct turn_tcp_quota){.in_all = pick_limit(w, 40, SMALL_SLOTS * MODEL_LINKS),
                                      .per_user = pick_limit(w, 50, 8),
                                      .unbound_per_user = pick_limit(w, 50, 4),
                                      .connects_per_s = pick_limit(w, 50, 3),
                                      .connect = world_chance(w, 5)   ? TURN_CONNECT_NONE
                                                 : world_chance(w, 3) ? TURN_CONNECT_NAMED
                                                                      : TURN_CONNECT_ANY};
    cfg.max_failures_per_s = pick_limit(w, 40, 4);
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        cfg.bandwidth[i].bytes_per_s = pick_limit(w, 25, 3);
        cfg.bandwidth[i].burst = 24 + world_pick(w, 100);
    }
    cfg.rate_prefix.ip4_bits = world_chance(w, 50) ? 32 : 0;
    if (world_chance(w, 50)) {
        cfg.algorithms[cfg.n_algorithms++] = STUN_ALGORITHM_SHA256;
        cfg.algorithms[cfg.n_algorithms++] = STUN_ALGORITHM_MD5;
    }
    if (world_chance(w, 50)) {
        cfg.alternate[0] = (struct addr){
            .family = ADDR_IP4, .ip = {203, 0, 113, 9},
                 .port = 3478
        };
    }
    if (world_chance(w, 30)) {
        cfg.external_ip = (struct addr){
            .family = ADDR_IP4, .ip = {203, 0, 113, 7}
        };
    }
    return cfg;
}

/* For so many clients that there is work for every limit, and that most have what they want. */
static void enlarge(struct world *w, struct turn_config *cfg)
{
    uint32_t n = (uint32_t)w->n_clients;
    cfg->max_allocations = n - n / 8;
    cfg->max_per_user = n / 4 + world_pick(w, n / 4);
    cfg->max_unproven_per_s *= 1 + n / 100;
    cfg->max_failures_per_s *= 1 + n / 200;
    cfg->tcp.in_all = pick_limit(w, 40, 2 * n);
    cfg->tcp.per_user *= n / 16;
    cfg->tcp.unbound_per_user *= n / 16;
    cfg->tcp.connects_per_s *= 1 + n / 500;
    for (size_t i = TURN_BANDWIDTH_USER; i < TURN_BANDWIDTHS; i++) {
        cfg->bandwidth[i].bytes_per_s *= 1 + n / 16;
        cfg->bandwidth[i].burst *= 1 + n / 16;
    }
}

/* With the n-th allocation of memory failing, for each n, until none fails. */
static void make_server(struct world *w, const struct turn_config *cfg)
{
    const struct turn_env env = {.random = core_random, .unix_s = core_unix_s, .ctx = w};
    int err = ERR_NOMEM;
    for (uint32_t n = 1; err; n++) {
        alloc_fault_at(n);
        err = turn_server_new(&w->s, cfg, &env);
        bool failed = alloc_fault_done();
        if (failed != (err == ERR_NOMEM) || !err != (w->s != NULL)) {
            model_fault(&w->m, "allocation %u fails, and turn_server_new() says %s",
                        (unsigned)n, err_text(err));
            return;
        }
    }
}

bool world_start(struct world *w, const struct sim_plan *plan)
{
    /* The last: what a run takes is left until the clock's end. */
    static const uint64_t starts[] = {0,
                                      1,
                                      1000,
                                      UINT32_MAX - 1000ull,
                                      UINT64_MAX / 2,
                                      UINT64_MAX - 500ull * 24 * 3600 * 1000};
    w->rng = w->core_rng = world_mix(plan->seed);
    w->plant = plan->plant;
    w->policy.own[0] = (struct addr){
        .family = ADDR_IP4, .ip = {198, 51, 100, 1}
    };
    w->policy.n_own = 1;
    w->strict = w->policy;
    world_deny_strictly(&w->strict);
    w->policy.n_accept = 1;
    w->policy.accept[0] = (struct addr_net){
        {.family = ADDR_IP4, .ip = {9}},
        8
    };
    w->m.now_ms = starts[world_pick(w, sizeof starts / sizeof *starts)];
    w->m.unix_s = 1700000000;
    w->m.peer_ok = world_peer_ok;
    w->m.peer_may_come = world_peer_may_come;
    w->m.keeps_permissions = plan->plant == PLANT_KEEP_PERMISSION;
    w->m.keeps_tickets = plan->plant == PLANT_KEEP_TICKET;
    w->m.cfg = make_config(w);
    if (!world_make_clients(w, plan->n_clients) ||
        !model_init(&w->m, world_is_large(w) ? w->n_clients : SMALL_SLOTS)) {
        return false;
    }
    if (world_is_large(w)) {
        enlarge(w, &w->m.cfg);
    }
    struct turn_config cfg = w->m.cfg;
    cfg.max_per_user += plan->plant == PLANT_QUOTA;
    for (size_t i = 0; i < TURN_BANDWIDTHS; i++) {
        cfg.bandwidth[i].bytes_per_s +=
            cfg.bandwidth[i].bytes_per_s && plan->plant == PLANT_BANDWIDTH;
    }
    cfg.tcp.per_user += cfg.tcp.per_user && plan->plant == PLANT_USER_PEERS;
    cfg.tcp.connects_per_s += cfg.tcp.connects_per_s && plan->plant == PLANT_CONNECT_RATE;
    cfg.max_failures_per_s += cfg.max_failures_per_s && plan->plant == PLANT_GUESSES;
    make_users(w);
    make_server(w, &cfg);
    w->m.s = w->s;
    return true;
}
