/* Users in PostgreSQL: one connection, one question at a time, none of which holds the loop. */
#include "run/user_postgres.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "lib/base/addr.h"
#include "lib/base/crypto.h"
#include "lib/base/text.h"

enum {
    ANSWER_MS = 3000, /* to connect, and for an answer: then the connection is given up */
    AGAIN_MIN_MS = 500,
    AGAIN_MAX_MS = 30000
};

enum state {
    DOWN, /* until the timer */
    CONNECTING,
    IDLE,
    ASKING /* the question at the head of the queue */
};

struct question {
    uint64_t id;
    enum user_ask what;
    char realm[USER_REALM_MAX + 1], name[USER_NAME_MAX + 1];
};

struct user_postgres {
    struct user_store base;
    struct loop *loop;
    const struct log *log;
    char *conninfo;
    enum state state;
    PGconn *pg;
    struct loop_fd *fd;
    struct loop_timer *timer; /* DOWN: to connect again; CONNECTING, ASKING: patience ends */
    uint32_t again_ms;
    struct log_limit refused;
    bool is_told; /* that it is down */
    struct question queue[USER_WAITING_MAX];
    size_t at, n;
    struct user_answer answer; /* being read */
    uint8_t values[USER_VALUES_MAX][USER_VALUE_MAX];
};

static const char *const questions[] = {
    [USER_ASK_KEY] = "SELECT hmackey FROM turnusers_lt WHERE realm = $1 AND name = $2 LIMIT 1",
    [USER_ASK_TOKEN_KEY] =
        "SELECT ikm_key || '|' || coalesce(as_rs_alg, '') || '|' || coalesce(timestamp, 0) "
        "|| '|' || coalesce(lifetime, 0) FROM oauth_key WHERE coalesce(realm, '') IN ('', $1) "
        "AND kid = $2 LIMIT 1",
    [USER_ASK_SECRETS] = "SELECT value FROM turn_secret WHERE realm = $1 LIMIT 8",
};

static void next_question(struct user_postgres *p);
static void on_ready(int events, void *ctx);

static struct user_postgres *of(struct user_store *base)
{
    return (struct user_postgres *)(void *)base;
}

static void patience(struct user_postgres *p, uint64_t in_ms)
{
    loop_timer_at(p->timer, in_ms ? loop_now_ms(p->loop) + in_ms : UINT64_MAX);
}

/* libpq ends its texts with a line end. */
static struct slice trouble_text(const struct user_postgres *p)
{
    return text_trim(slice_str(PQerrorMessage(p->pg)));
}

static void hang_up(struct user_postgres *p)
{
    loop_fd_free(p->fd); /* before libpq closes the descriptor under it */
    p->fd = NULL;
    PQfinish(p->pg);
    p->pg = NULL;
}

/* Gives the connection up, and everybody who waits for it an answer. Said once per outage. */
static void go_down(struct user_postgres *p, struct slice why)
{
    if (!p->is_told) {
        LOG(p->log, LOG_ERROR, "users-down", LOG_S("store", p->base.name), LOG_B("why", why));
    }
    p->is_told = true;
    hang_up(p);
    p->state = DOWN;
    patience(p, p->again_ms);
    p->again_ms = 2 * p->again_ms < AGAIN_MAX_MS ? 2 * p->again_ms : AGAIN_MAX_MS;
    while (p->n > 0) {
        uint64_t id = p->queue[p->at].id;
        p->at = (p->at + 1) % USER_WAITING_MAX;
        p->n--;
        p->base.answer(id, &(struct user_answer){.what = USER_TROUBLE}, p->base.ctx);
    }
}

/* What to wait for. libpq may change sockets while it connects. */
static bool watch(struct user_postgres *p, int events)
{
    if (!p->fd && loop_fd_new(&p->fd, p->loop, PQsocket(p->pg), on_ready, p)) {
        p->fd = NULL;
        return false;
    }
    loop_fd_want(p->fd, events);
    return true;
}

