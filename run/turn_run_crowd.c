/* How many TCP connections one network may have: so that nobody holds the places of all. */
#include <stdlib.h>

#include "run/turn_run_impl.h"

struct network { /* of clients' connections; there while it has any */
    struct map_link by_key;
    struct rate_key key;
    uint32_t n;
};

int crowd_init(struct turn_run *r, const uint8_t secret[16])
{
    io_random(r->accepts.secret, sizeof r->accepts.secret);
    return map_init(&r->networks, r->cfg.max_connections, MAP_KEY(struct network, by_key, key),
                    sizeof(struct rate_key), secret);
}

void crowd_leave(struct client *c)
{
    struct network *n = c->network;
    c->network = NULL;
    if (n && --n->n == 0) {
        map_remove(&c->run->networks, &n->by_key);
        free(n);
    }
}

static struct network *network_of(struct turn_run *r, const struct rate_key *key)
{
    struct network *n = MAP_ENTRY(map_find(&r->networks, key), struct network, by_key);
    if (!n) {
        n = calloc(1, sizeof *n);
        if (n) {
            n->key = *key;
            map_add(&r->networks, &n->by_key);
        }
    }
    return n;
}

/* Counted only when there could be too many: with an allocation a connection has shown a
 * password. */
static size_t strangers_of(const struct turn_run *r, const struct network *n)
{
    size_t strangers = 0;
    for (const struct client *c = r->clients; c; c = c->next) {
        strangers += c->network == n && !turn_server_conn_used(r->core, c->id);
    }
    return strangers;
}

const char *crowd_join(struct client *c)
{
    struct turn_run *r = c->run;
    struct rate_key key = rate_key_of(&c->conn.client, r->cfg.server.rate_prefix);
    crowd_leave(c);
    if (!rates_pass(&r->accepts, slice_of(key.b, sizeof key.b), loop_now_ms(r->loop),
                    r->cfg.max_accepts_per_s)) {
        return "too many connections a second from one network";
    }
    struct network *n = network_of(r, &key);
    if (!n) {
        return "out of memory";
    }
    c->network = n;
    n->n++;
    uint32_t most = r->cfg.max_strangers;
    return most && n->n > most && strangers_of(r, n) > most
               ? "too many connections without an allocation from one network"
               : NULL;
}
