/* Any sequence of events on a TURN server: frames from clients (signed, when the input says so,
 * with the right key and nonce, with the tokens and tickets that the server gave, and with
 * those of an authorization server, whole or not), keys that come late or wrong, datagrams,
 * ICMP, connections that come, open and end, in any order and with ids that may be long gone;
 * an operator; and time. The first bytes choose the configuration. What is opened must be
 * closed in the end. */
#include <stdlib.h>

#include "lib/base/crypto.h"

#include "lib/stun/security.h"
#include "lib/turn/dialect.h"
#include "lib/turn/oauth_token.h"
#include "lib/turn/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    IDS = 16,
    CONNS = 4,
    FRAME_MAX = 1024
};

enum { /* of the configuration: bits of the input's first byte */
    WITH_LATE_KEYS = 1,
    WITH_SHA256 = 2, /* PASSWORD-ALGORITHMS, and keys made so */
    WITH_ANONYMITY = 4,
    WITH_MOBILITY = 8,
    WITH_IP6 = 16,
    WITH_BANDWIDTH = 32,
    WITH_LIMITS = 64,
    WITH_DF = 128
};

struct learned { /* an attribute that the server sent last */
    uint8_t b[256];
    size_t len;
};

enum claim { /* what the request that is being answered shows */
    NO_TOKEN,
    GOOD_TOKEN,
    BAD_TOKEN
};

static const struct oauth_key token_key = {
    .b = "shared with who makes the tokens", .len = 32, .until_unix_s = UINT64_MAX};
static const struct stun_key mac_key = {.b = "what the tokens hold", .len = 20};

struct fuzz {
    struct turn_server *s;
    struct rd in;
    uint64_t now_ms;
    uint8_t flags;
    struct stun_key key;
    uint8_t userhash[STUN_USERHASH_LEN];
    struct learned nonce, algorithms, ticket;
    enum claim claim;
    uint32_t token_life_s;
    uint64_t token;
    uint32_t cid;
    turn_id ids[IDS]; /* seen in actions, the newest last */
    int64_t n_relays;
    uint8_t count;
};

static void steady(void *out, size_t len, void *ctx)
{
    struct fuzz *f = ctx;
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = ++f->count;
    }
}

static uint64_t unix_s(void *ctx)
{
    const struct fuzz *f = ctx;
    return 1700000000 + f->now_ms / 1000;
}

static void remember(struct fuzz *f, turn_id id)
{
    if (id) {
        memmove(f->ids, f->ids + 1, sizeof f->ids - sizeof f->ids[0]);
        f->ids[IDS - 1] = id;
    }
}

static void learn(const struct stun_msg *m, enum stun_attr type, struct learned *to)
{
    struct slice value;
    if (stun_get_bytes(m, type, &value) == OK && value.len <= sizeof to->b) {
        memcpy(to->b, value.p, value.len);
        to->len = value.len;
    }
}

/* A bad token is good for nothing, and what a good one brings ends with it. */
static void check_claim(const struct fuzz *f, const struct stun_msg *m)
{
    uint32_t lifetime_s;
    if (f->claim == NO_TOKEN || m->cls != STUN_SUCCESS || m->method == STUN_BINDING) {
        return;
    }
    /* An Allocate that is answered at once is taken for one sent again: the first's answer. */
    bool is_fresh = m->method != STUN_ALLOCATE;
    if (f->claim == BAD_TOKEN || (is_fresh && !stun_get_u32(m, STUN_LIFETIME, &lifetime_s) &&
                                  lifetime_s > f->token_life_s)) {
        abort();
    }
}

static void read_sent(struct fuzz *f, struct slice sent)
{
    struct stun_msg m;
    uint64_t token;
    uint32_t cid;
    if (stun_parse(&m, sent, &stun_wire_rfc8489) ||
        (stun_has(&m, STUN_FINGERPRINT) && !stun_fingerprint_ok(&m))) {
        abort(); /* the server wrote what nobody can read */
    }
    check_claim(f, &m);
    learn(&m, STUN_NONCE, &f->nonce);
    learn(&m, STUN_PASSWORD_ALGORITHMS, &f->algorithms);
    learn(&m, STUN_MOBILITY_TICKET, &f->ticket);
    f->token = stun_get_u64(&m, STUN_RESERVATION_TOKEN, &token) ? f->token : token;
    f->cid = stun_get_u32(&m, STUN_CONNECTION_ID, &cid) ? f->cid : cid;
}

