/* Candidates: priorities, foundations, what is added. */
#include "lib/ice/agent.h"

#include "tests/unit.h"

static void priorities_are_the_clients_own(void **state)
{
    (void)state;
    static const struct {
        enum ice_cand_type type;
        enum ice_tcp_type tcp;
        uint32_t want;
    } row[] = {
        {ICE_HOST,  ICE_ACTIVE,  2121006591},
        {ICE_HOST,  ICE_PASSIVE, 2120613887},
        {ICE_SRFLX, ICE_ACTIVE,  1684797951},
        {ICE_RELAY, ICE_ACTIVE,  7076863   },
        {ICE_RELAY, ICE_PASSIVE, 6556159   },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct ice_cand c = {.type = row[i].type, .tcp = row[i].tcp, .component = 1};
        assert_int_equal(ice_profile_ms_ice2.priority(&c), row[i].want);
    }
    struct ice_cand c = {.type = ICE_HOST, .tcp = ICE_ACTIVE, .component = 1};
    assert_int_equal(ice_profile_rfc6544.priority(&c),
                     126u << 24 | (6u << 13 | 8191) << 8 | 255);
    c = (struct ice_cand){.type = ICE_PRFLX, .tcp = ICE_PASSIVE, .component = 2};
    assert_int_equal(ice_profile_rfc6544.priority(&c),
                     110u << 24 | (2u << 13 | 8191) << 8 | 254);
}

static void zeroes(void *out, size_t len, void *ctx)
{
    (void)ctx;
    memset(out, 0, len);
}

static void adds_fill_in_and_are_bounded(void **state)
{
    (void)state;
    struct ice_agent *a;
    struct ice_env env = {zeroes, NULL};
    struct ice_config cfg = {.profile = &ice_profile_ms_ice2,
                             .local_ufrag = slice_str("cmsX"),
                             .local_pwd = slice_str("0123456789012345678901")};
    struct ice_cand c =
                        {
                            .addr = {ADDR_IP4, {10, 0, 0, 1}, 5},
                              .tcp = ICE_PASSIVE
    },
                    out[40];
    assert_int_equal(ice_agent_new(&a, &cfg, &env), OK);
    assert_int_equal(ice_agent_add_local(a, &c), OK);
    assert_int_equal(ice_agent_add_local(a, &c), OK); /* a copy does not count */
    for (uint8_t i = 2; i <= ICE_CANDS_MAX; i++) {
        c.addr.ip[3] = i;
        assert_int_equal(ice_agent_add_local(a, &c), OK);
    }
    c.addr.ip[3] = 99;
    assert_int_equal(ice_agent_add_local(a, &c), ERR_LIMIT);
    assert_int_equal(ice_agent_local(a, out, 40), ICE_CANDS_MAX);
    assert_int_equal(ice_agent_local(a, out, 2), 2);
    assert_int_equal(out[0].priority, 2120613887);
    assert_int_equal(out[1].priority, 2120613887 - 256); /* no two alike */
    assert_string_not_equal(out[0].foundation, out[1].foundation);
    assert_true(addr_eq(&out[1].base, &out[1].addr));
    ice_agent_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(priorities_are_the_clients_own),
        cmocka_unit_test(adds_fill_in_and_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
