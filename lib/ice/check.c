/* Connectivity checks: Binding requests out, answers in, and the other way round (RFC 8445 7).
 */
#include "lib/ice/agent_core.h"

static void put_username(struct ice_agent *a, struct stun_writer *s)
{
    uint8_t text[2 * ICE_UFRAG_MAX + 1];
    struct wr w = wr_over(text, sizeof text);
    wr_bytes(&w, slice_of(a->remote_ufrag, a->remote_ufrag_len));
    wr_u8(&w, ':');
    wr_bytes(&w, a->cfg.local_ufrag);
    stun_put_bytes(s, STUN_USERNAME, wr_done(&w));
}

static void put_version(const struct ice_agent *a, struct stun_writer *s)
{
    if (a->profile->implementation_version) {
        stun_put_u32(s, STUN_IMPLEMENTATION_VERSION, a->profile->implementation_version);
    }
}

static void finish(struct ice_agent *a, struct stun_writer *s, const struct ice_pair *p)
{
    struct slice message;
    stun_put_fingerprint(s);
    if (!stun_end(s, &message)) {
        ice_send(a, p, message);
    }
}

/* RFC 8445 7.1.1: what this candidate would be worth to the peer as a reflexive one. */
static uint32_t reflexive_priority(const struct ice_agent *a, const struct ice_cand *local)
{
    struct ice_cand c = *local;
    c.type = ICE_PRFLX;
    return a->profile->priority(&c);
}

void ice_send_check(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p)
{
    struct stun_writer s;
    uint8_t *room = ice_room(a);
    p->deadline_ms = now_ms + a->cfg.check_ms;
    p->is_asking = true;
    p->asked_controlling = a->is_controlling;
    p->asked_nomination =
        a->is_controlling && (p->wants_nomination || !a->profile->regular_nomination);
    p->tid = (struct stun_tid){.len = 12};
    a->env.random(p->tid.b, p->tid.len, a->env.ctx);
    if (!room) {
        return; /* it will count as unanswered */
    }
    stun_begin(&s, room, ICE_MSG_MAX, a->wire, STUN_REQUEST, STUN_BINDING, &p->tid);
    if (p->asked_nomination) {
        stun_put_flag(&s, STUN_USE_CANDIDATE);
    }
    stun_put_u32(&s, STUN_PRIORITY, reflexive_priority(a, &p->local));
    stun_put_u64(&s, a->is_controlling ? STUN_ICE_CONTROLLING : STUN_ICE_CONTROLLED,
                 a->tie_breaker);
    put_username(a, &s);
    if (a->profile->candidate_identifier) {
        stun_put_bytes(&s, STUN_CANDIDATE_IDENTIFIER, slice_str(p->local.foundation));
    }
    put_version(a, &s);
    stun_put_integrity(&s, &a->remote_key);
    finish(a, &s, p);
}

void ice_send_keepalive(struct ice_agent *a, const struct ice_pair *p)
{
    struct stun_writer s;
    struct stun_tid tid = {.len = 12};
    uint8_t *room = ice_room(a);
    if (room) {
        a->env.random(tid.b, tid.len, a->env.ctx);
        stun_begin(&s, room, ICE_MSG_MAX, a->wire, STUN_INDICATION, STUN_BINDING, &tid);
        finish(a, &s, p);
    }
}

/* The integrity of `m` under `key`, in the profile's own form or the other one it takes. The
 * one that fits is remembered, and our next messages go out in it. */
static int check_integrity(struct ice_agent *a, struct stun_msg *m, const struct stun_key *key)
{
    const struct stun_wire *form[] = {a->profile->wire, a->profile->also};
    int err = ERR_AUTH;
    for (size_t i = 0; i < 2 && err && form[i]; i++) {
        m->wire = form[i];
        err = stun_check_integrity(m, key);
    }
    if (!err) {
        a->wire = m->wire;
    }
    return err;
}

/* `code` 0: success. The attributes in [MS-ICE2]'s order. */
static void answer(struct ice_agent *a, const struct ice_pair *p, const struct stun_msg *m,
                   uint16_t code, const char *reason)
{
    struct stun_writer s;
    struct slice username;
    uint8_t *room = ice_room(a);
    if (!room) {
        return;
    }
    stun_begin(&s, room, ICE_MSG_MAX, m->wire, code ? STUN_ERROR : STUN_SUCCESS, STUN_BINDING,
               &m->tid);
    if (code) {
        stun_put_error(&s, code, reason);
    } else {
        stun_put_addr(&s, STUN_XOR_MAPPED_ADDRESS, &p->remote.addr);
    }
    if (code == 420) {
        stun_put_unknown(&s, m);
    }
    if (a->profile->response_username && !stun_get_bytes(m, STUN_USERNAME, &username)) {
        stun_put_bytes(&s, STUN_USERNAME, username);
    }
    put_version(a, &s);
    if (code != 401) {
        stun_put_integrity(&s, &a->local_key);
    }
    finish(a, &s, p);
}

