/* STUN messages: a checked view over received bytes, and a writer.
 * Neither allocates; a view lives no longer than the bytes under it. */
#pragma once

#include "lib/base/addr.h"
#include "lib/base/wire.h"

enum {
    STUN_HEADER_LEN = 20,
    STUN_TID_MAX = 16, /* 12 on the RFC 8489 wire, 16 where there is no cookie */
    STUN_ATTRS_MAX = 32,
    STUN_KEY_MAX = 64,
    STUN_COOKIE = 0x2112A442
};

enum stun_class {
    STUN_REQUEST,
    STUN_INDICATION,
    STUN_SUCCESS,
    STUN_ERROR
};

enum stun_method {
    STUN_BINDING = 0x001,
    STUN_ALLOCATE = 0x003,
    STUN_REFRESH = 0x004,
    STUN_SEND = 0x006,
    STUN_DATA_IND = 0x007,
    STUN_CREATE_PERMISSION = 0x008,
    STUN_CHANNEL_BIND = 0x009,
    STUN_CONNECT = 0x00A,
    STUN_CONNECTION_BIND = 0x00B,
    STUN_CONNECTION_ATTEMPT = 0x00C
};

/* The attributes by name. Their code points are the wire's affair: see stun_wire. */
enum stun_attr {
#define ATTR(name, code, kind, min, max, note) STUN_##name,
#include "lib/stun/attr.def"
#undef ATTR
    STUN_ATTR_COUNT,
    STUN_UNKNOWN = STUN_ATTR_COUNT
};

enum stun_kind {
    STUN_KIND_FLAG,
    STUN_KIND_U8,
    STUN_KIND_U8_RFFU, /* one byte, then three reserved ones */
    STUN_KIND_CHANNEL, /* two bytes, then two reserved ones */
    STUN_KIND_U32,
    STUN_KIND_U64,
    STUN_KIND_ADDR,
    STUN_KIND_XOR_ADDR,
    STUN_KIND_TEXT,
    STUN_KIND_BYTES,
    STUN_KIND_WORDS, /* bytes, as many as divide by 4 */
    STUN_KIND_ERROR,
    STUN_KIND_U16_LIST
};

struct stun_attr_desc {
    const char *name; /* as in attr.def, "XOR_PEER_ADDRESS" */
    uint16_t code;
    uint16_t min_len, max_len; /* of the value, in bytes */
    enum stun_kind kind;
};

/* How one dialect puts messages on the wire. All that differs is data in here, so nothing
 * else in the tree asks which dialect it is speaking. */
struct stun_wire {
    const char *name;
    const struct stun_attr_desc *attrs; /* STUN_ATTR_COUNT entries, indexed by stun_attr */
    uint32_t header_cookie;             /* 0: bytes 4-7 belong to the transaction id */
    uint8_t integrity_block;            /* HMAC input is zero-padded to this; 1: as it is */
    bool length_has_padding;            /* a text attribute's length counts its padding */
    bool integrity_sees_fingerprint;    /* the length under the HMAC counts FINGERPRINT */
};
extern const struct stun_wire stun_wire_rfc8489;
extern const struct stun_wire stun_wire_rfc5780; /* of a server that does NAT discovery */
extern const struct stun_wire stun_wire_ms_ice2;

/* Of the RFCs' table, with all that some wire knows. */
const struct stun_attr_desc *stun_attr_desc(enum stun_attr type);
/* "Allocate", "ConnectionAttempt", ...; NULL when unknown. */
const char *stun_method_name(uint16_t method);
/* "Request", "Indication", "Success Response", "Error Response". */
const char *stun_class_name(enum stun_class cls);

struct stun_tid {
    uint8_t b[STUN_TID_MAX];
    uint8_t len;
};

enum stun_hash {
    STUN_SHA1,
    STUN_SHA256
};

/* What makes a long-term key of a password; the numbers are PASSWORD-ALGORITHM's (RFC 8489
 * 18.5.1). */
enum stun_algorithm {
    STUN_ALGORITHM_NONE, /* a short-term key */
    STUN_ALGORITHM_MD5,
    STUN_ALGORITHM_SHA256
};

struct stun_key {
    uint8_t b[STUN_KEY_MAX];
    uint8_t len;
    uint8_t hash;      /* enum stun_hash: which HMAC to sign with */
    uint8_t algorithm; /* enum stun_algorithm */
};

struct stun_at {
    uint16_t type; /* enum stun_attr, or STUN_UNKNOWN */
    uint16_t code; /* as received */
    struct slice value;
};

struct stun_msg {
    const struct stun_wire *wire;
    struct slice raw;
    struct stun_tid tid;
    enum stun_class cls;
    uint16_t method;
    uint16_t n_attrs, n_unknown; /* unknown: comprehension-required, in `at` as well */
    uint16_t covered; /* attributes [0, covered) are under the first integrity attribute, or all
                         of them when there is none: the rest is not looked at */
    uint16_t integrity,
        integrity_sha256; /* places in `at` that count, counted from 1; 0: none */
    bool has_misfit; /* a known attribute's value has a wrong size; it counts as unknown */
    struct stun_at at[STUN_ATTRS_MAX];
};

