/* The table of associations: who may have one, when one is over, and what each has to say. */
#include "lib/tls/dtls_server.h"

#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/map.h"
#include "lib/base/timerq.h"

#include "lib/tls/dtls_hello.h"

enum {
    WHY_MAX = 160
};

struct address_key { /* bytes without padding, as lib/base/map.h asks */
    uint8_t b[2 * 19];
};

struct assoc {
    struct map_link by_id, by_addr;
    dtls_id id;
    struct address_key key;
    struct addr client, local;
    struct timer timer;
    struct assoc *next, **at;
    struct dtls *dtls;
    uint8_t random[DTLS_RANDOM_LEN]; /* of its ClientHello */
    uint64_t begun_ms, seen_ms;
    bool is_up;
};

struct dtls_server {
    struct dtls_server_config cfg;
    struct dtls_server_env env;
    struct tls_context *context;
    uint8_t secret[32];
    struct map by_id, by_addr;
    struct timerq timers;
    struct assoc *list; /* the newest first */
    struct dtls_server_stats stats;
    /* What the last input leads to, in this order. */
    uint64_t now_ms;
    struct dtls_action first;
    bool has_first;
    struct assoc *at;   /* has something to say */
    const char *at_why; /* it ends when it has said that; NULL: it goes on */
    char why[WHY_MAX];
    uint8_t verify[DTLS_VERIFY_LEN];
    uint8_t plain[DTLS_PLAIN_MAX], sealing[DTLS_PLAIN_MAX];
};

static void put_addr(uint8_t *to, const struct addr *a)
{
    to[0] = a->family;
    memcpy(to + 1, a->ip, 16);
    to[17] = (uint8_t)(a->port >> 8);
    to[18] = (uint8_t)a->port;
}

static struct address_key key_of(const struct addr *client, const struct addr *local)
{
    struct address_key k;
    put_addr(k.b, client);
    put_addr(k.b + 19, local);
    return k;
}

static struct assoc *find(const struct dtls_server *s, dtls_id id)
{
    return id ? MAP_ENTRY(map_find(&s->by_id, &id), struct assoc, by_id) : NULL;
}

int dtls_server_new(struct dtls_server **out, const struct dtls_server_config *cfg,
                    const struct dtls_server_env *env)
{
    uint8_t secret[16];
    struct dtls_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return ERR_NOMEM;
    }
    s->cfg = *cfg;
    s->env = *env;
    env->random(s->secret, sizeof s->secret, env->ctx);
    env->random(secret, sizeof secret, env->ctx);
    int err = map_init(&s->by_id, cfg->max, MAP_KEY(struct assoc, by_id, id), sizeof(dtls_id),
                       secret);
    err = err ? err
              : map_init(&s->by_addr, cfg->max, MAP_KEY(struct assoc, by_addr, key),
                         sizeof(struct address_key), secret);
    err = err ? err : timerq_init(&s->timers, cfg->max);
    if (err) {
        dtls_server_free(s);
        return err;
    }
    *out = s;
    return OK;
}

static void forget(struct dtls_server *s, struct assoc *a)
{
    s->at = s->at == a ? NULL : s->at;
    s->stats.associations--;
    s->stats.failed_total += !a->is_up;
    timerq_clear(&s->timers, &a->timer);
    map_remove(&s->by_id, &a->by_id);
    map_remove(&s->by_addr, &a->by_addr);
    *a->at = a->next;
    if (a->next) {
        a->next->at = a->at;
    }
    dtls_free(a->dtls);
    free(a);
}

void dtls_server_free(struct dtls_server *s)
{
    if (!s) {
        return;
    }
    while (s->list) {
        forget(s, s->list);
    }
    map_done(&s->by_id);
    map_done(&s->by_addr);
    timerq_done(&s->timers);
    secret_wipe(s->secret, sizeof s->secret);
    free(s);
}

void dtls_server_set_context(struct dtls_server *s, struct tls_context *context)
{
    s->context = context;
}

static struct dtls_action about(const struct assoc *a, enum dtls_do what, struct slice bytes)
{
    return (struct dtls_action){.what = what,
                                .id = a->id,
                                .client = a->client,
                                .local = a->local,
                                .bytes = bytes,
                                .has_begun = a->is_up};
}

/* It ends. `why` outlives it. */
static struct dtls_action end(struct dtls_server *s, struct assoc *a, const char *why)
{
    struct dtls_action out = about(a, DTLS_DO_END, slice_of(NULL, 0));
    out.why = why;
    forget(s, a);
    return out;
}

