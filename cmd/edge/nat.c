/* NAT discovery needs four sockets a family: the first listen address and the one given here,
 * each with both ports. Those that are not there yet become listen addresses. */
#include "cmd/edge/nat.h"

#include "cmd/edge/doors.h"

static const char *add_sockets(struct edge_conf *e, const struct turn_nat *nat, uint8_t realm)
{
    for (size_t i = 0; i < 4; i++) {
        struct addr at = nat->ip[i / 2];
        bool is_there = false;
        at.port = nat->port[i % 2];
        for (size_t k = 0; k < e->run.n_listen; k++) {
            is_there = is_there || addr_eq(&e->run.listen[k], &at);
        }
        const char *wrong = is_there ? NULL : doors_put_listen(e, realm, &at);
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

/* NULL, or what is wrong with it. */
static const char *take(struct edge_conf *e, const struct addr *second)
{
    struct turn_nat *nat = &e->run.server.nat[second->family == ADDR_IP6 ? 1 : 0];
    size_t i = 0;
    while (i < e->run.n_listen && e->run.listen[i].family != second->family) {
        i++;
    }
    const struct addr *first = &e->run.listen[i];
    if (i == e->run.n_listen || addr_is_any(first) || first->port == 0) {
        return "needs a listen address of the same family, with a port, and no wildcard";
    }
    if (nat->ip[0].family) {
        return "one for each family";
    }
    if (addr_is_any(second) || addr_ip_eq(first, second) || second->port == first->port ||
        second->port == 0) {
        return "must differ in address and port from the first listen address";
    }
    *nat = (struct turn_nat){
        .ip = {*first,      *second     },
          .port = {first->port, second->port}
    };
    return add_sockets(e, nat, e->run.listen_realm[i]);
}

bool nat_read(struct edge_conf *e, struct conf *c)
{
    for (size_t i = 0; i < conf_count(c, "nat-discovery"); i++) {
        struct addr second = conf_addr(c, "nat-discovery", i);
        const char *wrong = take(e, &second);
        if (wrong) {
            conf_fail(c, "nat-discovery", i, "%s", wrong);
            return false;
        }
    }
    return true;
}