/* Can these bytes be the head of a STUN message? Needs 8 bytes to be sure; says no as soon as
 * it can (RFC 8489 6: two zero bits, the cookie, a length that divides by 4). */
bool stun_looks_like(struct slice head);

/* Checks header, lengths, padding and every known attribute's size.
 * ERR_SHORT, ERR_MALFORMED, or ERR_LIMIT when there are more than STUN_ATTRS_MAX.
 * ERR_MALFORMED with has_misfit: nothing else is wrong, and `m` can be used to answer it. */
MUST_USE int stun_parse(struct stun_msg *m, struct slice datagram,
                        const struct stun_wire *wire);

/* First of `type` the sender vouched for; ERR_NOTFOUND if there is none. */
MUST_USE int stun_get_u32(const struct stun_msg *m, enum stun_attr type, uint32_t *out);
MUST_USE int stun_get_u64(const struct stun_msg *m, enum stun_attr type, uint64_t *out);
MUST_USE int stun_get_addr(const struct stun_msg *m, enum stun_attr type, struct addr *out);
MUST_USE int stun_get_bytes(const struct stun_msg *m, enum stun_attr type, struct slice *out);
MUST_USE int stun_get_error(const struct stun_msg *m, uint16_t *code, struct slice *reason);
/* ADDRESS-ERROR-CODE: why there is no relay of this family. */
MUST_USE int stun_get_addr_error(const struct stun_msg *m, uint8_t *family, uint16_t *code);
bool stun_has(const struct stun_msg *m, enum stun_attr type);
/* The n-th address of `type`, from 0. */
MUST_USE int stun_get_nth_addr(const struct stun_msg *m, enum stun_attr type, size_t n,
                               struct addr *out);

/* Constant time. MESSAGE-INTEGRITY-SHA256 where there is one, and then nothing else (RFC 8489
 * 9.2.4); MESSAGE-INTEGRITY otherwise. ERR_AUTH if the HMAC is wrong or not whole, ERR_NOTFOUND
 * if there is none. */
MUST_USE int stun_check_integrity(const struct stun_msg *m, const struct stun_key *key);
/* The same for a usage that lets MESSAGE-INTEGRITY-SHA256 be cut to `least` bytes, 16 or more
 * (RFC 8489 14.6). TURN and ICE do not. */
MUST_USE int stun_check_integrity_cut(const struct stun_msg *m, const struct stun_key *key,
                                      size_t least);
static inline bool stun_is_signed(const struct stun_msg *m)
{
    return m->integrity || m->integrity_sha256;
}
/* True when it is there, last, and right. */
bool stun_fingerprint_ok(const struct stun_msg *m);

/* The long-term key, MD5(username ":" realm ":" password) (RFC 8489 9.2.2). */
MUST_USE int stun_key_long_term(struct stun_key *out, struct slice username, struct slice realm,
                                struct slice password);
/* The same made with MD5 or SHA-256 (RFC 8489 18.5.1). */
MUST_USE int stun_key_made(struct stun_key *out, enum stun_algorithm algorithm,
                           struct slice username, struct slice realm, struct slice password);
/* The short-term key: the password itself (RFC 8489 9.1.1). ERR_LIMIT when it is too long. */
MUST_USE int stun_key_short_term(struct stun_key *out, struct slice password);

struct stun_writer {
    struct wr w;
    const struct stun_wire *wire;
    struct stun_tid tid;
};

void stun_begin(struct stun_writer *s, uint8_t *buf, size_t cap, const struct stun_wire *wire,
                enum stun_class cls, uint16_t method, const struct stun_tid *tid);
void stun_put_flag(struct stun_writer *s, enum stun_attr type);
/* Also for the kinds U8, U8_RFFU and CHANNEL: the table knows the layout. */
void stun_put_u32(struct stun_writer *s, enum stun_attr type, uint32_t v);
void stun_put_u64(struct stun_writer *s, enum stun_attr type, uint64_t v);
void stun_put_addr(struct stun_writer *s, enum stun_attr type, const struct addr *a);
void stun_put_bytes(struct stun_writer *s, enum stun_attr type, struct slice v);
void stun_put_error(struct stun_writer *s, uint16_t code, const char *reason);
void stun_put_addr_error(struct stun_writer *s, uint8_t family, uint16_t code,
                         const char *reason);
/* The codes of the comprehension-required attributes of `m` that we do not know. */
void stun_put_unknown(struct stun_writer *s, const struct stun_msg *m);
/* MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256: key->hash says which. */
void stun_put_integrity(struct stun_writer *s, const struct stun_key *key);
void stun_put_fingerprint(struct stun_writer *s);
/* Fixes up the length. The one place where an overflow anywhere above is reported. */
MUST_USE int stun_end(struct stun_writer *s, struct slice *out);
