/* An SQLite file of users, changed by hand: causeway-edge user, causeway-edge secret. */
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crypto.h"

#include "lib/turn/credentials.h"

#include "run/user_sqlite.h"

enum {
    WAIT_MS = 3000 /* while somebody else writes */
};

struct user_file {
    sqlite3 *db;
};

/* coturn's, so that turnadmin works on the file as well. */
static const char tables[] =
    "CREATE TABLE IF NOT EXISTS turnusers_lt (realm varchar(127) default '', name varchar(512),"
    " hmackey char(128), PRIMARY KEY (realm, name));"
    "CREATE TABLE IF NOT EXISTS turn_secret (realm varchar(127) default '', value varchar(256),"
    " PRIMARY KEY (realm, value));";

/* Keys are as good as passwords: a new file is for its owner alone. Made by root in the folder
 * of the server's user, it is that user's, who could not read it otherwise. */
static void make_file(const char *path)
{
    char folder[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(path, '/');
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return; /* it is there, or SQLite will say what is wrong */
    }
    int len = slash ? snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path)
                    : snprintf(folder, sizeof folder, ".");
    bool fits = len > 0 && (size_t)len < sizeof folder;
    if (fits && geteuid() == 0 && stat(folder, &st) == 0 && fchown(fd, st.st_uid, st.st_gid)) {
        (void)unlink(path); /* SQLite then says that it cannot open it */
    }
    (void)close(fd);
}

int user_file_open(struct user_file **out, const char *path)
{
    struct user_file *f = calloc(1, sizeof *f);
    *out = f;
    if (!f) {
        return ERR_NOMEM;
    }
    make_file(path);
    int err = sqlite3_open_v2(path, &f->db, SQLITE_OPEN_READWRITE, NULL);
    err = err ? err : sqlite3_busy_timeout(f->db, WAIT_MS);
    err = err ? err : sqlite3_exec(f->db, tables, NULL, NULL, NULL);
    return err ? ERR_SYSTEM : OK;
}

void user_file_close(struct user_file *f)
{
    if (f) {
        (void)sqlite3_close(f->db);
        free(f);
    }
}

const char *user_file_why(const struct user_file *f)
{
    return f && f->db ? sqlite3_errmsg(f->db) : "out of memory";
}

/* Runs `sql` with these values; how many rows it changed. */
static int change(struct user_file *f, const char *sql, const struct slice *values, size_t n)
{
    sqlite3_stmt *q = NULL;
    int got = sqlite3_prepare_v2(f->db, sql, -1, &q, NULL);
    for (size_t i = 0; i < n && got == SQLITE_OK; i++) {
        got = sqlite3_bind_text(q, (int)i + 1, (const char *)values[i].p, (int)values[i].len,
                                SQLITE_STATIC);
    }
    got = got == SQLITE_OK ? sqlite3_step(q) : got;
    (void)sqlite3_finalize(q);
    if (got != SQLITE_DONE) {
        return ERR_SYSTEM;
    }
    return sqlite3_changes(f->db) > 0 ? OK : ERR_NOTFOUND;
}

int user_file_put_user(struct user_file *f, struct slice realm, struct slice name,
                       const struct stun_key *key)
{
    uint8_t hex[CREDENTIAL_HEX_MAX];
    struct wr w = wr_over(hex, sizeof hex);
    credential_key_to_hex(&w, key);
    const struct slice values[] = {realm, name, wr_done(&w)};
    int err = change(f, "INSERT OR REPLACE INTO turnusers_lt VALUES (?1, ?2, ?3)", values, 3);
    secret_wipe(hex, sizeof hex);
    return err;
}

int user_file_del_user(struct user_file *f, struct slice realm, struct slice name)
{
    const struct slice values[] = {realm, name};
    return change(f, "DELETE FROM turnusers_lt WHERE realm = ?1 AND name = ?2", values, 2);
}

int user_file_put_secret(struct user_file *f, struct slice realm, struct slice value)
{
    const struct slice values[] = {realm, value};
    return change(f, "INSERT OR REPLACE INTO turn_secret VALUES (?1, ?2)", values, 2);
}

int user_file_del_secret(struct user_file *f, struct slice realm, struct slice value)
{
    const struct slice values[] = {realm, value};
    return change(f, "DELETE FROM turn_secret WHERE realm = ?1 AND value = ?2", values, 2);
}

int user_file_each(struct user_file *f, enum user_ask what, struct slice realm,
                   void (*fn)(struct slice value, void *ctx), void *ctx)
{
    sqlite3_stmt *q = NULL;
    int got = sqlite3_prepare_v2(
        f->db,
        what == USER_ASK_KEY ? "SELECT name FROM turnusers_lt WHERE realm = ?1 ORDER BY name"
                             : "SELECT value FROM turn_secret WHERE realm = ?1 ORDER BY value",
        -1, &q, NULL);
    if (got == SQLITE_OK) {
        got = sqlite3_bind_text(q, 1, (const char *)realm.p, (int)realm.len, SQLITE_STATIC);
    }
    while (got == SQLITE_OK || got == SQLITE_ROW) {
        got = sqlite3_step(q);
        if (got == SQLITE_ROW) {
            const void *text = sqlite3_column_text(q, 0);
            fn(slice_of(text, (size_t)sqlite3_column_bytes(q, 0)), ctx);
        }
    }
    (void)sqlite3_finalize(q);
    return got == SQLITE_DONE ? OK : ERR_SYSTEM;
}
