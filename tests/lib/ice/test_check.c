/* Single messages, byte for byte. */
#include "lib/ice/agent.h"

#include "tests/unit.h"

/* Made by another implementation: a nominating check of cmsX to Sk4B, and its answer. */
static const uint8_t request[] = {
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
    0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x00, 0x25, 0x00, 0x00, 0x00, 0x24, 0x00, 0x04,
    0x00, 0x64, 0x09, 0xff, 0x80, 0x2a, 0x00, 0x08, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
    0xcd, 0xef, 0x00, 0x06, 0x00, 0x0c, 0x53, 0x6b, 0x34, 0x42, 0x3a, 0x63, 0x6d, 0x73,
    0x58, 0x00, 0x00, 0x00, 0x80, 0x54, 0x00, 0x04, 0x33, 0x00, 0x00, 0x00, 0x80, 0x70,
    0x00, 0x04, 0x00, 0x00, 0x00, 0x02, 0x00, 0x08, 0x00, 0x14, 0xee, 0xb0, 0xde, 0xca,
    0x48, 0xe5, 0xdd, 0xf3, 0x9d, 0xe7, 0x58, 0x6b, 0xb5, 0xbc, 0x7c, 0xc3, 0xc2, 0xe0,
    0x4e, 0x6d, 0x80, 0x28, 0x00, 0x04, 0x86, 0x99, 0x86, 0x81};
static const uint8_t response[] = {
    0x01, 0x01, 0x00, 0x44, 0x21, 0x12, 0xa4, 0x42, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
    0x17, 0x18, 0x19, 0x1a, 0x1b, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0x7c, 0xd2, 0xe1, 0x12,
    0xa6, 0x5a, 0x00, 0x06, 0x00, 0x0c, 0x53, 0x6b, 0x34, 0x42, 0x3a, 0x63, 0x6d, 0x73, 0x58,
    0x00, 0x00, 0x00, 0x80, 0x70, 0x00, 0x04, 0x00, 0x00, 0x00, 0x02, 0x00, 0x08, 0x00, 0x14,
    0x38, 0x74, 0x07, 0x29, 0x2c, 0x39, 0xb5, 0xdb, 0x81, 0x71, 0x01, 0x23, 0xee, 0xaf, 0x9f,
    0xcd, 0x8e, 0x11, 0x3a, 0x62, 0x80, 0x28, 0x00, 0x04, 0xf8, 0xc9, 0xc9, 0x60};

struct one {
    struct ice_agent *a;
    ice_path path;
    struct ice_action act;
};

static void counting(void *out, size_t len, void *ctx)
{
    (void)ctx;
    memset(out, 1, len);
}

static int start(void **state)
{
    static struct one o;
    struct ice_env env = {counting, NULL};
    struct ice_config cfg = {.profile = &ice_profile_ms_ice2,
                             .local_ufrag = slice_str("Sk4B"),
                             .local_pwd = slice_str("PwdOfRemotePeer0123456789"),
                             .pace_ms = 50,
                             .check_ms = 2000,
                             .connect_ms = 2000,
                             .patience_ms = 10000,
                             .keepalive_ms = 25000};
    struct ice_cand c = {
        .addr = {ADDR_IP4, {10, 0, 0, 1}, 5},
          .tcp = ICE_PASSIVE
    };
    struct addr peer = {
        ADDR_IP4, {192, 0, 2, 24},
         24000
    };
    o = (struct one){0};
    assert_int_equal(ice_agent_new(&o.a, &cfg, &env), OK);
    assert_int_equal(ice_agent_add_local(o.a, &c), OK);
    o.path = ice_agent_accepted(o.a, 0, &c.addr, &peer);
    assert_true(o.path != 0);
    *state = &o;
    return 0;
}

static int stop(void **state)
{
    struct one *o = *state;
    ice_agent_free(o->a);
    return 0;
}

static bool next_send(struct one *o)
{
    while (ice_agent_next(o->a, &o->act)) {
        if (o->act.what == ICE_DO_SEND) {
            return true;
        }
    }
    return false;
}

static void feed(struct one *o, const void *p, size_t len)
{
    struct slice s = exact(p, len);
    assert_int_equal(ice_agent_recv(o->a, 0, o->path, s), OK);
    exact_free(s);
}

