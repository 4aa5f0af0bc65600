/* Who lives in the world: a few clients, or thousands, found by what the server calls them. */
#include <stdlib.h>

#include "tests/sim/turn_world.h"

enum {
    FIRST_PORT = 5000
};

bool world_is_large(const struct world *w)
{
    return w->n_clients > WORLD_CLIENTS;
}

uint32_t world_scale(const struct world *w)
{
    return world_is_large(w) ? (uint32_t)(w->n_clients / 32) : 1;
}

void world_set_conn(struct world *w, struct endpoint *e, turn_id conn)
{
    if (conn >= w->n_of_conn) {
        size_t n = 2 * (size_t)conn + 64;
        struct endpoint **more = realloc(w->of_conn, n * sizeof(struct endpoint *));
        if (!more) {
            model_fault(&w->m, "no memory for more connections");
            return;
        }
        memset(more + w->n_of_conn, 0, (n - w->n_of_conn) * sizeof(struct endpoint *));
        w->of_conn = more;
        w->n_of_conn = n;
    }
    if (e->conn.id) {
        w->of_conn[e->conn.id] = NULL;
    }
    e->conn.id = conn;
    w->of_conn[conn] = e;
}

struct endpoint *world_client(struct world *w, turn_id conn, const struct addr *at)
{
    if (conn) {
        return conn < w->n_of_conn ? w->of_conn[conn] : NULL;
    }
    size_t i = (size_t)(at->port - FIRST_PORT) * WORLD_HOSTS + at->ip[3] - 1u;
    struct endpoint *e = i < w->n_clients ? &w->clients[i] : NULL;
    return e && e->conn.id == 0 && addr_eq(&e->conn.client, at) ? e : NULL;
}

static void make_client(struct world *w, size_t i)
{
    struct endpoint *e = &w->clients[i];
    bool tcp = world_chance(w, 50), dtls = !tcp && world_chance(w, 30);
    e->user = (uint8_t)(world_chance(w, 95) ? world_pick(w, 3) : 3);
    e->conn = (struct turn_conn){
        .client = {.family = ADDR_IP4,
                   .ip = {192, 0, 2, (uint8_t)(1 + i % WORLD_HOSTS)},
                   .port = (uint16_t)(FIRST_PORT + i / WORLD_HOSTS)               },
        .local = {.family = ADDR_IP4, .ip = {198, 51, 100, 1},       .port = 3478},
        .transport = tcp ? TURN_TCP : TURN_UDP,
        .is_proven = tcp || dtls,
        .dialect = &turn_dialect_rfc8656
    };
    if (tcp || dtls) {
        world_set_conn(w, e, ++w->next_conn);
    }
}

bool world_make_clients(struct world *w, size_t n)
{
    w->n_clients = n > 0 ? n : 2 + world_pick(w, world_chance(w, 80) ? 10 : WORLD_CLIENTS - 1);
    w->max_flights = w->n_clients < 64 ? 64 : w->n_clients;
    w->max_pending = 128 + w->n_clients;
    w->clients = calloc(w->n_clients, sizeof *w->clients);
    w->flight = calloc(w->max_flights, sizeof *w->flight);
    w->pending = calloc(w->max_pending, sizeof *w->pending);
    if (!w->clients || !w->flight || !w->pending) {
        return false;
    }
    for (size_t i = 0; i < w->n_clients; i++) {
        make_client(w, i);
    }
    return w->of_conn != NULL || w->next_conn == 0;
}

void world_clear(struct world *w)
{
    turn_server_free(w->s);
    model_clear(&w->m);
    free(w->clients);
    free(w->flight);
    free(w->pending);
    free(w->of_conn);
}

struct m_alloc *world_pick_alloc(struct world *w, enum turn_transport transport)
{
    size_t at = world_pick(w, (uint32_t)w->m.n_slots);
    for (size_t i = 0; i < w->m.n_slots; i++) {
        struct m_alloc *a = &w->m.allocs[(at + i) % w->m.n_slots];
        if (a->is_live && a->transport == transport) {
            return a;
        }
    }
    return NULL;
}

const struct m_link *world_pick_link(struct world *w)
{
    const struct m_alloc *a = world_pick_alloc(w, TURN_TCP);
    uint32_t at = world_pick(w, MODEL_LINKS);
    for (uint32_t i = 0; i < MODEL_LINKS && a; i++) {
        const struct m_link *l = &a->links[(at + i) % MODEL_LINKS];
        if (l->alloc) {
            return l;
        }
    }
    return NULL;
}
