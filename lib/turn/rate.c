/* How many answers a second an address gets that has not shown a password: so that the server
 * is of little use to flood somebody in whose name requests are sent. Addresses share slots by
 * a keyed hash, IPv6 ones by their /64. */
#include "lib/turn/core.h"

bool rate_pass(struct turn_server *s, const struct addr *client)
{
    size_t len = client->family == ADDR_IP6 ? 8 : 4;
    uint64_t hash = siphash(s->rate_secret, slice_of(client->ip, len));
    struct rate *r = &s->rates[hash % RATE_SLOTS];
    uint64_t now_s = s->now_ms / 1000;
    if (r->window_s != now_s) {
        *r = (struct rate){.window_s = now_s};
    }
    if (s->cfg.max_unproven_per_s == 0 || r->n < s->cfg.max_unproven_per_s) {
        r->n++;
        return true;
    }
    struct turn_report *out = report_put(s, "deny", "too many answers to one address", NULL);
    out->client = *client;
    out->is_noise = true;
    return false;
}
