/* Third-party authorization (RFC 7635) in the configuration. */
#include "cmd/edge/tokens.h"

#include "lib/base/crypto.h"

static const char *add(struct edge_conf *e, struct slice id, struct slice base64)
{
    struct edge_token_key *k = &e->token_keys[e->n_token_keys];
    struct oauth_key key;
    if (e->n_token_keys == EDGE_TOKEN_KEYS_MAX) {
        return "too many keys, 16 at most";
    }
    if (id.len == 0 || id.len > sizeof k->id) {
        return "needs an id of 1 to 128 bytes before the colon";
    }
    if (tokens_find_key(e, id, &key)) {
        secret_wipe(&key, sizeof key);
        return "is the id of another key";
    }
    if (oauth_key_from_text(&k->key, base64)) {
        return "needs base64 of 32 bytes (AES-256) or 16 (AES-128) after the colon";
    }
    memcpy(k->id, id.p, id.len);
    k->id_len = id.len;
    e->n_token_keys++;
    return NULL;
}

bool tokens_read(struct edge_conf *e, struct conf *c)
{
    struct slice name = slice_str(conf_text(c, "third-party-auth", 0));
    if (name.len > 128) {
        conf_fail(c, "third-party-auth", 0, "must have at most 128 bytes");
        return false;
    }
    for (size_t i = 0; i < conf_count(c, "oauth-key"); i++) {
        struct slice id, base64;
        conf_pair(c, "oauth-key", i, &id, &base64);
        const char *wrong =
            name.len > 0 ? add(e, id, base64) : "does nothing without third-party-auth";
        if (wrong) {
            conf_fail(c, "oauth-key", i, "%s", wrong);
            return false;
        }
    }
    e->run.server.third_party = name;
    return true;
}

void tokens_done(struct edge_conf *e)
{
    secret_wipe(e->token_keys, sizeof e->token_keys);
    e->n_token_keys = 0;
}

bool tokens_find_key(const struct edge_conf *e, struct slice id, struct oauth_key *out)
{
    for (size_t i = 0; i < e->n_token_keys; i++) {
        const struct edge_token_key *k = &e->token_keys[i];
        if (slice_eq(id, slice_of(k->id, k->id_len))) {
            *out = k->key;
            return true;
        }
    }
    return false;
}
