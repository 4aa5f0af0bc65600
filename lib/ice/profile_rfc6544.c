/* ICE over TCP as the RFCs have it. */
#include "lib/ice/agent.h"

/* RFC 8445 5.1.2.1, with RFC 6544 4.2's direction in the upper three bits of local. */
static uint32_t priority(const struct ice_cand *c)
{
    static const uint8_t type[] = {
        [ICE_HOST] = 126, [ICE_SRFLX] = 100, [ICE_PRFLX] = 110, [ICE_RELAY] = 0};
    static const uint8_t near[] = {[ICE_ACTIVE] = 6, [ICE_PASSIVE] = 4, [ICE_SO] = 2};
    static const uint8_t nat[] = {[ICE_ACTIVE] = 4, [ICE_PASSIVE] = 2, [ICE_SO] = 6};
    bool behind_nat = c->type == ICE_SRFLX || c->type == ICE_PRFLX;
    uint32_t direction = behind_nat ? nat[c->tcp] : near[c->tcp];
    return (uint32_t)type[c->type] << 24 | (direction << 13 | 8191) << 8 |
           (256u - c->component);
}

const struct ice_profile ice_profile_rfc6544 = {
    .name = "rfc6544",
    .wire = &stun_wire_rfc8489,
    .priority = priority,
    .regular_nomination = true,
};
