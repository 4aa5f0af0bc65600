/* Where the model keeps its allocations: found by what names them, summed up, and watched for
 * what falls due next, so that an event costs the same among thousands as among a few. What an
 * event may have changed is entered anew before the next look; nobody keeps a sum by hand. */
#include <stdlib.h>

#include "tests/sim/turn_model.h"

enum name_kind {
    NAME_CONN = 1,
    NAME_TICKET,
    NAME_ALLOC,
    NAME_RELAY,
    NAME_LINK,
    NAME_CID
};

enum {
    NAMES_MAX = 5 + MODEL_RELAYS + 2 * MODEL_LINKS,
    ENTRIES = 32 /* an allocation: few of them full, so that searches are short */
};

struct m_entry {
    uint64_t name; /* 0: free */
    struct m_alloc *alloc;
};

struct m_tally { /* what was entered for a slot */
    uint64_t name[NAMES_MAX];
    size_t n_names;
    struct m_sums sums;
    uint8_t user;
    bool is_dirty;
};

struct m_table {
    struct m_tally *tally;
    struct m_entry *entries;
    size_t n_entries;
    uint64_t *due; /* a tree of minima: the root at 1, slot i at n_slots + i */
    uint32_t *dirty;
    size_t n_dirty, next_free;
    struct m_sums sums[MODEL_USERS];
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185u;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44du;
    return x ^ x >> 33;
}

static uint64_t name_of(enum name_kind kind, uint64_t id)
{
    uint64_t x = mix(mix(id) + kind);
    return x ? x : 1;
}

static uint64_t conn_name(const struct turn_conn *c)
{
    uint64_t x = c->id;
    for (size_t i = 0; i < 16 && c->id == 0; i++) {
        x = mix(x + (uint64_t)(c->client.ip[i] << 8 | c->local.ip[i]));
    }
    return name_of(NAME_CONN, c->id ? x : mix(x + c->client.port) + c->local.port);
}

static uint64_t ticket_name(const struct m_ticket *ticket)
{
    uint64_t x = ticket->len;
    for (size_t i = 0; i < ticket->len; i++) {
        x = mix(x + ticket->b[i]);
    }
    return name_of(NAME_TICKET, x);
}

static size_t home(const struct m_table *t, uint64_t name)
{
    return (size_t)(name & (t->n_entries - 1));
}

static void enter(struct m_table *t, uint64_t name, struct m_alloc *a)
{
    size_t i = home(t, name);
    while (t->entries[i].name) {
        i = (i + 1) & (t->n_entries - 1);
    }
    t->entries[i] = (struct m_entry){.name = name, .alloc = a};
}

static void leave(struct m_table *t, uint64_t name, const struct m_alloc *a)
{
    size_t mask = t->n_entries - 1, i = home(t, name);
    while (t->entries[i].name != name || t->entries[i].alloc != a) {
        i = (i + 1) & mask;
    }
    /* Those behind move up, unless that puts them before their home. */
    for (size_t k = (i + 1) & mask; t->entries[k].name; k = (k + 1) & mask) {
        size_t from_home = (k - home(t, t->entries[k].name)) & mask;
        if (from_home >= ((k - i) & mask)) {
            t->entries[i] = t->entries[k];
            i = k;
        }
    }
    t->entries[i].name = 0;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What of it falls due first. */
static uint64_t due_of(const struct m_alloc *a)
{
    uint64_t d = UINT64_MAX;
    for (size_t i = 0; i < MODEL_RELAYS && a->is_open; i++) {
        d = a->relay[i].state == M_RELAY_OPEN ? sooner(d, a->relay[i].expires_ms) : d;
    }
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        d = a->perms[i].alloc ? sooner(d, a->perms[i].expires_ms) : d;
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        d = a->chans[i].alloc ? sooner(d, a->chans[i].expires_ms) : d;
    }
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        const struct m_link *l = &a->links[i];
        d = l->alloc && l->state != LINK_BOUND ? sooner(d, l->expires_ms) : d;
    }
    return d;
}

