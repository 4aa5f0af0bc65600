/* causeway-edge user|secret add|del|list: changes the SQLite file of users. Passwords and
 * secrets come from standard input, where no list of processes shows them. */
#include "cmd/edge/admin.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "lib/base/crypto.h"

#include "lib/turn/credentials.h"

#include "run/user_sqlite.h"

#include "cmd/edge/conf.h"

enum {
    PASSWORD_MAX = 1024, /* bytes */
    SECRET_MIN = 8,
    FINGERPRINT_LEN = 8 /* hexadecimal digits of a secret's SHA-256 */
};

struct admin {
    struct user_file *file;
    struct slice realm;
    const char *name; /* of the user, or a secret's fingerprint; NULL: not given */
    uint8_t found[CREDENTIAL_SECRET_MAX];
    size_t found_len;
};

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "causeway-edge: %s: %s\n", what, why);
    return 1;
}

/* One line from standard input, without echo when that is a terminal; false: nothing came. */
static bool read_hidden(const char *prompt, char *out, size_t cap, struct slice *line)
{
    struct termios old, hidden;
    bool is_terminal = tcgetattr(STDIN_FILENO, &old) == 0;
    if (is_terminal) {
        hidden = old;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        (void)fputs(prompt, stderr);
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    bool ok = fgets(out, (int)cap, stdin) != NULL;
    if (is_terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        (void)fputs("\n", stderr);
    }
    size_t len = ok ? strcspn(out, "\r\n") : 0;
    *line = slice_of(out, len);
    return len > 0 && len < cap - 1;
}

static int user_add(struct admin *a)
{
    char text[PASSWORD_MAX];
    struct slice password, name = slice_str(a->name);
    struct user_file_keys keys = {.md5 = {.len = 0}};
    int err = 1;
    if (name.len == 0 || name.len > USER_NAME_MAX) {
        return fail("user add", "the name must have 1 to 128 bytes");
    }
    if (!read_hidden("Password: ", text, sizeof text, &password)) {
        err = fail("user add", "no password on standard input");
    } else if (stun_key_long_term(&keys.md5, name, a->realm, password) ||
               stun_key_made(&keys.sha256, STUN_ALGORITHM_SHA256, name, a->realm, password)) {
        err = fail("user add", "libcrypto refuses MD5, which TURN's passwords need");
    } else if (user_file_put_user(a->file, a->realm, name, &keys)) {
        err = fail("user add", user_file_why(a->file));
    } else {
        err = 0;
    }
    secret_wipe(text, sizeof text);
    secret_wipe(&keys, sizeof keys);
    return err;
}

static int user_del(struct admin *a)
{
    int err = user_file_del_user(a->file, a->realm, slice_str(a->name));
    if (err == ERR_NOTFOUND) {
        return fail(a->name, "no such user in this realm");
    }
    return err ? fail("user del", user_file_why(a->file)) : 0;
}

static void print_name(struct slice name, void *ctx)
{
    (void)ctx;
    (void)printf("%.*s\n", (int)name.len, (const char *)name.p);
}

static int user_list(struct admin *a)
{
    int err = user_file_each(a->file, USER_ASK_KEY, a->realm, print_name, NULL);
    return err ? fail("user list", user_file_why(a->file)) : 0;
}

static const char *fingerprint(struct slice secret, char out[FINGERPRINT_LEN + 1])
{
    uint8_t digest[SHA256_LEN] = {0};
    if (sha256(secret, digest)) {
        (void)fail("secret", "libcrypto refuses SHA-256");
    }
    (void)snprintf(out, FINGERPRINT_LEN + 1, "%02x%02x%02x%02x", digest[0], digest[1],
                   digest[2], digest[3]);
    return out;
}

static void print_fingerprint(struct slice secret, void *ctx)
{
    char text[FINGERPRINT_LEN + 1];
    (void)ctx;
    (void)printf("%s\n", fingerprint(secret, text));
}

static int secret_add(struct admin *a)
{
    char text[CREDENTIAL_SECRET_MAX + 2];
    struct slice secret;
    int err = 1;
    if (!read_hidden("Secret: ", text, sizeof text, &secret) || secret.len < SECRET_MIN) {
        err = fail("secret add", "the secret on standard input must have 8 to 256 bytes");
    } else if (user_file_put_secret(a->file, a->realm, secret)) {
        err = fail("secret add", user_file_why(a->file));
    } else {
        print_fingerprint(secret, NULL);
        err = 0;
    }
    secret_wipe(text, sizeof text);
    return err;
}

static void pick(struct slice secret, void *ctx)
{
    struct admin *a = ctx;
    char text[FINGERPRINT_LEN + 1];
    if (secret.len <= sizeof a->found && strcmp(fingerprint(secret, text), a->name) == 0) {
        memcpy(a->found, secret.p, secret.len);
        a->found_len = secret.len;
    }
}

static int secret_del(struct admin *a)
{
    int err = user_file_each(a->file, USER_ASK_SECRETS, a->realm, pick, a);
    if (!err && a->found_len == 0) {
        return fail(a->name, "no secret of this realm has this fingerprint");
    }
    err = err ? err : user_file_del_secret(a->file, a->realm, slice_of(a->found, a->found_len));
    secret_wipe(a->found, sizeof a->found);
    return err ? fail("secret del", user_file_why(a->file)) : 0;
}

static int secret_list(struct admin *a)
{
    int err = user_file_each(a->file, USER_ASK_SECRETS, a->realm, print_fingerprint, NULL);
    return err ? fail("secret list", user_file_why(a->file)) : 0;
}

static const struct verb {
    const char *noun, *verb;
    bool wants_name;
    int (*run)(struct admin *a);
} verbs[] = {
    {"user",   "add",  true,  user_add   },
    {"user",   "del",  true,  user_del   },
    {"user",   "list", false, user_list  },
    {"secret", "add",  false, secret_add },
    {"secret", "del",  true,  secret_del },
    {"secret", "list", false, secret_list},
};

static const struct verb *verb_of(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs && argc > 2; i++) {
        if (strcmp(argv[1], verbs[i].noun) == 0 && strcmp(argv[2], verbs[i].verb) == 0) {
            return argc > 3 || !verbs[i].wants_name ? &verbs[i] : NULL;
        }
    }
    return NULL;
}

