/* Any sequence of events on a TURN server: frames from clients (signed, when the input says so,
 * with the right key and nonce), datagrams, connections that come, open and end, in any order
 * and with ids that may be long gone; and time. What is opened must be closed in the end. */
#include <stdlib.h>

#include "lib/base/crypto.h"

#include "lib/turn/dialect.h"
#include "lib/turn/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    IDS = 16,
    CONNS = 4,
    FRAME_MAX = 1024
};

struct fuzz {
    struct turn_server *s;
    struct rd in;
    uint64_t now_ms;
    struct stun_key key;
    uint8_t nonce[64];
    size_t nonce_len;
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

static void learn_nonce(struct fuzz *f, struct slice sent)
{
    struct stun_msg m;
    struct slice nonce;
    if (stun_parse(&m, sent, &stun_wire_rfc8489) ||
        (stun_has(&m, STUN_FINGERPRINT) && !stun_fingerprint_ok(&m))) {
        abort(); /* the server wrote what nobody can read */
    }
    if (stun_get_bytes(&m, STUN_NONCE, &nonce) == OK && nonce.len <= sizeof f->nonce) {
        memcpy(f->nonce, nonce.p, nonce.len);
        f->nonce_len = nonce.len;
    }
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
            learn_nonce(f, a.body);
        }
        if (a.what == TURN_DO_FIND_KEY) {
            turn_server_key(f->s, f->now_ms, a.key.ticket, &f->key);
        }
    }
}

static struct addr addr_from(struct fuzz *f)
{
    uint8_t v = rd_u8(&f->in);
    struct addr a = {
        .family = ADDR_IP4, .ip = {8, 8, 8, v & 3},
             .port = (uint16_t)(v >> 2)
    };
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
        .dialect = &turn_dialect_rfc8656,
    };
}

/* Method and attributes are the input's; what makes them authentic is ours. */
static struct slice sign(struct fuzz *f, uint8_t method, struct slice attrs, uint8_t *buf)
{
    struct stun_writer w;
    struct stun_tid tid = {
        .len = 12, .b = {method, (uint8_t)attrs.len}
    };
    struct slice out;
    stun_begin(&w, buf, FRAME_MAX, &stun_wire_rfc8489, STUN_REQUEST, method, &tid);
    wr_bytes(&w.w, slice_of(attrs.p, attrs.len & ~(size_t)3));
    stun_put_bytes(&w, STUN_USERNAME, slice_str("turn"));
    stun_put_bytes(&w, STUN_REALM, slice_str("realm"));
    stun_put_bytes(&w, STUN_NONCE, slice_of(f->nonce, f->nonce_len));
    stun_put_integrity(&w, &f->key);
    stun_put_fingerprint(&w);
    return stun_end(&w, &out) ? slice_of(NULL, 0) : out;
}

static void from_client(struct fuzz *f, bool is_signed)
{
    uint8_t buf[FRAME_MAX];
    struct turn_conn c = conn_from(f);
    uint8_t method = is_signed ? rd_u8(&f->in) & 15 : 0;
    struct slice raw = rd_take(&f->in, rd_u8(&f->in));
    struct slice frame = is_signed ? sign(f, method, raw, buf) : raw;
    /* To the byte, so that one too far is seen. */
    uint8_t *exact = malloc(frame.len ? frame.len : 1);
    if (!exact) {
        return;
    }
    if (frame.len > 0) {
        memcpy(exact, frame.p, frame.len);
    }
    if (turn_server_from_client(f->s, f->now_ms, &c, dgram_of(slice_of(exact, frame.len))) ==
        OK) {
        drain(f);
    }
    free(exact);
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
        if (turn_server_from_peer(f->s, f->now_ms, id, &a, dgram_of(rd_take(&f->in, 3)))) {
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
    default: break;
    }
    drain(f);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct turn_policy policy = {.n_own = 0};
    struct fuzz f = {.in = rd_over(slice_of(data, size)), .now_ms = 1000};
    struct turn_config cfg = {.realms = {slice_str("realm")},
                              .n_realms = 1,
                              .software = slice_str("fuzz"),
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
                              .tcp_accept_any = true,
                              .relay_ip4 = true,
                              .policy = &policy};
    const struct turn_env env = {.random = steady, .unix_s = unix_s, .ctx = &f};
    if (stun_key_long_term(&f.key, slice_str("turn"), cfg.realms[0], slice_str("secret")) ||
        turn_server_new(&f.s, &cfg, &env)) {
        return 0;
    }
    while (rd_left(&f.in) > 0) {
        step(&f);
    }
    finish(&f);
    turn_server_free(f.s);
    return 0;
}
