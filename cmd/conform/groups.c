/* All checks there are, in the order they run. */
#include "cmd/conform/check.h"

const struct check_group check_groups[] = {
    {"STUN (RFC 8489)",                 checks_stun},
    {"STUN over TCP (RFC 8489)",                                 checks_stream},
    {"Credentials (RFC 8489)",checks_auth},
    {"SHA-256 and hashed names (RFC 8489)", checks_sha256},
    {"Allocate (RFC 8656)",          checks_alloc},
    {"Dual allocations (RFC 8656)", checks_dual},
    {"Refresh (RFC 8656)",                                 checks_refresh},
    {"Mobility (RFC 8016)", checks_mobility},
    {"Permissions (RFC 8656)",            checks_perm},
    {"Send and Data (RFC 8656)",              checks_data},
    {"IP headers and ICMP (RFC 8656)", checks_header},
    {"Channels (RFC 8656)",                                 checks_channel},
    {"TCP relays: Allocate (RFC 6062)",           checks_tcp_alloc},
    {"TCP relays: connections (RFC 6062)",        checks_tcp_connect},
    {"TCP relays: data (RFC 6062)",                                 checks_tcp_data},
    {"Peers that must be refused (RFC 8656, RFC 6062)",checks_forbidden},
    {.title = NULL},
};