static void set_timer(struct dtls_server *s, struct assoc *a)
{
    uint64_t limit = a->begun_ms + s->cfg.handshake_ms, retry = dtls_deadline_ms(a->dtls);
    if (dtls_is_up(a->dtls)) {
        timerq_clear(&s->timers, &a->timer);
    } else {
        timerq_set(&s->timers, &a->timer, retry < limit ? retry : limit);
    }
}

/* A literal; NULL: there is room. */
static const char *refused(const struct dtls_server *s, const struct addr *client)
{
    size_t n = 0, unfinished = 0, len = client->family == ADDR_IP6 ? 8 : 4;
    for (const struct assoc *a = s->list; a; a = a->next) {
        bool is_near =
            a->client.family == client->family && memcmp(a->client.ip, client->ip, len) == 0;
        n += is_near;
        unfinished += is_near && !a->is_up;
    }
    return s->stats.associations >= s->cfg.max   ? "too many associations"
           : n >= s->cfg.max_per_prefix          ? "too many associations of one address"
           : unfinished >= s->cfg.max_unfinished ? "too many handshakes from one address"
                                                 : NULL;
}

static struct assoc *assoc_new(struct dtls_server *s, const struct dtls_door *door,
                               struct dtls *d, struct slice random)
{
    struct assoc *a = calloc(1, sizeof *a);
    if (!a) {
        return NULL;
    }
    *a = (struct assoc){.id = s->env.next_id(s->env.ctx),
                        .key = key_of(&door->client, &door->local),
                        .client = door->client,
                        .local = door->local,
                        .dtls = d,
                        .begun_ms = door->now_ms,
                        .next = s->list,
                        .at = &s->list};
    memcpy(a->random, random.p, DTLS_RANDOM_LEN);
    map_add(&s->by_id, &a->by_id);
    map_add(&s->by_addr, &a->by_addr);
    if (a->next) {
        a->next->at = &a->next;
    }
    s->list = a;
    s->stats.associations++;
    return a;
}

/* From a client whose address is proven. */
static void begin(struct dtls_server *s, const struct dtls_door *door,
                  const struct dtls_hello *h, struct slice datagram)
{
    struct dtls *d = NULL;
    const char *why = refused(s, &door->client);
    int err = OK;
    s->stats.refused_total += why != NULL;
    if (!why) {
        err = dtls_accept(&d, s->context, door->now_ms, datagram, h->record_len);
        s->at = d ? assoc_new(s, door, d, h->random) : NULL;
        why = s->at ? NULL : "out of memory, or not a ClientHello after all";
    }
    if (!s->at) {
        dtls_free(d);
        struct dtls_action no = {.what = DTLS_DO_END, .client = door->client};
        no.local = door->local;
        no.why = why;
        s->first = s->has_first ? s->first : no; /* the end of the one before says enough */
        s->has_first = true;
        return;
    }
    s->at_why = err ? dtls_why(d) : NULL;
    set_timer(s, s->at);
}

static void say_verify(struct dtls_server *s, const struct dtls_door *door)
{
    s->first = (struct dtls_action){.what = DTLS_DO_SEND,
                                    .client = door->client,
                                    .local = door->local,
                                    .bytes = slice_of(s->verify, sizeof s->verify)};
    s->has_first = true;
    s->stats.verify_total++;
}

static void feed(struct dtls_server *s, struct assoc *a, uint64_t now_ms, struct slice datagram)
{
    int err = dtls_in(a->dtls, now_ms, datagram);
    s->at = a;
    s->at_why = err ? dtls_why(a->dtls) : NULL;
    set_timer(s, a);
}

void dtls_server_in(struct dtls_server *s, uint64_t now_ms, const struct addr *client,
                    const struct addr *local, struct slice datagram)
{
    struct address_key key = key_of(client, local);
    struct assoc *a = MAP_ENTRY(map_find(&s->by_addr, &key), struct assoc, by_addr);
    const struct dtls_door door = {
        .secret = s->secret, .client = *client, .local = *local, .now_ms = now_ms};
    struct dtls_hello h;
    enum dtls_knock knock = DTLS_NO_HELLO;
    s->now_ms = now_ms;
    s->has_first = false;
    s->at = NULL;
    if (s->context) {
        knock = dtls_door_knock(&door, datagram, &h, s->verify);
    }
    bool is_his = a && (knock == DTLS_NO_HELLO ||
                        slice_eq(h.random, slice_of(a->random, sizeof a->random)));
    if (is_his) {
        feed(s, a, now_ms, datagram);
    } else if (knock == DTLS_VERIFY) {
        say_verify(s, &door);
    } else if (knock == DTLS_PROVEN) {
        /* RFC 6347 4.2.8: what was there before goes only after the cookie. */
        if (a) {
            s->first = end(s, a, "the client began anew");
            s->has_first = true;
        }
        begin(s, &door, &h, datagram);
    }
}