static struct m_tally tally_of(const struct m_alloc *a)
{
    struct m_tally t = {.user = a->user};
    struct m_sums *s = &t.sums;
    if (!a->is_live) {
        return t;
    }
    s->allocs = 1;
    s->open = a->is_open;
    s->reserves = a->reserve != 0;
    if (!a->is_away) {
        t.name[t.n_names++] = conn_name(&a->conn);
    }
    if (a->move.is_begun) {
        t.name[t.n_names++] = conn_name(&a->move.next);
    }
    const struct m_ticket *tickets[] = {&a->move.ticket, &a->move.before};
    for (size_t i = 0; i < 2; i++) {
        if (tickets[i]->len > 0) {
            t.name[t.n_names++] = ticket_name(tickets[i]);
        }
    }
    t.name[t.n_names++] = name_of(NAME_ALLOC, a->id);
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        if (a->relay[i].state != M_RELAY_NONE) {
            t.name[t.n_names++] = name_of(NAME_RELAY, a->relay[i].id);
            s->relays++;
        }
    }
    for (size_t i = 0; i < MODEL_PERMS; i++) {
        s->perms += a->perms[i].alloc != NULL;
    }
    for (size_t i = 0; i < MODEL_CHANS; i++) {
        s->chans += a->chans[i].alloc != NULL;
    }
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        const struct m_link *l = &a->links[i];
        if (l->alloc) {
            t.name[t.n_names++] = name_of(NAME_LINK, l->id);
            t.name[t.n_names++] = name_of(NAME_CID, l->cid);
            s->links++;
            s->unbound += l->state != LINK_BOUND;
        }
    }
    return t;
}

static void add(struct m_sums *to, const struct m_sums *s, uint32_t sign)
{
    to->allocs += sign * s->allocs;
    to->open += sign * s->open;
    to->relays += sign * s->relays;
    to->reserves += sign * s->reserves;
    to->perms += sign * s->perms;
    to->chans += sign * s->chans;
    to->links += sign * s->links;
    to->unbound += sign * s->unbound;
}

static void enter_anew(struct model *m, size_t slot)
{
    struct m_table *t = m->table;
    struct m_tally *old = &t->tally[slot];
    struct m_alloc *a = &m->allocs[slot];
    for (size_t i = 0; i < old->n_names; i++) {
        leave(t, old->name[i], a);
    }
    add(&t->sums[old->user], &old->sums, UINT32_MAX); /* which is -1 */
    *old = tally_of(a);
    old->is_dirty = true;
    for (size_t i = 0; i < old->n_names; i++) {
        enter(t, old->name[i], a);
    }
    add(&t->sums[old->user], &old->sums, 1);
    size_t i = m->n_slots + slot;
    t->due[i] = a->is_live ? due_of(a) : UINT64_MAX;
    for (i /= 2; i > 0; i /= 2) {
        t->due[i] = sooner(t->due[2 * i], t->due[2 * i + 1]);
    }
}

/* What was touched stays so until the event is over: its owner may go on changing it. */
static void catch_up(struct model *m)
{
    for (size_t i = 0; i < m->table->n_dirty; i++) {
        enter_anew(m, m->table->dirty[i]);
    }
}

void model_untouch(struct model *m)
{
    catch_up(m);
    while (m->table->n_dirty > 0) {
        m->table->tally[m->table->dirty[--m->table->n_dirty]].is_dirty = false;
    }
}

struct m_alloc *model_touch(struct model *m, struct m_alloc *a)
{
    struct m_tally *t = &m->table->tally[a - m->allocs];
    if (!t->is_dirty) {
        t->is_dirty = true;
        m->table->dirty[m->table->n_dirty++] = (uint32_t)(a - m->allocs);
    }
    return a;
}

typedef bool matches(const struct m_alloc *a, const void *what);

