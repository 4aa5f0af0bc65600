/* An SQLite file of users, changed by hand: causeway-edge user, causeway-edge secret. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/stun/security.h"
#include "lib/turn/credentials.h"

#include "run/user_sqlite.h"

enum {
    WAIT_MS = 3000,     /* while somebody else writes */
    PEERS_WAIT_MS = 200 /* the same for the server, whose loop it holds */
};

struct user_file {
    sqlite3 *db;
};

/* coturn's, so that turnadmin works on the file as well. */
static const char tables[] =
    "CREATE TABLE IF NOT EXISTS turnusers_lt (realm varchar(127) default '', name varchar(512),"
    " hmackey char(128), PRIMARY KEY (realm, name));"
    "CREATE TABLE IF NOT EXISTS turn_secret (realm varchar(127) default '', value varchar(256),"
    " PRIMARY KEY (realm, value));"
    /* Ours. `hmackey` is that of turnusers_lt when the row was made. */
    "CREATE TABLE IF NOT EXISTS causeway_users (realm varchar(127), name varchar(512),"
    " hmackey char(128), sha256key char(64), userhash char(64), PRIMARY KEY (realm, name));"
    "CREATE INDEX IF NOT EXISTS causeway_userhash ON causeway_users (realm, userhash);";

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

static int begin(struct user_file *f)
{
    return sqlite3_exec(f->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) ? ERR_SYSTEM : OK;
}

/* All of it, or nothing. */
static int end(struct user_file *f, int err)
{
    if (err) {
        (void)sqlite3_exec(f->db, "ROLLBACK", NULL, NULL, NULL);
        return err;
    }
    return sqlite3_exec(f->db, "COMMIT", NULL, NULL, NULL) ? ERR_SYSTEM : OK;
}

int user_file_put_user(struct user_file *f, struct slice realm, struct slice name,
                       const struct user_file_keys *keys)
{
    uint8_t md5_hex[CREDENTIAL_HEX_MAX], sha256_hex[CREDENTIAL_HEX_MAX];
    uint8_t hash[STUN_USERHASH_LEN], hash_hex[2 * STUN_USERHASH_LEN];
    struct wr m = wr_over(md5_hex, sizeof md5_hex), s = wr_over(sha256_hex, sizeof sha256_hex),
              h = wr_over(hash_hex, sizeof hash_hex);
    if (stun_userhash(hash, name, realm)) {
        return ERR_LIMIT;
    }
    credential_key_to_hex(&m, &keys->md5);
    credential_key_to_hex(&s, &keys->sha256);
    text_put_hex(&h, slice_of(hash, sizeof hash));
    const struct slice values[] = {realm, name, wr_done(&m), wr_done(&s), wr_done(&h)};
    int err = begin(f);
    if (!err) {
        err = change(f, "INSERT OR REPLACE INTO turnusers_lt VALUES (?1, ?2, ?3)", values, 3);
        err =
            err ? err
                : change(f, "INSERT OR REPLACE INTO causeway_users VALUES (?1, ?2, ?3, ?4, ?5)",
                         values, 5);
        err = end(f, err);
    }
    secret_wipe(md5_hex, sizeof md5_hex);
    secret_wipe(sha256_hex, sizeof sha256_hex);
    return err;
}

int user_file_del_user(struct user_file *f, struct slice realm, struct slice name)
{
    const struct slice values[] = {realm, name};
    int err = begin(f);
    if (err) {
        return err;
    }
    err = change(f, "DELETE FROM causeway_users WHERE realm = ?1 AND name = ?2", values, 2);
    err = err && err != ERR_NOTFOUND /* made by turnadmin */ ? err : OK;
    err = err ? err
              : change(f, "DELETE FROM turnusers_lt WHERE realm = ?1 AND name = ?2", values, 2);
    return end(f, err);
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

static struct slice column(sqlite3_stmt *q, int n)
{
    const void *text = sqlite3_column_text(q, n);
    return slice_of(text, text ? (size_t)sqlite3_column_bytes(q, n) : 0);
}

int user_file_peers(const char *path, bool denied,
                    void (*fn)(struct slice realm, struct slice range, void *ctx), void *ctx)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    int got = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
    if (got == SQLITE_OK) {
        (void)sqlite3_busy_timeout(db, PEERS_WAIT_MS);
        got = sqlite3_prepare_v2(db,
                                 denied ? "SELECT realm, ip_range FROM denied_peer_ip"
                                        : "SELECT realm, ip_range FROM allowed_peer_ip",
                                 -1, &q, NULL);
    }
    bool has_none = (got == SQLITE_CANTOPEN && access(path, F_OK) && errno == ENOENT) ||
                    got == SQLITE_ERROR; /* no such table */
    while (got == SQLITE_OK || got == SQLITE_ROW) {
        got = sqlite3_step(q);
        if (got == SQLITE_ROW) {
            fn(column(q, 0), column(q, 1), ctx);
        }
    }
    (void)sqlite3_finalize(q);
    (void)sqlite3_close(db);
    return got == SQLITE_DONE || has_none ? OK : ERR_SYSTEM;
}
