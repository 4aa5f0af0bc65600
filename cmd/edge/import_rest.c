/* import-coturn: users, limits and the rest. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/turn/credentials.h"

#include "run/user_chain.h"
#include "run/user_postgres.h"
#include "run/user_redis.h"

#include "cmd/edge/conf.h"
#include "cmd/edge/import.h"

#define OWN_USERS     "/var/lib/causeway/users"
#define COTURNS_USERS "/var/lib/turn/turndb" /* Debian's default */

enum {
    NAME_MAX_BYTES = 128,
    SECRET_MIN = 8,
    LOCAL_MAX = 1024
};

/* Can it stand in the file as it is? A semicolon behind a blank begins a comment there, and a
 * value has a blank before it. */
static bool is_plain(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && !strchr(" \t;", text[0]) && !strchr(" \t", text[len - 1]) &&
           !strstr(text, " ;") && !strstr(text, "\t;");
}

static bool comes_again(const struct import *m, const struct coturn_line *l, size_t name_len)
{
    for (const struct coturn_line *o = l; (o = coturn_next(&m->in, "user", o));) {
        if (strncmp(o->value, l->value, name_len + 1) == 0) {
            return true;
        }
    }
    return false;
}

/* NULL, or why not. */
static const char *put_user(struct import *m, const struct coturn_line *l, const char *realm,
                            const char *key)
{
    char name[NAME_MAX_BYTES + 1], hex[2 * STUN_KEY_MAX + 1] = "";
    size_t len = strcspn(l->value, ":");
    const char *password = l->value + len + (l->value[len] == ':');
    password += strspn(password, " \t");
    if (len == 0 || !*password) {
        return "is not NAME:PASSWORD";
    }
    if (len > NAME_MAX_BYTES) {
        return "names have 128 bytes at most";
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)len, l->value);
    if (comes_again(m, l, len)) {
        return "comes again below, and coturn takes the last";
    }
    if (is_plain(l->value)) {
        import_put(m, key, "%s:%s", name, password);
        return NULL;
    }
    struct stun_key made = {.len = 0};
    if (!is_plain(name) ||
        stun_key_long_term(&made, slice_str(name), slice_str(realm), slice_str(password))) {
        return "the name cannot stand in this file: put it into a user-file";
    }
    for (size_t i = 0; i < made.len; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", made.b[i]);
    }
    import_comment(m, "The key: this password cannot stand in a file of this form.");
    import_put(m, key, "%s:0x%s", name, hex);
    secret_wipe(&made, sizeof made);
    secret_wipe(hex, sizeof hex);
    return NULL;
}

static bool put_users(struct import *m, const char *realm, bool has_secret)
{
    bool any = false;
    if (has_secret && coturn_last(&m->in, "user")) {
        import_comment(m, "Beside a secret coturn does not look at these.");
    }
    for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, "user", l));) {
        const char *wrong = put_user(m, l, realm, has_secret ? ";user" : "user");
        if (wrong) {
            import_note(m, l, COTURN_INSTEAD, "left out: %s", wrong);
        }
        any = any || (!wrong && !has_secret);
    }
    return any;
}

static bool put_secrets(struct import *m)
{
    size_t n = 0;
    for (const struct coturn_line *l = NULL;
         (l = coturn_next(&m->in, "static-auth-secret", l));) {
        size_t len = strlen(l->value);
        if (len < SECRET_MIN || len > CREDENTIAL_SECRET_MAX) {
            import_note(m, l, COTURN_INSTEAD,
                        "left out: a secret must have %d to %d bytes. Make one with openssl "
                        "rand -hex 32, and tell the web service",
                        SECRET_MIN, CREDENTIAL_SECRET_MAX);
        } else if (!is_plain(l->value)) {
            import_note(
                m, l, COTURN_INSTEAD,
                "left out: a semicolon at its start or behind a blank begins a comment. "
                "Put it into the database: causeway-edge secret add");
        } else if (n == USER_VALUES_MAX) {
            import_note(m, l, COTURN_INSTEAD, "left out: at most %d secrets", USER_VALUES_MAX);
        } else {
            import_put(m, "secret", "%s", l->value);
            n++;
        }
    }
    return n > 0;
}

/* The edge looks up no names: they would hold the server. This one it need not. */
static void without_localhost(char *out, size_t cap, const char *text)
{
    static const char name[] = "=localhost";
    const char *at = strstr(text, name);
    if (at && strchr(" \t", at[sizeof name - 1])) {
        (void)snprintf(out, cap, "%.*s=127.0.0.1%s", (int)(at - text), text,
                       at + sizeof name - 1);
    } else {
        (void)snprintf(out, cap, "%s", text);
    }
}

