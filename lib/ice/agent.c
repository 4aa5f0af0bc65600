/* The ICE agent: its paths, timers and actions. */
#include "lib/ice/agent.h"

#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "lib/ice/agent_core.h"

static void keep(char *to, struct slice *s)
{
    if (s->len > 0) {
        memcpy(to, s->p, s->len);
    }
    *s = slice_of(to, s->len);
}

int ice_agent_new(struct ice_agent **out, const struct ice_config *cfg,
                  const struct ice_env *env)
{
    *out = NULL;
    if (cfg->local_ufrag.len == 0 || cfg->local_ufrag.len > ICE_UFRAG_MAX ||
        cfg->local_pwd.len == 0 || cfg->local_pwd.len > STUN_KEY_MAX) {
        return ERR_LIMIT;
    }
    struct ice_agent *a = calloc(1, sizeof *a);
    if (!a) {
        return ERR_NOMEM;
    }
    a->cfg = *cfg;
    a->env = *env;
    a->profile = cfg->profile;
    a->wire = cfg->profile->wire;
    keep(a->ufrag, &a->cfg.local_ufrag);
    keep(a->pwd, &a->cfg.local_pwd);
    a->is_controlling = cfg->controlling;
    a->next_check_ms = 0;
    a->patience_ms = a->settle_ms = a->keepalive_ms = a->linger_ms = TIMER_NEVER;
    a->env.random(&a->tie_breaker, sizeof a->tie_breaker, a->env.ctx);
    int err = stun_key_short_term(&a->local_key, a->cfg.local_pwd);
    if (err) {
        ice_agent_free(a);
        return err;
    }
    *out = a;
    return OK;
}

void ice_agent_free(struct ice_agent *a)
{
    if (a) {
        secret_wipe(a, sizeof *a);
        free(a);
    }
}

/* At the head of every call in: what was taken makes room. */
static void begin_input(struct ice_agent *a)
{
    if (a->q_at == a->q_len) {
        a->q_at = a->q_len = a->arena_len = 0;
    }
}

void ice_push(struct ice_agent *a, const struct ice_action *what)
{
    /* Checks that were not taken count as unanswered; the last places are for the end. */
    size_t reserve = what->what == ICE_DO_FAILED  ? 0
                     : what->what == ICE_DO_CLOSE ? 1
                                                  : ICE_PATHS_MAX + 1;
    if (!a->is_done && a->q_len + reserve < ICE_QUEUE_MAX) {
        a->queue[a->q_len++] = (struct ice_queued){.a = *what};
    }
}

void ice_report(struct ice_agent *a, const struct ice_pair *p, const char *why)
{
    struct ice_action r = {.what = ICE_DO_REPORT,
                           .path = p->path,
                           .local = p->local,
                           .remote = p->remote,
                           .why = why};
    ice_push(a, &r);
}

uint8_t *ice_room(struct ice_agent *a)
{
    return ICE_ARENA - a->arena_len < ICE_MSG_MAX ? NULL : a->arena + a->arena_len;
}

void ice_send(struct ice_agent *a, const struct ice_pair *p, struct slice message)
{
    struct ice_action s = {.what = ICE_DO_SEND, .path = p->path, .data = message};
    ice_push(a, &s);
    a->arena_len += message.len;
}

static void close_path(struct ice_agent *a, struct ice_pair *p)
{
    struct ice_action c = {.what = ICE_DO_CLOSE, .path = p->path};
    if (p->path != 0) {
        ice_push(a, &c);
    }
    p->path = 0;
}

void ice_pair_fail(struct ice_agent *a, struct ice_pair *p, enum pair_fault fault, bool close)
{
    static const char *const text[FAULT_COUNT] = {
        [FAULT_REFUSED] = "the connection is refused",
        [FAULT_SLOW] = "no connection in time",
        [FAULT_UNANSWERED] = "the check is not answered",
        [FAULT_ERROR] = "the check is answered with an error",
        [FAULT_CLOSED] = "the connection was closed",
    };
    if (p->state != PAIR_FAILED) {
        a->fault[fault]++;
        ice_report(a, p, text[fault]);
    }
    if (a->selected == p) {
        a->selected = NULL;
    }
    p->state = PAIR_FAILED;
    p->fault = fault;
    p->is_asking = p->wants_nomination = false;
    p->peer_nominated = false;
    p->deadline_ms = TIMER_NEVER;
    if (close) {
        close_path(a, p);
    }
}

static void fail(struct ice_agent *a, const char *why)
{
    struct ice_action f = {.what = ICE_DO_FAILED, .why = why};
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        close_path(a, &a->pair[i]);
    }
    ice_push(a, &f);
    a->selected = NULL;
    a->is_done = true;
}

