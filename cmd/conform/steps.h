/* Steps that many checks begin with. They skip the trial where the server does not offer what
 * it needs, or does not want our peer, and fail it where the server is wrong. */
#pragma once

#include "cmd/conform/talk.h"

struct addr allocate(struct trial *t, struct line *c);     /* the relay's address, UDP */
struct addr allocate_tcp(struct trial *t, struct line *c); /* TCP */
void permit(struct trial *t, struct line *c, struct addr peer);
void bind_channel(struct trial *t, struct line *c, uint16_t channel, struct addr peer);
/* An answer to a request about our own peer: 403 skips the trial, other errors fail it. */
const struct stun_msg *expect_peer(struct trial *t, struct line *c, const struct req *q);

/* Connect to `peer`, or the ConnectionAttempt of a peer: the CONNECTION-ID. */
uint32_t connect_to(struct trial *t, struct line *c, struct addr peer);
uint32_t attempt_of(struct trial *t, struct line *c, struct addr peer);
/* A second connection to the server, ConnectionBind sent and answered. */
struct line *bind_data(struct trial *t, struct line *c, uint32_t id);
/* A connection with the user's name and the nonce of `c`. */
struct line *dial_as(struct trial *t, const struct line *c);

/* All that an established TCP relay has. */
struct joined {
    struct line *control, *data, *peer;
    struct addr relay;
};
struct joined join(struct trial *t); /* the peer connects to the relay */
struct line *peer_connect(struct trial *t, struct addr relay);
struct line *peer_accept(struct trial *t, struct line *listener);

/* The datagram at the peer, from the relay. */
void expect_at_peer(struct trial *t, struct line *peer, struct addr relay, struct slice data);
/* The next bytes of a stream, exactly. */
void expect_bytes(struct trial *t, struct line *l, struct slice want);
/* FIN, or the end in any other way. */
void expect_end(struct trial *t, struct line *l, const char *who);
/* `n` bytes that differ from place to place; good until the next call. */
struct slice pattern(uint8_t *room, size_t n, uint8_t seed);
bool same_addr(struct trial *t, struct addr a, struct addr b, const char *what);
