/* What a TURN server owes its clients and peers, told a second time and without its code: the
 * live allocations, permissions, channels, connections and ports as they follow from the
 * events, and after each event which actions must have come out. Anything else is a fault. */
#pragma once

#include "lib/stun/security.h"
#include "lib/turn/dialect.h"
#include "lib/turn/server.h"

enum {
    MODEL_RELAYS = 2, /* these four: of an allocation, at most */
    MODEL_PERMS = 4,
    MODEL_CHANS = 3,
    MODEL_LINKS = 4,
    MODEL_PARKED = 96,     /* more than the server keeps */
    MODEL_ACTS = 512,      /* of one event, and as many for each allocation as follow ... */
    MODEL_ACTS_EACH = 12,  /* ... when all end at once */
    MODEL_BYTES = 1 << 16, /* what one event sends, and ... */
    MODEL_BYTES_EACH = 512,
    MODEL_FRAME = 1024,
    MODEL_USERS = 4,
    MODEL_PEERS = 3, /* in one request */
    MODEL_LINES = 30,
    MODEL_LINE = 200
};

enum cred {
    CRED_GOOD,
    CRED_NONE,
    CRED_BAD_PASSWORD,
    CRED_FORGED_NONCE,
    CRED_NO_NONCE,
    CRED_WRONG_REALM,
    CRED_BID_DOWN, /* a modern user's, out of which somebody took an algorithm */
    CRED_TAMPERED  /* changed after it was signed */
};

enum ask_kind {
    ASK_REQUEST,
    ASK_SEND,
    ASK_CHANNEL_DATA,
    ASK_NOISE
};

struct m_ticket {
    uint8_t b[64];
    size_t len; /* 0: none */
};

/* A message from a client, and what is true about it: the model reads no bytes. */
struct ask_facts {
    enum ask_kind kind;
    uint16_t method;
    struct stun_tid tid;
    enum cred cred;
    uint8_t user;
    uint32_t nonce_s; /* when its nonce was made */
    uint32_t lifetime_s, cid;
    uint64_t token;
    struct m_ticket ticket;
    uint8_t transport, family, also_family;
    uint16_t channel;
    bool has_also, has_ticket, has_lifetime, has_cid, has_token, even, reserve_next,
        dont_fragment, unknown;
    struct addr peer[MODEL_PEERS];
    size_t n_peers;
    uint8_t data[24];
    size_t data_len;
};

struct frame {
    struct turn_conn conn;
    struct dgram_opts opts;
    struct ask_facts facts;
    uint8_t bytes[MODEL_FRAME];
    size_t len;
};

struct m_user {
    const char *name, *password;
    bool is_known;
    bool is_modern; /* signs with SHA-256, where the server offers it (RFC 8489 9.2) */
    bool is_hidden; /* and by the hash of its name */
    uint8_t hash[STUN_USERHASH_LEN];
    struct stun_key key; /* of the algorithm that it uses */
};

enum m_relay_state {
    M_RELAY_NONE,
    M_RELAY_OPENING,
    M_RELAY_OPEN
};

struct m_relay {
    turn_id id;
    enum m_relay_state state;
    uint8_t family;
    struct addr told;
    uint64_t expires_ms;
};

struct m_meter { /* what has gone through and has not seeped away yet, in thousandths of a byte
                  */
    uint64_t fill, at_ms;
};

struct m_perm {
    struct m_alloc *alloc; /* NULL: not live */
    struct addr ip;        /* port 0 */
    uint64_t expires_ms;
};

struct m_chan {
    struct m_alloc *alloc;
    struct addr peer;
    uint16_t number;
    uint64_t expires_ms;
};

enum m_link_state {
    LINK_CONNECTING,
    LINK_WAITING,
    LINK_BOUND
};

struct m_link { /* a peer's TCP connection */
    struct m_alloc *alloc;
    turn_id id, conn; /* conn: the client's data connection */
    uint32_t cid;
    struct addr peer;
    struct stun_tid tid;
    enum m_link_state state;
    uint64_t expires_ms;
};

struct m_move {
    bool is_allowed;
    struct m_ticket ticket, before; /* empty: not known, since libcrypto failed; none */
    uint64_t before_until_ms;
    struct stun_tid tid; /* of the Refresh that moved it last */
    bool is_begun;       /* and nothing has come from `next` yet */
    struct turn_conn next;
};

struct m_alloc {
    bool is_live, is_open;
    struct m_move move;
    bool is_away; /* its connection has ended */
    turn_id id;   /* that of its first relay */
    struct m_relay relay[MODEL_RELAYS];
    uint8_t missing_family; /* a relay that was asked for as well */
    uint16_t missing_code;  /* 0: none is missing */
    turn_id reserve;        /* until it is open */
    turn_id kept;           /* the port that was reserved with it, for good */
    struct turn_conn conn;
    uint8_t user;
    struct stun_tid tid;
    enum turn_transport transport;
    uint32_t lifetime_s;
    uint64_t token;          /* of `kept`; 0: not told yet */
    uint64_t key_until_ms;   /* then its user's key is asked for again */
    uint32_t owed;           /* datagrams that ICMP may still answer */
    struct m_meter meter[2]; /* to the client, to peers */
    struct m_perm perms[MODEL_PERMS];
    struct m_chan chans[MODEL_CHANS];
    struct m_link links[MODEL_LINKS];
};