static void answers_the_worked_check_byte_for_byte(void **state)
{
    struct one *o = *state;
    feed(o, request, sizeof request); /* before the peer's description */
    assert_true(next_send(o));
    assert_true(slice_eq(o->act.data, slice_of(response, sizeof response)));
    assert_false(next_send(o));
    /* It counts as soon as the description is there: our check goes out, 104 bytes. */
    assert_int_equal(ice_agent_set_remote(o->a, 0, slice_str("cmsX"),
                                          slice_str("0123456789012345678901"), NULL, 0),
                     OK);
    assert_true(next_send(o));
    assert_int_equal(o->act.data.len, 104);
    struct stun_msg m;
    struct stun_key key;
    static const enum stun_attr order[] = {STUN_PRIORITY,
                                           STUN_ICE_CONTROLLED,
                                           STUN_USERNAME,
                                           STUN_CANDIDATE_IDENTIFIER,
                                           STUN_IMPLEMENTATION_VERSION,
                                           STUN_MESSAGE_INTEGRITY,
                                           STUN_FINGERPRINT};
    assert_int_equal(stun_parse(&m, o->act.data, &stun_wire_ms_ice2), OK);
    assert_int_equal(m.n_attrs, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(m.at[i].type, order[i]);
    }
    assert_int_equal(stun_key_short_term(&key, slice_str("0123456789012345678901")), OK);
    assert_int_equal(stun_check_integrity(&m, &key), OK);
    assert_true(stun_fingerprint_ok(&m));
}

struct shape {
    bool no_user, no_mac, no_print, bad_mac, bad_print, rfc, unknown, controlled;
    const char *user;
    uint64_t tie;
};

static struct slice make(const struct shape *f, uint8_t *buf, size_t cap)
{
    struct stun_writer s;
    struct slice out;
    struct stun_key key;
    struct stun_tid tid = {.len = 12};
    const struct stun_wire *wire = f->rfc ? &stun_wire_rfc8489 : &stun_wire_ms_ice2;
    assert_int_equal(stun_key_short_term(&key, slice_str("PwdOfRemotePeer0123456789")), OK);
    key.b[0] ^= f->bad_mac;
    stun_begin(&s, buf, cap, wire, STUN_REQUEST, STUN_BINDING, &tid);
    stun_put_u32(&s, STUN_PRIORITY, 7);
    stun_put_u64(&s, f->controlled ? STUN_ICE_CONTROLLED : STUN_ICE_CONTROLLING, f->tie);
    if (!f->no_user) {
        stun_put_bytes(&s, STUN_USERNAME, slice_str(f->user ? f->user : "Sk4B:cmsX"));
    }
    if (f->unknown) {
        wr_u32(&s.w, 0x7ffe0000);
    }
    if (!f->no_mac) {
        stun_put_integrity(&s, &key);
    }
    if (!f->no_print) {
        stun_put_fingerprint(&s);
    }
    assert_int_equal(stun_end(&s, &out), OK);
    buf[out.len - 1] ^= f->bad_print;
    return out;
}

static void wrong_checks_get_their_due(void **state)
{
    static const struct {
        struct shape f;
        int answer; /* 0: silence; 1: success */
    } row[] = {
        {{0},                   1  },
        {{.rfc = true},         1  },
        {{.no_user = true},     0  },
        {{.user = "Sk4BcmsX"},  0  },
        {{.user = "sk4B:cmsX"}, 0  },
        {{.user = "Sk4"},       0  },
        {{.no_print = true},    0  },
        {{.bad_print = true},   0  },
        {{.no_mac = true},      401},
        {{.bad_mac = true},     401},
        {{.unknown = true},     420},
        {{.controlled = true},  1  }, /* our tie-breaker is greater: we switch */
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct one *o = *state;
        uint8_t buf[256];
        struct stun_msg m;
        struct slice reason, s = make(&row[i].f, buf, sizeof buf);
        uint16_t code = 0;
        feed(o, s.p, s.len);
        bool sent = next_send(o);
        if (sent != (row[i].answer != 0)) {
            fail_msg("row %zu", i);
        }
        if (sent) {
            const struct stun_wire *wire =
                row[i].f.rfc ? &stun_wire_rfc8489 : &stun_wire_ms_ice2;
            assert_int_equal(stun_parse(&m, o->act.data, wire), OK);
            assert_int_equal(m.cls, row[i].answer == 1 ? STUN_SUCCESS : STUN_ERROR);
            if (row[i].answer != 1) {
                assert_int_equal(stun_get_error(&m, &code, &reason), OK);
                assert_int_equal(code, row[i].answer);
            } else {
                struct stun_key key;
                assert_int_equal(
                    stun_key_short_term(&key, slice_str("PwdOfRemotePeer0123456789")), OK);
                assert_int_equal(stun_check_integrity(&m, &key), OK); /* in the same form */
            }
        }
        assert_false(next_send(o));
        stop(state);
        start(state);
    }
}