static struct m_alloc *look(struct model *m, uint64_t name, matches *is_it, const void *what)
{
    struct m_table *t = m->table;
    catch_up(m);
    for (size_t i = home(t, name); t->entries[i].name; i = (i + 1) & (t->n_entries - 1)) {
        if (t->entries[i].name == name && is_it(t->entries[i].alloc, what)) {
            return t->entries[i].alloc;
        }
    }
    return NULL;
}

static struct m_alloc *find(struct model *m, uint64_t name, matches *is_it, const void *what)
{
    struct m_alloc *a = look(m, name, is_it, what);
    return a ? model_touch(m, a) : NULL;
}

static bool has_conn(const struct m_alloc *a, const void *what)
{
    const struct turn_conn *c = what;
    return (!a->is_away && model_same_tuple(&a->conn, c)) || model_is_next(a, c);
}

static bool has_ticket(const struct m_alloc *a, const void *what)
{
    const struct m_ticket *is = what;
    const struct m_ticket *tickets[] = {&a->move.ticket, &a->move.before};
    bool has = false;
    for (size_t i = 0; i < 2; i++) {
        has |= tickets[i]->len == is->len && memcmp(tickets[i]->b, is->b, is->len) == 0;
    }
    return has;
}

static bool has_id(const struct m_alloc *a, const void *what)
{
    const turn_id *id = what;
    return a->id == *id;
}

static bool has_relay(const struct m_alloc *a, const void *what)
{
    const turn_id *id = what;
    bool has = false;
    for (size_t i = 0; i < MODEL_RELAYS; i++) {
        has |= a->relay[i].state != M_RELAY_NONE && a->relay[i].id == *id;
    }
    return has;
}

static struct m_link *link_of(struct m_alloc *a, turn_id id)
{
    for (size_t i = 0; i < MODEL_LINKS && a; i++) {
        if (a->links[i].alloc && a->links[i].id == id) {
            return &a->links[i];
        }
    }
    return NULL;
}

static struct m_link *waiting_of(struct m_alloc *a, uint32_t cid)
{
    for (size_t i = 0; i < MODEL_LINKS && a; i++) {
        const struct m_link *l = &a->links[i];
        if (l->alloc && l->state == LINK_WAITING && l->cid == cid) {
            return &a->links[i];
        }
    }
    return NULL;
}

static bool has_link(const struct m_alloc *a, const void *what)
{
    const turn_id *id = what;
    bool has = false;
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        has |= a->links[i].alloc && a->links[i].id == *id;
    }
    return has;
}

static bool has_waiting(const struct m_alloc *a, const void *what)
{
    const uint32_t *cid = what;
    bool has = false;
    for (size_t i = 0; i < MODEL_LINKS; i++) {
        const struct m_link *l = &a->links[i];
        has |= l->alloc && l->state == LINK_WAITING && l->cid == *cid;
    }
    return has;
}

struct m_alloc *model_alloc_of(struct model *m, const struct turn_conn *c)
{
    return find(m, conn_name(c), has_conn, c);
}

struct m_alloc *model_alloc_by_ticket(struct model *m, const struct m_ticket *ticket)
{
    return ticket->len > 0 ? find(m, ticket_name(ticket), has_ticket, ticket) : NULL;
}

struct m_alloc *model_alloc(struct model *m, turn_id id)
{
    return find(m, name_of(NAME_ALLOC, id), has_id, &id);
}

const struct m_alloc *model_look(struct model *m, turn_id id)
{
    return look(m, name_of(NAME_ALLOC, id), has_id, &id);
}

struct m_alloc *model_alloc_with(struct model *m, turn_id relay)
{
    return find(m, name_of(NAME_RELAY, relay), has_relay, &relay);
}

struct m_link *model_link(struct model *m, turn_id id)
{
    return link_of(find(m, name_of(NAME_LINK, id), has_link, &id), id);
}

struct m_link *model_waiting_link(struct model *m, uint32_t cid)
{
    return cid ? waiting_of(find(m, name_of(NAME_CID, cid), has_waiting, &cid), cid) : NULL;
}