static void give_keys(struct fuzz *f, turn_id ticket, uint8_t how)
{
    struct turn_keys keys = {.n = 1, .until_ms = f->now_ms + 1000u * how};
    keys.key[0] = how % 8 == 3 ? mac_key : f->key;
    keys.ends_ms = how % 8 == 3 ? keys.until_ms : 0;
    keys.key[0].b[0] ^= how == 1;
    memcpy(keys.name, "turn", 4);
    keys.name_len = 4;
    turn_server_keys(f->s, f->now_ms, ticket, how == 2 ? NULL : &keys);
}

static void open_token(struct fuzz *f, const struct turn_ask *ask)
{
    struct turn_keys keys;
    const struct oauth_now now = {
        .unix_s = unix_s(f), .ms = f->now_ms, .name = slice_str("turn.example")};
    oauth_token_keys(&keys, &token_key, &now, ask->token);
    memcpy(keys.name, "turn", 4);
    keys.name_len = 4;
    turn_server_keys(f->s, f->now_ms, ask->ticket, &keys);
}

static void drain(struct fuzz *f)
{
    struct turn_action a;
    while (turn_server_next(f->s, &a)) {
        remember(f, a.relay);
        remember(f, a.peer_conn);
        f->n_relays += a.what == TURN_DO_RELAY_OPEN;
        f->n_relays += a.what == TURN_DO_RELAY_OPEN && a.open.reserve;
        f->n_relays -= a.what == TURN_DO_RELAY_OPEN && a.open.from;
        f->n_relays -= a.what == TURN_DO_RELAY_CLOSE;
        if (a.what == TURN_DO_SEND && a.head_len == 0) {
            read_sent(f, a.body);
        }
        if (a.what == TURN_DO_FIND_KEY && (f->flags & WITH_LATE_KEYS)) {
            remember(f, a.key.ticket);
        } else if (a.what == TURN_DO_FIND_KEY && a.key.token.len > 0) {
            open_token(f, &a.key);
        } else if (a.what == TURN_DO_FIND_KEY) {
            give_keys(f, a.key.ticket, 255);
        }
    }
}

static struct addr addr_from(struct fuzz *f)
{
    uint8_t v = rd_u8(&f->in);
    struct addr a = {
        .family = ADDR_IP4, .ip = {8, 8, 8, v & 3},
             .port = (uint16_t)(v >> 3)
    };
    if (v & 4) {
        a.family = ADDR_IP6;
        a.ip[0] = 0x20;
    }
    return a;
}

static struct turn_conn conn_from(struct fuzz *f)
{
    uint8_t v = rd_u8(&f->in);
    return (struct turn_conn){
  /* TCP, DTLS, plain UDP */
        .id = v & 1   ? 1u + (v >> 1) % CONNS
              : v & 2 ? 1u + CONNS + (v >> 2) % CONNS
                      : 0,
        .client = {.family = ADDR_IP4, .ip = {192, 0, 2, 1},    .port = v   },
        .local = {.family = ADDR_IP4, .ip = {198, 51, 100, 1}, .port = 3478},
        .transport = v & 1 ? TURN_TCP : TURN_UDP,
        .is_proven = v & 3,
        .dialect = v & 8 ? &turn_dialect_rfc5780 : &turn_dialect_rfc8656,
    };
}

static void put_learned(struct stun_writer *w, const struct learned *l, enum stun_attr type)
{
    if (l->len > 0) {
        stun_put_bytes(w, type, slice_of(l->b, l->len));
    }
}