struct m_sums { /* over live allocations */
    uint32_t allocs, open, relays, perms, chans, links, unbound;
    uint32_t reserves; /* ports still to be kept */
};

struct m_reserve {
    turn_id id;
    uint64_t token, expires_ms;
    uint8_t user, family;
};

enum key_answer {
    KEY_RIGHT,
    KEY_WRONG,  /* or there is no such user */
    KEY_UNKNOWN /* the database does not answer */
};

struct m_parked {
    turn_id ticket; /* 0: not live */
    struct frame frame;
};

struct m_rates { /* of one second */
    uint64_t at_s;
    uint32_t connects[MODEL_USERS], failures[256];
};

struct act {
    struct turn_action a;
    bool is_seen;
};

enum m_count { /* what happened: a simulation that never binds proves nothing about it */
#define COUNT(name, text) COUNT_##name,
#include "tests/sim/turn_count.def"
#undef COUNT
    COUNT_ALL
};

struct model {
    struct turn_config cfg;
    struct turn_server *s;
    uint64_t now_ms, unix_s;
    struct m_user users[MODEL_USERS];
    bool (*peer_ok)(const struct addr *peer, bool is_strict); /* the policy, as it is meant */
    bool (*peer_may_come)(const struct addr *peer, bool is_strict); /* without a permission */
    bool is_strict, is_draining;
    struct m_alloc *allocs; /* who changes one has it from a function that finds it */
    size_t n_slots;
    struct m_table *table;      /* turn_model_table.c */
    struct m_reserve *reserves; /* the live ones, in no order */
    size_t n_reserves;
    struct m_parked parked[MODEL_PARKED];
    struct act *acts;
    size_t n_acts, max_acts, n_seen, n_bytes; /* n_seen: the first ones, without a gap */
    uint8_t *bytes;                           /* the bodies of `acts` */
    size_t max_bytes;
    uint64_t unproven_at_s; /* the second that these are of: answers over UDP to nobody known */
    uint32_t unproven_all, unproven[256]; /* by the client's prefix */
    struct m_rates rates;
    struct m_meter user_meter[MODEL_USERS][2], meter[2];
    uint64_t n_settled;
    uint32_t most_allocs; /* that lived at once */
    bool crypto_failed;   /* in this event: an answer may be missing, or be a refusal */
    bool keeps_permissions, keeps_tickets; /* planted faults of the model's own */
    uint64_t count[COUNT_ALL];
    char fault[MODEL_LINE]; /* the first one; empty: none */
    char line[MODEL_LINES][MODEL_LINE];
    size_t n_lines;
};

/* Room for so many allocations, or a little more. False: no memory. */
bool model_init(struct model *m, size_t n_slots);
void model_clear(struct model *m);

/* The last MODEL_LINES of these are kept. */
void model_tell(struct model *m, const char *form, ...) __attribute__((format(printf, 2, 3)));
void model_fault(struct model *m, const char *form, ...) __attribute__((format(printf, 2, 3)));

/* Keeps a copy of what the server wants done, to be judged with the event. */
void model_act(struct model *m, const struct turn_action *a);

/* One for each input, after it, with all of its actions. */
void model_client(struct model *m, const struct frame *f);
void model_key(struct model *m, turn_id ticket, enum key_answer answer, uint64_t until_ms);
void model_peer(struct model *m, turn_id relay, const struct addr *peer, struct dgram d);
void model_icmp(struct model *m, turn_id relay, const struct addr *peer,
                const struct turn_icmp *what);
void model_relay_opened(struct model *m, turn_id relay, const struct addr *bound);
void model_tcp_opened(struct model *m, turn_id link, bool ok);
void model_tcp_accepted(struct model *m, turn_id relay, const struct addr *peer, turn_id link);
void model_tcp_closed(struct model *m, turn_id link);
void model_conn_gone(struct model *m, turn_id conn);
void model_ticked(struct model *m);
void model_kick(struct model *m, turn_id relay, int err);
void model_policy(struct model *m, bool is_strict);
void model_sessions(struct model *m); /* asks, and compares */
/* After each of the above: nothing unasked for, numbers right, the deadline true. */
void model_settle(struct model *m);

