/* The TURN client's credentials (RFC 8489 9.2), and its way to another server (10). */
#include "lib/base/crypto.h"

#include "lib/stun/security.h"
#include "lib/turn/client_core.h"

int client_keep(struct client_text *t, struct slice s, size_t max)
{
    if (s.len > max || s.len > sizeof t->b) {
        return ERR_LIMIT;
    }
    if (s.len > 0) {
        memmove(t->b, s.p, s.len);
    }
    t->len = s.len;
    return OK;
}

static bool is_bid_down(const struct stun_msg *m)
{
    struct slice nonce;
    return stun_get_bytes(m, STUN_NONCE, &nonce) == OK &&
           (stun_nonce_features(nonce) & STUN_FEATURE_ALGORITHMS) &&
           !stun_has(m, STUN_PASSWORD_ALGORITHMS);
}

/* Out of the list, what we sign with from here on. */
static const char *take_algorithms(struct turn_client *c, const struct stun_msg *m,
                                   enum stun_algorithm *out)
{
    struct slice list;
    *out = STUN_ALGORITHM_MD5;
    bool has_list = stun_get_bytes(m, STUN_PASSWORD_ALGORITHMS, &list) == OK;
    if (is_bid_down(m) || (c->algorithms_len > 0 && !has_list)) {
        return "somebody took the password algorithms out of the TURN server's answer: "
               "refusing "
               "to go on";
    }
    if (!has_list) {
        return NULL;
    }
    *out = stun_algorithm_of(list);
    if (*out == STUN_ALGORITHM_NONE || list.len > sizeof c->algorithms) {
        return "the TURN server wants a password algorithm that we do not know";
    }
    memcpy(c->algorithms, list.p, list.len);
    c->algorithms_len = list.len;
    return NULL;
}

const char *client_take_challenge(struct turn_client *c, const struct stun_msg *m)
{
    static const char unusable[] = "the TURN server's challenge has no usable realm and nonce";
    enum stun_algorithm algorithm;
    struct slice realm, nonce;
    if (stun_get_bytes(m, STUN_NONCE, &nonce)) {
        return unusable;
    }
    if (stun_get_bytes(m, STUN_REALM, &realm)) {
        realm = client_text(&c->realm);
    }
    const char *wrong = take_algorithms(c, m, &algorithm);
    if (wrong) {
        return wrong;
    }
    if (client_keep(&c->realm, realm, sizeof c->realm.b) ||
        client_keep(&c->nonce, nonce, sizeof c->nonce.b) ||
        stun_key_made(&c->key, algorithm, client_text(&c->username), client_text(&c->realm),
                      client_text(&c->password))) {
        return unusable;
    }
    /* RFC 8489 9.2.5: whoever was offered algorithms signs with SHA-256 only. */
    c->key.hash = c->algorithms_len > 0 ? STUN_SHA256 : STUN_SHA1;
    c->hides_name = stun_nonce_features(nonce) & STUN_FEATURE_ANONYMITY;
    return NULL;
}

void client_put_credentials(const struct turn_client *c, struct stun_writer *s)
{
    uint8_t hash[STUN_USERHASH_LEN];
    if (!c->hides_name) {
        stun_put_bytes(s, STUN_USERNAME, client_text(&c->username));
    } else if (stun_userhash(hash, client_text(&c->username), client_text(&c->realm)) == OK) {
        stun_put_bytes(s, STUN_USERHASH, slice_of(hash, sizeof hash));
    }
    stun_put_bytes(s, STUN_REALM, client_text(&c->realm));
    stun_put_bytes(s, STUN_NONCE, client_text(&c->nonce));
    if (c->algorithms_len > 0) {
        stun_put_bytes(s, STUN_PASSWORD_ALGORITHMS, slice_of(c->algorithms, c->algorithms_len));
        stun_put_algorithms(s, STUN_PASSWORD_ALGORITHM, slice_of(&c->key.algorithm, 1));
    }
}

bool client_is_authentic(const struct turn_client *c, const struct stun_msg *m)
{
    bool is_strong = m->integrity_sha256 || c->key.hash == STUN_SHA1;
    return is_strong && stun_check_integrity(m, &c->key) == OK;
}

bool client_must_ignore(const struct turn_client *c, const struct stun_msg *m)
{
    uint16_t code;
    struct slice reason;
    if (stun_get_error(m, &code, &reason)) {
        code = 0;
    }
    if (code == 401 || code == 438) {
        return false; /* client_take_challenge() looks at these */
    }
    /* An unsigned 400 of a server that does not know RFC 8489 is believed: it signs none, and
     * what is wrong should be said at once. */
    return is_bid_down(m) || (code == 400 && !stun_is_signed(m) && c->key.hash == STUN_SHA256);
}

/* The first one of our family, or the first one. */
static bool other_server(const struct turn_client *c, const struct stun_msg *m,
                         struct addr *out)
{
    struct addr a;
    bool found = false;
    for (size_t i = 0; stun_get_nth_addr(m, STUN_ALTERNATE_SERVER, i, &a) == OK; i++) {
        if (!found ||
            (out->family != c->cfg.server.family && a.family == c->cfg.server.family)) {
            *out = a;
            found = true;
        }
    }
    return found && out->port != 0;
}

void client_redirect(struct turn_client *c, const struct stun_msg *m)
{
    struct addr to;
    bool was_signed = c->state != CLIENT_PROBING;
    if (was_signed && !client_is_authentic(c, m)) {
        client_fail(
            c, "somebody who does not know the password sends us to another TURN server", 300);
        return;
    }
    if (!other_server(c, m, &to)) {
        client_fail(c, "the TURN server sends us to another one but names none (300)", 300);
        return;
    }
    bool was_there = addr_eq(&to, &c->cfg.server);
    for (size_t i = 0; i < c->n_servers; i++) {
        was_there = was_there || addr_eq(&to, &c->servers[i]);
    }
    /* RFC 8489 10: back to where we were is no way. */
    if (was_there || c->n_servers == CLIENT_SERVERS_MAX) {
        client_fail(c, "the TURN servers send us round in circles (300)", 300);
        return;
    }
    c->servers[c->n_servers++] = to;
    c->main.deadline_ms = TIMER_NEVER;
    c->realm.len = c->nonce.len = c->algorithms_len = 0;
    c->hides_name = false;
    secret_wipe(&c->key, sizeof c->key);
    c->state = CLIENT_IDLE;
    client_report(c, "another server", 300);
    client_push(c, (struct turn_client_action){.what = TURN_CLIENT_REDIRECT, .server = to});
}
