/* Who may be a peer: the one question that Connect, inbound connections, CreatePermission, Send
 * and ChannelBind all ask. */
#pragma once

#include "lib/base/addr.h"

enum {
    TURN_NETS_MAX = 256,
    TURN_OWN_MAX = 256
};

struct turn_policy {
    struct addr_net allow[TURN_NETS_MAX], deny[TURN_NETS_MAX];
    struct addr_net accept[TURN_NETS_MAX]; /* whose connections need no permission */
    struct addr own[TURN_OWN_MAX]; /* listeners' and relays' addresses; ports do not count */
    size_t n_allow, n_deny, n_accept, n_own;
    bool own_loopback; /* a listener on 0.0.0.0 answers on all of 127.0.0.0/8 */
    /* Unless 0: these ports of our own `relay` addresses may be peers, as two clients of this
     * server are to each other. They must pass `deny`, `allow` and the rest all the same. */
    uint16_t relay_first, relay_last;
    struct addr relay[3];
};

/* NULL: allowed. Otherwise why not, a literal ("own-address", "denied", "loopback", "private",
 * ...). Port 0 stands for any port. An address that embeds an IPv4 one is judged as both.
 * Order: the server's own addresses, and the unspecified ones, are refused whatever is allowed;
 * then `deny`; then `allow`;
 * then everything special. */
const char *turn_policy_refuses(const struct turn_policy *p, const struct addr *peer);
/* Is `peer`, which is not refused, one that `allow` or `accept` names, or a relay of ours that may
 * be a peer? Others are peers because they are public. */
bool turn_policy_names(const struct turn_policy *p, const struct addr *peer);
/* May `peer`, which is not refused, connect to a TCP relay without a permission? */
bool turn_policy_accepts(const struct turn_policy *p, const struct addr *peer);
