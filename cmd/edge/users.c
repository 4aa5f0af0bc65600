/* Who may allocate: from the options and the user file, kept as keys. */
#include "cmd/edge/users.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

enum {
    USERS_MAX = 100000,
    NAME_MAX_BYTES = 128, /* the server knows no longer ones */
    LINE_MAX_BYTES = 1024
};

static int by_name(const void *a, const void *b)
{
    const struct edge_user *x = a, *y = b;
    size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
    int d = memcmp(x->name, y->name, len);
    return d ? d : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

bool edge_find_key(struct slice username, struct stun_key *out, void *ctx)
{
    const struct edge_conf *e = ctx;
    uint8_t name[NAME_MAX_BYTES];
    if (username.len == 0 || username.len > sizeof name || e->n_users == 0) {
        return false;
    }
    memcpy(name, username.p, username.len);
    struct edge_user want = {.name = name, .name_len = username.len};
    const struct edge_user *u = bsearch(&want, e->users, e->n_users, sizeof want, by_name);
    if (u) {
        *out = u->key;
    }
    return u != NULL;
}

/* NULL, or what is wrong with this user. */
static const char *add(struct edge_conf *e, struct slice name, struct slice password)
{
    if (name.len == 0 || password.len == 0) {
        return "needs a name and a password, NAME:PASSWORD";
    }
    if (name.len > NAME_MAX_BYTES) {
        return "name is longer than 128 bytes";
    }
    if (e->n_users == USERS_MAX) {
        return "too many users";
    }
    struct edge_user *more = realloc(e->users, (e->n_users + 1) * sizeof *more);
    if (!more) {
        return "out of memory";
    }
    e->users = more;
    struct edge_user *u = &e->users[e->n_users];
    *u = (struct edge_user){.name = malloc(name.len), .name_len = name.len};
    if (!u->name) {
        return "out of memory";
    }
    memcpy(u->name, name.p, name.len);
    e->n_users++;
    return stun_key_long_term(&u->key, name, e->run.server.realm, password)
               ? "libcrypto refuses MD5, which TURN's passwords need"
               : NULL;
}

static const char *add_line(struct edge_conf *e, const char *text)
{
    struct slice password = text_trim(slice_str(text));
    if (password.len == 0 || password.p[0] == '#') {
        return NULL;
    }
    struct slice name = text_split(&password, ':');
    return add(e, name, password);
}

static bool read_file(struct edge_conf *e, struct conf *c, const char *path)
{
    char line[LINE_MAX_BYTES];
    FILE *f = fopen(path, "r");
    const char *wrong = NULL;
    if (!f) {
        conf_fail(c, "user-file", 0, "%s: %s", path, strerror(errno));
        return false;
    }
    for (size_t n = 1; !wrong && fgets(line, sizeof line, f); n++) {
        bool is_cut = strlen(line) == sizeof line - 1 && line[sizeof line - 2] != '\n';
        wrong = is_cut ? "line is too long" : add_line(e, line);
        if (wrong) {
            conf_fail(c, "user-file", 0, "%s:%zu: %s", path, n, wrong);
        }
    }
    if (!wrong && ferror(f)) {
        wrong = "cannot be read";
        conf_fail(c, "user-file", 0, "%s: %s", path, wrong);
    }
    secret_wipe(line, sizeof line);
    (void)fclose(f);
    return !wrong;
}

bool users_read(struct edge_conf *e, struct conf *c)
{
    for (size_t i = 0; i < conf_count(c, "user"); i++) {
        struct slice name, password;
        conf_pair(c, "user", i, &name, &password);
        const char *wrong = add(e, name, password);
        if (wrong) {
            conf_fail(c, "user", i, "%s", wrong);
            return false;
        }
    }
    const char *path = conf_text(c, "user-file", 0);
    if (path && !read_file(e, c, path)) {
        return false;
    }
    if (e->n_users == 0) {
        conf_fail(c, "user", 0, "nobody could allocate: give a user or a user-file");
        return false;
    }
    qsort(e->users, e->n_users, sizeof *e->users, by_name);
    for (size_t i = 1; i < e->n_users; i++) {
        if (by_name(&e->users[i - 1], &e->users[i]) == 0) {
            conf_fail(c, "user", 0, "%.*s is there twice", (int)e->users[i].name_len,
                      (const char *)e->users[i].name);
            return false;
        }
    }
    return true;
}

void users_done(struct edge_conf *e)
{
    for (size_t i = 0; i < e->n_users; i++) {
        secret_wipe(&e->users[i].key, sizeof e->users[i].key);
        free(e->users[i].name);
    }
    free(e->users);
    e->users = NULL;
    e->n_users = 0;
}