static void fail_impatient(struct ice_agent *a)
{
    struct wr w = wr_over((uint8_t *)a->why, sizeof a->why - 1);
    wr_text(&w,
            "no path: %u connections refused, %u not made in time, %u checks unanswered, %u "
            "answered with an error, %u closed; the peer made %u connections to us",
            a->fault[FAULT_REFUSED], a->fault[FAULT_SLOW], a->fault[FAULT_UNANSWERED],
            a->fault[FAULT_ERROR], a->fault[FAULT_CLOSED], a->n_inbound);
    a->why[w.len] = '\0';
    fail(a, a->why);
}

void ice_set_role(struct ice_agent *a, bool controlling)
{
    a->is_controlling = controlling;
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        a->pair[i].wants_nomination = false;
    }
}

/* The peer may nominate several, Microsoft's clients one for each component: the best one is
 * used, until data came. */
void ice_select(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p)
{
    struct ice_pair *old = a->selected;
    p->wants_nomination = false;
    if (old == p ||
        (old && (a->data_seen || ice_pair_priority(a, old) >= ice_pair_priority(a, p)))) {
        return;
    }
    a->selected = p;
    a->keepalive_ms = now_ms + a->cfg.keepalive_ms;
    a->linger_ms = now_ms + ICE_LINGER_MS;
    struct ice_action s = {
        .what = ICE_DO_SELECTED, .path = p->path, .local = p->local, .remote = p->remote};
    ice_push(a, &s);
}

static struct ice_pair *by_path(struct ice_agent *a, ice_path path)
{
    struct ice_pair *p = &a->pair[path % ICE_PATHS_MAX];
    return path != 0 && p->path == path ? p : NULL;
}

static ice_path new_path(struct ice_agent *a, const struct ice_pair *p)
{
    return ++a->n_paths * ICE_PATHS_MAX + (uint64_t)(p - a->pair);
}

static void open_pair(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p)
{
    p->path = new_path(a, p);
    p->state = PAIR_CONNECTING;
    p->deadline_ms = now_ms + a->cfg.connect_ms;
    struct ice_action c = {
        .what = ICE_DO_CONNECT, .path = p->path, .local = p->local, .remote = p->remote};
    ice_push(a, &c);
}

/* What a check is due on: 0 none, more is more urgent. An inbound path waits for the peer to
 * show that it knows our password. */
static int urgency(const struct ice_agent *a, const struct ice_pair *p)
{
    if (p->state == PAIR_VALID && p->wants_nomination && !p->is_asking) {
        return 4;
    }
    if (p->state == PAIR_OPEN && p->peer_checked) {
        return 3; /* triggered (RFC 8445 6.1.4.1) */
    }
    if (p->state == PAIR_OPEN && !p->is_inbound) {
        return 2;
    }
    return p->state == PAIR_WAITING && !a->selected ? 1 : 0;
}

static struct ice_pair *next_due(struct ice_agent *a)
{
    struct ice_pair *best = NULL;
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        int u = urgency(a, p), b = best ? urgency(a, best) : 0;
        if (u > b ||
            (u > 0 && u == b && ice_pair_priority(a, p) > ice_pair_priority(a, best))) {
            best = p;
        }
    }
    return best;
}

static void run_checks(struct ice_agent *a, uint64_t now_ms)
{
    struct ice_pair *p = a->has_remote && now_ms >= a->next_check_ms ? next_due(a) : NULL;
    if (!p) {
        return;
    }
    a->next_check_ms = now_ms + a->cfg.pace_ms;
    if (p->state == PAIR_WAITING) {
        open_pair(a, now_ms, p);
        return;
    }
    p->state = p->state == PAIR_VALID ? PAIR_VALID : PAIR_CHECKING;
    ice_send_check(a, now_ms, p);
}

static bool in_progress(const struct ice_pair *p)
{
    return p->state == PAIR_WAITING || p->state == PAIR_CONNECTING ||
           p->state == PAIR_CHECKING ||
           (p->state == PAIR_OPEN && (p->peer_checked || !p->is_inbound));
}

/* RFC 8445 8.1.1: the best valid pair, when no better one can come or has had its time. */
static void nominate(struct ice_agent *a, uint64_t now_ms)
{
    struct ice_pair *best = NULL;
    if (!a->is_controlling || a->selected) {
        return;
    }
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        if (p->wants_nomination) {
            return; /* one at a time */
        }
        if (p->state == PAIR_VALID &&
            (!best || ice_pair_priority(a, p) > ice_pair_priority(a, best))) {
            best = p;
        }
    }
    for (size_t i = 0; best && now_ms < a->settle_ms && i < ICE_PATHS_MAX; i++) {
        if (in_progress(&a->pair[i]) &&
            ice_pair_priority(a, &a->pair[i]) > ice_pair_priority(a, best)) {
            return;
        }
    }
    if (best) {
        best->wants_nomination = true;
    }
}

