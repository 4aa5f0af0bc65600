/* Mobility (RFC 8016): an allocation follows its client to another 5-tuple, on a Refresh with
 * the ticket that its last answer had. Until the client uses the new 5-tuple the old one goes
 * on. */
#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/turn/core.h"

enum {
    PLAIN_LEN = 12, /* the allocation's id, the ticket's number */
    MAC_LEN = 12,
    SEALED_LEN = MAC_LEN + PLAIN_LEN,
    OLD_TICKET_MS = 30000 /* RFC 8016 3.2.2: a Refresh may come again with it */
};

static int keyed(const struct turn_server *s, const char *use, struct slice in,
                 uint8_t out[SHA256_LEN])
{
    const struct hmac_piece piece = {
        .part = {slice_str(use), in}
    };
    return hmac_sha256(slice_of(s->ticket_secret, sizeof s->ticket_secret), &piece, out);
}

static int mask(const struct turn_server *s, const uint8_t mac[MAC_LEN],
                uint8_t bytes[PLAIN_LEN])
{
    uint8_t stream[SHA256_LEN];
    int err = keyed(s, "mask", slice_of(mac, MAC_LEN), stream);
    for (size_t i = 0; i < PLAIN_LEN; i++) {
        bytes[i] ^= stream[i];
    }
    return err;
}

/* A ticket is an HMAC over what it says, and what it says hidden by a second one over the
 * first: nobody else can make one, or tell what is in it. It is text, since coturn's client
 * stores it as a string of at most 32 bytes. */
static int seal(const struct turn_server *s, const struct alloc *a, uint32_t number,
                uint8_t out[TICKET_LEN])
{
    uint8_t sealed[SEALED_LEN], mac[SHA256_LEN], text[TICKET_LEN + 1];
    struct wr plain = wr_over(sealed + MAC_LEN, PLAIN_LEN), w = wr_over(text, sizeof text);
    wr_u64(&plain, pool_id(&s->allocs, a));
    wr_u32(&plain, number);
    int err = keyed(s, "ticket", wr_done(&plain), mac);
    memcpy(sealed, mac, MAC_LEN);
    err = err ? err : mask(s, sealed, sealed + MAC_LEN);
    text_put_base64(&w, slice_of(sealed, sizeof sealed));
    memcpy(out, text, TICKET_LEN);
    return err ? err : w.err;
}

struct ticket {
    turn_id alloc;
    uint32_t number;
};

/* ERR_AUTH: not one of ours. */
static int unseal(const struct turn_server *s, struct slice text, struct ticket *out)
{
    uint8_t sealed[SEALED_LEN], mac[SHA256_LEN];
    size_t len;
    if (text.len != TICKET_LEN || text_base64(text, sealed, sizeof sealed, &len) ||
        len != sizeof sealed) {
        return ERR_AUTH;
    }
    int err = mask(s, sealed, sealed + MAC_LEN);
    struct slice plain = slice_of(sealed + MAC_LEN, PLAIN_LEN);
    err = err ? err : keyed(s, "ticket", plain, mac);
    struct rd r = rd_over(plain);
    out->alloc = rd_u64(&r);
    out->number = rd_u32(&r);
    bool is_ours = secret_eq(slice_of(sealed, MAC_LEN), slice_of(mac, MAC_LEN));
    return err ? err : is_ours ? r.err : ERR_AUTH;
}

struct slice move_ticket(struct turn_server *s, const struct alloc *a)
{
    bool has = a->move.is_allowed && seal(s, a, a->move.number, s->ticket) == OK;
    return slice_of(s->ticket, has ? sizeof s->ticket : 0);
}

uint16_t move_check_allocate(const struct turn_server *s, const struct turn_req *r,
                             const char **why)
{
    *why = "MOBILITY-TICKET";
    if (!r->has_ticket) {
        return 0;
    }
    return r->ticket.len > 0 ? 400 : s->cfg.mobility ? 0 : 405;
}

static bool is_new_path(const struct turn_server *s, const struct call *c)
{
    return c->alloc && path_of_conn(s, c->conn) == &c->alloc->move.path;
}