bool admin_is(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "user") == 0 || strcmp(argv[1], "secret") == 0);
}

int admin_run(int argc, char **argv)
{
    const struct verb *v = verb_of(argc, argv);
    struct admin a = {.name = NULL};
    struct conf *c = NULL;
    if (!v) {
        (void)fputs("usage: causeway-edge user add|del NAME [OPTION]...\n"
                    "       causeway-edge user list [OPTION]...\n"
                    "       causeway-edge secret add|list [OPTION]...\n"
                    "       causeway-edge secret del FINGERPRINT [OPTION]...\n"
                    "Options as of the server, of which --userdb and --realm count.\n"
                    "Passwords and secrets are read from standard input.\n",
                    stderr);
        return 2;
    }
    int skip = v->wants_name ? 3 : 2;
    a.name = v->wants_name ? argv[3] : NULL;
    argv[skip] = argv[0];
    enum conf_result got = conf_load(&c, &edge_program, argc - skip, argv + skip, NULL);
    if (got != CONF_RUN) {
        return got == CONF_DONE ? 0 : 2;
    }
    const char *path = conf_text(c, "userdb", 0);
    int status = 2;
    a.realm = slice_str(conf_text(c, "realm", 0));
    if (!path) {
        (void)fputs("causeway-edge: no file: give --userdb FILE, or -c FILE that has it\n",
                    stderr);
    } else if (user_file_open(&a.file, path)) {
        status = fail(path, user_file_why(a.file));
    } else {
        status = v->run(&a);
    }
    user_file_close(a.file);
    conf_free(c);
    return status;
}
