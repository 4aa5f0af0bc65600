/* Self-contained tokens of third-party authorization (RFC 7635 6.2): what an authorization
 * server sealed for us, and a client shows. */
#pragma once

#include "lib/turn/server.h"

enum {
    OAUTH_TOKEN_MAX = 1024, /* bytes, sealed */
    OAUTH_NAME_MAX = 255    /* bytes of the name that tokens are made for */
};

struct oauth_key { /* shared with the authorization server */
    uint8_t b[32];
    uint8_t len;           /* 16: AES-128-GCM; 32: AES-256-GCM */
    uint64_t until_unix_s; /* UINT64_MAX: good for ever */
};

struct oauth_token {
    struct stun_key mac_key;
    uint64_t made_unix_s;
    uint32_t lifetime_s;
};

/* Base64. ERR_MALFORMED when it is not 16 or 32 bytes. */
MUST_USE int oauth_key_from_text(struct oauth_key *out, struct slice base64);
/* A row of coturn's table oauth_key, "IKM|ALGORITHM|TIMESTAMP|LIFETIME". ERR_MALFORMED, also
 * for an algorithm that is not A256GCM or A128GCM. */
MUST_USE int oauth_key_from_row(struct oauth_key *out, struct slice row);
/* `name`: of this server. ERR_AUTH, ERR_MALFORMED. */
MUST_USE int oauth_token_open(struct oauth_token *out, const struct oauth_key *key,
                              struct slice name, struct slice token);
MUST_USE int oauth_token_seal(const struct oauth_token *t, const struct oauth_key *key,
                              struct slice name, const uint8_t nonce[12], struct wr *out);
/* The same as keys, until the token ends. None when it is not good now. */
struct oauth_now {
    uint64_t unix_s, ms; /* the wall clock, and the one of turn_keys */
    struct slice name;
};
void oauth_token_keys(struct turn_keys *out, const struct oauth_key *key,
                      const struct oauth_now *now, struct slice token);
