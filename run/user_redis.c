/* Users in Redis: hiredis on our loop. Names go as arguments with their length, so they are
 * never read as part of a command. */
#include "run/user_redis.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "lib/base/addr.h"
#include "lib/base/crypto.h"
#include "lib/base/text.h"

enum {
    ANSWER_MS = 3000, /* to connect, and for an answer: then the connection is given up */
    AGAIN_MIN_MS = 500,
    AGAIN_MAX_MS = 30000,
    DEFAULT_PORT = 6379,
    TEXT_MAX = 256, /* of a value in `where`, with its end mark */
    KEY_MAX = 512
};

struct where {
    char ip[TEXT_MAX], path[TEXT_MAX], user[TEXT_MAX], password[TEXT_MAX], dbname[TEXT_MAX];
    uint16_t port;
};

struct question {
    struct user_redis *run;
    uint64_t id; /* 0: free */
    enum user_ask what;
};

struct user_redis {
    struct user_store base;
    struct loop *loop;
    const struct log *log;
    struct where where;
    redisAsyncContext *redis; /* NULL: down, until the timer */
    struct loop_fd *fd;
    int want;
    struct loop_timer *timer; /* down: to connect again; else: patience ends */
    uint32_t again_ms;
    size_t n_open; /* commands without an answer */
    struct log_limit refused;
    bool is_told; /* that it is down */
    bool is_ending;
    struct question questions[USER_WAITING_MAX];
};

static struct user_redis *of(struct user_store *base)
{
    return (struct user_redis *)(void *)base;
}

static void patience(struct user_redis *p, uint64_t in_ms)
{
    loop_timer_at(p->timer, in_ms ? loop_now_ms(p->loop) + in_ms : UINT64_MAX);
}

/* Said once per outage. The connection is gone, or goes when hiredis is done with it. */
static void go_down(struct user_redis *p, const char *why)
{
    redisAsyncContext *redis = p->redis;
    if (p->is_ending || !redis) {
        return;
    }
    if (!p->is_told) {
        LOG(p->log, LOG_ERROR, "users-down", LOG_S("store", p->base.name), LOG_S("why", why));
    }
    p->is_told = true;
    p->redis = NULL;
    patience(p, p->again_ms);
    p->again_ms = 2 * p->again_ms < AGAIN_MAX_MS ? 2 * p->again_ms : AGAIN_MAX_MS;
}

/* The same from our side: what was asked is answered, with trouble. */
static void hang_up(struct user_redis *p, const char *why)
{
    redisAsyncContext *redis = p->redis;
    go_down(p, why);
    if (redis) {
        redisAsyncFree(redis);
    }
}

static void fd_ready(int events, void *ctx)
{
    struct user_redis *p = ctx;
    redisAsyncContext *redis = p->redis;
    if (redis && events & LOOP_READ) {
        redisAsyncHandleRead(redis);
    }
    /* Reading may have ended it. */
    if (redis && redis == p->redis && events & LOOP_WRITE) {
        redisAsyncHandleWrite(redis);
    }
}

static void want(struct user_redis *p, int on, int off)
{
    p->want = (p->want | on) & ~off;
    if (p->fd) {
        loop_fd_want(p->fd, p->want);
    }
}

static void add_read(void *ctx)
{
    want(ctx, LOOP_READ, 0);
}

static void del_read(void *ctx)
{
    want(ctx, 0, LOOP_READ);
}

static void add_write(void *ctx)
{
    want(ctx, LOOP_WRITE, 0);
}

static void del_write(void *ctx)
{
    want(ctx, 0, LOOP_WRITE);
}

static void cleanup(void *ctx)
{
    struct user_redis *p = ctx;
    loop_fd_free(p->fd);
    p->fd = NULL;
    p->want = 0;
}

static void on_connect(const redisAsyncContext *redis, int status)
{
    if (status != REDIS_OK) {
        go_down(redis->data, redis->errstr);
    }
}

static void on_disconnect(const redisAsyncContext *redis, int status)
{
    (void)status;
    struct user_redis *p = redis->data;
    if (p->redis == redis) {
        go_down(p, redis->err ? redis->errstr : "closed");
    }
}

/* False when the connection is already gone. */
static bool send(struct user_redis *p, redisCallbackFn *fn, void *ctx, const char **words,
                 const size_t *lens, int n)
{
    if (redisAsyncCommandArgv(p->redis, fn, ctx, n, words, lens) != REDIS_OK) {
        return false;
    }
    if (p->n_open++ == 0) {
        patience(p, ANSWER_MS);
    }
    return true;
}

