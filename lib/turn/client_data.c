/* The TURN client's data connections (RFC 6062 4.3, 4.4). */
#include "lib/stun/stream.h"
#include "lib/turn/client_core.h"

enum {
    INDEX_BITS = 16 /* of a turn_data; the rest is a generation */
};

static struct client_data *by_id(struct turn_client *c, turn_data id)
{
    size_t i = (size_t)(id & ((1u << INDEX_BITS) - 1));
    return id != 0 && i < c->cfg.max_data && c->data[i].state != DATA_FREE &&
                   c->data[i].id == id
               ? &c->data[i]
               : NULL;
}

static struct client_data *take(struct turn_client *c, const struct addr *peer)
{
    for (size_t i = 0; i < c->cfg.max_data; i++) {
        struct client_data *d = &c->data[i];
        if (d->state == DATA_FREE) {
            c->generation += c->generation == UINT32_MAX ? 2 : 1; /* ids are never 0 */
            *d = (struct client_data){.peer = *peer,
                                      .id = (uint64_t)c->generation << INDEX_BITS | i,
                                      .txn.deadline_ms = TIMER_NEVER};
            return d;
        }
    }
    return NULL;
}

void client_data_close(struct turn_client *c, struct client_data *d, const char *why,
                       uint16_t code)
{
    if (d->state == DATA_FREE) {
        return;
    }
    struct turn_client_action a = {.what = TURN_CLIENT_CLOSE_DATA,
                                   .data = d->id,
                                   .peer = d->peer,
                                   .why = why,
                                   .code = code};
    d->state = DATA_FREE;
    client_push(c, a);
}

static void open_data(struct turn_client *c, uint64_t now_ms, struct client_data *d)
{
    d->state = DATA_OPENING;
    d->txn = (struct client_txn){.deadline_ms = now_ms + c->cfg.answer_ms};
    client_push(c, (struct turn_client_action){
                       .what = TURN_CLIENT_OPEN_DATA, .data = d->id, .peer = d->peer});
}

static bool id_in_use(const struct turn_client *c, uint32_t connection_id)
{
    for (size_t i = 0; i < c->cfg.max_data; i++) {
        const struct client_data *d = &c->data[i];
        if (d->state >= DATA_OPENING && d->connection_id == connection_id) {
            return true;
        }
    }
    return false;
}

/* Its MESSAGE-INTEGRITY is neither asked for nor refused: servers differ (RFC 8489 9.2.2 has
 * none on indications). A forged one leads to a ConnectionBind that the server refuses. */
void client_on_attempt(struct turn_client *c, uint64_t now_ms, const struct stun_msg *m)
{
    struct addr peer;
    uint32_t id;
    if (stun_get_u32(m, STUN_CONNECTION_ID, &id) ||
        stun_get_addr(m, STUN_XOR_PEER_ADDRESS, &peer)) {
        client_report(c, "a ConnectionAttempt without peer or id", 0);
        return;
    }
    if (id_in_use(c, id)) {
        return;
    }
    struct client_data *d = take(c, &peer);
    if (!d) {
        client_report(c, "a peer is turned away: too many data connections", 0);
        return;
    }
    d->connection_id = id;
    open_data(c, now_ms, d);
}

struct client_data *client_data_by_tid(struct turn_client *c, const struct stun_tid *tid)
{
    for (size_t i = 0; i < c->cfg.max_data; i++) {
        struct client_data *d = &c->data[i];
        if (d->state == DATA_CONNECTING && memcmp(d->txn.tid.b, tid->b, tid->len) == 0) {
            return d;
        }
    }
    return NULL;
}

void client_on_connect(struct turn_client *c, uint64_t now_ms, struct client_data *d,
                       const struct stun_msg *m)
{
    uint16_t code = 0;
    switch (client_judge(c, &d->txn, m, &code)) {
    case ANSWER_FORGED: break;
    case ANSWER_REPEAT: client_send_connect(c, now_ms, d); break;
    case ANSWER_ERROR: client_data_close(c, d, client_error_text(code), code); break;
    case ANSWER_OK:
        if (stun_get_u32(m, STUN_CONNECTION_ID, &d->connection_id) ||
            id_in_use(c, d->connection_id)) {
            client_data_close(c, d, "the answer to Connect names no new connection", 0);
            break;
        }
        open_data(c, now_ms, d);
        break;
    }
}