/* UINT64_MAX: nothing will fall due. */
uint64_t model_deadline_ms(struct model *m);
struct m_alloc *model_alloc_of(struct model *m, const struct turn_conn *c);
/* Whose ticket this is, or was; NULL: nobody's. */
struct m_alloc *model_alloc_by_ticket(struct model *m, const struct m_ticket *ticket);
/* By its own id; NULL: it is not live. */
struct m_alloc *model_alloc(struct model *m, turn_id id);
const struct m_alloc *model_look(struct model *m, turn_id id); /* and changes nothing */
/* Whose relay this is; NULL: nobody's. */
struct m_alloc *model_alloc_with(struct model *m, turn_id relay);
struct m_relay *model_relay(struct model *m, turn_id relay);
/* The open one for this family's peers, or NULL. */
struct m_relay *model_relay_for(struct m_alloc *a, uint8_t family);
size_t model_n_relays(const struct m_alloc *a);
struct m_link *model_link(struct model *m, turn_id id);
/* The one that ConnectionBind with this number would take, or NULL. */
struct m_link *model_waiting_link(struct model *m, uint32_t cid);
struct m_sums model_sums(struct model *m);
struct m_sums model_sums_of(struct model *m, uint8_t user);

/* Between the files of the model. */
/* What is to become of a datagram's header; false: nothing, it ends here. */
bool model_header(const struct turn_conn *c, const struct addr *peer,
                  const struct dgram_opts *in, struct dgram_opts *out);
/* Of a datagram that went to a peer. */
void model_want_header(struct model *m, const struct frame *f, struct m_alloc *a,
                       const struct act *act);
bool model_same_opts(const struct dgram_opts *a, const struct dgram_opts *b);
bool model_goes_to(const struct turn_action *a, const struct turn_conn *c);
/* For who changes an allocation that he did not just find. Returns `a`. */
struct m_alloc *model_touch(struct model *m, struct m_alloc *a);
void model_untouch(struct model *m); /* the event is over */
struct m_alloc *model_free_slot(struct model *m);
/* Of all allocations; reserves are another matter. */
uint64_t model_alloc_due_ms(struct model *m);
/* The first one behind `after` (NULL: of all) with something due. */
struct m_alloc *model_next_due(struct model *m, const struct m_alloc *after);
void model_drop_reserve(struct model *m, struct m_reserve *r);
/* The whole world at once, for what looking at each event's own might miss. */
void model_audit(struct model *m);
struct act *model_take(struct model *m, enum turn_do what, turn_id id);
bool model_is_signed(const struct stun_msg *m);
/* Takes the answer to `tid`. False when there is none. */
bool model_take_reply(struct model *m, const struct turn_conn *c, uint16_t method,
                      const struct stun_tid *tid, struct stun_msg *out);
void model_want_error(struct model *m, const struct turn_conn *c, uint16_t method,
                      const struct stun_tid *tid);
/* The signed success response. False, and a fault, when it is not there. */
bool model_want_success(struct model *m, const struct turn_conn *c, uint16_t method,
                        const struct stun_tid *tid, uint8_t user, struct stun_msg *out);
void model_want_allocated(struct model *m, struct m_alloc *a, const struct turn_conn *c);
/* Without memory neither a signature nor a nonce can be checked, nor a user counted, nor a
 * ticket made. */
bool model_is_refused(struct model *m, const struct frame *f, bool *is_signed);
/* What comes from where the allocation is about to be. */
void model_arrive(struct model *m, const struct frame *f, struct m_alloc *a);
bool model_same_tuple(const struct turn_conn *a, const struct turn_conn *c);
bool model_is_next(const struct m_alloc *a, const struct turn_conn *c);
/* A Refresh with a ticket: the allocation that it is about; NULL: it is refused. */
struct m_alloc *model_move(struct model *m, const struct frame *f, struct m_alloc *at,
                           uint64_t until_ms);
/* The ticket in an answer. */
void model_ticket(struct model *m, struct m_alloc *a, const struct stun_msg *out);
/* With the connections that it has. */
void model_cut_alloc(struct model *m, struct m_alloc *a);
void model_want_close(struct model *m, enum turn_do what, turn_id id);
struct m_perm *model_perm(struct m_alloc *a, const struct addr *peer);
/* One of two relays, with what hangs on it. */
void model_end_relay(struct model *m, struct m_alloc *a, struct m_relay *r);
void model_end_alloc(struct model *m, struct m_alloc *a);
void model_drop_parked(struct model *m, turn_id conn);
void model_check_numbers(struct model *m);
/* NULL: one more would be one too many. */
struct m_link *model_new_link(struct model *m, struct m_alloc *a, const struct addr *peer);
void model_judge(struct model *m, const struct frame *f, bool key_is_right, uint64_t until_ms);
uint8_t model_prefix(const struct model *m, const struct turn_conn *c);
bool model_has_link(const struct m_alloc *a, const struct addr *peer);
bool model_link_fits(struct model *m, const struct m_alloc *a);
bool model_may_connect(struct model *m, uint8_t user); /* counts it */
void model_failed(struct model *m, const struct turn_conn *c);
bool model_may_try(struct model *m, const struct turn_conn *c);
/* Is there bandwidth for a datagram of `n` bytes? Then it is used. */
bool model_flows(struct model *m, struct m_alloc *a, bool is_to_peer, size_t n);