static void one_answered(struct user_redis *p)
{
    p->n_open--;
    if (p->redis) {
        patience(p, p->n_open > 0 ? ANSWER_MS : 0);
    }
}

/* Of AUTH and SELECT, and of the PING behind them. */
static void on_setup(redisAsyncContext *redis, void *got, void *ctx)
{
    struct user_redis *p = redis->data;
    const redisReply *reply = got;
    bool is_last = ctx != NULL;
    one_answered(p);
    if (!reply || redis != p->redis) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        hang_up(p, reply->str);
    } else if (is_last) {
        p->again_ms = AGAIN_MIN_MS;
        p->is_told = false;
        LOG(p->log, LOG_INFO, "users-up", LOG_S("store", p->base.name));
    }
}

static bool send_words(struct user_redis *p, void *ctx, const char **words, int n)
{
    size_t lens[3];
    for (int i = 0; i < n; i++) {
        lens[i] = strlen(words[i]);
    }
    return send(p, on_setup, ctx, words, lens, n);
}

static bool send_setup(struct user_redis *p)
{
    const struct where *w = &p->where;
    const char *auth[] = {"AUTH", w->password, NULL};
    const char *login[] = {"AUTH", w->user, w->password};
    const char *select[] = {"SELECT", w->dbname};
    const char *ping[] = {"PING"};
    bool ok = true;
    if (*w->password) {
        ok = *w->user ? send_words(p, NULL, login, 3) : send_words(p, NULL, auth, 2);
    }
    ok = ok && (!*w->dbname || send_words(p, NULL, select, 2));
    return ok && send_words(p, p, ping, 1);
}

static void connect_now(struct user_redis *p)
{
    const struct where *w = &p->where;
    p->redis = *w->path ? redisAsyncConnectUnix(w->path) : redisAsyncConnect(w->ip, w->port);
    if (!p->redis) {
        patience(p, p->again_ms);
        return;
    }
    p->redis->data = p;
    if (p->redis->err) {
        hang_up(p, p->redis->errstr);
        return;
    }
    if (loop_fd_new(&p->fd, p->loop, p->redis->c.fd, fd_ready, p)) {
        p->fd = NULL;
        hang_up(p, "cannot watch the connection");
        return;
    }
    p->redis->ev.data = p;
    p->redis->ev.addRead = add_read;
    p->redis->ev.delRead = del_read;
    p->redis->ev.addWrite = add_write;
    p->redis->ev.delWrite = del_write;
    p->redis->ev.cleanup = cleanup;
    /* Also asks to write, which is how a connection shows that it is there. */
    if (redisAsyncSetConnectCallback(p->redis, on_connect) != REDIS_OK ||
        redisAsyncSetDisconnectCallback(p->redis, on_disconnect) != REDIS_OK ||
        !send_setup(p)) {
        hang_up(p, "cannot send");
    }
}

static void on_timer(void *ctx)
{
    struct user_redis *p = ctx;
    if (p->redis) {
        hang_up(p, "does not answer");
    } else {
        connect_now(p);
    }
}

static void put_value(struct user_answer *a, const redisReply *r)
{
    if (r->type == REDIS_REPLY_STRING && r->len > 0 && (size_t)r->len <= USER_VALUE_MAX &&
        a->n < USER_VALUES_MAX) {
        a->value[a->n++] = slice_of(r->str, (size_t)r->len);
    }
}

static void read_reply(struct user_redis *p, const redisReply *r, struct user_answer *a)
{
    uint32_t held;
    *a = (struct user_answer){.what = USER_TOLD};
    if (r->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < r->elements; i++) {
            put_value(a, r->element[i]);
        }
    } else if (r->type == REDIS_REPLY_ERROR) {
        a->what = USER_TROUBLE;
        if (log_limit_pass(&p->refused, loop_now_ms(p->loop) / 1000, 1, &held)) {
            LOG(p->log, LOG_ERROR, "users-refused", LOG_S("store", p->base.name),
                LOG_S("why", r->str), LOG_N("held_back", held));
        }
    } else {
        put_value(a, r);
    }
}

static void on_reply(redisAsyncContext *redis, void *got, void *ctx)
{
    struct question *q = ctx;
    struct user_redis *p = q->run;
    struct user_answer a = {.what = USER_TROUBLE};
    uint64_t id = q->id;
    (void)redis;
    q->id = 0;
    one_answered(p);
    if (got) {
        read_reply(p, got, &a);
    }
    if (!p->is_ending) {
        p->base.answer(id, &a, p->base.ctx);
    }
}

