/* The model's objects, and the events that are not requests. */
#include "tests/sim/turn_model.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    SECOND = 1000,
    ANSWER_MAX = 192 /* bytes of any answer to somebody who has not authenticated */
};

__attribute__((format(printf, 2, 0))) static void write_line(char *to, const char *form,
                                                             va_list args)
{
    (void)vsnprintf(to, MODEL_LINE, form, args);
}

void model_tell(struct model *m, const char *form, ...)
{
    va_list args;
    va_start(args, form);
    write_line(m->line[m->n_lines++ % MODEL_LINES], form, args);
    va_end(args);
}

void model_fault(struct model *m, const char *form, ...)
{
    va_list args;
    if (m->fault[0]) {
        return;
    }
    va_start(args, form);
    write_line(m->fault, form, args);
    va_end(args);
}

static const char *const act_names[] = {
    [TURN_DO_SEND] = "SEND",
    [TURN_DO_RELAY_OPEN] = "RELAY_OPEN",
    [TURN_DO_RELAY_SEND] = "RELAY_SEND",
    [TURN_DO_RELAY_CLOSE] = "RELAY_CLOSE",
    [TURN_DO_TCP_CONNECT] = "TCP_CONNECT",
    [TURN_DO_TCP_PIPE] = "TCP_PIPE",
    [TURN_DO_TCP_CLOSE] = "TCP_CLOSE",
    [TURN_DO_CONN_CLOSE] = "CONN_CLOSE",
    [TURN_DO_FIND_KEY] = "FIND_KEY",
    [TURN_DO_REPORT] = "REPORT",
};

void model_act(struct model *m, const struct turn_action *a)
{
    if (m->n_acts == m->max_acts || a->body.len > m->max_bytes - m->n_bytes) {
        model_fault(m, "one event led to more actions than can be");
        return;
    }
    struct act *act = &m->acts[m->n_acts++];
    *act = (struct act){.a = *a, .is_seen = a->what == TURN_DO_REPORT};
    if (a->body.len > 0) {
        memcpy(m->bytes + m->n_bytes, a->body.p, a->body.len);
        act->a.body.p = m->bytes + m->n_bytes;
        m->n_bytes += a->body.len;
    }
    if (a->what != TURN_DO_REPORT) {
        model_tell(m, "    -> %s conn %llu relay %llx link %llx, %zu+%zu bytes",
                   act_names[a->what], (unsigned long long)a->conn,
                   (unsigned long long)a->relay, (unsigned long long)a->peer_conn,
                   (size_t)a->head_len, a->body.len);
    }
}

static turn_id id_of(const struct turn_action *a)
{
    switch (a->what) {
    case TURN_DO_RELAY_CLOSE:
    case TURN_DO_RELAY_SEND: return a->relay;
    case TURN_DO_TCP_CLOSE: return a->peer_conn;
    case TURN_DO_CONN_CLOSE:
    case TURN_DO_TCP_PIPE: return a->conn;
    case TURN_DO_SEND:
    case TURN_DO_RELAY_OPEN:
    case TURN_DO_TCP_CONNECT:
    case TURN_DO_FIND_KEY:
    case TURN_DO_REPORT: break;
    }
    return 0;
}

struct act *model_take(struct model *m, enum turn_do what, turn_id id)
{
    while (m->n_seen < m->n_acts && m->acts[m->n_seen].is_seen) {
        m->n_seen++;
    }
    for (size_t i = m->n_seen; i < m->n_acts; i++) {
        struct act *act = &m->acts[i];
        if (!act->is_seen && act->a.what == what && (id == 0 || id_of(&act->a) == id)) {
            act->is_seen = true;
            return act;
        }
    }
    return NULL;
}

void model_want_close(struct model *m, enum turn_do what, turn_id id)
{
    if (!model_take(m, what, id)) {
        model_fault(m, "%s of %llx is missing", act_names[what], (unsigned long long)id);
    }
}

bool model_goes_to(const struct turn_action *a, const struct turn_conn *c)
{
    return a->conn == c->id && addr_eq(&a->addr, &c->client) && addr_eq(&a->local, &c->local);
}

bool model_is_signed(const struct stun_msg *m)
{
    return stun_is_signed(m);
}

/* Only what goes to somebody unknown, at an address that may be forged, may do without a
 * fingerprint. */