static void is_up(struct user_postgres *p)
{
    p->state = IDLE;
    p->again_ms = AGAIN_MIN_MS;
    p->is_told = false;
    patience(p, 0);
    if (PQsetnonblocking(p->pg, 1) || !watch(p, LOOP_READ)) {
        go_down(p, slice_str("cannot watch the connection"));
        return;
    }
    LOG(p->log, LOG_INFO, "users-up", LOG_S("store", p->base.name));
    next_question(p);
}

static void go_on_connecting(struct user_postgres *p)
{
    loop_fd_free(p->fd);
    p->fd = NULL;
    PostgresPollingStatusType got = PQconnectPoll(p->pg);
    switch (got) {
    case PGRES_POLLING_OK: is_up(p); return;
    case PGRES_POLLING_FAILED: go_down(p, trouble_text(p)); return;
    case PGRES_POLLING_READING:
    case PGRES_POLLING_WRITING:
    case PGRES_POLLING_ACTIVE: break;
    }
    if (!watch(p, got == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE)) {
        go_down(p, slice_str("cannot watch the connection"));
    }
}

static void connect_now(struct user_postgres *p)
{
    p->state = CONNECTING;
    patience(p, ANSWER_MS);
    p->pg = PQconnectStart(p->conninfo);
    if (!p->pg || PQstatus(p->pg) == CONNECTION_BAD) {
        go_down(p, p->pg ? trouble_text(p) : slice_str("out of memory"));
        return;
    }
    /* libpq's manual, 34.2: as if PQconnectPoll had asked to write. */
    if (!watch(p, LOOP_WRITE)) {
        go_down(p, slice_str("cannot watch the connection"));
    }
}

static void take_rows(struct user_postgres *p, const PGresult *r)
{
    struct user_answer *a = &p->answer;
    const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    uint32_t held;
    if (PQresultStatus(r) != PGRES_TUPLES_OK) {
        /* 22021: the name is not in the database's encoding, so nobody has it. */
        bool is_name = code && strcmp(code, "22021") == 0;
        a->what = is_name ? USER_TOLD : USER_TROUBLE;
        if (!is_name && log_limit_pass(&p->refused, loop_now_ms(p->loop) / 1000, 1, &held)) {
            LOG(p->log, LOG_ERROR, "users-refused", LOG_S("store", p->base.name),
                LOG_B("why", text_trim(slice_str(PQresultErrorMessage(r)))),
                LOG_N("held_back", held));
        }
        return;
    }
    for (int i = 0; i < PQntuples(r) && a->n < USER_VALUES_MAX; i++) {
        size_t len = (size_t)PQgetlength(r, i, 0);
        if (len > 0 && len <= USER_VALUE_MAX) {
            memcpy(p->values[a->n], PQgetvalue(r, i, 0), len);
            a->value[a->n] = slice_of(p->values[a->n], len);
            a->n++;
        }
    }
}

static void answered(struct user_postgres *p)
{
    struct user_answer a = p->answer;
    uint64_t id = p->queue[p->at].id;
    p->at = (p->at + 1) % USER_WAITING_MAX;
    p->n--;
    p->state = IDLE;
    patience(p, 0);
    p->base.answer(id, &a, p->base.ctx); /* may ask the next one */
    secret_wipe(p->values, sizeof p->values);
    next_question(p);
}

static void read_answer(struct user_postgres *p)
{
    if (!PQconsumeInput(p->pg)) {
        go_down(p, trouble_text(p));
        return;
    }
    while (p->state == ASKING && !PQisBusy(p->pg)) {
        PGresult *r = PQgetResult(p->pg);
        if (!r) {
            answered(p);
            return;
        }
        take_rows(p, r);
        PQclear(r);
    }
    if (PQstatus(p->pg) == CONNECTION_BAD) {
        go_down(p, trouble_text(p));
    }
}

