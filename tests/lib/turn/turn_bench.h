/* A TURN server core on a bench: a clock and random bytes of its own, a client that can sign,
 * and the actions kept for a look. */
#pragma once

#include "lib/turn/dialect.h"
#include "lib/turn/server.h"

enum {
    BENCH_ACTIONS = 256,
    BENCH_FRAME = 2048
};

struct bench {
    struct turn_server *s;
    struct turn_policy policy;
    uint64_t now_ms, seed;
    uint64_t unix_s;
    struct stun_key key;       /* turn:secret */
    struct stun_key other_key; /* other:secret */
    const char *realm;         /* that requests name */
    uint8_t nonce[64];
    size_t nonce_len;
    uint32_t next_tid;
    uint16_t relay_port;
    bool opens;        /* relays open at once */
    uint8_t no_family; /* of which none can be opened */
    bool answers_late; /* the test answers FIND_KEY */
    struct turn_action did[BENCH_ACTIONS];
    size_t n_did;
    uint8_t sent[BENCH_FRAME]; /* the last reply or indication */
    size_t sent_len;
};

/* A request under construction. */
struct ask {
    struct stun_writer w;
    uint8_t buf[BENCH_FRAME];
};

struct addr bench_addr(const char *text);
void bench_start(struct bench *b, void (*tune)(struct turn_config *cfg));
void bench_stop(struct bench *b);
struct turn_conn bench_tcp(turn_id id);
struct turn_conn bench_udp(const char *client);
/* Takes all actions; answers FIND_KEY, and RELAY_OPEN when b->opens. */
void bench_drain(struct bench *b);
void bench_tick_to(struct bench *b, uint64_t now_ms);

void ask_begin(struct bench *b, struct ask *a, enum stun_method method);
/* Signs as `key`'s user (NULL: not at all), sends, and drains. The reply's code; 0: success,
 * 1: no reply. */
int ask_end(struct bench *b, struct ask *a, const struct turn_conn *c,
            const struct stun_key *key);
int bench_allocate(struct bench *b, const struct turn_conn *c, enum turn_transport transport);
int bench_permit(struct bench *b, const struct turn_conn *c, const char *peer);
int bench_refresh(struct bench *b, const struct turn_conn *c, uint32_t lifetime_s);
/* The n-th action of this kind since the last input, or NULL. */
const struct turn_action *bench_did(const struct bench *b, enum turn_do what, size_t n);
size_t bench_count(const struct bench *b, enum turn_do what);
struct stun_msg bench_sent(const struct bench *b);
