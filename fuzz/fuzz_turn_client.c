/* A hostile TURN server: its input's bytes are events, messages, and answers that fit. */
#include <stdlib.h>

#include "lib/turn/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct turn_client *c;
    struct stun_key key;
    struct stun_tid tid; /* of the last request */
    uint16_t method;
    turn_data data;
    bool on_data;
    uint8_t seed;
};

static void fill(void *out, size_t len, void *ctx)
{
    struct run *r = ctx;
    memset(out, ++r->seed, len);
}

static void drain(struct run *r)
{
    struct turn_client_action a;
    bool failed = false;
    while (turn_client_next(r->c, &a)) {
        struct stun_msg m;
        if (failed) {
            abort(); /* FAILED is the last */
        }
        failed = a.what == TURN_CLIENT_FAILED;
        r->data = a.data ? a.data : r->data;
        if (a.bytes.len > 0) {
            if (stun_parse(&m, a.bytes, &stun_wire_rfc8489)) {
                abort();
            }
            if (m.cls == STUN_REQUEST) {
                r->tid = m.tid;
                r->method = m.method;
                r->on_data = a.what == TURN_CLIENT_SEND_DATA;
            }
        }
    }
}

static void give(struct run *r, uint64_t now_ms, struct slice bytes, bool on_data)
{
    size_t used;
    int err = on_data ? turn_client_data_recv(r->c, now_ms, r->data, bytes, &used)
                      : turn_client_recv(r->c, now_ms, bytes, &used);
    if (used > bytes.len) {
        abort();
    }
    (void)err;
}

/* An answer to the last request, right but for what `kind` says. */
static void answer(struct run *r, uint64_t now_ms, uint8_t kind, uint8_t value)
{
    static const uint16_t code[] = {0, 401, 438, 437, 300, 403, 447, 0};
    uint8_t buf[512];
    struct stun_writer s;
    struct slice out;
    struct addr a = {
        ADDR_IP4, {10, 0, 0, 1},
         value
    };
    uint16_t err = code[kind % 8];
    stun_begin(&s, buf, sizeof buf, &stun_wire_rfc8489, err ? STUN_ERROR : STUN_SUCCESS,
               r->method, &r->tid);
    if (err) {
        stun_put_error(&s, err, "no");
        stun_put_bytes(&s, STUN_REALM, slice_str("r"));
        stun_put_bytes(&s, STUN_NONCE, slice_str("n"));
    } else {
        stun_put_addr(&s, STUN_XOR_RELAYED_ADDRESS, &a);
        stun_put_u32(&s, STUN_LIFETIME, value);
        stun_put_u32(&s, STUN_CONNECTION_ID, value);
        stun_put_integrity(&s, &r->key);
    }
    if (!stun_end(&s, &out)) {
        give(r, now_ms, out, r->on_data);
    }
}

static void step(struct run *r, uint64_t *now_ms, struct rd *in)
{
    uint8_t op = rd_u8(in), value = rd_u8(in);
    struct addr peer = {
        ADDR_IP4, {10, 0, 0, value},
         1
    };
    turn_data made;
    switch (op % 9) {
    case 0:
        *now_ms += (uint64_t)value * 500;
        turn_client_tick(r->c, *now_ms);
        break;
    case 1:
        give(r, *now_ms, rd_take(in, value < rd_left(in) ? value : rd_left(in)), false);
        break;
    case 2:
        give(r, *now_ms, rd_take(in, value < rd_left(in) ? value : rd_left(in)), true);
        break;
    case 3: turn_client_data_opened(r->c, *now_ms, r->data, value & 1); break;
    case 4: turn_client_data_closed(r->c, *now_ms, r->data); break;
    case 5:
        if (!turn_client_connect(r->c, *now_ms, &peer, &made)) {
            r->data = made;
        }
        break;
    case 6:
        if (turn_client_permit(r->c, *now_ms, &peer, 1)) {
            turn_client_release(r->c, *now_ms);
        }
        break;
    default: answer(r, *now_ms, op / 9, value); break;
    }
    drain(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {0};
    uint64_t now_ms = 0;
    struct turn_client_env env = {fill, &r};
    struct turn_client_config cfg = {.username = slice_str("u"),
                                     .password = slice_str("p"),
                                     .lifetime_s = 600,
                                     .keepalive_ms = 5000,
                                     .answer_ms = 10000,
                                     .max_data = 3};
    struct rd in = rd_over(slice_of(data, size));
    if (turn_client_new(&r.c, &cfg, &env) ||
        stun_key_long_term(&r.key, slice_str("u"), slice_str("r"), slice_str("p"))) {
        abort();
    }
    turn_client_start(r.c, now_ms);
    drain(&r);
    while (rd_left(&in) > 0) {
        step(&r, &now_ms, &in);
    }
    turn_client_free(r.c);
    return 0;
}
