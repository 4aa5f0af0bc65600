/* The TURN client's requests and its queue of actions. */
#include <stdlib.h>

#include "lib/turn/client_core.h"

void client_input(struct turn_client *c)
{
    if (c->q_at == c->q_len) {
        c->q_at = c->q_len = 0;
        c->arena_len = 0;
    }
}

static void push_raw(struct turn_client *c, struct turn_client_action a, size_t bytes_at)
{
    c->queue[c->q_len++] = (struct client_action){.a = a, .bytes_at = bytes_at};
}

/* The queue holds what all data connections can cause at a time. Reports are what a peer can
 * multiply at will: they leave room for the rest, and the last place is for FAILED. */
static bool has_room(const struct turn_client *c, enum turn_client_do what)
{
    size_t left = c->q_cap - c->q_len;
    if (what == TURN_CLIENT_FAILED) {
        return left > 0;
    }
    return what == TURN_CLIENT_REPORT ? left > c->q_cap / 2 : left > 1;
}

static void push_at(struct turn_client *c, struct turn_client_action a, size_t bytes_at)
{
    if (c->state == CLIENT_DONE) {
        return;
    }
    if (has_room(c, a.what)) {
        push_raw(c, a, bytes_at);
    } else if (a.what != TURN_CLIENT_REPORT) {
        c->state = CLIENT_DONE;
        a = (struct turn_client_action){.what = TURN_CLIENT_FAILED,
                                        .why = "the actions were not taken in time"};
        push_raw(c, a, 0);
    }
}

void client_push(struct turn_client *c, struct turn_client_action a)
{
    push_at(c, a, 0);
}

void client_report(struct turn_client *c, const char *why, uint16_t code)
{
    client_push(
        c, (struct turn_client_action){.what = TURN_CLIENT_REPORT, .why = why, .code = code});
}

void client_fail(struct turn_client *c, const char *why, uint16_t code)
{
    if (c->state == CLIENT_DONE) {
        return;
    }
    for (size_t i = 0; i < c->cfg.max_data; i++) {
        client_data_close(c, &c->data[i], "the allocation is gone", 0);
    }
    client_push(
        c, (struct turn_client_action){.what = TURN_CLIENT_FAILED, .why = why, .code = code});
    c->state = CLIENT_DONE;
}

/* RFC 8489 14.8, RFC 8656 19, RFC 6062 6.3: what to tell the one who has to mend it. */
const char *client_error_text(uint16_t code)
{
    static const struct {
        uint16_t code;
        const char *text;
    } row[] = {
        {300, "the TURN server wants clients to use another one (300): name that server"  },
        {400, "the TURN server calls the request bad (400): does it relay TCP (RFC 6062)?"},
        {401, "the TURN server refuses the user name or password (401): compare them"     },
        {403, "the TURN server forbids this (403): look at its peer rules"                },
        {420, "the TURN server does not know a part of the request (420)"                 },
        {437, "the TURN server knows no such allocation, or has one for this port (437)"  },
        {438,
         "the TURN server calls every nonce stale (438): is its clock or secret changing?"},
        {440, "the TURN server has no addresses of this family (440)"                     },
        {441, "the TURN server says another user made the allocation (441)"               },
        {442, "the TURN server does not relay TCP (442): turn RFC 6062 on"                },
        {443, "the peer's address family is not the relay's (443)"                        },
        {446, "there is a connection to this peer already (446)"                          },
        {447, "the TURN server could not connect to the peer (447)"                       },
        {486, "the TURN server's quota for this user is used up (486)"                    },
        {500, "the TURN server had an error of its own (500): see its log"                },
        {508, "the TURN server has no relay port left (508): widen its range"             },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (row[i].code == code) {
            return row[i].text;
        }
    }
    return "the TURN server refuses the request with a code of its own";
}

/* Room for one message at the end of the arena, which lives until the actions are taken. */
static uint8_t *arena_room(struct turn_client *c)
{
    if (c->arena_cap - c->arena_len < CLIENT_REQUEST_MAX) {
        size_t cap = c->arena_cap * 2 + CLIENT_REQUEST_MAX;
        uint8_t *bigger = realloc(c->arena, cap);
        if (!bigger) {
            return NULL;
        }
        c->arena = bigger;
        c->arena_cap = cap;
    }
    return c->arena + c->arena_len;
}

static bool begin(struct turn_client *c, struct stun_writer *s, enum stun_class cls,
                  uint16_t method, struct stun_tid *tid)
{
    uint8_t *room = c->state == CLIENT_DONE ? NULL : arena_room(c);
    if (!room) {
        client_fail(c, "out of memory", 0);
        return false;
    }
    *tid = (struct stun_tid){.len = 12};
    c->env.random(tid->b, tid->len, c->env.ctx);
    stun_begin(s, room, CLIENT_REQUEST_MAX, &stun_wire_rfc8489, cls, method, tid);
    return true;
}