static bool ends_well(const struct turn_conn *c, const struct stun_msg *m)
{
    bool has_fingerprint = m->n_attrs > 0 && m->at[m->n_attrs - 1].type == STUN_FINGERPRINT;
    bool is_bare = !has_fingerprint && !model_is_signed(m) && !c->is_proven;
    return is_bare || stun_fingerprint_ok(m);
}

bool model_take_reply(struct model *m, const struct turn_conn *c, uint16_t method,
                      const struct stun_tid *tid, struct stun_msg *out)
{
    for (size_t i = 0; i < m->n_acts; i++) {
        struct act *act = &m->acts[i];
        if (act->is_seen || act->a.what != TURN_DO_SEND || act->a.head_len ||
            stun_parse(out, act->a.body, &stun_wire_rfc8489) || !ends_well(c, out) ||
            out->method != method || (out->cls != STUN_SUCCESS && out->cls != STUN_ERROR) ||
            memcmp(out->tid.b, tid->b, tid->len) != 0) {
            continue;
        }
        act->is_seen = true;
        if (!model_goes_to(&act->a, c)) {
            model_fault(m, "an answer goes to the wrong client");
        }
        return true;
    }
    return false;
}

/* RFC 8489 10, and what the answers to who is not served say besides. */
static void judge_code(struct model *m, uint16_t method, uint16_t code,
                       const struct stun_msg *out)
{
    struct addr to;
    struct slice nonce, list, offered = slice_of(m->cfg.algorithms, m->cfg.n_algorithms);
    bool has_other = m->cfg.alternate[0].family != 0; /* all clients come over IPv4 */
    if (code == 300 && (method != STUN_ALLOCATE || !has_other ||
                        stun_get_addr(out, STUN_ALTERNATE_SERVER, &to) ||
                        !addr_eq(&to, &m->cfg.alternate[0]))) {
        model_fault(m, "a 300 to nowhere");
    }
    m->count[COUNT_ELSEWHERE] += code == 300;
    bool is_challenge = code == 401 || code == 438;
    if (is_challenge != (stun_get_bytes(out, STUN_NONCE, &nonce) == OK)) {
        model_fault(m, "%u and its nonce", code);
    }
    bool has_list = stun_get_bytes(out, STUN_PASSWORD_ALGORITHMS, &list) == OK;
    if (has_list != (is_challenge && offered.len > 0) ||
        (has_list && !stun_algorithms_are(list, offered)) ||
        (is_challenge && stun_nonce_features(nonce) !=
                             (offered.len > 0 ? (uint32_t)STUN_FEATURE_ALGORITHMS : 0))) {
        model_fault(m, "%u and the password algorithms", code);
    }
}

void model_want_error(struct model *m, const struct turn_conn *c, uint16_t method,
                      const struct stun_tid *tid)
{
    static const uint16_t codes[] = {300, 400, 401, 403, 405, 420, 437, 438, 440,
                                     441, 442, 443, 446, 447, 486, 500, 508};
    struct stun_msg out;
    struct slice reason;
    uint16_t code = 0;
    if (!model_take_reply(m, c, method, tid, &out)) {
        if (!m->crypto_failed) {
            model_fault(m, "no answer where an error is due");
        }
        return;
    }
    bool known = false;
    bool has = out.cls == STUN_ERROR && stun_get_error(&out, &code, &reason) == OK;
    for (size_t i = 0; has && i < sizeof codes / sizeof *codes; i++) {
        known |= code == codes[i];
    }
    if (!known) {
        model_fault(m, "%s where an error is due", has ? "an unheard-of code" : "success");
    }
    judge_code(m, method, code, &out);
    if (out.raw.len > ANSWER_MAX) {
        model_fault(m, "an error of %zu bytes", out.raw.len);
    }
    model_tell(m, "       error %u", code);
}

bool model_want_success(struct model *m, const struct turn_conn *c, uint16_t method,
                        const struct stun_tid *tid, uint8_t user, struct stun_msg *out)
{
    if (!model_take_reply(m, c, method, tid, out)) {
        if (!m->crypto_failed) {
            model_fault(m, "no answer where success is due");
        }
        return false;
    }
    const struct m_user *u = &m->users[user];
    if (out->cls != STUN_SUCCESS || stun_check_integrity(out, &u->key) ||
        (out->integrity_sha256 != 0) != u->is_modern) {
        model_fault(m, "an error, or a bad signature, where success is due");
        return false;
    }
    return true;
}

struct m_perm *model_perm(struct m_alloc *a, const struct addr *peer)
{
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        if (a->perms[i].alloc && addr_ip_eq(&a->perms[i].ip, peer)) {
            return &a->perms[i];
        }
    }
    return NULL;
}