/* The code of the answer to a check; 0: success. Our tie-breaker is 0x0101010101010101. */
static uint16_t code_for(struct one *o, const struct shape *f)
{
    uint8_t buf[256];
    struct stun_msg m;
    uint16_t code = 0;
    struct slice reason, s = make(f, buf, sizeof buf);
    feed(o, s.p, s.len);
    assert_true(next_send(o));
    assert_int_equal(stun_parse(&m, o->act.data, &stun_wire_ms_ice2), OK);
    return m.cls == STUN_ERROR && !stun_get_error(&m, &code, &reason) ? code : 0;
}

static void the_greater_tie_breaker_controls(void **state)
{
    struct one *o = *state;
    const struct shape low_controlled = {.controlled = true}, low_controlling = {0};
    const struct shape high_controlled = {.controlled = true, .tie = UINT64_MAX};
    const struct shape high_controlling = {.tie = UINT64_MAX};
    assert_int_equal(code_for(o, &high_controlled), 487); /* we are controlled as well */
    assert_int_equal(code_for(o, &low_controlled), 0);    /* now we control */
    assert_int_equal(code_for(o, &low_controlling), 487);
    assert_int_equal(code_for(o, &high_controlling), 0); /* and now not */
    assert_int_equal(code_for(o, &low_controlling), 0);
}

static void strangers_bytes_and_paths_are_bounded(void **state)
{
    struct one *o = *state;
    struct addr local =
                    {
                        ADDR_IP4, {10, 0, 0, 1},
                         5
    },
                peer = {ADDR_IP4, {192, 0, 2, 7}, 1};
    size_t n = 1, crowded_out = 0;
    feed(o, "\x80\x7f data of nobody", 18);
    while (ice_agent_next(o->a, &o->act)) {
        assert_int_not_equal(o->act.what, ICE_DO_DATA);
    }
    for (; n < 1000 && ice_agent_accepted(o->a, 0, &local, &peer) != 0; n++) {
        while (ice_agent_next(o->a, &o->act)) {
            if (o->act.what == ICE_DO_CLOSE && crowded_out++ == 0) {
                assert_int_equal(o->act.path, o->path); /* the oldest goes first */
            }
        }
    }
    assert_int_equal(n, 1000);
    assert_int_equal(n - crowded_out, ICE_PATHS_MAX);
    /* Who never says anything is closed, and the places are free again. */
    ice_agent_tick(o->a, ice_agent_deadline_ms(o->a));
    size_t closed = 0;
    while (ice_agent_next(o->a, &o->act)) {
        closed += o->act.what == ICE_DO_CLOSE;
    }
    assert_int_equal(closed, ICE_PATHS_MAX);
    assert_true(ice_agent_accepted(o->a, 20000, &local, &peer) != 0);
}

static void strangers_do_not_crowd_out_the_peer(void **state)
{
    struct one *o = *state;
    struct addr local =
                    {
                        ADDR_IP4, {10, 0, 0, 1},
                         5
    },
                peer = {ADDR_IP4, {192, 0, 2, 7}, 1};
    feed(o, request, sizeof request);
    for (size_t n = 0; n < 4 * ICE_PATHS_MAX; n++) {
        assert_true(ice_agent_accepted(o->a, 0, &local, &peer) != 0);
        while (ice_agent_next(o->a, &o->act)) {
            assert_false(o->act.what == ICE_DO_CLOSE && o->act.path == o->path);
        }
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(answers_the_worked_check_byte_for_byte),
        CASE(wrong_checks_get_their_due),
        CASE(the_greater_tie_breaker_controls),
        CASE(strangers_bytes_and_paths_are_bounded),
        CASE(strangers_do_not_crowd_out_the_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