/* For us is "<our ufrag>:<anything>". */
static bool is_for_us(const struct ice_agent *a, const struct stun_msg *m)
{
    struct slice name, ours = a->cfg.local_ufrag;
    if (stun_get_bytes(m, STUN_USERNAME, &name) || name.len <= ours.len ||
        name.p[ours.len] != ':') {
        return false;
    }
    name.len = ours.len;
    return slice_eq(name, ours);
}

/* RFC 8445 7.3.1.1. True: there is a conflict that the peer has to mend. */
static bool role_conflict(struct ice_agent *a, const struct stun_msg *m)
{
    uint64_t theirs;
    if (a->is_controlling && !stun_get_u64(m, STUN_ICE_CONTROLLING, &theirs)) {
        if (a->tie_breaker >= theirs) {
            return true;
        }
        ice_set_role(a, false);
    } else if (!a->is_controlling && !stun_get_u64(m, STUN_ICE_CONTROLLED, &theirs)) {
        if (a->tie_breaker < theirs) {
            return true;
        }
        ice_set_role(a, true);
    }
    return false;
}

/* An authenticated check: it counts, before set_remote as well. */
static void count_request(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p,
                          const struct stun_msg *m)
{
    uint32_t priority;
    p->peer_checked = true;
    if (p->remote.type == ICE_PRFLX && !stun_get_u32(m, STUN_PRIORITY, &priority) &&
        priority != 0) {
        p->remote.priority = priority; /* RFC 8445 7.3.1.3 */
    }
    if (p->state == PAIR_FAILED) { /* RFC 8445 7.3.1.4: tried once more */
        p->state = PAIR_OPEN;
        p->fault = FAULT_NONE;
    }
    if (p->state == PAIR_OPEN) {
        p->deadline_ms = TIMER_NEVER;
    }
    if (!a->is_controlling && stun_has(m, STUN_USE_CANDIDATE)) {
        p->peer_nominated = true;
        if (p->state == PAIR_VALID) {
            ice_select(a, now_ms, p);
        }
    }
}

static void on_request(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p,
                       struct stun_msg *m)
{
    /* [MS-ICE2] 3.1.4.8.2: without a right FINGERPRINT it is no check; without our name it is
     * somebody's keep-alive. Neither gets an answer. */
    if (!stun_fingerprint_ok(m) || !is_for_us(a, m)) {
        return;
    }
    if (check_integrity(a, m, &a->local_key)) {
        m->wire = a->wire;
        ice_report(a, p, "a check with a wrong password or none");
        answer(a, p, m, 401, "Unauthorized");
        return;
    }
    if (m->n_unknown > 0) {
        answer(a, p, m, 420, "Unknown Attribute");
        return;
    }
    if (role_conflict(a, m)) {
        answer(a, p, m, 487, "Role Conflict");
        return;
    }
    answer(a, p, m, 0, NULL);
    count_request(a, now_ms, p, m);
}

static void on_success(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p)
{
    bool first = p->state != PAIR_VALID;
    p->state = PAIR_VALID;
    if (first) {
        ice_report(a, p, "the peer answers");
        if (a->settle_ms == TIMER_NEVER) {
            a->settle_ms = now_ms + ICE_SETTLE_MS;
        }
    }
    if (a->is_controlling ? p->asked_nomination : p->peer_nominated) {
        ice_select(a, now_ms, p);
    }
}

static void on_error(struct ice_agent *a, struct ice_pair *p, const struct stun_msg *m)
{
    uint16_t code;
    struct slice reason;
    if (!stun_get_error(m, &code, &reason) && code == 487) {
        /* RFC 8445 7.2.5.1: the other role than the one this check had, and again. */
        if (a->is_controlling == p->asked_controlling) {
            ice_set_role(a, !a->is_controlling);
        }
        p->state = p->state == PAIR_VALID ? PAIR_VALID : PAIR_OPEN;
        return;
    }
    ice_pair_fail(a, p, FAULT_ERROR, false);
}

static void on_response(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p,
                        struct stun_msg *m)
{
    bool has_fingerprint = m->n_attrs > 0 && m->at[m->n_attrs - 1].type == STUN_FINGERPRINT;
    /* Some peers answer twice: the second finds nothing asked. */
    if (!p->is_asking || memcmp(p->tid.b, m->tid.b, m->tid.len) != 0 ||
        (has_fingerprint && !stun_fingerprint_ok(m))) {
        return;
    }
    if (m->cls == STUN_SUCCESS && check_integrity(a, m, &a->remote_key)) {
        return; /* as if it had never come (RFC 8489 9.1.4) */
    }
    p->is_asking = false;
    p->deadline_ms = TIMER_NEVER;
    if (m->cls == STUN_SUCCESS) {
        on_success(a, now_ms, p);
    } else {
        on_error(a, p, m);
    }
}

void ice_on_stun(struct ice_agent *a, uint64_t now_ms, struct ice_pair *p, struct slice packet)
{
    struct stun_msg m;
    if (stun_parse(&m, packet, a->wire) || m.method != STUN_BINDING) {
        return;
    }
    if (m.cls == STUN_REQUEST) {
        on_request(a, now_ms, p, &m);
    } else if (m.cls != STUN_INDICATION) {
        on_response(a, now_ms, p, &m);
    }
}