/* The controlling side may have noticed first and nominated another already. */
static void select_nominated(struct ice_agent *a, uint64_t now_ms)
{
    for (size_t i = 0; !a->is_controlling && i < ICE_PATHS_MAX; i++) {
        if (a->pair[i].state == PAIR_VALID && a->pair[i].peer_nominated) {
            ice_select(a, now_ms, &a->pair[i]);
        }
    }
}

static void lose_path(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p)
{
    bool was_selected = a->selected == p;
    p->path = 0;
    ice_pair_fail(a, p, FAULT_CLOSED, false);
    if (!was_selected) {
        return;
    }
    if (a->data_seen) {
        fail(a, "the selected connection was closed");
        return;
    }
    a->selected = NULL;
    a->linger_ms = a->keepalive_ms = TIMER_NEVER;
    a->patience_ms = now_ms + a->cfg.patience_ms;
    select_nominated(a, now_ms);
}

static void expire(struct ice_agent *a, struct ice_pair *p)
{
    bool was_selected = a->selected == p;
    if (p->state == PAIR_CONNECTING) {
        ice_pair_fail(a, p, FAULT_SLOW, true);
    } else if (p->is_asking && !was_selected) {
        /* An inbound path stays, as the peer may ask once more; but not one that the peer may
         * hold nominated, when we give it up. */
        ice_pair_fail(a, p, FAULT_UNANSWERED, !p->is_inbound || p->asked_nomination);
    } else if (p->is_asking) {
        p->is_asking = false;
        p->deadline_ms = TIMER_NEVER;
    } else {
        ice_pair_fail(a, p, FAULT_UNANSWERED, true); /* connected, and never said who it is */
    }
}

static void close_others(struct ice_agent *a)
{
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        if (p != a->selected && !p->is_inbound && p->state != PAIR_FREE) {
            close_path(a, p);
            p->state = PAIR_FAILED;
            p->is_asking = p->wants_nomination = false;
            p->deadline_ms = TIMER_NEVER;
        }
    }
    a->linger_ms = TIMER_NEVER;
}

/* All that time and events have made due; the end of every call in. */
static void advance(struct ice_agent *a, uint64_t now_ms)
{
    for (size_t i = 0; i < ICE_PATHS_MAX && !a->is_done; i++) {
        if (a->pair[i].state != PAIR_FREE && now_ms >= a->pair[i].deadline_ms) {
            expire(a, &a->pair[i]);
        }
    }
    if (a->is_done) {
        return;
    }
    if (!a->selected && now_ms >= a->patience_ms) {
        fail_impatient(a);
        return;
    }
    nominate(a, now_ms);
    run_checks(a, now_ms);
    if (now_ms >= a->linger_ms) {
        close_others(a);
    }
    if (a->selected && now_ms >= a->keepalive_ms) {
        a->keepalive_ms = now_ms + a->cfg.keepalive_ms;
        ice_send_keepalive(a, a->selected);
    }
}

int ice_agent_set_remote(struct ice_agent *a, uint64_t now_ms, struct slice ufrag,
                         struct slice pwd, const struct ice_cand *cands, size_t n)
{
    begin_input(a);
    if (ufrag.len == 0 || ufrag.len > ICE_UFRAG_MAX || pwd.len > STUN_KEY_MAX) {
        return ERR_LIMIT;
    }
    if (a->has_remote) {
        bool same = slice_eq(ufrag, slice_of(a->remote_ufrag, a->remote_ufrag_len)) &&
                    secret_eq(pwd, slice_of(a->remote_key.b, a->remote_key.len));
        return same ? OK : ERR_UNSUPPORTED;
    }
    int err = stun_key_short_term(&a->remote_key, pwd);
    if (err) {
        return err;
    }
    memcpy(a->remote_ufrag, ufrag.p, ufrag.len);
    a->remote_ufrag_len = ufrag.len;
    for (size_t i = 0; i < n && a->n_remote < ICE_CANDS_MAX; i++) {
        if (cands[i].component <= 1 && cands[i].tcp <= ICE_SO && cands[i].type <= ICE_RELAY) {
            a->remote[a->n_remote++] = cands[i];
        }
    }
    a->has_remote = true;
    a->patience_ms = now_ms + a->cfg.patience_ms;
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        if (p->state != PAIR_FREE && p->is_inbound) {
            uint32_t told = p->remote.priority;
            struct addr local = p->local.addr, remote = p->remote.addr;
            ice_match_inbound(a, p, &local, &remote);
            p->remote.priority = p->remote.type == ICE_PRFLX ? told : p->remote.priority;
        }
    }
    ice_form_pairs(a);
    advance(a, now_ms);
    return OK;
}