/* An authenticated request, up to the method's own attributes. */
static bool begin_auth(struct turn_client *c, struct stun_writer *s, struct client_txn *t,
                       uint16_t method, uint64_t deadline_ms)
{
    if (!begin(c, s, STUN_REQUEST, method, &t->tid)) {
        return false;
    }
    t->method = method;
    t->deadline_ms = deadline_ms;
    client_put_credentials(c, s);
    return true;
}

/* Ends the message and queues it: on the control connection, or on `data`. */
static void finish(struct turn_client *c, struct stun_writer *s, turn_data data)
{
    struct turn_client_action a = {.what = data ? TURN_CLIENT_SEND_DATA : TURN_CLIENT_SEND,
                                   .data = data};
    stun_put_fingerprint(s);
    if (stun_end(s, &a.bytes)) {
        client_fail(c, "a request to the TURN server could not be built", 0);
        return;
    }
    size_t at = c->arena_len;
    c->arena_len += a.bytes.len;
    push_at(c, a, at);
}

static void finish_auth(struct turn_client *c, struct stun_writer *s, turn_data data)
{
    stun_put_integrity(s, &c->key);
    finish(c, s, data);
}

void client_send_probe(struct turn_client *c, uint64_t now_ms)
{
    struct stun_writer s;
    if (begin(c, &s, STUN_REQUEST, STUN_ALLOCATE, &c->main.tid)) {
        c->main.method = STUN_ALLOCATE;
        c->main.deadline_ms = now_ms + c->cfg.answer_ms;
        stun_put_u32(&s, STUN_REQUESTED_TRANSPORT, 6); /* TCP (RFC 6062 4.1) */
        stun_put_u32(&s, STUN_LIFETIME, c->cfg.lifetime_s);
        finish(c, &s, 0);
    }
}

/* Without LIFETIME: the Refresh that follows asks for it. */
void client_send_allocate(struct turn_client *c, uint64_t now_ms)
{
    struct stun_writer s;
    if (begin_auth(c, &s, &c->main, STUN_ALLOCATE, now_ms + c->cfg.answer_ms)) {
        stun_put_u32(&s, STUN_REQUESTED_TRANSPORT, 6);
        if (c->software.len > 0) {
            stun_put_bytes(&s, STUN_SOFTWARE, client_text(&c->software));
        }
        finish_auth(c, &s, 0);
    }
}

void client_send_refresh(struct turn_client *c, uint64_t now_ms, uint32_t lifetime_s)
{
    struct stun_writer s;
    uint64_t wait = lifetime_s ? c->cfg.answer_ms : CLIENT_RELEASE_MS;
    if (begin_auth(c, &s, &c->main, STUN_REFRESH, now_ms + wait)) {
        stun_put_u32(&s, STUN_LIFETIME, lifetime_s);
        finish_auth(c, &s, 0);
    }
}

/* What is due, up to a batch; one that was refused in company goes alone. */
void client_send_permissions(struct turn_client *c, uint64_t now_ms)
{
    struct stun_writer s;
    if (!begin_auth(c, &s, &c->perm_txn, STUN_CREATE_PERMISSION, now_ms + c->cfg.answer_ms)) {
        return;
    }
    size_t n = 0;
    struct client_perm *last = NULL;
    for (size_t i = 0; i < c->n_perms && n < CLIENT_PERMS_BATCH; i++) {
        struct client_perm *p = &c->perm[i];
        if (p->state != PERM_DUE || (p->alone && n > 0)) {
            continue;
        }
        stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, &p->addr);
        p->state = PERM_ASKED;
        n++;
        last = p;
        if (p->alone) {
            break;
        }
    }
    if (n == 1) {
        last->alone = true;
    }
    finish_auth(c, &s, 0);
}

void client_send_connect(struct turn_client *c, uint64_t now_ms, struct client_data *d)
{
    struct stun_writer s;
    uint64_t deadline_ms = now_ms + c->cfg.answer_ms + CLIENT_PEER_MS;
    if (begin_auth(c, &s, &d->txn, STUN_CONNECT, deadline_ms)) {
        stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, &d->peer);
        finish_auth(c, &s, 0);
    }
}

void client_send_bind(struct turn_client *c, uint64_t now_ms, struct client_data *d)
{
    struct stun_writer s;
    if (begin_auth(c, &s, &d->txn, STUN_CONNECTION_BIND, now_ms + c->cfg.answer_ms)) {
        stun_put_u32(&s, STUN_CONNECTION_ID, d->connection_id);
        finish_auth(c, &s, d->id);
    }
}

void client_send_keepalive(struct turn_client *c)
{
    struct stun_writer s;
    struct stun_tid tid;
    if (begin(c, &s, STUN_INDICATION, STUN_BINDING, &tid)) {
        finish(c, &s, 0);
    }
}
