/* The RFCs' spelling: every truncation, every output that is too small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/turn/dialect.h"

static const struct stun_tid tid = {
    .b = {1, 2, 3},
      .len = 12
};
static const struct addr peer = {
    .family = ADDR_IP6, .ip = {0x20, 1, [15] = 1},
         .port = 7000
};
static const struct stun_key key = {.b = "key", .len = 3};

static struct slice request(uint8_t *buf, size_t cap)
{
    struct stun_writer w;
    struct slice out;
    stun_begin(&w, buf, cap, &stun_wire_rfc8489, STUN_REQUEST, STUN_CHANNEL_BIND, &tid);
    stun_put_u32(&w, STUN_CHANNEL_NUMBER, 0x4001);
    stun_put_addr(&w, STUN_XOR_PEER_ADDRESS, &peer);
    stun_put_u32(&w, STUN_EVEN_PORT, 0x80);
    stun_put_bytes(&w, STUN_USERNAME, slice_str("turn"));
    stun_put_integrity(&w, &key);
    stun_put_fingerprint(&w);
    assert_int_equal(stun_end(&w, &out), OK);
    return out;
}

static uint16_t read_exact(struct slice in, struct turn_req *req)
{
    uint8_t *exact = malloc(in.len ? in.len : 1);
    assert_non_null(exact);
    if (in.len > 0) {
        memcpy(exact, in.p, in.len);
    }
    uint16_t code = turn_dialect_rfc8656.read(req, slice_of(exact, in.len));
    free(exact);
    return code;
}

static void a_request_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct slice in = request(buf, sizeof buf);
    struct turn_req req;
    for (size_t n = 0; n < in.len; n++) {
        assert_int_equal(read_exact(slice_of(in.p, n), &req), 1);
    }
    assert_int_equal(turn_dialect_rfc8656.read(&req, in), 0);
    assert_int_equal(req.op, TURN_OP_CHANNEL);
    assert_int_equal(req.channel, 0x4001);
    assert_true(req.has_peer && addr_eq(&req.peer, &peer));
    assert_true(req.even_port && req.reserve_next && req.has_integrity && !req.has_lifetime);
    assert_true(slice_eq(req.username, slice_str("turn")));
    buf[in.len - 1] ^= 1; /* FINGERPRINT */
    assert_int_equal(turn_dialect_rfc8656.read(&req, in), 1);
}

static void channel_data_may_not_claim_more_than_there_is(void **state)
{
    (void)state;
    static const uint8_t in[] = {0x40, 0x01, 0, 3, 'a', 'b', 'c'};
    struct turn_req req;
    for (size_t n = 0; n < sizeof in; n++) {
        assert_int_equal(read_exact(slice_of(in, n), &req), 1);
    }
    assert_int_equal(turn_dialect_rfc8656.read(&req, slice_of(in, sizeof in)), 0);
    assert_true(req.channel == 0x4001 && slice_eq(req.data, slice_str("abc")));
}

/* Writes with room for `cap` bytes, in a block of just that size. */
static int write_into(size_t cap, int which, size_t *len)
{
    uint8_t *exact = malloc(cap ? cap : 1);
    assert_non_null(exact);
    struct wr w = wr_over(exact, cap);
    struct turn_req req = {
        .msg = {.wire = &stun_wire_rfc8489, .tid = tid, .method = STUN_ALLOCATE}
    };
    struct turn_reply reply = {.mapped = peer,
                               .relayed = {peer, peer},
                               .missing = {.family = ADDR_IP6, .code = 508},
                               .missing_reason = "None",
                               .peer = peer,
                               .has_lifetime = true,
                               .has_connection_id = true,
                               .reason = "No",
                               .nonce = slice_str("nonce"),
                               .realm = slice_str("realm"),
                               .software = slice_str("software")};
    struct turn_data_head d = {.tid = &tid, .peer = &peer, .len = 5};
    size_t tail;
    int err = 0;
    switch (which) {
    case 1: reply.code = 420; /* fall through */
    case 0: err = turn_dialect_rfc8656.write(&w, &req, &reply, &key); break;
    case 2: err = turn_dialect_rfc8656.write_attempt(&w, &tid, &reply, &key); break;
    case 3: d.channel = 0x4000; /* fall through */
    default: err = turn_dialect_rfc8656.write_data_head(&w, &d, &tail); break;
    }
    *len = w.len;
    free(exact);
    return err;
}

static void an_output_that_is_too_small_is_refused(void **state)
{
    (void)state;
    for (int which = 0; which < 5; which++) {
        size_t need, len;
        assert_int_equal(write_into(512, which, &need), OK);
        assert_true(need >= 4 && (which < 3 || need <= 48));
        for (size_t cap = 0; cap < need; cap++) {
            assert_int_not_equal(write_into(cap, which, &len), OK);
        }
        assert_int_equal(write_into(need, which, &len), OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_whole_or_not_at_all),
        cmocka_unit_test(channel_data_may_not_claim_more_than_there_is),
        cmocka_unit_test(an_output_that_is_too_small_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
