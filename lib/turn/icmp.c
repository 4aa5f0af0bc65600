/* ICMP that a peer's side sends for a relayed datagram, told to the client (RFC 8656 11.5). */
#include "lib/turn/core.h"

static bool is_relayed(uint8_t family, uint8_t type)
{
    static const struct {
        uint8_t family, type;
    } rows[] = {
        {ADDR_IP4, 3 }, /* destination unreachable, also "fragmentation needed" */
        {ADDR_IP4, 11}, /* time exceeded */
        {ADDR_IP6, 1 }, /* destination unreachable */
        {ADDR_IP6, 2 }, /* packet too big */
        {ADDR_IP6, 3 }, /* time exceeded */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].family == family && rows[i].type == type) {
            return true;
        }
    }
    return false;
}

void turn_server_from_icmp(struct turn_server *s, uint64_t now_ms, turn_id relay,
                           const struct addr *peer, const struct turn_icmp *what)
{
    const struct relay *r = relay_of_id(s, relay);
    struct alloc *a = r ? r->alloc : NULL;
    s->now_ms = now_ms;
    if (!a || !a->is_open || a->is_away || a->transport != TURN_UDP ||
        peer->family != r->family || !perm_has(s, a, peer) ||
        !is_relayed(r->family, what->type)) {
        return;
    }
    /* ICMP is easily forged: no more of it than the client has sent datagrams. */
    if (a->icmp_owed == 0) {
        return;
    }
    struct stun_tid tid = server_tid(s);
    struct wr w = wr_over(s->reply, sizeof s->reply);
    if (a->conn.dialect->write_icmp(&w, &tid, peer, what) == OK) {
        message_send(s, &a->conn, &w);
        action_last(s)->relay = relay;
        a->icmp_owed--;
        s->stats.icmp_to_client++;
    }
}