static bool send_question(struct user_redis *p, struct question *q,
                          const struct user_question *ask)
{
    uint8_t key[KEY_MAX];
    struct wr w = wr_over(key, sizeof key);
    bool is_key = q->what == USER_ASK_KEY;
    wr_bytes(&w, slice_str("turn/realm/"));
    wr_bytes(&w, ask->realm);
    wr_bytes(&w, slice_str(is_key ? "/user/" : "/secret"));
    if (is_key) {
        wr_bytes(&w, ask->name);
        wr_bytes(&w, slice_str("/key"));
    }
    const char *command = is_key ? "GET" : "SMEMBERS";
    const char *words[] = {command, (const char *)key};
    const size_t lens[] = {strlen(command), w.len};
    return !w.err && send(p, on_reply, q, words, lens, 2);
}

static void redis_ask(struct user_store *base, const struct user_question *ask)
{
    struct user_redis *p = of(base);
    struct question *q = NULL;
    /* Its keys are made of names; those of tokens are not looked for there. */
    if (ask->what == USER_ASK_BY_HASH || ask->what == USER_ASK_TOKEN_KEY) {
        p->base.answer(ask->id, &(struct user_answer){.what = USER_TOLD}, p->base.ctx);
        return;
    }
    for (size_t i = 0; i < USER_WAITING_MAX && p->redis && !q; i++) {
        q = p->questions[i].id ? NULL : &p->questions[i];
    }
    if (q) {
        *q = (struct question){.run = p, .id = ask->id, .what = ask->what};
        if (send_question(p, q, ask)) {
            return;
        }
        q->id = 0;
    }
    p->base.answer(ask->id, &(struct user_answer){.what = USER_TROUBLE}, p->base.ctx);
}

static void redis_free(struct user_store *base)
{
    struct user_redis *p = of(base);
    p->is_ending = true;
    if (p->redis) {
        redisAsyncFree(p->redis);
    }
    loop_timer_free(p->timer);
    secret_wipe(&p->where, sizeof p->where);
    free(p);
}

static bool keep(char out[TEXT_MAX], struct slice value)
{
    if (value.len >= TEXT_MAX) {
        return false;
    }
    if (value.len > 0) {
        memcpy(out, value.p, value.len);
    }
    out[value.len] = 0;
    return true;
}

static const char *read_where(struct where *w, const char *text)
{
    struct slice left = text_trim(slice_str(text));
    uint64_t port;
    struct addr a;
    *w = (struct where){.port = DEFAULT_PORT};
    while (left.len > 0) {
        struct slice value = text_split(&left, ' '), name = text_split(&value, '=');
        const struct {
            const char *name;
            char *to;
        } texts[] = {
            {"ip",       w->ip      },
            {"host",     w->ip      },
            {"path",     w->path    },
            {"user",     w->user    },
            {"password", w->password},
            {"dbname",   w->dbname  },
        };
        bool ok = text_is(name, "connect_timeout"); /* coturn's; ours is 3 s */
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            ok = ok || (text_is(name, texts[i].name) && keep(texts[i].to, value));
        }
        if (text_is(name, "port") && text_u64(value, 65535, &port) == OK && port > 0) {
            w->port = (uint16_t)port;
            ok = true;
        }
        if (!ok) {
            return "wants ip=ADDRESS port=N (or path=SOCKET) dbname=N user=NAME password=TEXT";
        }
    }
    if (!*w->path && addr_parse(slice_str(w->ip), &a)) {
        return "ip= must be an address (or give path=SOCKET): looking up a name would hold the "
               "server";
    }
    return NULL;
}

const char *user_redis_wrong(const char *where)
{
    struct where w;
    const char *wrong = read_where(&w, where);
    secret_wipe(&w, sizeof w);
    return wrong;
}

bool user_redis_host(const char *where, struct addr *out)
{
    struct where w;
    bool found = !read_where(&w, where) && !*w.path && addr_parse(slice_str(w.ip), out) == OK;
    secret_wipe(&w, sizeof w);
    return found;
}

int user_redis_new(struct user_store **out, struct loop *l, const struct log *log,
                   const char *where)
{
    struct user_redis *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p) {
        return ERR_NOMEM;
    }
    p->base = (struct user_store){.name = "redis", .ask = redis_ask, .free = redis_free};
    p->loop = l;
    p->log = log;
    p->again_ms = AGAIN_MIN_MS;
    int err = read_where(&p->where, where) ? ERR_MALFORMED : OK;
    err = err ? err : loop_timer_new(&p->timer, l, on_timer, p);
    if (err) {
        redis_free(&p->base);
        return err;
    }
    connect_now(p);
    *out = &p->base;
    return OK;
}