/* One attribute, mostly a proper one. */
static void put_attr(struct fuzz *f, struct stun_writer *w)
{
    struct addr a;
    uint8_t what = rd_u8(&f->in) % 20;
    switch (what) {
    case 0: stun_put_u32(w, STUN_REQUESTED_TRANSPORT, TURN_UDP); break;
    case 1: stun_put_u32(w, STUN_REQUESTED_TRANSPORT, TURN_TCP); break;
    case 2: stun_put_u32(w, STUN_LIFETIME, rd_u8(&f->in) * 30u); break;
    case 3: stun_put_u32(w, STUN_REQUESTED_ADDRESS_FAMILY, rd_u8(&f->in) % 4); break;
    case 4: stun_put_u32(w, STUN_ADDITIONAL_ADDRESS_FAMILY, 1u + rd_u8(&f->in) % 3); break;
    case 5: stun_put_u32(w, STUN_EVEN_PORT, rd_u8(&f->in)); break;
    case 6: stun_put_u64(w, STUN_RESERVATION_TOKEN, f->token); break;
    case 7: stun_put_u32(w, STUN_CHANNEL_NUMBER, 0x4000u + rd_u8(&f->in) % 4); break;
    case 8: stun_put_u32(w, STUN_CONNECTION_ID, f->cid); break;
    case 9: stun_put_flag(w, STUN_DONT_FRAGMENT); break;
    case 10: stun_put_bytes(w, STUN_DATA, rd_take(&f->in, rd_u8(&f->in) % 16)); break;
    case 11:
        stun_put_bytes(w, STUN_MOBILITY_TICKET, slice_of(f->ticket.b, f->ticket.len));
        break;
    case 12: stun_put_bytes(w, STUN_MOBILITY_TICKET, slice_of(NULL, 0)); break;
    case 13: wr_bytes(&w->w, rd_take(&f->in, 4u * (rd_u8(&f->in) % 16))); break;
    default:
        a = addr_from(f);
        stun_put_addr(w, STUN_XOR_PEER_ADDRESS, &a);
        break;
    }
}

/* A proper one, one that somebody has changed, or the input's bytes; or none, as when
 * the allocation was made with one. */
static void put_token(struct fuzz *f, struct stun_writer *w, uint8_t how)
{
    static const uint8_t nonce[12] = {1};
    const struct oauth_token t = {
        .mac_key = mac_key, .made_unix_s = unix_s(f), .lifetime_s = (how >> 3) * 60u};
    uint8_t buf[OAUTH_TOKEN_MAX];
    struct wr out = wr_over(buf, sizeof buf);
    if (how % 4 == 0) {
        return;
    }
    if (oauth_token_seal(&t, &token_key, slice_str("turn.example"), nonce, &out)) {
        abort();
    }
    struct slice token = wr_done(&out);
    f->claim = how % 4 == 1 && t.lifetime_s > 0 ? GOOD_TOKEN : BAD_TOKEN;
    f->token_life_s = t.lifetime_s;
    if (how % 4 == 2) {
        buf[rd_u8(&f->in) % token.len] ^= (uint8_t)(1u << (how >> 5));
    } else if (how % 4 == 3) {
        token = rd_take(&f->in, how >> 2);
    }
    stun_put_bytes(w, STUN_ACCESS_TOKEN, token);
}

/* Method and attributes are the input's; what makes them authentic is ours. */
static struct slice sign(struct fuzz *f, uint8_t what, uint8_t *buf)
{
    uint8_t method = what & 15, n_attrs = what >> 5;
    bool shows_token = what & 16;
    struct stun_key key = shows_token ? mac_key : f->key;
    struct stun_writer w;
    struct stun_tid tid = {
        .len = 12, .b = {method, n_attrs}
    };
    struct slice out;
    /* Without a nonce it can only ask for one. */
    bool is_plain = method == STUN_SEND || method == STUN_BINDING || f->nonce.len == 0;
    stun_begin(&w, buf, FRAME_MAX, &stun_wire_rfc8489,
               method == STUN_SEND ? STUN_INDICATION : STUN_REQUEST, method, &tid);
    if (!is_plain && shows_token) { /* first, so that no other attribute can hide it */
        uint8_t how = rd_u8(&f->in);
        key.hash = how & 4 ? STUN_SHA256 : STUN_SHA1;
        put_token(f, &w, how);
    }
    for (uint8_t i = 0; i < n_attrs; i++) {
        put_attr(f, &w);
    }
    if (!is_plain && (f->flags & WITH_ANONYMITY)) {
        stun_put_bytes(&w, STUN_USERHASH, slice_of(f->userhash, sizeof f->userhash));
    } else if (!is_plain) {
        stun_put_bytes(&w, STUN_USERNAME, slice_str("turn"));
    }
    if (!is_plain) {
        stun_put_bytes(&w, STUN_REALM, slice_str("realm"));
        put_learned(&w, &f->nonce, STUN_NONCE);
        put_learned(&w, &f->algorithms, STUN_PASSWORD_ALGORITHMS);
        if (f->flags & WITH_SHA256) {
            stun_put_u32(&w, STUN_PASSWORD_ALGORITHM, (uint32_t)STUN_ALGORITHM_SHA256 << 16);
        }
        stun_put_integrity(&w, &key);
    }
    stun_put_fingerprint(&w);
    return stun_end(&w, &out) ? slice_of(NULL, 0) : out;
}

