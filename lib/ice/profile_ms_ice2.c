/* [MS-ICE2] as Skype for Business speaks it. */
#include "lib/ice/agent.h"

/* (type << 24) | (transport(4) direction(3) other(9) << 8) | (256 - component): the numbers of
 * the clients' own candidates fall out of this table. */
static uint32_t priority(const struct ice_cand *c)
{
    static const uint8_t type[] = {
        [ICE_HOST] = 126, [ICE_SRFLX] = 100, [ICE_PRFLX] = 110, [ICE_RELAY] = 0};
    static const uint16_t other[][3] = {
        [ICE_HOST] = {[ICE_ACTIVE] = 0x1fd, [ICE_PASSIVE] = 0x1ff, [ICE_SO] = 0x1f7},
        [ICE_SRFLX] = {[ICE_ACTIVE] = 0x1f9, [ICE_PASSIVE] = 0x1f9, [ICE_SO] = 0x1f7},
        [ICE_PRFLX] = {[ICE_ACTIVE] = 0x1f9, [ICE_PASSIVE] = 0x1f9, [ICE_SO] = 0x1f7},
        [ICE_RELAY] = {[ICE_ACTIVE] = 0x1fb, [ICE_PASSIVE] = 0x009, [ICE_SO] = 0x007},
    };
    static const uint8_t direction[] = {[ICE_ACTIVE] = 5, [ICE_PASSIVE] = 2, [ICE_SO] = 1};
    uint32_t local = 6u << 12 | (uint32_t)direction[c->tcp] << 9 | other[c->type][c->tcp];
    return (uint32_t)type[c->type] << 24 | local << 8 | (256u - c->component);
}

const struct ice_profile ice_profile_ms_ice2 = {
    .name = "ms-ice2",
    .wire = &stun_wire_ms_ice2,
    .also = &stun_wire_rfc8489,
    .priority = priority,
    .implementation_version = 2,
    .candidate_identifier = true,
    .response_username = true,
    .regular_nomination = true,
};
