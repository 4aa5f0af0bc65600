/* RFC 8489's additions to the long-term credential mechanism: what a nonce says of the server,
 * password algorithms, and names that are not sent as they are. */
#pragma once

#include "lib/stun/msg.h"

enum {
    STUN_NONCE_COOKIE_LEN = 13, /* RFC 8489 9.2: how a nonce of such a server begins */
    STUN_USERHASH_LEN = 32,
    /* Security features (RFC 8489 18.1), bit 0 of the RFC first. */
    STUN_FEATURE_ALGORITHMS = 1 << 23,
    STUN_FEATURE_ANONYMITY = 1 << 22
};

void stun_put_nonce_cookie(struct wr *w, uint32_t features);
/* The features that a nonce tells of; none when it does not begin with a nonce cookie. */
uint32_t stun_nonce_features(struct slice nonce);

/* SHA-256(username ":" realm) (RFC 8489 14.4). */
MUST_USE int stun_userhash(uint8_t out[STUN_USERHASH_LEN], struct slice username,
                           struct slice realm);

/* PASSWORD-ALGORITHMS, or PASSWORD-ALGORITHM with a list of one. `list`: enum stun_algorithm.
 */
void stun_put_algorithms(struct stun_writer *s, enum stun_attr type, struct slice list);
/* Is this value of PASSWORD-ALGORITHMS the one that stun_put_algorithms() writes? */
bool stun_algorithms_are(struct slice value, struct slice list);
/* The first one of a received PASSWORD-ALGORITHMS or PASSWORD-ALGORITHM that we can do; NONE:
 * there is no such one, or the value is no list. */
enum stun_algorithm stun_algorithm_of(struct slice value);