struct m_alloc *model_free_slot(struct model *m)
{
    size_t *at = &m->table->next_free;
    while (m->allocs[*at].is_live) {
        *at = (*at + 1) % m->n_slots;
    }
    return model_touch(m, &m->allocs[*at]);
}

struct m_sums model_sums_of(struct model *m, uint8_t user)
{
    catch_up(m);
    return m->table->sums[user];
}

struct m_sums model_sums(struct model *m)
{
    struct m_sums all = {0};
    catch_up(m);
    for (size_t i = 0; i < MODEL_USERS; i++) {
        add(&all, &m->table->sums[i], 1);
    }
    return all;
}

uint64_t model_alloc_due_ms(struct model *m)
{
    catch_up(m);
    return m->table->due[1];
}

struct m_alloc *model_next_due(struct model *m, const struct m_alloc *after)
{
    size_t from = after ? (size_t)(after - m->allocs) + 1 : 0;
    if (!after) { /* once is enough: what is due behind does not change on the way */
        catch_up(m);
    }
    for (size_t i = from; i < m->n_slots && m->table->due[1] <= m->now_ms; i++) {
        if (m->table->due[m->n_slots + i] <= m->now_ms) {
            return model_touch(m, &m->allocs[i]);
        }
    }
    return NULL;
}

/* Everything anew, and compared: the sums of many small steps must be those of one big one. */
void model_audit(struct model *m)
{
    struct m_sums all = {0}, is = model_sums(m);
    uint64_t due = UINT64_MAX;
    size_t n_names = 0, n_entries = 0;
    for (size_t i = 0; i < m->n_slots; i++) {
        struct m_tally t = tally_of(&m->allocs[i]);
        add(&all, &t.sums, 1);
        n_names += t.n_names;
        due = m->allocs[i].is_live ? sooner(due, due_of(&m->allocs[i])) : due;
    }
    for (size_t i = 0; i < m->table->n_entries; i++) {
        n_entries += m->table->entries[i].name != 0;
    }
    if (memcmp(&all, &is, sizeof all) != 0 || n_names != n_entries ||
        due != model_alloc_due_ms(m)) {
        model_fault(m, "the model's own sums went wrong");
    }
    model_sessions(m);
}

bool model_init(struct model *m, size_t n_slots)
{
    struct m_table *t = calloc(1, sizeof *t);
    m->table = t;
    m->n_slots = 1;
    while (m->n_slots < n_slots) {
        m->n_slots *= 2;
    }
    if (!t) {
        return false;
    }
    t->n_entries = ENTRIES * m->n_slots;
    m->allocs = calloc(m->n_slots, sizeof *m->allocs);
    m->reserves = calloc(m->n_slots, sizeof *m->reserves);
    t->tally = calloc(m->n_slots, sizeof *t->tally);
    t->dirty = calloc(m->n_slots, sizeof *t->dirty);
    t->entries = calloc(t->n_entries, sizeof *t->entries);
    m->max_acts = MODEL_ACTS + MODEL_ACTS_EACH * m->n_slots;
    m->acts = calloc(m->max_acts, sizeof *m->acts);
    m->max_bytes = MODEL_BYTES + MODEL_BYTES_EACH * m->n_slots;
    m->bytes = malloc(m->max_bytes);
    t->due = malloc(2 * m->n_slots * sizeof *t->due);
    for (size_t i = 0; t->due && i < 2 * m->n_slots; i++) {
        t->due[i] = UINT64_MAX;
    }
    return m->allocs && m->reserves && m->acts && m->bytes && t->tally && t->dirty &&
           t->entries && t->due;
}

void model_clear(struct model *m)
{
    struct m_table *t = m->table;
    free(m->allocs);
    free(m->reserves);
    free(m->acts);
    free(m->bytes);
    if (t) {
        free(t->tally);
        free(t->dirty);
        free(t->entries);
        free(t->due);
    }
    free(t);
}
