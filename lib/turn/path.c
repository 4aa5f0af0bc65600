/* Which 5-tuples lead to an allocation: one, or two while its client moves (RFC 8016). */
#include "lib/turn/core.h"

static void put_addr(uint8_t *to, const struct addr *a)
{
    to[0] = a->family;
    memcpy(to + 1, a->ip, 16);
    to[17] = (uint8_t)(a->port >> 8);
    to[18] = (uint8_t)a->port;
}

/* A connection's id says all about it; addresses tell apart the clients without one. */
static struct tuple_key tuple_of(turn_id conn, const struct turn_conn *udp)
{
    struct tuple_key k = {{0}};
    memcpy(k.b + 1, &conn, sizeof conn);
    if (udp) {
        k.b[0] = TURN_UDP;
        put_addr(k.b + 9, &udp->client);
        put_addr(k.b + 28, &udp->local);
    }
    return k;
}

static struct tuple_key tuple_of_conn(const struct turn_conn *c)
{
    return c->id ? tuple_of(c->id, NULL) : tuple_of(0, c);
}

static struct path *path_find(const struct turn_server *s, const struct tuple_key *k)
{
    return MAP_ENTRY(map_find(&s->path_by_tuple, k), struct path, by_tuple);
}

struct path *path_of_conn_id(const struct turn_server *s, turn_id conn)
{
    struct tuple_key k = tuple_of(conn, NULL);
    return path_find(s, &k);
}

struct path *path_of_conn(const struct turn_server *s, const struct turn_conn *c)
{
    struct tuple_key k = tuple_of_conn(c);
    return path_find(s, &k);
}

struct alloc *alloc_of_conn(const struct turn_server *s, const struct turn_conn *c)
{
    const struct path *p = path_of_conn(s, c);
    return p ? p->alloc : NULL;
}

void path_add(struct turn_server *s, struct path *p, struct alloc *a, const struct turn_conn *c)
{
    p->alloc = a;
    p->tuple = tuple_of_conn(c);
    map_add(&s->path_by_tuple, &p->by_tuple);
}

void path_remove(struct turn_server *s, struct path *p)
{
    if (p->alloc) {
        map_remove(&s->path_by_tuple, &p->by_tuple);
        p->alloc = NULL;
    }
}
