/* Any bytes as a token, sealed or in the clear: what comes out goes in again. */
#include <stdlib.h>

#include "lib/base/crypto.h"

#include "lib/turn/oauth_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t nonce[12] = {1};

static void open_it(const struct oauth_key *key, struct slice token)
{
    struct slice name = slice_str("turn.example");
    struct oauth_token t, back;
    uint8_t buf[OAUTH_TOKEN_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    if (oauth_token_open(&t, key, name, token)) {
        return;
    }
    if (oauth_token_seal(&t, key, name, nonce, &w) ||
        oauth_token_open(&back, key, name, wr_done(&w)) || back.made_unix_s != t.made_unix_s ||
        back.lifetime_s != t.lifetime_s ||
        memcmp(&back.mac_key, &t.mac_key, sizeof t.mac_key) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oauth_key key = {.b = "a key that the fuzzer knows, too", .len = 32}, row;
    struct slice in = slice_of(data, size), name = slice_str("turn.example");
    uint8_t buf[OAUTH_TOKEN_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    const struct aes_gcm g = {
        .key = slice_of(key.b, key.len), .nonce = slice_of(nonce, sizeof nonce), .aad = name};
    open_it(&key, in);
    (void)!oauth_key_from_row(&row, in);
    /* And as what an authorization server sealed. */
    wr_u16(&w, sizeof nonce);
    wr_bytes(&w, g.nonce);
    if (aes_gcm_seal(&g, in, &w) == OK) {
        open_it(&key, wr_done(&w));
    }
    return 0;
}
