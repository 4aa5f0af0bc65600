/* Two agents on the simulated network. */
#include "tests/sim/tcpnet.h"
#include "tests/unit.h"

enum {
    PATIENCE_MS = 10000
};

static struct ice_config config(struct net *n, int i, const struct ice_profile *profile)
{
    (void)n;
    return (struct ice_config){
        .profile = profile,
        .local_ufrag = slice_str(i ? "bobX" : "aliY"),
        .local_pwd = slice_str(i ? "bob-password-0123456789" : "ali-password-0123456789"),
        .controlling = i == 0,
        .pace_ms = 50,
        .check_ms = 2000,
        .connect_ms = 2000,
        .patience_ms = PATIENCE_MS,
        .keepalive_ms = 25000};
}

static void add(struct net *n, int agent, int host, enum ice_tcp_type tcp)
{
    struct ice_cand c = {.addr = net_addr(agent, host), .tcp = tcp};
    c.type = host == 3 ? ICE_RELAY : ICE_HOST;
    assert_int_equal(ice_agent_add_local(n->agent[agent], &c), OK);
}

static void tell(struct net *n, int to)
{
    struct ice_cand c[ICE_CANDS_MAX];
    size_t k = ice_agent_local(n->agent[1 - to], c, ICE_CANDS_MAX);
    assert_int_equal(ice_agent_set_remote(
                         n->agent[to], n->now_ms, slice_str(to ? "aliY" : "bobX"),
                         slice_str(to ? "ali-password-0123456789" : "bob-password-0123456789"),
                         c, k),
                     OK);
}

static struct net *net_new(uint64_t seed, const struct ice_profile *profile, bool conflict)
{
    struct net *n = calloc(1, sizeof *n);
    assert_non_null(n);
    n->event = calloc(NET_EVENTS, sizeof *n->event);
    assert_non_null(n->event);
    n->rng = seed * 0x9e3779b97f4a7c15u + 1;
    n->now_ms = 1000;
    for (int i = 0; i < 2; i++) {
        struct ice_config cfg = config(n, i, profile);
        struct ice_env env = {net_fill_random, n};
        cfg.controlling = conflict ? seed % 2 : cfg.controlling;
        assert_int_equal(ice_agent_new(&n->agent[i], &cfg, &env), OK);
    }
    return n;
}

static void net_free(struct net *n)
{
    ice_agent_free(n->agent[0]);
    ice_agent_free(n->agent[1]);
    free(n->event);
    free(n);
}

/* One that must hold whatever the network does. */
static void expect_agreement(const struct net *n, bool any_works, uint64_t seed)
{
    size_t a = net_selected(n, 0), b = net_selected(n, 1);
    if (any_works && (a == NET_CONNS || a != b)) {
        fail_msg("seed %llu: %zu and %zu; %s / %s", (unsigned long long)seed, a, b, n->why[0],
                 n->why[1]);
    }
    if (!any_works && !(n->failed[0] && n->failed[1])) {
        fail_msg("seed %llu: no path works, and nobody says so", (unsigned long long)seed);
    }
}

static bool plan(struct net *n, int n_hosts)
{
    bool any = false;
    unsigned luck = (unsigned)(net_random(n) % 8);
    for (int o = 0; o < 2; o++) {
        for (int from = 0; from < n_hosts; from++) {
            for (int to = 0; to < n_hosts; to++) {
                unsigned r = (unsigned)(net_random(n) % 8);
                enum net_fate f = r < luck ? (enum net_fate)(1 + r % 3) : NET_WORKS;
                if (luck == 7) {
                    f = (enum net_fate)(1 + r % 3);
                }
                n->fate[o][from][to] = f;
                any = any || f == NET_WORKS;
            }
        }
    }
    return any;
}