void model_drop_parked(struct model *m, turn_id conn)
{
    for (size_t i = 0; i < MODEL_PARKED; i++) {
        struct m_parked *p = &m->parked[i];
        if (p->frame.conn.id == conn) {
            p->ticket = 0;
        }
    }
}

void model_tcp_opened(struct model *m, turn_id link, bool ok)
{
    struct m_link *l = model_link(m, link);
    struct stun_msg out;
    if (!l || l->state != LINK_CONNECTING) {
        m->count[COUNT_STALE_EVENT]++;
        return;
    }
    if (!ok) {
        model_want_error(m, &l->alloc->conn, STUN_CONNECT, &l->tid);
        l->alloc = NULL;
        m->count[COUNT_CONNECT_FAILED]++;
        return;
    }
    if (model_want_success(m, &l->alloc->conn, STUN_CONNECT, &l->tid, l->alloc->user, &out) &&
        stun_get_u32(&out, STUN_CONNECTION_ID, &l->cid)) {
        model_fault(m, "no CONNECTION-ID");
    }
    l->state = LINK_WAITING;
    l->expires_ms = m->now_ms + 30 * SECOND;
    m->count[COUNT_CONNECTED]++;
}

/* Takes the ConnectionAttempt indication and its number. */
static void want_attempt(struct model *m, struct m_link *l)
{
    struct act *act = model_take(m, TURN_DO_SEND, 0);
    struct stun_msg out;
    struct addr peer;
    if (!act && m->crypto_failed) {
        return;
    }
    if (!act || stun_parse(&out, act->a.body, &stun_wire_rfc8489) ||
        out.method != STUN_CONNECTION_ATTEMPT || out.cls != STUN_INDICATION ||
        stun_get_u32(&out, STUN_CONNECTION_ID, &l->cid) ||
        stun_get_addr(&out, STUN_XOR_PEER_ADDRESS, &peer) || !addr_eq(&peer, &l->peer)) {
        model_fault(m, "no proper ConnectionAttempt");
    } else if (!model_goes_to(&act->a, &l->alloc->conn)) {
        model_fault(m, "a ConnectionAttempt goes to the wrong client");
    }
}

struct m_link *model_new_link(struct model *m, struct m_alloc *a, const struct addr *peer)
{
    bool fits = !model_has_link(a, peer) && model_link_fits(m, a);
    for (size_t i = 0; i < MODEL_LINKS && fits; i++) {
        if (!a->links[i].alloc) {
            a->links[i] = (struct m_link){
                .alloc = a, .peer = *peer, .expires_ms = m->now_ms + 30 * SECOND};
            return &a->links[i];
        }
    }
    return NULL;
}

void model_tcp_accepted(struct model *m, turn_id relay, const struct addr *peer, turn_id link)
{
    struct m_alloc *a = model_alloc_with(m, relay);
    bool may = a && a->is_open && !a->is_away && a->transport == TURN_TCP &&
               model_relay_for(a, peer->family) && m->peer_ok(peer, m->is_strict) &&
               (m->cfg.tcp_accept_any || m->peer_may_come(peer, m->is_strict) ||
                model_perm(a, peer));
    struct m_link *l = may ? model_new_link(m, a, peer) : NULL;
    if (!l) {
        if (link) {
            model_fault(m, "a peer's connection is taken that may not be");
        }
        m->count[COUNT_REFUSED]++;
        return;
    }
    if (!link || model_link(m, link)) {
        model_fault(m, "a peer's connection is refused, or its id is in use");
    }
    l->id = link;
    l->state = LINK_WAITING;
    want_attempt(m, l);
    m->count[COUNT_ATTEMPT]++;
}

void model_tcp_closed(struct model *m, turn_id link)
{
    struct m_link *l = model_link(m, link);
    if (!l) {
        m->count[COUNT_STALE_EVENT]++;
        return;
    }
    if (l->state == LINK_CONNECTING) {
        model_want_error(m, &l->alloc->conn, STUN_CONNECT, &l->tid);
    }
    l->alloc = NULL;
    m->count[COUNT_PEER_CLOSED]++;
}

/* The message to the client as it goes out: head, body, zeros. */
static size_t whole(const struct turn_action *a, uint8_t *out, size_t cap)
{
    struct wr w = wr_over(out, cap);
    wr_bytes(&w, slice_of(a->head, a->head_len));
    wr_bytes(&w, a->body);
    (void)wr_room(&w, a->tail_len);
    return wr_done(&w).len;
}

