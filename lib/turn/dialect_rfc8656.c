/* TURN as RFC 8656 and RFC 6062 spell it. */
#include "lib/stun/security.h"
#include "lib/turn/dialect.h"
#include "lib/turn/server.h"

static enum turn_op op_of(const struct stun_msg *m)
{
    if (m->cls == STUN_INDICATION) {
        return m->method == STUN_SEND ? TURN_OP_SEND : TURN_OP_IGNORE;
    }
    if (m->cls != STUN_REQUEST) {
        return TURN_OP_IGNORE;
    }
    switch (m->method) {
    case STUN_BINDING: return TURN_OP_BINDING;
    case STUN_ALLOCATE: return TURN_OP_ALLOCATE;
    case STUN_REFRESH: return TURN_OP_REFRESH;
    case STUN_CREATE_PERMISSION: return TURN_OP_PERMISSION;
    case STUN_CHANNEL_BIND: return TURN_OP_CHANNEL;
    case STUN_CONNECT: return TURN_OP_CONNECT;
    case STUN_CONNECTION_BIND: return TURN_OP_CONNECTION_BIND;
    default: return TURN_OP_IGNORE;
    }
}

static uint32_t number_of(const struct stun_msg *m, enum stun_attr type, bool *has)
{
    uint32_t v;
    *has = stun_get_u32(m, type, &v) == OK;
    return v;
}

/* 0 stands for absent; a 0 that was sent becomes another number that is nobody's. */
static uint8_t octet_of(const struct stun_msg *m, enum stun_attr type)
{
    bool has;
    uint32_t v = number_of(m, type, &has);
    return has && v == 0 ? UINT8_MAX : (uint8_t)v;
}

static struct slice text_of(const struct stun_msg *m, enum stun_attr type)
{
    struct slice v;
    return stun_get_bytes(m, type, &v) == OK ? v : slice_of(NULL, 0);
}

static void read_security(struct turn_req *out)
{
    const struct stun_msg *m = &out->msg;
    struct slice algorithm;
    out->userhash = text_of(m, STUN_USERHASH);
    out->token = text_of(m, STUN_ACCESS_TOKEN);
    out->has_algorithms = stun_get_bytes(m, STUN_PASSWORD_ALGORITHMS, &out->algorithms) == OK;
    out->has_algorithm = stun_get_bytes(m, STUN_PASSWORD_ALGORITHM, &algorithm) == OK;
    out->algorithm = (uint8_t)stun_algorithm_of(algorithm);
}

static void read_attrs(struct turn_req *out)
{
    const struct stun_msg *m = &out->msg;
    bool has;
    out->has_peer = stun_get_addr(m, STUN_XOR_PEER_ADDRESS, &out->peer) == OK;
    out->has_data = stun_get_bytes(m, STUN_DATA, &out->data) == OK;
    out->username = text_of(m, STUN_USERNAME);
    out->realm = text_of(m, STUN_REALM);
    out->nonce = text_of(m, STUN_NONCE);
    read_security(out);
    out->has_reservation = stun_get_u64(m, STUN_RESERVATION_TOKEN, &out->reservation) == OK;
    out->lifetime_s = number_of(m, STUN_LIFETIME, &out->has_lifetime);
    out->connection_id = number_of(m, STUN_CONNECTION_ID, &out->has_connection_id);
    out->channel = (uint16_t)number_of(m, STUN_CHANNEL_NUMBER, &has);
    out->transport = octet_of(m, STUN_REQUESTED_TRANSPORT);
    out->family = octet_of(m, STUN_REQUESTED_ADDRESS_FAMILY);
    out->has_ticket = stun_get_bytes(m, STUN_MOBILITY_TICKET, &out->ticket) == OK;
    out->also_family =
        (uint8_t)number_of(m, STUN_ADDITIONAL_ADDRESS_FAMILY, &out->has_also_family);
    out->reserve_next = number_of(m, STUN_EVEN_PORT, &out->even_port) >> 7;
    out->dont_fragment = stun_has(m, STUN_DONT_FRAGMENT);
    out->has_integrity = stun_is_signed(m);
}

static bool has_fingerprint(const struct stun_msg *m)
{
    return m->n_attrs > 0 && m->at[m->n_attrs - 1].type == STUN_FINGERPRINT;
}