static void run_seed(uint64_t seed, const struct ice_profile *profile)
{
    struct net *n = net_new(seed, profile, seed % 3 == 0);
    int n_hosts = 1 + (int)(net_random(n) % NET_HOSTS);
    for (int i = 0; i < 2; i++) {
        for (int h = 0; h < n_hosts; h++) {
            add(n, i, h, ICE_PASSIVE);
            add(n, i, h, ICE_ACTIVE);
        }
    }
    bool any = plan(n, n_hosts);
    /* One learns of the other late: checks come before the description. */
    tell(n, 0);
    net_run(n, n->now_ms + net_random(n) % 1500);
    tell(n, 1);
    net_run(n, n->now_ms + 3 * PATIENCE_MS);
    expect_agreement(n, any, seed);
    net_free(n);
}

static void random_networks_ms(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 250; seed++) {
        run_seed(seed, &ice_profile_ms_ice2);
    }
}

static void random_networks_rfc(void **state)
{
    (void)state;
    for (uint64_t seed = 1001; seed <= 1150; seed++) {
        run_seed(seed, &ice_profile_rfc6544);
    }
}

/* The walkthrough: we are passive on a relay, the peer active; checks go both ways. */
static void passive_relay_is_found(void **state)
{
    (void)state;
    struct net *n = net_new(5, &ice_profile_ms_ice2, false);
    add(n, 0, 3, ICE_ACTIVE);
    add(n, 1, 3, ICE_PASSIVE);
    tell(n, 0);
    tell(n, 1);
    net_run(n, n->now_ms + 3000);
    expect_agreement(n, true, 0);
    assert_int_equal(n->n_selected[0], 1);
    assert_int_equal(n->n_selected[1], 1);
    /* data flows, and only then is a lost connection the end */
    size_t c = net_selected(n, 1);
    assert_int_equal(
        ice_agent_recv(n->agent[1], n->now_ms, n->conn[c].path[1], slice_of("\x80\x7f", 2)),
        OK);
    ice_agent_closed(n->agent[1], n->now_ms, n->conn[c].path[1]);
    net_run(n, n->now_ms + 1);
    assert_int_equal(n->n_data[1], 1);
    assert_true(n->failed[1]);
    net_free(n);
}

static void two_passive_sides_find_nothing(void **state)
{
    (void)state;
    struct net *n = net_new(6, &ice_profile_ms_ice2, false);
    add(n, 0, 0, ICE_PASSIVE);
    add(n, 1, 0, ICE_PASSIVE);
    tell(n, 0);
    tell(n, 1);
    net_run(n, n->now_ms + PATIENCE_MS - 1);
    assert_false(n->failed[0] || n->failed[1]);
    net_run(n, n->now_ms + 2);
    assert_true(n->failed[0] && n->failed[1]);
    assert_non_null(strstr(n->why[0], "the peer made 0 connections"));
    net_free(n);
}

static void reasons_are_counted(void **state)
{
    (void)state;
    struct net *n = net_new(7, &ice_profile_ms_ice2, false);
    for (int h = 0; h < 3; h++) {
        add(n, 0, h, ICE_ACTIVE);
    }
    add(n, 1, 0, ICE_PASSIVE);
    n->fate[0][0][0] = n->fate[0][1][0] = NET_REFUSES;
    n->fate[0][2][0] = NET_SWALLOWS;
    tell(n, 0);
    tell(n, 1);
    net_run(n, n->now_ms + PATIENCE_MS + 1);
    assert_true(n->failed[0]);
    assert_non_null(strstr(n->why[0], "2 connections refused, 1 not made in time"));
    net_free(n);
}

static void keepalives_flow_when_all_is_quiet(void **state)
{
    (void)state;
    struct net *n = net_new(8, &ice_profile_ms_ice2, false);
    add(n, 0, 0, ICE_ACTIVE);
    add(n, 1, 0, ICE_PASSIVE);
    tell(n, 0);
    tell(n, 1);
    net_run(n, n->now_ms + 5000);
    uint64_t before = n->order;
    net_run(n, n->now_ms + 100000);
    assert_in_range(n->order - before, 8, 9); /* four each in 100 s, or one on the edge */
    expect_agreement(n, true, 0);
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passive_relay_is_found),
        cmocka_unit_test(two_passive_sides_find_nothing),
        cmocka_unit_test(reasons_are_counted),
        cmocka_unit_test(keepalives_flow_when_all_is_quiet),
        cmocka_unit_test(random_networks_ms),
        cmocka_unit_test(random_networks_rfc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