void ice_agent_connected(struct ice_agent *a, uint64_t now_ms, ice_path path, bool ok)
{
    struct ice_pair *p = by_path(a, path);
    begin_input(a);
    if (!p || p->state != PAIR_CONNECTING || a->is_done) {
        return;
    }
    if (ok) {
        p->state = PAIR_OPEN;
        p->deadline_ms = TIMER_NEVER;
    } else {
        p->path = 0;
        ice_pair_fail(a, p, FAULT_REFUSED, false);
    }
    advance(a, now_ms);
}

/* Of those who connected and have not shown yet that they know our password, the one who has
 * had longest to do so: strangers must not crowd out the peer. */
static struct ice_pair *oldest_stranger(struct ice_agent *a)
{
    struct ice_pair *oldest = NULL;
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        struct ice_pair *p = &a->pair[i];
        if (p->state == PAIR_OPEN && p->is_inbound && !p->peer_checked &&
            (!oldest || p->path < oldest->path)) {
            oldest = p;
        }
    }
    if (oldest) {
        close_path(a, oldest);
    }
    return oldest;
}

ice_path ice_agent_accepted(struct ice_agent *a, uint64_t now_ms, const struct addr *local,
                            const struct addr *remote)
{
    begin_input(a);
    struct ice_pair *p = a->is_done ? NULL : ice_pair_free(a);
    p = p || a->is_done ? p : oldest_stranger(a);
    if (!p) {
        return 0;
    }
    *p = (struct ice_pair){.state = PAIR_OPEN, .is_inbound = true};
    p->deadline_ms = now_ms + a->cfg.patience_ms;
    p->path = new_path(a, p);
    ice_match_inbound(a, p, local, remote);
    a->n_inbound++;
    ice_report(a, p, "the peer connected");
    advance(a, now_ms);
    return p->path;
}

void ice_agent_closed(struct ice_agent *a, uint64_t now_ms, ice_path path)
{
    struct ice_pair *p = by_path(a, path);
    begin_input(a);
    if (p && !a->is_done) {
        lose_path(a, now_ms, p);
        if (!a->is_done) {
            advance(a, now_ms);
        }
    }
}

/* Data from a peer that has shown its password; before anything was agreed it decides. */
static void on_data(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p,
                    struct slice packet)
{
    if (!p->peer_checked && p->state != PAIR_VALID) {
        return;
    }
    if (a->selected && a->selected != p && !a->data_seen && p->peer_nominated) {
        a->selected = NULL;
        ice_select(a, now_ms, p);
    }
    a->data_seen = a->data_seen || a->selected == p;
    struct ice_action d = {.what = ICE_DO_DATA, .path = p->path, .data = packet};
    ice_push(a, &d);
}

int ice_agent_recv(struct ice_agent *a, uint64_t now_ms, ice_path path, struct slice packet)
{
    struct ice_pair *p = by_path(a, path);
    begin_input(a);
    if (!p || p->state == PAIR_CONNECTING) {
        return ERR_NOTFOUND;
    }
    if (a->is_done || packet.len == 0) {
        return OK;
    }
    if (packet.len >= STUN_HEADER_LEN && stun_looks_like(packet)) {
        ice_on_stun(a, now_ms, p, packet);
        advance(a, now_ms);
    } else {
        on_data(a, now_ms, p, packet);
    }
    return OK;
}

void ice_agent_tick(struct ice_agent *a, uint64_t now_ms)
{
    begin_input(a);
    advance(a, now_ms);
}

bool ice_agent_next(struct ice_agent *a, struct ice_action *out)
{
    if (a->q_at == a->q_len) {
        return false;
    }
    *out = a->queue[a->q_at++].a;
    return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t ice_agent_deadline_ms(const struct ice_agent *a)
{
    uint64_t at = sooner(a->linger_ms, a->selected ? a->keepalive_ms : a->patience_ms);
    bool is_due = false, is_valid = false, is_nominating = false;
    if (a->is_done) {
        return TIMER_NEVER;
    }
    for (size_t i = 0; i < ICE_PATHS_MAX; i++) {
        const struct ice_pair *p = &a->pair[i];
        if (p->state != PAIR_FREE) {
            at = sooner(at, p->deadline_ms);
            is_due = is_due || urgency(a, p) > 0;
            is_valid = is_valid || p->state == PAIR_VALID;
            is_nominating = is_nominating || p->wants_nomination;
        }
    }
    if (a->has_remote && is_due) {
        at = sooner(at, a->next_check_ms);
    }
    bool will_nominate = a->is_controlling && !a->selected && is_valid && !is_nominating;
    return will_nominate ? sooner(at, a->settle_ms) : at;
}

ice_path ice_agent_selected(const struct ice_agent *a)
{
    return a->selected ? a->selected->path : 0;
}
