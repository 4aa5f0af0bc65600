/* A hostile ICE peer: its input's bytes are events, packets, and checks that are right. */
#include <stdlib.h>

#include "lib/ice/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct ice_agent *a;
    struct stun_key ours, theirs;
    struct stun_tid tid; /* of the agent's last check */
    ice_path path[4];    /* the last ones */
    unsigned n_paths;
    uint8_t seed;
};

static void fill(void *out, size_t len, void *ctx)
{
    struct run *r = ctx;
    memset(out, ++r->seed, len);
}

static void drain(struct run *r)
{
    struct ice_action a;
    bool failed = false;
    while (ice_agent_next(r->a, &a)) {
        struct stun_msg m;
        if (failed) {
            abort();
        }
        failed = a.what == ICE_DO_FAILED;
        if (a.what == ICE_DO_CONNECT) {
            r->path[r->n_paths++ % 4] = a.path;
        }
        if (a.what == ICE_DO_SEND) {
            if (stun_parse(&m, a.data, &stun_wire_ms_ice2)) {
                abort();
            }
            r->tid = m.cls == STUN_REQUEST ? m.tid : r->tid;
        }
    }
}

static void send_stun(struct run *r, uint64_t now_ms, ice_path path, uint8_t kind)
{
    uint8_t buf[512];
    struct stun_writer s;
    struct slice out;
    struct addr a = {
        ADDR_IP4, {10, 0, 0, 1},
         5
    };
    bool asks = kind & 1;
    struct stun_tid tid = {.len = 12};
    stun_begin(&s, buf, sizeof buf, kind & 2 ? &stun_wire_ms_ice2 : &stun_wire_rfc8489,
               asks          ? STUN_REQUEST
               : (kind & 48) ? STUN_SUCCESS
                             : STUN_ERROR,
               STUN_BINDING, asks ? &tid : &r->tid);
    if (asks) {
        if (kind & 4) {
            stun_put_flag(&s, STUN_USE_CANDIDATE);
        }
        stun_put_u32(&s, STUN_PRIORITY, kind);
        stun_put_u64(&s, kind & 8 ? STUN_ICE_CONTROLLED : STUN_ICE_CONTROLLING,
                     kind & 16 ? UINT64_MAX : 0);
        stun_put_bytes(&s, STUN_USERNAME, slice_str("ours:them"));
    } else if (!(kind & 48)) {
        stun_put_error(&s, kind & 4 ? 487 : 400, "no");
    }
    stun_put_addr(&s, STUN_XOR_MAPPED_ADDRESS, &a);
    stun_put_integrity(&s, asks ? &r->ours : &r->theirs);
    stun_put_fingerprint(&s);
    if (!stun_end(&s, &out) && ice_agent_recv(r->a, now_ms, path, out)) {
        r->n_paths += 0; /* the path is gone: fine */
    }
}

static void step(struct run *r, uint64_t *now_ms, struct rd *in)
{
    uint8_t op = rd_u8(in), value = rd_u8(in);
    ice_path path = r->path[op / 8 % 4];
    struct addr local =
                    {
                        ADDR_IP4, {10, 0, 0, 1},
                         5
    },
                remote = {ADDR_IP4, {10, 1, 0, value}, 9};
    struct ice_cand cand = {
        .addr = remote, .base = remote, .priority = value, .component = 1, .tcp = value % 3};
    struct slice s;
    switch (op % 8) {
    case 0:
        *now_ms += (uint64_t)value * 20;
        ice_agent_tick(r->a, *now_ms);
        break;
    case 1:
        r->path[r->n_paths++ % 4] = ice_agent_accepted(r->a, *now_ms, &local, &remote);
        break;
    case 2: ice_agent_connected(r->a, *now_ms, path, value & 1); break;
    case 3: ice_agent_closed(r->a, *now_ms, path); break;
    case 4:
        s = rd_take(in, value < rd_left(in) ? value : rd_left(in));
        if (ice_agent_recv(r->a, *now_ms, path, s)) {
            *now_ms += 1;
        }
        break;
    case 5:
        if (ice_agent_set_remote(r->a, *now_ms, slice_str("them"),
                                 slice_str("their-password-01234567"), &cand, 1)) {
            abort();
        }
        break;
    default: send_stun(r, *now_ms, path, value); break;
    }
    drain(r);
    if (ice_agent_deadline_ms(r->a) < *now_ms) {
        ice_agent_tick(r->a, *now_ms);
        drain(r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {0};
    uint64_t now_ms = 0;
    struct ice_env env = {fill, &r};
    struct ice_config cfg = {.profile = &ice_profile_ms_ice2,
                             .local_ufrag = slice_str("ours"),
                             .local_pwd = slice_str("our-password-0123456789"),
                             .controlling = size % 2,
                             .pace_ms = 50,
                             .check_ms = 1000,
                             .connect_ms = 1000,
                             .patience_ms = 10000,
                             .keepalive_ms = 25000};
    struct rd in = rd_over(slice_of(data, size));
    if (ice_agent_new(&r.a, &cfg, &env) || stun_key_short_term(&r.ours, cfg.local_pwd) ||
        stun_key_short_term(&r.theirs, slice_str("their-password-01234567"))) {
        abort();
    }
    for (int i = 0; i < 2; i++) {
        struct ice_cand c = {
            .addr = {ADDR_IP4, {10, 0, 0, 1}, 5},
              .tcp = i ? ICE_ACTIVE : ICE_PASSIVE
        };
        if (ice_agent_add_local(r.a, &c)) {
            abort();
        }
    }
    while (rd_left(&in) > 0) {
        step(&r, &now_ms, &in);
    }
    ice_agent_free(r.a);
    return 0;
}