static uint16_t read_on(struct turn_req *out, struct slice frame, const struct stun_wire *wire)
{
    if (frame.len > 0 && frame.p[0] >> 6 == CHANNEL_MIN >> 14) {
        out->op = TURN_OP_CHANNEL_DATA;
        return channel_data_parse(frame, &out->channel, &out->data) ? 1 : 0;
    }
    *out = (struct turn_req){0};
    const struct stun_msg *m = &out->msg;
    int err = stun_parse(&out->msg, frame, wire);
    if (err && !(m->has_misfit && m->cls == STUN_REQUEST)) {
        return 1;
    }
    if (has_fingerprint(m) && !stun_fingerprint_ok(m)) {
        return 1;
    }
    out->op = op_of(m);
    read_attrs(out);
    /* RFC 8489 6.3: what it does not know, an indication may not ask for. */
    if (m->n_unknown > 0 && m->cls != STUN_REQUEST) {
        out->op = TURN_OP_IGNORE;
    }
    /* RFC 8489 14.8: malformed; RFC 6062 5.2 and RFC 8656 10.2 say so of addresses. */
    return m->has_misfit ? 400 : m->n_unknown > 0 ? 420 : 0;
}

static uint16_t read_frame(struct turn_req *out, struct slice frame)
{
    return read_on(out, frame, &stun_wire_rfc8489);
}

static uint16_t read_nat_frame(struct turn_req *out, struct slice frame)
{
    return read_on(out, frame, &stun_wire_rfc5780);
}

/* RFC 8656 7.2: DONT-FRAGMENT counts as unknown where DF cannot be set. */
static void put_unknown(struct stun_writer *s, const struct turn_req *req)
{
    uint16_t code = s->wire->attrs[STUN_DONT_FRAGMENT].code;
    uint8_t list[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    if (req->msg.n_unknown > 0) {
        stun_put_unknown(s, &req->msg);
    } else {
        stun_put_bytes(s, STUN_UNKNOWN_ATTRIBUTES, slice_of(list, sizeof list));
    }
}

static void put_software(struct stun_writer *s, struct slice software)
{
    if (software.len > 0) {
        stun_put_bytes(s, STUN_SOFTWARE, software);
    }
}

static void put_error(struct stun_writer *s, const struct turn_req *req,
                      const struct turn_reply *reply)
{
    if (reply->nonce.len > 0) {
        stun_put_bytes(s, STUN_NONCE, reply->nonce);
        stun_put_bytes(s, STUN_REALM, reply->realm);
        if (reply->algorithms.len > 0) {
            stun_put_algorithms(s, STUN_PASSWORD_ALGORITHMS, reply->algorithms);
        }
        if (reply->third_party.len > 0) {
            stun_put_bytes(s, STUN_THIRD_PARTY_AUTHORIZATION, reply->third_party);
        }
    }
    stun_put_error(s, reply->code, reply->reason);
    for (size_t i = 0; i < 2 && reply->alternate[i]; i++) {
        stun_put_addr(s, STUN_ALTERNATE_SERVER, reply->alternate[i]);
    }
    if (reply->alternate_domain.len > 0) {
        stun_put_bytes(s, STUN_ALTERNATE_DOMAIN, reply->alternate_domain);
    }
    if (reply->code == 420) {
        put_unknown(s, req);
    }
}

static void put_success(struct stun_writer *s, const struct turn_reply *reply)
{
    if (reply->has_lifetime) {
        stun_put_u32(s, STUN_LIFETIME, reply->lifetime_s);
    }
    if (reply->mapped.family) {
        stun_put_addr(s, STUN_XOR_MAPPED_ADDRESS, &reply->mapped);
    }
    for (size_t i = 0; i < 2 && reply->relayed[i].family; i++) {
        stun_put_addr(s, STUN_XOR_RELAYED_ADDRESS, &reply->relayed[i]);
    }
    if (reply->missing.code) {
        stun_put_addr_error(s, reply->missing.family, reply->missing.code,
                            reply->missing_reason);
    }
    if (reply->has_reservation) {
        stun_put_u64(s, STUN_RESERVATION_TOKEN, reply->reservation);
    }
    if (reply->ticket.len > 0) {
        stun_put_bytes(s, STUN_MOBILITY_TICKET, reply->ticket);
    }
    if (reply->has_connection_id) {
        stun_put_u32(s, STUN_CONNECTION_ID, reply->connection_id);
    }
}

/* RFC 5780 6.1, 7.6: so that the answer comes in fragments as the request did; but nobody gets
 * more than was sent in his name. */
static void put_padding(struct stun_writer *s, const struct turn_req *req, size_t padding)
{
    static const uint8_t zeros[1500];
    size_t used = s->w.len + 4 + (has_fingerprint(&req->msg) ? 8 : 0);
    size_t room = req->msg.raw.len > used ? req->msg.raw.len - used : 0;
    size_t n = padding < room ? padding : room;
    n = n < sizeof zeros ? n : sizeof zeros;
    if (n >= 4) {
        stun_put_bytes(s, STUN_PADDING, slice_of(zeros, n & ~(size_t)3));
    }
}

static void put_nat(struct stun_writer *s, const struct turn_req *req,
                    const struct turn_reply *reply)
{
    if (reply->origin.family) {
        stun_put_addr(s, STUN_RESPONSE_ORIGIN, &reply->origin);
        stun_put_addr(s, STUN_OTHER_ADDRESS, &reply->other);
    }
    if (reply->padding) {
        put_padding(s, req, reply->padding);
    }
}

static int finish(struct wr *w, struct stun_writer *s)
{
    struct slice out;
    int err = stun_end(s, &out);
    w->len += out.len;
    return err;
}

static int write_reply(struct wr *w, const struct turn_req *req, const struct turn_reply *reply,
                       const struct stun_key *key)
{
    struct stun_writer s;
    stun_begin(&s, w->buf + w->len, w->cap - w->len, req->msg.wire,
               reply->code ? STUN_ERROR : STUN_SUCCESS, req->msg.method, &req->msg.tid);
    if (reply->code) {
        put_error(&s, req, reply);
    } else {
        put_success(&s, reply);
        put_nat(&s, req, reply);
    }
    if (!reply->is_terse) {
        put_software(&s, reply->software);
    }
    if (key) {
        stun_put_integrity(&s, key);
    }
    if (!reply->is_terse || has_fingerprint(&req->msg)) {
        stun_put_fingerprint(&s);
    }
    return finish(w, &s);
}

static int write_attempt(struct wr *w, const struct stun_tid *tid,
                         const struct turn_reply *what, const struct stun_key *key)
{
    struct stun_writer s;
    stun_begin(&s, w->buf + w->len, w->cap - w->len, &stun_wire_rfc8489, STUN_INDICATION,
               STUN_CONNECTION_ATTEMPT, tid);
    stun_put_u32(&s, STUN_CONNECTION_ID, what->connection_id);
    stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, &what->peer);
    put_software(&s, what->software);
    stun_put_integrity(&s, key);
    stun_put_fingerprint(&s);
    return finish(w, &s);
}