static struct dgram_opts opts_from(struct fuzz *f)
{
    uint8_t v = f->flags & WITH_DF ? rd_u8(&f->in) : 0;
    return (struct dgram_opts){.tos = v, .ttl = v & 3, .df = v & 4};
}

static void from_client(struct fuzz *f, bool is_signed)
{
    uint8_t buf[FRAME_MAX];
    struct turn_conn c = conn_from(f);
    uint8_t what = is_signed ? rd_u8(&f->in) : 0; /* method, token, how many attributes */
    f->claim = NO_TOKEN;
    struct slice frame = is_signed ? sign(f, what, buf) : rd_take(&f->in, rd_u8(&f->in));
    /* To the byte, so that one too far is seen. */
    uint8_t *exact = malloc(frame.len ? frame.len : 1);
    if (!exact) {
        return;
    }
    if (frame.len > 0) {
        memcpy(exact, frame.p, frame.len);
    }
    const struct dgram d = {.data = slice_of(exact, frame.len), .opts = opts_from(f)};
    if (turn_server_from_client(f->s, f->now_ms, &c, d) == OK) {
        drain(f);
    }
    f->claim = NO_TOKEN;
    free(exact);
}

static void use_pipe(struct fuzz *f, turn_id id)
{
    uint8_t v = rd_u8(&f->in);
    uint64_t again_ms;
    size_t room = turn_server_tcp_room(f->s, f->now_ms, id, v & 1, &again_ms);
    size_t n = room < v ? room : v;
    turn_server_tcp_took(f->s, f->now_ms, id, v & 1, n);
}

static void operate(struct fuzz *f, turn_id id, uint8_t what)
{
    static const struct turn_policy strict = {
        .deny = {{.base = {.family = ADDR_IP4, .ip = {8, 8, 8, 0}}, .bits = 31}}, .n_deny = 1};
    static const struct turn_policy open = {.n_own = 0};
    int err = what < 100 ? turn_server_kick(f->s, f->now_ms, id) : OK;
    if (err && err != ERR_NOTFOUND) {
        abort();
    }
    if (what >= 100 && what < 200) {
        turn_server_set_policy(f->s, what < 150 ? &strict : &open);
    } else if (what == 255) {
        turn_server_drain(f->s);
    }
}

/* An operator's view never shows more than there is. */
static void look(struct fuzz *f)
{
    struct turn_session is;
    struct turn_session_peer peer;
    struct turn_answers answers;
    struct turn_stats st = turn_server_stats(f->s);
    size_t n = 0, peers = 0;
    for (turn_id at = 0; turn_server_session_after(f->s, f->now_ms, at, &is); at = is.id) {
        n++;
        for (size_t i = 0; turn_server_session_peer(f->s, is.id, i, &peer); i++) {
            peers++;
        }
    }
    for (size_t i = 0; turn_server_answers(f->s, i, &answers); i++) {
    }
    if (n > st.allocations || peers > st.tcp_connections ||
        st.tcp_unbound > st.tcp_connections) {
        abort();
    }
}

static void step(struct fuzz *f)
{
    uint8_t what = rd_u8(&f->in);
    turn_id id = f->ids[what >> 4];
    struct addr a;
    switch (what & 15) {
    case 0: from_client(f, false); break;
    case 1:
    case 2:
    case 3: from_client(f, true); break;
    case 4:
        a = addr_from(f);
        if (turn_server_from_peer(
                f->s, f->now_ms, id, &a,
                (struct dgram){.data = rd_take(&f->in, 3), .opts = opts_from(f)})) {
            abort();
        }
        break;
    case 5:
    case 6:
        a = addr_from(f);
        turn_server_relay_opened(f->s, f->now_ms, id, a.port ? &a : NULL);
        break;
    case 7: turn_server_tcp_opened(f->s, f->now_ms, id, rd_u8(&f->in) & 1); break;
    case 8:
        a = addr_from(f);
        remember(f, turn_server_tcp_accepted(f->s, f->now_ms, id, &a));
        break;
    case 9: turn_server_tcp_closed(f->s, f->now_ms, id); break;
    case 10: turn_server_conn_gone(f->s, f->now_ms, 1u + (what >> 4) % (2u * CONNS)); break;
    case 11: f->now_ms += 1000u * rd_u8(&f->in); break;
    case 12: give_keys(f, id, rd_u8(&f->in)); break;
    case 13:
        a = addr_from(f);
        turn_server_from_icmp(f->s, f->now_ms, id, &a,
                              &(struct turn_icmp){.type = rd_u8(&f->in) % 13, .code = 4});
        break;
    case 14: use_pipe(f, id); break;
    default: operate(f, id, rd_u8(&f->in)); break;
    }
    drain(f);
    look(f);
    while (turn_server_deadline_ms(f->s) <= f->now_ms) {
        turn_server_tick(f->s, f->now_ms);
        drain(f);
    }
}