static void on_ready(int events, void *ctx)
{
    struct user_postgres *p = ctx;
    if (p->state == CONNECTING) {
        go_on_connecting(p);
        return;
    }
    if (events & LOOP_WRITE) {
        int left = PQflush(p->pg);
        if (left < 0) {
            go_down(p, trouble_text(p));
            return;
        }
        loop_fd_want(p->fd, left ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    }
    if (events & LOOP_READ) {
        read_answer(p);
    }
}

static void next_question(struct user_postgres *p)
{
    if (p->state != IDLE || p->n == 0) {
        return;
    }
    const struct question *q = &p->queue[p->at];
    const char *const values[] = {q->realm, q->name};
    int n = q->what == USER_ASK_SECRETS ? 1 : 2;
    p->answer = (struct user_answer){.what = USER_TOLD};
    p->state = ASKING;
    if (!PQsendQueryParams(p->pg, questions[q->what], n, NULL, values, NULL, NULL, 0)) {
        go_down(p, trouble_text(p));
        return;
    }
    patience(p, ANSWER_MS);
    loop_fd_want(p->fd, LOOP_READ | LOOP_WRITE);
}

static void on_timer(void *ctx)
{
    struct user_postgres *p = ctx;
    if (p->state == DOWN) {
        connect_now(p);
    } else {
        go_down(p, slice_str("does not answer"));
    }
}

/* PostgreSQL keeps no NUL in a text. */
static bool keep(char *out, size_t max, struct slice text)
{
    if (text.len > max || (text.len > 0 && memchr(text.p, 0, text.len))) {
        return false;
    }
    if (text.len > 0) {
        memcpy(out, text.p, text.len);
    }
    out[text.len] = 0;
    return true;
}

static void postgres_ask(struct user_store *base, const struct user_question *ask)
{
    struct user_postgres *p = of(base);
    struct question next = {.id = ask->id, .what = ask->what};
    if (ask->what == USER_ASK_BY_HASH || !keep(next.realm, USER_REALM_MAX, ask->realm) ||
        !keep(next.name, USER_NAME_MAX, ask->name)) {
        p->base.answer(ask->id, &(struct user_answer){.what = USER_TOLD}, p->base.ctx);
        return;
    }
    if (p->state == DOWN || p->n == USER_WAITING_MAX) {
        p->base.answer(ask->id, &(struct user_answer){.what = USER_TROUBLE}, p->base.ctx);
        return;
    }
    p->queue[(p->at + p->n++) % USER_WAITING_MAX] = next;
    next_question(p);
}

static void postgres_free(struct user_store *base)
{
    struct user_postgres *p = of(base);
    hang_up(p);
    loop_timer_free(p->timer);
    if (p->conninfo) {
        secret_wipe(p->conninfo, strlen(p->conninfo));
    }
    free(p->conninfo);
    free(p);
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (strcmp(o->keyword, keyword) == 0) {
            return o->val;
        }
    }
    return NULL;
}

const char *user_postgres_wrong(const char *conninfo)
{
    struct addr a;
    const char *wrong = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    if (!options) {
        return "is no connection string of libpq: host=/run/postgresql dbname=turn user=turn";
    }
    const char *host = value_of(options, "host");
    if (value_of(options, "service")) {
        wrong = "service= is not taken: write what it stands for";
    } else if (host && *host && *host != '/' && !value_of(options, "hostaddr") &&
               addr_parse(slice_str(host), &a)) {
        wrong = "host= must be an address or a socket's folder (or add hostaddr=): looking up "
                "a name would hold the server";
    }
    PQconninfoFree(options);
    return wrong;
}

bool user_postgres_host(const char *conninfo, struct addr *out)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    if (!options) {
        return false;
    }
    const char *text = value_of(options, "hostaddr");
    text = text && *text ? text : value_of(options, "host");
    bool found = text && addr_parse(slice_str(text), out) == OK;
    PQconninfoFree(options);
    return found;
}

int user_postgres_new(struct user_store **out, struct loop *l, const struct log *log,
                      const char *conninfo)
{
    *out = NULL;
    if (user_postgres_wrong(conninfo)) {
        return ERR_MALFORMED;
    }
    struct user_postgres *p = calloc(1, sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    p->base =
        (struct user_store){.name = "postgres", .ask = postgres_ask, .free = postgres_free};
    p->loop = l;
    p->log = log;
    p->again_ms = AGAIN_MIN_MS;
    p->conninfo = strdup(conninfo);
    int err = p->conninfo ? loop_timer_new(&p->timer, l, on_timer, p) : ERR_NOMEM;
    if (err) {
        postgres_free(&p->base);
        return err;
    }
    connect_now(p);
    *out = &p->base;
    return OK;
}
