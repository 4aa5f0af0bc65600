/* Any bytes as a STUN message, on each wire: read all of it, write its answer. */
#include <stdlib.h>

#include "lib/stun/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct stun_msg *m)
{
    struct stun_key key;
    struct slice bytes;
    struct addr a;
    uint32_t v;
    uint64_t w;
    uint16_t code;
    for (int i = 0; i < STUN_ATTR_COUNT; i++) {
        enum stun_attr type = (enum stun_attr)i;
        enum stun_kind kind = m->wire->attrs[i].kind;
        int err = stun_get_bytes(m, type, &bytes);
        if ((err == OK) != stun_has(m, type)) {
            abort();
        }
        if (kind == STUN_KIND_ADDR || kind == STUN_KIND_XOR_ADDR) {
            for (size_t n = 0; stun_get_nth_addr(m, type, n, &a) == OK; n++) {
            }
        }
        err = kind == STUN_KIND_U64 ? stun_get_u64(m, type, &w) : stun_get_u32(m, type, &v);
        (void)err;
    }
    (void)!stun_get_error(m, &code, &bytes);
    if (stun_key_short_term(&key, slice_str("password")) == OK) {
        (void)!stun_check_integrity(m, &key);
    }
    (void)stun_fingerprint_ok(m);
}

static void answer(const struct stun_msg *m)
{
    uint8_t buf[256];
    struct stun_writer s;
    struct stun_msg back;
    struct slice out;
    stun_begin(&s, buf, sizeof buf, m->wire, STUN_ERROR, m->method, &m->tid);
    stun_put_error(&s, 420, "Unknown Attribute");
    stun_put_unknown(&s, m);
    stun_put_fingerprint(&s);
    /* What we write we must be able to read. */
    if (stun_end(&s, &out) == OK &&
        (stun_parse(&back, out, m->wire) || !stun_fingerprint_ok(&back))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct stun_wire *const wires[] = {&stun_wire_rfc8489, &stun_wire_ms_ice2};
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        struct stun_msg m;
        if (stun_parse(&m, slice_of(data, size), wires[i]) == OK) {
            read_all(&m);
            answer(&m);
        }
    }
    return 0;
}