static bool put_where(struct import *m, const struct coturn_line *l, const char *key)
{
    char where[LOCAL_MAX + 32];
    without_localhost(where, sizeof where, l->value);
    bool is_redis = strcmp(key, "redis") == 0;
    if (is_redis && !strstr(where, "ip=") && !strstr(where, "host=") &&
        !strstr(where, "path=")) {
        (void)snprintf(where, sizeof where, "ip=127.0.0.1 %.*s", LOCAL_MAX, l->value);
    }
    const char *wrong = is_redis ? user_redis_wrong(where) : user_postgres_wrong(where);
    wrong = !wrong && !is_plain(where) ? "a semicolon behind a blank begins a comment" : wrong;
    if (wrong) {
        import_note(m, l, COTURN_INSTEAD, "left out: %s", wrong);
    } else {
        import_put(m, key, "%s", where);
    }
    secret_wipe(where, sizeof where);
    return !wrong;
}

static const char *const databases[] = {
    "userdb",       "db",           "psql-userdb",  "sql-userdb",
    "mysql-userdb", "mongo-userdb", "redis-userdb", NULL};

/* The last one counts, of whatever kind. */
static const struct coturn_line *last_database(const struct import *m)
{
    const struct coturn_line *last = NULL;
    for (const char *const *name = databases; *name; name++) {
        const struct coturn_line *l = coturn_last(&m->in, *name);
        last = l && (!last || l->number > last->number) ? l : last;
    }
    return last;
}

static void note_unused_databases(struct import *m, const struct coturn_line *used)
{
    for (const char *const *name = databases; *name; name++) {
        for (const struct coturn_line *l = NULL; (l = coturn_next(&m->in, *name, l));) {
            if (l != used) {
                import_note(m, l, COTURN_SAFE, "coturn uses the last of its databases only");
            }
        }
    }
}

static bool put_database(struct import *m)
{
    const struct coturn_line *l = last_database(m);
    note_unused_databases(m, l);
    if (!l || !l->option->key) {
        return false; /* MySQL and MongoDB: said below */
    }
    if (strcmp(l->option->key, "userdb") != 0) {
        return put_where(m, l, l->option->key);
    }
    if (!is_plain(l->value)) {
        import_note(m, l, COTURN_INSTEAD, "left out: is no path that can stand in this file");
        return false;
    }
    import_put(m, "userdb", "%s", l->value);
    return true;
}

static const char *put_realm(struct import *m)
{
    const struct coturn_line *l = coturn_last(&m->in, "realm");
    const char *realm = coturn_value(&m->in, "realm", "causeway");
    if (!l || !is_plain(realm) || strlen(realm) > NAME_MAX_BYTES) {
        import_note(m, l, COTURN_INSTEAD,
                    "there is no realm that can be taken over: keys and databases belong to "
                    "one. Write the one that coturn told its clients");
        realm = "causeway";
    }
    import_put(m, "realm", "%s", realm);
    return realm;
}

/* Without a database in the file coturn has one all the same. */
static void put_default_database(struct import *m, bool any)
{
    bool asks = coturn_flag(&m->in, "lt-cred-mech") || coturn_last(&m->in, "use-auth-secret") ||
                coturn_flag(&m->in, "oauth");
    if (any) {
        if (!last_database(m)) {
            import_comment(m, "coturn's default database, should there be users in it:");
            import_put(m, ";userdb", COTURNS_USERS);
        }
    } else if (asks && !last_database(m)) {
        import_comment(m, "coturn's default database. The user causeway must be able to read "
                          "it: adduser causeway turnserver");
        import_put(m, "userdb", COTURNS_USERS);
    } else {
        import_note(m, NULL, COTURN_REFUSED,
                    "nobody is named who may have relays; coturn would give them to anybody, "
                    "or to nobody. Add users: causeway-edge user add NAME -c FILE");
        import_put(m, "userdb", OWN_USERS);
    }
}

/* RFC 7635. */
static void put_tokens(struct import *m, const char *realm)
{
    const char *name = coturn_value(&m->in, "server-name", realm);
    if (!coturn_flag(&m->in, "oauth")) {
        return;
    }
    if (is_plain(name) && strlen(name) <= NAME_MAX_BYTES) {
        import_put(m, "third-party-auth", "%s", name);
    } else {
        import_note(m, coturn_last(&m->in, "server-name"), COTURN_INSTEAD,
                    "left out: a name of at most 128 bytes, no comment");
    }
}