void dtls_server_tick(struct dtls_server *s, uint64_t now_ms)
{
    struct timer *t = timerq_due(&s->timers, now_ms);
    s->now_ms = now_ms;
    s->has_first = false;
    s->at = NULL;
    if (!t) {
        return;
    }
    struct assoc *a = TIMER_OWNER(t, struct assoc, timer);
    if (now_ms - a->begun_ms >= s->cfg.handshake_ms) {
        s->first = end(s, a, "the handshake took too long");
        s->has_first = true;
        return;
    }
    dtls_tick(a->dtls, now_ms);
    set_timer(s, a);
    s->at = a;
    s->at_why = NULL;
}

uint64_t dtls_server_deadline_ms(const struct dtls_server *s)
{
    return timerq_next_ms(&s->timers);
}

/* What the association at hand has to say; false: nothing more. */
static bool next_of(struct dtls_server *s, struct dtls_action *out)
{
    struct assoc *a = s->at;
    struct slice bytes;
    size_t len;
    if (dtls_out(a->dtls, &bytes)) {
        *out = about(a, DTLS_DO_SEND, bytes);
    } else if (!a->is_up && dtls_is_up(a->dtls)) {
        a->is_up = true;
        a->seen_ms = s->now_ms;
        s->stats.begun_total++;
        *out = about(a, DTLS_DO_BEGIN, slice_of(NULL, 0));
    } else if (dtls_read(a->dtls, s->plain, sizeof s->plain, &len)) {
        a->seen_ms = s->now_ms;
        *out = about(a, DTLS_DO_PLAIN, slice_of(s->plain, len));
        out->server_name = slice_str(dtls_server_name(a->dtls));
    } else if (dtls_out(a->dtls, &bytes)) { /* reading can lead to an answer */
        *out = about(a, DTLS_DO_SEND, bytes);
    } else {
        return false;
    }
    return true;
}

bool dtls_server_next(struct dtls_server *s, struct dtls_action *out)
{
    if (s->has_first) {
        s->has_first = false;
        *out = s->first;
        return true;
    }
    if (!s->at) {
        return false;
    }
    if (next_of(s, out)) {
        return true;
    }
    if (!s->at_why && dtls_peer_closed(s->at->dtls)) {
        s->at_why = "the client closed it";
        dtls_shutdown(s->at->dtls); /* RFC 5246 7.2.1: it is answered */
        if (next_of(s, out)) {
            return true;
        }
    }
    if (s->at_why) {
        struct wr w = wr_over((uint8_t *)s->why, sizeof s->why - 1);
        wr_bytes(&w, slice_str(s->at_why));
        s->why[w.len] = '\0';
        *out = end(s, s->at, s->why);
        return true;
    }
    s->at = NULL;
    return false;
}

int dtls_server_seal(struct dtls_server *s, dtls_id id, struct slice head, struct slice body,
                     struct dtls_action *out)
{
    struct assoc *a = find(s, id);
    struct wr w = wr_over(s->sealing, sizeof s->sealing);
    struct slice bytes;
    wr_bytes(&w, head);
    wr_bytes(&w, body);
    if (!a || w.err) {
        return a ? ERR_LIMIT : ERR_NOTFOUND;
    }
    int err = dtls_write(a->dtls, wr_done(&w));
    if (err || !dtls_out(a->dtls, &bytes)) {
        return err ? err : ERR_BADSTATE;
    }
    *out = about(a, DTLS_DO_SEND, bytes);
    return OK;
}

bool dtls_server_close(struct dtls_server *s, dtls_id id, struct dtls_action *out)
{
    struct assoc *a = find(s, id);
    struct slice bytes;
    if (!a) {
        return false;
    }
    dtls_shutdown(a->dtls);
    bool has = dtls_out(a->dtls, &bytes) && bytes.len <= sizeof s->sealing;
    if (has) {
        memcpy(s->sealing, bytes.p, bytes.len);
        *out = about(a, DTLS_DO_SEND, slice_of(s->sealing, bytes.len));
    }
    forget(s, a);
    return has;
}

bool dtls_server_after(const struct dtls_server *s, dtls_id id, struct dtls_server_info *out)
{
    const struct assoc *a = id ? find(s, id) : NULL;
    a = a ? a->next : id ? NULL : s->list;
    if (a) {
        *out = (struct dtls_server_info){.id = a->id, .seen_ms = a->seen_ms, .is_up = a->is_up};
    }
    return a != NULL;
}

struct dtls_server_stats dtls_server_stats(const struct dtls_server *s)
{
    return s->stats;
}
