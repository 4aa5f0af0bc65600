/* What the checks' scripts are written in: requests as tables of attributes, and what is
 * expected to come back. All of it does nothing once the trial is over. */
#pragma once

#include "cmd/conform/trial.h"

enum {
    REQ_ATTRS_MAX = 8
};

enum omit {
    OMIT_USERNAME = 1,
    OMIT_REALM = 2,
    OMIT_NONCE = 4,
    OMIT_CREDENTIALS = 8 /* those three and MESSAGE-INTEGRITY */
};

enum sign {
    SIGN_SHA1,
    SIGN_SHA256,       /* MESSAGE-INTEGRITY-SHA256, its key made with SHA-256 */
    SIGN_SHA1_SHA256,  /* both, of one key: MESSAGE-INTEGRITY first */
    SIGN_SHA256_SHA1,  /* or last, which is no more than an attribute behind the signature */
    SIGN_SHA256_CUT_16 /* the first 16 bytes of it */
};

struct req_attr {
    bool is_set;
    uint16_t code; /* 0: `type` says */
    enum stun_attr type;
    uint64_t n;
    struct addr addr;
    struct slice bytes;
};
#define NUM(name, v)                                  \
    {                                                 \
        .is_set = true, .type = STUN_##name, .n = (v) \
    }
#define FLAG(name)                          \
    {                                       \
        .is_set = true, .type = STUN_##name \
    }
#define ADDR(name, a)                                    \
    {                                                    \
        .is_set = true, .type = STUN_##name, .addr = (a) \
    }
#define BYTES(name, b)                                    \
    {                                                     \
        .is_set = true, .type = STUN_##name, .bytes = (b) \
    }
#define RAW(v, b)                                 \
    {                                             \
        .is_set = true, .code = (v), .bytes = (b) \
    } /* one that lib/stun lacks */

struct req {
    uint16_t method;
    enum stun_class cls;               /* STUN_REQUEST unless said */
    struct req_attr at[REQ_ATTRS_MAX]; /* those that are set, in order */
    struct req_attr after[2];          /* behind MESSAGE-INTEGRITY */
    enum sign sign;
    unsigned omit;                       /* enum omit */
    const struct account *as;            /* NULL: the user of the run */
    struct slice nonce;                  /* unless empty: instead of the server's */
    bool bad_fingerprint, bad_integrity; /* the last one, where there are two */
    uint32_t patience_ms;                /* 0: the usual */
};
/* ask(t, c, REQ(ALLOCATE, .at = {NUM(REQUESTED_TRANSPORT, 17)})) */
#define REQ(...) (&(struct req){.method = STUN_##__VA_ARGS__})

/* A socket to the server, over the trial's transport; or over that one. */
struct line *dial_server(struct trial *t);
struct line *dial_server_over(struct trial *t, enum via via);
/* Sockets of a peer, on --peer-address. */
struct line *peer_udp(struct trial *t);
struct line *peer_listen(struct trial *t);

/* Makes the message in t->sent, with credentials unless it is a Binding or an indication. */
struct slice encode(struct trial *t, struct line *c, const struct req *q);
void say(struct trial *t, struct line *c, struct slice bytes);
void tell(struct trial *t, struct line *c, const struct req *q); /* encode and say */
/* The response to it, whatever it is. Takes a fresh nonce once when the server wants that. */
const struct stun_msg *ask(struct trial *t, struct line *c, const struct req *q);
/* And fails the trial unless it is `code`; 0: a success response. */
const struct stun_msg *expect(struct trial *t, struct line *c, unsigned code,
                              const struct req *q);
/* The response to what was said last. */
const struct stun_msg *answer(struct trial *t, struct line *c, uint32_t ms);
/* The error code of a response; 0: success. */
unsigned code_of(const struct stun_msg *m);
/* Fails the trial when it is not there. */
struct addr addr_in(struct trial *t, const struct stun_msg *m, enum stun_attr type);
uint32_t number_in(struct trial *t, const struct stun_msg *m, enum stun_attr type);
struct slice bytes_in(struct trial *t, const struct stun_msg *m, enum stun_attr type);

/* Gets REALM and NONCE from a 401. */
const struct stun_msg *challenge(struct trial *t, struct line *c);
void key_of(struct trial *t, const struct line *c, const struct account *as,
            struct stun_key *key);
/* The same made with `algorithm`, not with MD5. */
void key_made_of(struct trial *t, const struct line *c, const struct account *as,
                 enum stun_algorithm algorithm, struct stun_key *key);

const struct stun_msg *indication(struct trial *t, struct line *c, uint16_t method);
struct slice channel_data(struct trial *t, struct line *c, uint16_t channel);
struct frame *any_frame(struct trial *t, struct line *c, uint32_t ms); /* NULL: none */
/* Fails when anything comes that nobody has taken. On a line to the server a Binding proves
 * that it has got so far, and lives. */
void silence(struct trial *t, struct line *c, const char *after);
/* A server that is gone fails the trial. */
void still_alive(struct trial *t);
