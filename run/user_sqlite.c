/* Users in an SQLite file: questions of the running server. The file is local and the tables
 * have an index on what is asked for, so a question is answered at once, unless somebody writes
 * at that moment: then it is asked again a little later, and the loop is never held. */
#include "run/user_sqlite.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/stun/security.h"

enum {
    AGAIN_MS = 50,
    TRIES_MAX = 60, /* 3 s: nobody waits for longer */
    ASKS = USER_ASK_SECRETS + 1,
    COLUMNS_MAX = 2 /* of values; a name may follow */
};

struct waiting {
    uint64_t id; /* 0: free */
    enum user_ask what;
    uint32_t tries;
    uint8_t realm[USER_REALM_MAX], name[USER_NAME_MAX];
    size_t realm_len, name_len; /* the name or a userhash */
};

struct user_sqlite {
    struct user_store base;
    struct loop *loop;
    const struct log *log;
    struct log_limit errors;
    char *path;
    sqlite3 *db;
    sqlite3_stmt *ask[ASKS];
    dev_t dev; /* of the open file: another one may be put in its place */
    ino_t ino;
    struct loop_timer *timer;
    struct waiting waiting[USER_WAITING_MAX];
    bool has_ours; /* the file has our table beside coturn's */
    uint8_t values[USER_VALUES_MAX][USER_VALUE_MAX], name[USER_NAME_MAX];
};

#define TOKEN_KEY                                                                        \
    "SELECT ikm_key || '|' || coalesce(as_rs_alg, '') || '|' || coalesce(timestamp, 0) " \
    "|| '|' || coalesce(lifetime, 0) FROM oauth_key WHERE kid = ?2 "                     \
    "AND coalesce(realm, '') IN ('', ?1) LIMIT 1"
static const char *const coturns[ASKS] = {
    [USER_ASK_TOKEN_KEY] = TOKEN_KEY,
    [USER_ASK_KEY] = "SELECT hmackey FROM turnusers_lt WHERE realm = ?1 AND name = ?2 LIMIT 1",
    [USER_ASK_SECRETS] = "SELECT value FROM turn_secret WHERE realm = ?1 LIMIT 8",
};
/* A row of our table counts only beside the key that it was made with: turnadmin, which does
 * not know it, may have changed the password since. */
#define JOINED                                              \
    "FROM turnusers_lt AS u LEFT JOIN causeway_users AS c " \
    "ON c.realm = u.realm AND c.name = u.name AND c.hmackey = u.hmackey "
static const char *const ours[ASKS] = {
    [USER_ASK_TOKEN_KEY] = TOKEN_KEY,
    [USER_ASK_KEY] =
        "SELECT u.hmackey, c.sha256key " JOINED "WHERE u.realm = ?1 AND u.name = ?2 LIMIT 1",
    [USER_ASK_BY_HASH] = "SELECT u.hmackey, c.sha256key, u.name " JOINED
                         "WHERE c.realm = ?1 AND c.userhash = ?2 LIMIT 1",
    [USER_ASK_SECRETS] = "SELECT value FROM turn_secret WHERE realm = ?1 LIMIT 8",
};

static struct user_sqlite *of(struct user_store *base)
{
    return (struct user_sqlite *)(void *)base;
}

static void complain(struct user_sqlite *s, const char *why)
{
    uint32_t held;
    if (log_limit_pass(&s->errors, loop_now_ms(s->loop) / 1000, 1, &held)) {
        LOG(s->log, LOG_ERROR, "userdb-failed", LOG_S("file", s->path), LOG_S("why", why),
            LOG_N("held_back", held));
    }
}

static void close_file(struct user_sqlite *s)
{
    for (size_t i = 0; i < ASKS; i++) {
        (void)sqlite3_finalize(s->ask[i]);
        s->ask[i] = NULL;
    }
    (void)sqlite3_close(s->db);
    s->db = NULL;
}