/* RFC 8656 18.13. Its figure draws the type 7 bits wide and the code 9; both are octets of
 * ICMP, and octets is what those write and read who have the attribute. */
static int write_icmp(struct wr *w, const struct stun_tid *tid, const struct addr *peer,
                      const struct turn_icmp *what)
{
    struct stun_writer s;
    uint8_t value[8];
    struct wr v = wr_over(value, sizeof value);
    wr_u16(&v, 0);
    wr_u8(&v, what->type);
    wr_u8(&v, what->code);
    wr_u32(&v, what->mtu);
    stun_begin(&s, w->buf + w->len, w->cap - w->len, &stun_wire_rfc8489, STUN_INDICATION,
               STUN_DATA_IND, tid);
    stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, peer);
    stun_put_bytes(&s, STUN_ICMP, wr_done(&v));
    stun_put_fingerprint(&s);
    return finish(w, &s);
}

static int write_data_head(struct wr *w, const struct turn_data_head *d, size_t *tail)
{
    *tail = (4 - d->len % 4) % 4;
    if (d->channel) {
        wr_u16(w, d->channel);
        wr_u16(w, (uint16_t)d->len);
        return d->len > UINT16_MAX ? ERR_LIMIT : w->err;
    }
    struct stun_writer s;
    stun_begin(&s, w->buf + w->len, w->cap - w->len, &stun_wire_rfc8489, STUN_INDICATION,
               STUN_DATA_IND, d->tid);
    stun_put_addr(&s, STUN_XOR_PEER_ADDRESS, d->peer);
    wr_u16(&s.w, s.wire->attrs[STUN_DATA].code);
    wr_u16(&s.w, (uint16_t)d->len);
    size_t body = s.w.len - STUN_HEADER_LEN + d->len + *tail;
    int err = finish(w, &s);
    if (err || body > UINT16_MAX) {
        return err ? err : ERR_LIMIT;
    }
    /* The data is not here, but its length counts. */
    uint8_t *len = w->buf + w->len - s.w.len + 2;
    len[0] = (uint8_t)(body >> 8);
    len[1] = (uint8_t)body;
    return OK;
}

const struct turn_dialect turn_dialect_rfc8656 = {
    .name = "rfc8656",
    .wire = &stun_wire_rfc8489,
    .deframe = stun_stream_next,
    .read = read_frame,
    .write = write_reply,
    .write_data_head = write_data_head,
    .write_attempt = write_attempt,
    .write_icmp = write_icmp,
};

const struct turn_dialect turn_dialect_rfc5780 = {
    .name = "rfc5780",
    .wire = &stun_wire_rfc5780,
    .deframe = stun_stream_next,
    .read = read_nat_frame,
    .write = write_reply,
    .write_data_head = write_data_head,
    .write_attempt = write_attempt,
    .write_icmp = write_icmp,
};
