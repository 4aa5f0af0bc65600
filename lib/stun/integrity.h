/* What reader and writer share: the HMAC's input, the CRC, the XOR mask. */
#pragma once

#include "lib/stun/msg.h"

/* HMAC over `text` (header and attributes before MESSAGE-INTEGRITY) as `wire` lays it out,
 * with the header's length field as if the message ended at `end` bytes. `mac` takes 32. */
MUST_USE int stun_integrity(const struct stun_wire *wire, const struct stun_key *key,
                            struct slice text, size_t end, uint8_t *mac, size_t *mac_len);

/* The value of FINGERPRINT for the bytes before it, whose length field counts it already. */
uint32_t stun_fingerprint(struct slice before);

/* Masks or unmasks `a` (RFC 8489 14.2). */
void stun_xor_addr(struct addr *a, const struct stun_wire *wire, const struct stun_tid *tid);