static void want_channel_data(struct model *m, const struct m_chan *ch, struct slice got,
                              struct slice data)
{
    uint16_t number;
    struct slice body;
    if (channel_data_parse(got, &number, &body) || number != ch->number ||
        !slice_eq(body, data)) {
        model_fault(m, "ChannelData of the wrong channel or with wrong bytes");
    }
    if (ch->alloc->conn.transport == TURN_TCP && got.len % 4) {
        model_fault(m, "ChannelData without its padding");
    }
    m->count[COUNT_CHANNELED]++;
}

static void want_indication(struct model *m, const struct addr *peer, struct slice got,
                            struct slice data)
{
    struct stun_msg out;
    struct addr said;
    struct slice body;
    if (stun_parse(&out, got, &stun_wire_rfc8489) || out.method != STUN_DATA_IND ||
        out.cls != STUN_INDICATION || stun_get_addr(&out, STUN_XOR_PEER_ADDRESS, &said) ||
        !addr_eq(&said, peer) || stun_get_bytes(&out, STUN_DATA, &body) ||
        !slice_eq(body, data)) {
        model_fault(m, "a Data indication with the wrong peer or wrong bytes");
    }
    m->count[COUNT_INDICATED]++;
}

void model_peer(struct model *m, turn_id relay, const struct addr *peer, struct dgram d)
{
    struct dgram_opts opts;
    uint8_t got[MODEL_FRAME];
    const struct m_chan *ch = NULL;
    struct m_alloc *a = model_alloc_with(m, relay);
    if (!a || !a->is_open || a->is_away || a->transport != TURN_UDP || !model_perm(a, peer) ||
        model_relay_for(a, peer->family) != model_relay(m, relay)) {
        m->count[COUNT_PEER_DROPPED]++;
        return;
    }
    if (!model_header(&a->conn, peer, &d.opts, &opts)) {
        m->count[COUNT_HOPS_GONE]++;
        return;
    }
    if (!model_flows(m, a, false, d.data.len)) {
        return;
    }
    struct act *act = model_take(m, TURN_DO_SEND, 0);
    if (!act) {
        model_fault(m, "a peer with a permission is not heard");
        return;
    }
    if (!model_goes_to(&act->a, &a->conn)) {
        model_fault(m, "a peer's bytes reach the wrong client");
    }
    if (!model_same_opts(&act->a.opts, &opts)) {
        model_fault(m, "a peer's datagram goes on with the wrong TOS, TTL or DF");
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        if (a->chans[i].alloc && addr_eq(&a->chans[i].peer, peer)) {
            ch = &a->chans[i];
        }
    }
    struct slice message = slice_of(got, whole(&act->a, got, sizeof got));
    if (ch) {
        want_channel_data(m, ch, message, d.data);
    } else {
        want_indication(m, peer, message, d.data);
    }
}

bool model_is_refused(struct model *m, const struct frame *f, bool *is_signed)
{
    struct stun_msg out;
    struct slice reason;
    uint16_t code;
    for (size_t i = 0; i < m->n_acts && m->crypto_failed; i++) {
        const struct turn_action *a = &m->acts[i].a;
        if (a->what != TURN_DO_SEND || stun_parse(&out, a->body, &stun_wire_rfc8489) ||
            memcmp(out.tid.b, f->facts.tid.b, out.tid.len) != 0 ||
            stun_get_error(&out, &code, &reason)) {
            continue;
        }
        *is_signed = model_is_signed(&out);
        return code == 438 || code == 500;
    }
    return false;
}

/* What came out and nothing asked for. */
static void check_unasked(struct model *m)
{
    for (size_t i = 0; i < m->n_acts; i++) {
        const struct act *act = &m->acts[i];
        if (!act->is_seen) {
            model_fault(m, "%s that nothing asks for (conn %llu, relay %llx, link %llx)",
                        act_names[act->a.what], (unsigned long long)act->a.conn,
                        (unsigned long long)act->a.relay, (unsigned long long)act->a.peer_conn);
        }
    }
    m->n_acts = m->n_seen = m->n_bytes = 0;
}

void model_settle(struct model *m)
{
    check_unasked(m);
    model_check_numbers(m);
    model_untouch(m);
    /* So that each of many allocations costs as much as each of few. */
    if (++m->n_settled % (m->n_slots / 2) == 0) {
        model_audit(m);
    }
    m->count[COUNT_CRYPTO_FAILED] += m->crypto_failed;
    m->crypto_failed = false;
}
