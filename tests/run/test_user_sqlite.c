/* A file of users from both sides: made and changed by hand, asked by the server. */
#include <sqlite3.h>
#include <unistd.h>

#include "lib/stun/security.h"

#include "run/user_sqlite.h"

#include "tests/unit.h"

struct bench {
    char dir[32], path[48], other[48];
    struct loop *loop;
    struct log log;
    struct user_file *file;
    struct user_store *store;
    size_t n_answers; /* and the last one: */
    uint64_t id;
    enum user_told what;
    size_t n;
    char name[USER_NAME_MAX + 1];
    char value[USER_VALUES_MAX][USER_VALUE_MAX + 1];
};

static const struct user_file_keys keys_1 = {
    .md5 = {.b = {0x11, 0x22}, .len = 16},
    .sha256 = {.b = {0x33},       .len = 32},
};
#define KEY_1 "11220000000000000000000000000000"
#define KEY_2 \
    "33"      \
    "00000000000000000000000000000000000000000000000000000000000000"

static void on_answer(uint64_t id, const struct user_answer *a, void *ctx)
{
    struct bench *b = ctx;
    b->n_answers++;
    b->id = id;
    b->what = a->what;
    b->n = a->n;
    assert_true(a->name.len < sizeof b->name);
    memcpy(b->name, a->name.len > 0 ? a->name.p : (const uint8_t *)"", a->name.len);
    b->name[a->name.len] = 0;
    for (size_t i = 0; i < a->n; i++) {
        memcpy(b->value[i], a->value[i].p, a->value[i].len);
        b->value[i][a->value[i].len] = 0;
    }
    loop_stop(b->loop);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    (void)strcpy(b->dir, "/tmp/causeway-users-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->path, sizeof b->path, "%s/users", b->dir);
    (void)snprintf(b->other, sizeof b->other, "%s/other", b->dir);
    assert_int_equal(loop_new(&b->loop), OK);
    assert_int_equal(user_file_open(&b->file, b->path), OK);
    b->log = (struct log){.level = LOG_ERROR, .program = "test", .fd = -1};
    assert_int_equal(user_sqlite_new(&b->store, b->loop, &b->log, b->path), OK);
    b->store->answer = on_answer;
    b->store->ctx = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    user_file_close(b->file);
    b->store->free(b->store);
    loop_free(b->loop);
    (void)unlink(b->path);
    (void)unlink(b->other);
    assert_int_equal(rmdir(b->dir), 0); /* nothing else was left there */
    free(b);
    return 0;
}

static void put(struct bench *b, const char *realm, const char *name)
{
    assert_int_equal(user_file_put_user(b->file, slice_str(realm), slice_str(name), &keys_1),
                     OK);
}

/* How many values the answer has; -1: trouble. It must come at once. */
static int ask_in(struct bench *b, const char *realm, enum user_ask what, struct slice name)
{
    static uint64_t id = 10;
    size_t before = b->n_answers;
    const struct user_question q = {
        .id = ++id, .what = what, .realm = slice_str(realm), .name = name};
    b->store->ask(b->store, &q);
    assert_int_equal(b->n_answers, before + 1);
    assert_int_equal(b->id, id);
    return b->what == USER_TROUBLE ? -1 : (int)b->n;
}

static int ask(struct bench *b, enum user_ask what, struct slice name)
{
    return ask_in(b, "TANDBERG", what, name);
}

static int key_of(struct bench *b, const char *name)
{
    return ask(b, USER_ASK_KEY, slice_str(name));
}

static void users_come_and_go(void **state)
{
    struct bench *b = *state;
    assert_int_equal(key_of(b, "alice"), 0);
    put(b, "TANDBERG", "alice");
    put(b, "elsewhere", "bob");
    assert_int_equal(key_of(b, "alice"), 2);
    assert_string_equal(b->value[0], KEY_1);
    assert_string_equal(b->value[1], KEY_2);
    assert_int_equal(key_of(b, "bob"), 0);
    assert_int_equal(ask_in(b, "elsewhere", USER_ASK_KEY, slice_str("bob")), 2);
    assert_int_equal(key_of(b, "Alice"), 0);
    assert_int_equal(key_of(b, ""), 0);
    struct slice realm = slice_str("TANDBERG");
    assert_int_equal(user_file_del_user(b->file, realm, slice_str("alice")), OK);
    assert_int_equal(user_file_del_user(b->file, realm, slice_str("alice")), ERR_NOTFOUND);
    assert_int_equal(key_of(b, "alice"), 0);
}

/* How many values whoever has this hash has. */
static int by_hash(struct bench *b, const char *realm, const char *name)
{
    uint8_t hash[STUN_USERHASH_LEN];
    assert_int_equal(stun_userhash(hash, slice_str(name), slice_str(realm)), OK);
    const struct user_question q = {.id = 5,
                                    .what = USER_ASK_BY_HASH,
                                    .realm = slice_str(realm),
                                    .userhash = slice_of(hash, sizeof hash)};
    b->store->ask(b->store, &q);
    return b->what == USER_TROUBLE ? -1 : (int)b->n;
}

static void users_are_found_by_their_hash(void **state)
{
    struct bench *b = *state;
    put(b, "TANDBERG", "alice");
    put(b, "elsewhere", "bob");
    assert_int_equal(by_hash(b, "TANDBERG", "alice"), 2);
    assert_string_equal(b->name, "alice");
    assert_string_equal(b->value[1], KEY_2);
    assert_int_equal(by_hash(b, "TANDBERG", "bob"), 0);
    assert_int_equal(by_hash(b, "elsewhere", "alice"), 0);
    assert_int_equal(user_file_del_user(b->file, slice_str("TANDBERG"), slice_str("alice")),
                     OK);
    assert_int_equal(by_hash(b, "TANDBERG", "alice"), 0);
}

static void run_sql(struct bench *b, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A password that turnadmin changes must not go on working in its old SHA-256 form. */
static void a_key_that_coturn_changed_stands_alone(void **state)
{
    struct bench *b = *state;
    put(b, "TANDBERG", "alice");
    run_sql(b, "UPDATE turnusers_lt SET hmackey = 'ff' WHERE name = 'alice'");
    assert_int_equal(key_of(b, "alice"), 1);
    assert_string_equal(b->value[0], "ff");
    assert_int_equal(by_hash(b, "TANDBERG", "alice"), 0);
    run_sql(b, "DELETE FROM turnusers_lt WHERE name = 'alice'");
    assert_int_equal(key_of(b, "alice"), 0);
    /* A file of coturn's alone, in which our table appears later. */
    run_sql(b, "DROP TABLE causeway_users");
    run_sql(b, "INSERT INTO turnusers_lt VALUES ('TANDBERG', 'carol', 'cc')");
    b->store->free(b->store);
    assert_int_equal(user_sqlite_new(&b->store, b->loop, &b->log, b->path), OK);
    b->store->answer = on_answer;
    b->store->ctx = b;
    assert_int_equal(key_of(b, "carol"), 1);
    assert_int_equal(by_hash(b, "TANDBERG", "carol"), 0);
    struct user_file *again;
    assert_int_equal(user_file_open(&again, b->path), OK);
    user_file_close(again);
    put(b, "TANDBERG", "carol");
    assert_int_equal(key_of(b, "carol"), 2);
    assert_int_equal(by_hash(b, "TANDBERG", "carol"), 2);
}

static void names_are_not_sql(void **state)
{
    struct bench *b = *state;
    static const char *const names[] = {
        "' OR '1'='1", "alice'; DROP TABLE turnusers_lt; --",
        "%",           "_lice",
        "a\\",         "\xff\xfe'",
        "?1",          "alice' --",
    };
    put(b, "TANDBERG", "alice");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(key_of(b, names[i]), 0);
        put(b, "TANDBERG", names[i]);
        assert_int_equal(key_of(b, names[i]), 2);
    }
    assert_int_equal(ask(b, USER_ASK_KEY, slice_of("alice\0x", 7)), 0);
    assert_int_equal(key_of(b, "alice"), 2);
}

static void count(struct slice value, void *ctx)
{
    size_t *n = ctx;
    *n += value.len > 0;
}

static void secrets_are_bounded(void **state)
{
    struct bench *b = *state;
    struct slice realm = slice_str("TANDBERG");
    char text[USER_VALUE_MAX + 2];
    size_t n = 0;
    assert_int_equal(ask(b, USER_ASK_SECRETS, slice_of(NULL, 0)), 0);
    memset(text, 's', sizeof text);
    assert_int_equal(user_file_put_secret(b->file, realm, slice_of(text, sizeof text - 1)), OK);
    assert_int_equal(ask(b, USER_ASK_SECRETS, slice_of(NULL, 0)), 0); /* too long */
    for (int i = 0; i < 20; i++) {
        (void)snprintf(text, sizeof text, "secret-%02d", i);
        assert_int_equal(user_file_put_secret(b->file, realm, slice_str(text)), OK);
    }
    int got = ask(b, USER_ASK_SECRETS, slice_of(NULL, 0));
    assert_true(got > 0 && got <= USER_VALUES_MAX);
    assert_memory_equal(b->value[0], "secret-", 7);
    assert_int_equal(user_file_each(b->file, USER_ASK_SECRETS, realm, count, &n), OK);
    assert_int_equal(n, 21);
    assert_int_equal(user_file_del_secret(b->file, realm, slice_str("secret-03")), OK);
    assert_int_equal(user_file_del_secret(b->file, realm, slice_str("secret-03")),
                     ERR_NOTFOUND);
}

static void while_somebody_writes_questions_wait(void **state)
{
    struct bench *b = *state;
    sqlite3 *writer;
    put(b, "TANDBERG", "alice");
    assert_int_equal(sqlite3_open(b->path, &writer), SQLITE_OK);
    assert_int_equal(sqlite3_exec(writer, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct user_question q = {
        .id = 7, .realm = slice_str("TANDBERG"), .name = slice_str("alice")};
    b->store->ask(b->store, &q);
    q.id = 8;
    q.name = slice_str("bob");
    b->store->ask(b->store, &q);
    loop_run_at_most(b->loop, 120);
    assert_int_equal(b->n_answers, 0);
    assert_int_equal(sqlite3_exec(writer, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    loop_run(b->loop);
    assert_int_equal(b->n_answers, 2);
    assert_int_equal(sqlite3_close(writer), SQLITE_OK);
    assert_int_equal(key_of(b, "alice"), 2);
}

static void another_file_in_its_place_is_seen(void **state)
{
    struct bench *b = *state;
    struct user_file *other;
    put(b, "TANDBERG", "alice");
    assert_int_equal(key_of(b, "alice"), 2);
    assert_int_equal(user_file_open(&other, b->other), OK);
    assert_int_equal(
        user_file_put_user(other, slice_str("TANDBERG"), slice_str("bob"), &keys_1), OK);
    user_file_close(other);
    assert_int_equal(rename(b->other, b->path), 0);
    assert_int_equal(key_of(b, "alice"), 0);
    assert_int_equal(key_of(b, "bob"), 2);
    assert_int_equal(unlink(b->path), 0);
    assert_int_equal(key_of(b, "bob"), -1);
    FILE *f = fopen(b->path, "w");
    assert_non_null(f);
    (void)fputs("this is no database, and long enough to tell: ................", f);
    (void)fclose(f);
    assert_int_equal(key_of(b, "bob"), -1);
    struct user_store *bad;
    assert_int_equal(user_sqlite_new(&bad, b->loop, &b->log, b->path), ERR_SYSTEM);
    assert_int_equal(unlink(b->path), 0);
    assert_int_equal(user_sqlite_new(&bad, b->loop, &b->log, b->path), ERR_SYSTEM);
    assert_int_equal(access(b->path, F_OK), -1); /* the server makes no file */
}

static void count_row(struct slice realm, struct slice range, void *ctx)
{
    (void)realm;
    assert_true(range.len > 0);
    ++*(size_t *)ctx;
}

/* "No rows" would let everybody be a peer whom they deny. */
static void denied_peers_that_cannot_be_read_are_not_none(void **state)
{
    struct bench *b = *state;
    sqlite3 *db;
    size_t n = 0;
    assert_int_equal(user_file_peers(b->path, true, count_row, &n), OK);  /* no such table */
    assert_int_equal(user_file_peers(b->other, true, count_row, &n), OK); /* no such file */
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "CREATE TABLE denied_peer_ip (realm varchar(127), ip_range varchar(256));"
                     "INSERT INTO denied_peer_ip VALUES ('', '192.0.2.0/24')",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(user_file_peers(b->path, true, count_row, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(user_file_peers(b->path, true, count_row, &n), ERR_SYSTEM);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    char within[64];
    (void)snprintf(within, sizeof within, "%s/x", b->path); /* no folder: it cannot be opened */
    assert_int_equal(user_file_peers(within, true, count_row, &n), ERR_SYSTEM);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(users_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(users_are_found_by_their_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_that_coturn_changed_stands_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_are_not_sql, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(while_somebody_writes_questions_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(another_file_in_its_place_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(denied_peers_that_cannot_be_read_are_not_none, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