static int prepare(struct user_sqlite *s, const char *const questions[ASKS])
{
    int err = SQLITE_OK;
    for (size_t i = 0; i < ASKS && !err; i++) {
        (void)sqlite3_finalize(s->ask[i]);
        s->ask[i] = NULL;
        if (questions[i]) {
            err = sqlite3_prepare_v3(s->db, questions[i], -1, SQLITE_PREPARE_PERSISTENT,
                                     &s->ask[i], NULL);
        }
        if (i == USER_ASK_TOKEN_KEY && err == SQLITE_ERROR) {
            err = SQLITE_OK; /* a file of ours has no such table */
        }
    }
    return err;
}

static bool open_file(struct user_sqlite *s)
{
    struct stat st;
    if (stat(s->path, &st)) {
        complain(s, strerror(errno));
        return false;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    int err =
        sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    err = err ? err : prepare(s, ours);
    s->has_ours = !err;
    if (err == SQLITE_ERROR) { /* there is no such table */
        err = prepare(s, coturns);
    }
    if (err && err != SQLITE_BUSY) {
        complain(s, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(err));
    }
    if (err) {
        close_file(s);
    }
    return !err || err == SQLITE_BUSY;
}

static bool is_moved(const struct user_sqlite *s)
{
    struct stat st;
    return stat(s->path, &st) || st.st_dev != s->dev || st.st_ino != s->ino;
}

static void bind(sqlite3_stmt *q, int at, struct slice v)
{
    /* Out of memory leaves NULL there, which equals nothing. */
    (void)sqlite3_bind_text(q, at, (const char *)v.p, (int)v.len, SQLITE_STATIC);
}

/* One row's values; what is too long is left out. */
static void take_row(struct user_sqlite *s, sqlite3_stmt *q, struct user_answer *a)
{
    int n = sqlite3_column_count(q);
    for (int i = 0; i < n; i++) {
        const void *text = sqlite3_column_text(q, i);
        size_t len = (size_t)sqlite3_column_bytes(q, i);
        if (i == COLUMNS_MAX && text && len <= sizeof s->name) {
            memcpy(s->name, text, len);
            a->name = slice_of(s->name, len);
        } else if (i < COLUMNS_MAX && text && len > 0 && len <= USER_VALUE_MAX &&
                   a->n < USER_VALUES_MAX) {
            memcpy(s->values[a->n], text, len);
            a->value[a->n] = slice_of(s->values[a->n], len);
            a->n++;
        }
    }
}

/* Our table may be made while the server runs. */
static void look_for_ours(struct user_sqlite *s)
{
    sqlite3_stmt *probe = NULL;
    if (!s->has_ours &&
        sqlite3_prepare_v2(s->db, ours[USER_ASK_BY_HASH], -1, &probe, NULL) == SQLITE_OK) {
        (void)sqlite3_finalize(probe);
        s->has_ours = prepare(s, ours) == SQLITE_OK;
        if (!s->has_ours) {
            close_file(s);
        }
    }
}

static void bind_question(sqlite3_stmt *q, const struct user_question *ask)
{
    char hex[2 * STUN_USERHASH_LEN];
    bind(q, 1, ask->realm);
    if (ask->what == USER_ASK_KEY || ask->what == USER_ASK_TOKEN_KEY) {
        bind(q, 2, ask->name);
    } else if (ask->what == USER_ASK_BY_HASH) {
        struct wr w = wr_over((uint8_t *)hex, sizeof hex);
        text_put_hex(&w, ask->userhash);
        (void)sqlite3_bind_text(q, 2, hex, (int)w.len, SQLITE_TRANSIENT);
    }
}

/* False: somebody writes, ask again. */
static bool look_up(struct user_sqlite *s, const struct user_question *ask,
                    struct user_answer *a)
{
    *a = (struct user_answer){.what = USER_TROUBLE};
    if (s->db && is_moved(s)) {
        close_file(s);
    }
    if (!s->db && !open_file(s)) {
        return true;
    }
    if (!s->db) {
        return false;
    }
    look_for_ours(s);
    if (!s->db) {
        return false;
    }
    sqlite3_stmt *q = s->ask[ask->what];
    if (!q) { /* without its table nobody is known by a hash, and no key of tokens */
        a->what = USER_TOLD;
        return true;
    }
    bind_question(q, ask);
    int got;
    while ((got = sqlite3_step(q)) == SQLITE_ROW) {
        take_row(s, q, a);
    }
    (void)sqlite3_reset(q);
    (void)sqlite3_clear_bindings(q);
    if (got == SQLITE_DONE) {
        a->what = USER_TOLD;
    } else if (got != SQLITE_BUSY) {
        complain(s, sqlite3_errmsg(s->db));
        close_file(s);
    }
    return got != SQLITE_BUSY;
}

static void answer(struct user_sqlite *s, uint64_t id, const struct user_answer *a)
{
    s->base.answer(id, a, s->base.ctx);
    secret_wipe(s->values, sizeof s->values);
}

static void keep(struct waiting *w, const struct user_question *q)
{
    struct slice name = q->what == USER_ASK_BY_HASH ? q->userhash : q->name;
    *w = (struct waiting){
        .id = q->id, .what = q->what, .realm_len = q->realm.len, .name_len = name.len};
    if (q->realm.len > 0) {
        memcpy(w->realm, q->realm.p, q->realm.len);
    }
    if (name.len > 0) {
        memcpy(w->name, name.p, name.len);
    }
}

static void sqlite_ask(struct user_store *base, const struct user_question *q)
{
    struct user_sqlite *s = of(base);
    struct user_answer a;
    struct waiting *w = NULL;
    if (look_up(s, q, &a)) {
        answer(s, q->id, &a);
        return;
    }
    for (size_t i = 0; i < USER_WAITING_MAX && !w; i++) {
        w = s->waiting[i].id ? NULL : &s->waiting[i];
    }
    if (!w || q->name.len > USER_NAME_MAX || q->realm.len > USER_REALM_MAX) {
        answer(s, q->id, &(struct user_answer){.what = USER_TROUBLE});
        return;
    }
    keep(w, q);
    loop_timer_at(s->timer, loop_now_ms(s->loop) + AGAIN_MS);
}

static void on_timer(void *ctx)
{
    struct user_sqlite *s = ctx;
    bool is_left = false;
    for (size_t i = 0; i < USER_WAITING_MAX; i++) {
        struct waiting w = s->waiting[i];
        struct user_answer a;
        if (w.id == 0) {
            continue;
        }
        const struct user_question q = {.id = w.id,
                                        .what = w.what,
                                        .realm = slice_of(w.realm, w.realm_len),
                                        .name = slice_of(w.name, w.name_len),
                                        .userhash = slice_of(w.name, w.name_len)};
        if (!look_up(s, &q, &a) && w.tries < TRIES_MAX) {
            s->waiting[i].tries++;
            is_left = true;
            continue;
        }
        if (w.tries == TRIES_MAX) {
            complain(s, "somebody keeps it locked");
        }
        s->waiting[i].id = 0; /* first: the answer may lead to the next question */
        answer(s, w.id, &a);
    }
    if (is_left) {
        loop_timer_at(s->timer, loop_now_ms(s->loop) + AGAIN_MS);
    }
}

static void sqlite_free(struct user_store *base)
{
    struct user_sqlite *s = of(base);
    close_file(s);
    loop_timer_free(s->timer);
    free(s->path);
    free(s);
}

int user_sqlite_new(struct user_store **out, struct loop *l, const struct log *log,
                    const char *path)
{
    struct user_sqlite *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return ERR_NOMEM;
    }
    s->base = (struct user_store){.name = "sqlite", .ask = sqlite_ask, .free = sqlite_free};
    s->loop = l;
    s->log = log;
    s->path = strdup(path);
    int err = s->path ? OK : ERR_NOMEM;
    err = err ? err : loop_timer_new(&s->timer, l, on_timer, s);
    if (!err) {
        err = open_file(s) ? OK : ERR_SYSTEM;
    }
    if (err) {
        sqlite_free(&s->base);
        return err;
    }
    *out = &s->base;
    return OK;
}
