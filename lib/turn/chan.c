/* Channels (RFC 8656 12). */
#include "lib/turn/core.h"

static struct number_key key_of_number(const struct alloc *a, uint16_t number)
{
    struct number_key k = {{0}};
    uintptr_t place = (uintptr_t)a;
    memcpy(k.b, &place, sizeof place);
    k.b[8] = (uint8_t)(number >> 8);
    k.b[9] = (uint8_t)number;
    return k;
}

static struct chan *chan_of_number(const struct turn_server *s, const struct alloc *a,
                                   uint16_t number)
{
    struct number_key key = key_of_number(a, number);
    return MAP_ENTRY(map_find(&s->chan_by_number, &key), struct chan, by_number);
}

const struct chan *chan_of_peer(const struct turn_server *s, const struct alloc *a,
                                const struct addr *peer)
{
    struct peer_key key = key_of_peer(a, peer);
    return MAP_ENTRY(map_find(&s->chan_by_peer, &key), struct chan, by_peer);
}

static struct chan *chan_new(struct turn_server *s, struct alloc *a, uint16_t number,
                             const struct addr *peer)
{
    struct chan *ch = a->n_chans < s->cfg.max_channels ? pool_take(&s->chans) : NULL;
    if (!ch) {
        return NULL;
    }
    ch->alloc = a;
    ch->number = number;
    ch->peer = *peer;
    ch->number_key = key_of_number(a, number);
    ch->peer_key = key_of_peer(a, peer);
    map_add(&s->chan_by_number, &ch->by_number);
    map_add(&s->chan_by_peer, &ch->by_peer);
    ch->next = a->chans;
    ch->at = &a->chans;
    if (ch->next) {
        ch->next->at = &ch->next;
    }
    a->chans = ch;
    a->n_chans++;
    return ch;
}

void chan_end(struct turn_server *s, struct chan *ch)
{
    timerq_clear(&s->timers, &ch->timer);
    map_remove(&s->chan_by_number, &ch->by_number);
    map_remove(&s->chan_by_peer, &ch->by_peer);
    *ch->at = ch->next;
    if (ch->next) {
        ch->next->at = ch->at;
    }
    ch->alloc->n_chans--;
    pool_give(&s->chans, ch);
}

/* RFC 8656 12.2. Returns the code to answer with, 0 for yes; `found` is the binding there is.
 */
static uint16_t check(const struct turn_server *s, const struct call *c, struct chan **found,
                      const char **why)
{
    const struct turn_req *r = &c->req;
    uint16_t code;
    *why = "no allocation";
    if (!c->alloc || !c->alloc->is_open) {
        return 437;
    }
    *why = "not on a TCP relay"; /* RFC 6062 5 */
    if (c->alloc->transport != TURN_UDP) {
        return 400;
    }
    *why = "channel number or peer address";
    if (!r->has_peer || r->channel < CHANNEL_MIN || r->channel > CHANNEL_MAX) {
        return 400;
    }
    *found = chan_of_number(s, c->alloc, r->channel);
    const struct chan *other = chan_of_peer(s, c->alloc, &r->peer);
    *why = "channel or peer is bound otherwise";
    if (*found != other) {
        return 400;
    }
    *why = peer_refused(s, c->alloc, &r->peer, &code);
    if (*why) {
        return code;
    }
    *why = "too many channels";
    return *found || c->alloc->n_chans < s->cfg.max_channels ? 0 : 508;
}

void chan_request(struct turn_server *s, struct call *c)
{
    const char *why;
    struct chan *ch = NULL;
    uint16_t code = check(s, c, &ch, &why);
    if (code) {
        reply_error(s, c, code, why);
        return;
    }
    struct alloc *a = c->alloc;
    bool may = perm_install(s, a, &c->req.peer) == OK;
    ch = ch || !may ? ch : chan_new(s, a, c->req.channel, &c->req.peer);
    if (!ch || !may) {
        reply_error(s, c, 508, "too many channels or permissions");
        return;
    }
    timer_set(s, &ch->timer, TIMER_CHAN, CHANNEL_LIFE_S);
    struct turn_reply reply = {0};
    reply_success(s, c, &reply);
    report_put(s, "channel", NULL, a)->peer = c->req.peer;
}

/* A channel may outlive the permission that came with it. */
void chan_data(struct turn_server *s, struct call *c)
{
    const struct chan *ch = c->alloc ? chan_of_number(s, c->alloc, c->req.channel) : NULL;
    if (ch && perm_has(s, c->alloc, &ch->peer)) {
        relay_send(s, c, &ch->peer, c->req.data);
    }
}