/* An hour later, and with every connection gone, nothing may be left. */
static void finish(struct fuzz *f)
{
    for (turn_id id = 1; id <= 2u * CONNS; id++) {
        turn_server_conn_gone(f->s, f->now_ms, id);
        drain(f);
    }
    for (size_t i = 0; i < IDS; i++) {
        give_keys(f, f->ids[i], 2);
        drain(f);
    }
    for (size_t i = 0; i < IDS; i++) {
        turn_server_relay_opened(f->s, f->now_ms, f->ids[i], NULL);
        drain(f);
    }
    f->now_ms += 4000000;
    while (turn_server_deadline_ms(f->s) <= f->now_ms) {
        turn_server_tick(f->s, f->now_ms);
        drain(f);
    }
    struct turn_stats st = turn_server_stats(f->s);
    /* A relay that never was answered, and is out of sight, stays: the caller's fault. */
    if (st.tcp_connections || st.tcp_unbound || st.permissions || st.channels ||
        f->n_relays < (int64_t)st.allocations) {
        abort();
    }
}

static struct turn_config config_of(uint8_t flags, const struct turn_policy *policy)
{
    struct turn_config cfg = {.realms = {slice_str("realm")},
                              .n_realms = 1,
                              .third_party = slice_str("turn.example"),
                              .software = slice_str("fuzz"),
                              .anonymity = flags & WITH_ANONYMITY,
                              .nonce_life_s = 600,
                              .max_allocations = 4,
                              .max_per_user = 3,
                              .max_unbound = 2,
                              .max_connections = 3,
                              .max_permissions = 3,
                              .max_channels = 2,
                              .max_unproven_per_s = 9,
                              .lifetime_default_s = 600,
                              .lifetime_max_s = 3600,
                              .mobility = flags & WITH_MOBILITY,
                              .tcp_accept_any = true,
                              .relay_ip4 = true,
                              .relay_ip6 = flags & WITH_IP6,
                              .can_df = flags & WITH_DF,
                              .policy = policy};
    if (flags & WITH_SHA256) {
        cfg.algorithms[cfg.n_algorithms++] = STUN_ALGORITHM_SHA256;
        cfg.algorithms[cfg.n_algorithms++] = STUN_ALGORITHM_MD5;
    }
    cfg.nat[0] = (struct turn_nat){
        .ip = {{.family = ADDR_IP4, .ip = {198, 51, 100, 1}},
               {.family = ADDR_IP4, .ip = {198, 51, 100, 2}}      },
        .port = {3478,                                          3479}
    };
    for (size_t i = 0; i < TURN_BANDWIDTHS && (flags & WITH_BANDWIDTH); i++) {
        cfg.bandwidth[i] = (struct bandwidth){.bytes_per_s = 2 + i, .burst = 20};
    }
    if (flags & WITH_LIMITS) {
        cfg.tcp = (struct turn_tcp_quota){
            .in_all = 4, .per_user = 3, .unbound_per_user = 2, .connects_per_s = 2};
        cfg.max_failures_per_s = 3;
        cfg.rate_prefix.ip4_bits = 24;
    }
    return cfg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct turn_policy policy = {.n_own = 0};
    struct fuzz f = {.in = rd_over(slice_of(data, size)), .now_ms = 1000};
    f.flags = rd_u8(&f.in);
    const struct turn_config cfg = config_of(f.flags, &policy);
    const struct turn_env env = {.random = steady, .unix_s = unix_s, .ctx = &f};
    enum stun_algorithm made =
        f.flags & WITH_SHA256 ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5;
    if (stun_key_made(&f.key, made, slice_str("turn"), cfg.realms[0], slice_str("secret")) ||
        stun_userhash(f.userhash, slice_str("turn"), cfg.realms[0]) ||
        turn_server_new(&f.s, &cfg, &env)) {
        return 0;
    }
    f.key.hash = f.flags & WITH_SHA256 ? STUN_SHA256 : STUN_SHA1;
    while (rd_left(&f.in) > 0) {
        step(&f);
    }
    finish(&f);
    turn_server_free(f.s);
    return 0;
}