void import_users(struct import *m)
{
    (void)fputs("\n; Who may have relays.\n", m->out);
    const char *realm = put_realm(m);
    if (coturn_flag(&m->in, "stun-only")) {
        import_comment(m, "STUN only: nobody, as long as this file is empty.");
        import_put(m, "userdb", OWN_USERS);
        return;
    }
    bool has_secret =
        coturn_last(&m->in, "use-auth-secret") || coturn_last(&m->in, "static-auth-secret");
    bool any = put_secrets(m);
    any = put_users(m, realm, has_secret) || any;
    any = put_database(m) || any;
    put_default_database(m, any);
    put_tokens(m, realm);
}

static const struct conf_option *option_of(const char *key)
{
    for (const struct conf_option *o = edge_program.options; o->name; o++) {
        if (strcmp(o->name, key) == 0) {
            return o;
        }
    }
    return NULL;
}

/* A number of coturn's, as near as the edge can have it. */
static void put_number(struct import *m, const char *name, const char *key,
                       const char *otherwise)
{
    const struct coturn_line *l = coturn_last(&m->in, name);
    const struct conf_option *o = option_of(key);
    uint64_t n;
    if (!l || !o) {
        return;
    }
    const char *text = *l->value ? l->value : otherwise;
    if (text_u64(slice_str(text), INT64_MAX, &n)) {
        import_note(m, l, COTURN_INSTEAD, "is no number; %s = %s", key, o->preset);
    } else if (n == 0) {
        import_note(m, l, COTURN_INSTEAD, "0 is without a limit in coturn; here it is %s = %s",
                    key, o->preset);
    } else if ((int64_t)n < o->min || (int64_t)n > o->max) {
        int64_t near = (int64_t)n < o->min ? o->min : o->max;
        import_note(m, l, COTURN_INSTEAD, "%s has %lld to %lld: %lld is taken", key,
                    (long long)o->min, (long long)o->max, (long long)near);
        import_put(m, key, "%lld", (long long)near);
    } else {
        import_put(m, key, "%llu", (unsigned long long)n);
    }
}

/* From bytes a second to kbit, rounded up. */
static void put_bandwidth(struct import *m, const char *name, const char *key)
{
    const struct coturn_line *l = coturn_last(&m->in, name);
    uint64_t bytes;
    if (l && text_u64(slice_str(l->value), 1000000000000, &bytes)) {
        import_note(m, l, COTURN_INSTEAD, "is no number of bytes a second");
    } else if (l && bytes > 0) {
        import_put(m, key, "%lluk", (unsigned long long)((bytes + 124) / 125));
    }
}

void import_limits(struct import *m)
{
    (void)fputs("\n; Limits.\n", m->out);
    put_number(m, "total-quota", "max-allocations", "0");
    put_number(m, "user-quota", "max-per-user", "0");
    put_bandwidth(m, "max-bps", "max-bandwidth-per-allocation");
    put_bandwidth(m, "bps-capacity", "max-bandwidth");
    put_number(m, "max-allocate-lifetime", "max-lifetime", "3600");
    put_number(m, "stale-nonce", "nonce-life", "600");
}

static void put_tls(struct import *m)
{
    const struct coturn_line *cert = coturn_last(&m->in, "cert");
    const struct coturn_line *key = coturn_last(&m->in, "pkey");
    if (!cert || !key || coturn_flag(&m->in, "no-tls")) {
        return;
    }
    (void)fputs("\n; TLS, on every listen port. Certificates are read by the user causeway.\n",
                m->out);
    import_put(m, "tls-cert", "%s", cert->value);
    import_put(m, "tls-key", "%s", key->value);
    if (coturn_flag(&m->in, "no-dtls")) {
        import_put(m, "dtls", "off");
    }
    if (cert->value[0] != '/' || key->value[0] != '/') {
        import_note(m, cert, COTURN_INSTEAD,
                    "coturn looks for files in several folders, the edge beside its own "
                    "configuration: write the whole path");
    }
}

void import_rest(struct import *m)
{
    put_tls(m);
    (void)fputs("\n; How it runs.\n", m->out);
    if (coturn_flag(&m->in, "mobility")) {
        import_put(m, "mobility", "on");
    }
    if (coturn_flag(&m->in, "prometheus")) {
        import_put(m, "metrics", "127.0.0.1:%s",
                   coturn_value(&m->in, "prometheus-port", "9641"));
    }
    if (coturn_flag(&m->in, "Verbose")) {
        import_put(m, "log-level", "debug");
    }
}