int turn_client_connect(struct turn_client *c, uint64_t now_ms, const struct addr *peer,
                        turn_data *data)
{
    client_input(c);
    *data = 0;
    if (c->state != CLIENT_UP) {
        return ERR_BADSTATE;
    }
    struct client_data *d = take(c, peer);
    if (!d) {
        return ERR_LIMIT;
    }
    d->state = DATA_CONNECTING;
    *data = d->id;
    client_send_connect(c, now_ms, d);
    return OK;
}

void turn_client_data_opened(struct turn_client *c, uint64_t now_ms, turn_data data, bool ok)
{
    struct client_data *d = by_id(c, data);
    client_input(c);
    if (!d || d->state != DATA_OPENING || c->state == CLIENT_DONE) {
        return;
    }
    if (!ok) {
        client_data_close(c, d, "no second connection to the TURN server", 0);
        return;
    }
    d->state = DATA_BINDING;
    client_send_bind(c, now_ms, d);
}

static void on_bind(struct turn_client *c, uint64_t now_ms, struct client_data *d,
                    const struct stun_msg *m)
{
    uint16_t code = 0;
    if (!client_txn_is(&d->txn, m)) {
        return;
    }
    switch (client_judge(c, &d->txn, m, &code)) {
    case ANSWER_FORGED:
        client_data_close(c, d, "the answer to ConnectionBind fails the integrity check", 0);
        break;
    case ANSWER_REPEAT: client_send_bind(c, now_ms, d); break;
    case ANSWER_ERROR: client_data_close(c, d, client_error_text(code), code); break;
    case ANSWER_OK:
        d->state = DATA_UP;
        d->txn.deadline_ms = TIMER_NEVER;
        client_push(c, (struct turn_client_action){
                           .what = TURN_CLIENT_PEER, .data = d->id, .peer = d->peer});
        break;
    }
}

int turn_client_data_recv(struct turn_client *c, uint64_t now_ms, turn_data data,
                          struct slice bytes, size_t *used)
{
    struct client_data *d = by_id(c, data);
    client_input(c);
    *used = 0;
    if (!d) {
        return ERR_NOTFOUND;
    }
    /* What follows the ConnectionBind response is the peer's, even in the same segment. */
    while (d->state == DATA_BINDING) {
        struct slice frame;
        struct stun_msg m;
        size_t n;
        enum parse p = stun_stream_next(slice_from(bytes, *used), &frame, &n);
        if (p == PARSE_MORE && n <= CLIENT_MSG_MAX) {
            return OK;
        }
        if (p != PARSE_OK || stun_parse(&m, frame, &stun_wire_rfc8489)) {
            client_data_close(c, d, "what answers ConnectionBind is not STUN", 0);
            return ERR_MALFORMED;
        }
        *used += n;
        on_bind(c, now_ms, d, &m);
        if (d->state == DATA_FREE) {
            return OK;
        }
    }
    return *used > 0 ? OK : ERR_BADSTATE;
}

void turn_client_data_closed(struct turn_client *c, uint64_t now_ms, turn_data data)
{
    (void)now_ms;
    struct client_data *d = by_id(c, data);
    client_input(c);
    if (d && d->state == DATA_UP) {
        d->state = DATA_FREE;
    } else if (d) {
        client_data_close(c, d, "the TURN server closed the data connection", 0);
    }
}

void client_data_tick(struct turn_client *c, uint64_t now_ms)
{
    static const char *const late[] = {
        [DATA_CONNECTING] = "the TURN server does not answer Connect",
        [DATA_OPENING] = "no second connection to the TURN server in time",
        [DATA_BINDING] = "the TURN server does not answer ConnectionBind",
        [DATA_UP] = "",
    };
    for (size_t i = 0; i < c->cfg.max_data; i++) {
        struct client_data *d = &c->data[i];
        if (d->state != DATA_FREE && now_ms >= d->txn.deadline_ms) {
            client_data_close(c, d, late[d->state], 0);
        }
    }
}
