/* Credentials that are not a name and a password: TURN REST's time-limited ones, and keys as
 * databases keep them. */
#pragma once

#include "lib/stun/msg.h"

enum {
    CREDENTIAL_SECRET_MAX = 256,  /* bytes of a shared secret */
    CREDENTIAL_PASSWORD_MAX = 44, /* base64 of an HMAC-SHA-256 */
    CREDENTIAL_HEX_MAX = 64       /* digits of a key */
};

/* TURN REST: is it "EXPIRY" or "EXPIRY:NAME", where EXPIRY is a time in seconds since 1970? */
bool credential_is_timed(struct slice username, uint64_t *expires_unix_s);
/* TURN REST: the password of `username`, base64(HMAC(secret, username)). */
MUST_USE int credential_password(struct wr *w, enum stun_hash hash, struct slice secret,
                                 struct slice username);
struct credential_maker {
    enum stun_hash hash;           /* of the password */
    enum stun_algorithm algorithm; /* of the key */
    struct slice secret;
};
/* The long-term key of that password. */
MUST_USE int credential_key(struct stun_key *out, const struct credential_maker *maker,
                            struct slice username, struct slice realm);

/* A long-term key in hexadecimal, 16 bytes (MD5) or 32 (SHA-256). ERR_MALFORMED. */
MUST_USE int credential_key_from_hex(struct stun_key *out, struct slice hex);
void credential_key_to_hex(struct wr *w, const struct stun_key *key);
