/* The model's allocations that move (RFC 8016): tickets as they were told, and two 5-tuples
 * until the client uses the second. */
#include "tests/sim/turn_model.h"

enum {
    SECOND = 1000
};

bool model_same_tuple(const struct turn_conn *a, const struct turn_conn *c)
{
    return a->id == c->id &&
           (c->id != 0 || (addr_eq(&a->client, &c->client) && addr_eq(&a->local, &c->local)));
}

bool model_is_next(const struct m_alloc *a, const struct turn_conn *c)
{
    return a->move.is_begun && model_same_tuple(&a->move.next, c);
}

static bool same_ticket(const struct m_ticket *t, struct slice is)
{
    return t->len > 0 && slice_eq(slice_of(t->b, t->len), is);
}

void model_ticket(struct model *m, struct m_alloc *a, const struct stun_msg *out)
{
    struct m_move *move = &a->move;
    struct slice is;
    bool has = stun_get_bytes(out, STUN_MOBILITY_TICKET, &is) == OK;
    if (!has && m->crypto_failed) {
        return;
    }
    if (has != move->is_allowed || is.len > sizeof move->ticket.b) {
        model_fault(m, "a ticket is missing, or was not asked for");
    } else if (has && same_ticket(&move->before, is)) {
        model_fault(m, "the ticket is the one that served");
    } else if (has && move->ticket.len > 0 && !same_ticket(&move->ticket, is)) {
        model_fault(m, "the same answer has another ticket");
    } else if (has) {
        memcpy(move->ticket.b, is.p, is.len);
        move->ticket.len = is.len;
    }
}

static void leave(struct model *m, struct m_alloc *a, bool is_gone)
{
    turn_id old = a->conn.id;
    a->conn = a->move.next;
    a->move.is_begun = a->is_away = false;
    if (old && !is_gone) {
        model_want_close(m, TURN_DO_CONN_CLOSE, old);
        model_drop_parked(m, old);
    }
    m->count[COUNT_MOVED]++;
}

void model_arrive(struct model *m, const struct frame *f, struct m_alloc *a)
{
    if (a && model_is_next(a, &f->conn)) {
        leave(m, a, false);
    }
}

/* The last one told, or for 30 s the one before. */
static bool may_serve(const struct model *m, const struct m_alloc *a, struct slice is)
{
    return a->is_open &&
           (same_ticket(&a->move.ticket, is) ||
            (m->now_ms < a->move.before_until_ms && same_ticket(&a->move.before, is)));
}

struct m_alloc *model_move(struct model *m, const struct frame *f, struct m_alloc *at,
                           uint64_t until_ms)
{
    const struct ask_facts *q = &f->facts;
    struct slice ticket = slice_of(q->ticket.b, q->ticket.len);
    if (at && at->move.is_allowed && memcmp(at->move.tid.b, q->tid.b, sizeof q->tid.b) == 0) {
        m->count[COUNT_MOVE_AGAIN]++;
        return at;
    }
    struct m_alloc *a = model_alloc_by_ticket(m, &q->ticket);
    if (!m->cfg.mobility || !a || !may_serve(m, a, ticket) || a->user != q->user ||
        (at && at != a) || (at && !model_is_next(at, &f->conn)) ||
        (a->transport == TURN_TCP && f->conn.transport != TURN_TCP) ||
        (q->family && !model_relay_for(a, q->family))) {
        m->count[COUNT_MOVE_DENIED]++;
        return NULL;
    }
    a->key_until_ms = until_ms;
    a->move.before = q->ticket;
    a->move.before_until_ms = m->keeps_tickets ? UINT64_MAX : m->now_ms + 30 * SECOND;
    a->move.ticket.len = 0; /* as the answer will say */
    a->move.tid = q->tid;
    a->move.next = f->conn;
    a->move.is_begun = true;
    m->count[COUNT_MOVE_BEGUN]++;
    if (a->is_away) {
        leave(m, a, true);
    }
    return a;
}

void model_cut_alloc(struct model *m, struct m_alloc *a)
{
    const turn_id conns[] = {a->is_away ? 0 : a->conn.id,
                             a->move.is_begun ? a->move.next.id : 0};
    model_end_alloc(m, a);
    for (size_t i = 0; i < 2; i++) {
        if (conns[i]) {
            model_want_close(m, TURN_DO_CONN_CLOSE, conns[i]);
            model_drop_parked(m, conns[i]);
        }
    }
}

void model_conn_gone(struct model *m, turn_id conn)
{
    struct turn_conn c = {.id = conn};
    struct m_alloc *a = model_alloc_of(m, &c);
    model_drop_parked(m, conn);
    if (!a) {
        return;
    }
    if (!a->move.is_allowed || !a->is_open) {
        model_end_alloc(m, a);
        m->count[COUNT_CUT]++;
    } else if (model_is_next(a, &c)) {
        a->move.is_begun = false;
    } else if (a->move.is_begun) {
        leave(m, a, true);
    } else {
        a->is_away = true;
        m->count[COUNT_AWAY]++;
    }
}