/* The Refresh that moved it, once more. */
static bool is_again(const struct alloc *a, const struct stun_tid *tid)
{
    return a->move.tid.len == tid->len && memcmp(a->move.tid.b, tid->b, tid->len) == 0;
}

static bool is_valid(const struct turn_server *s, const struct alloc *a, uint32_t number)
{
    const struct move *m = &a->move;
    return number == m->number || (number == m->before && s->now_ms < m->before_until_ms);
}

/* RFC 8016 3.2.2. */
static uint16_t check(const struct turn_server *s, const struct call *c, struct ticket *t,
                      const char **why)
{
    *why = "mobility is off";
    if (!s->cfg.mobility) {
        return 405;
    }
    *why = "MOBILITY-TICKET where the client is already";
    if (c->alloc && !is_new_path(s, c)) {
        return 400;
    }
    int err = unseal(s, c->req.ticket, t);
    *why = "not one of our tickets";
    if (err) {
        return err == ERR_AUTH ? 400 : 500;
    }
    const struct alloc *a = pool_find(&s->allocs, t->alloc);
    *why = "the ticket's allocation is gone";
    if (!a || !a->is_open || !a->move.is_allowed) {
        return 437;
    }
    *why = "another user's ticket";
    if (!user_is(a->user, c) || !auth_is_same_token(a, c)) {
        return 441;
    }
    *why = "the ticket was replaced, or the 5-tuple has another allocation";
    if (!is_valid(s, a, t->number) || (c->alloc && c->alloc != a)) {
        return 437;
    }
    *why = "a TCP relay moves to a TCP connection only"; /* RFC 6062 5.1 */
    if (a->transport == TURN_TCP && c->conn->transport != TURN_TCP) {
        return 400;
    }
    *why = "address family";
    return c->req.family && !relay_of(a, c->req.family) ? 443 : 0;
}

/* The 5-tuple that is left hears no more; a connection is closed. */
static void leave(struct turn_server *s, struct alloc *a, bool is_gone)
{
    struct turn_conn old = a->conn;
    path_remove(s, &a->path);
    path_remove(s, &a->move.path);
    a->conn = a->move.conn;
    path_add(s, &a->path, a, &a->conn);
    a->is_away = false;
    report_put(s, "move", NULL, a)->was = old.client;
    if (old.id && !is_gone) {
        auth_drop_conn(s, old.id);
        action_put(s, TURN_DO_CONN_CLOSE)->conn = old.id;
    }
}

void move_arrive(struct turn_server *s, const struct call *c)
{
    if (is_new_path(s, c)) {
        leave(s, c->alloc, false);
    }
}

bool move_begin(struct turn_server *s, struct call *c)
{
    const char *why;
    struct ticket t;
    uint8_t unused[TICKET_LEN];
    if (c->alloc && c->alloc->move.is_allowed && is_again(c->alloc, &c->req.msg.tid)) {
        return true; /* RFC 8016 3.2.2: with the same answer */
    }
    uint16_t code = check(s, c, &t, &why);
    struct alloc *a = code ? NULL : pool_find(&s->allocs, t.alloc);
    if (!code && seal(s, a, a->move.number + 1, unused)) {
        code = 500; /* before anything changes */
        why = "no ticket can be made";
    }
    if (code) {
        reply_error(s, c, code, why);
        return false;
    }
    struct move *m = &a->move;
    m->before = t.number;
    m->before_until_ms = s->now_ms + OLD_TICKET_MS;
    m->number++;
    m->tid = c->req.msg.tid;
    m->conn = *c->conn;
    a->key = *c->key;
    a->key_until_ms = c->key_until_ms;
    path_remove(s, &m->path); /* only the last one counts */
    path_add(s, &m->path, a, c->conn);
    c->alloc = a;
    if (a->is_away) {
        leave(s, a, true); /* there is no old one to wait on */
    }
    return true;
}

void move_conn_gone(struct turn_server *s, struct path *p)
{
    struct alloc *a = p->alloc;
    if (p == &a->move.path) {
        path_remove(s, p);
    } else if (a->move.path.alloc) {
        leave(s, a, true);
    } else {
        path_remove(s, p);
        a->is_away = true;
        report_put(s, "away", "connection closed", a);
    }
}
