/* What the checks' scripts are written in. */
#include "cmd/conform/talk.h"

#include "lib/stun/integrity.h"
#include "lib/stun/stream.h"

#include "cmd/conform/words.h"

enum {
    RESEND_MS = 1000 /* RFC 8489 6.2.1 is quicker; we had rather not hide what is lost */
};

static struct line *opened(struct trial *t, struct line *l, const char *what)
{
    if (!l) {
        fail(t, "could not open %s", what);
    }
    return l ? l : &t->nowhere;
}

struct line *dial_server_over(struct trial *t, enum via via)
{
    const struct target *to = t->target;
    if (is_over(t)) {
        return &t->nowhere;
    }
    struct line *l = via == VIA_UDP
                         ? dial_udp(t->dial, &to->local, &to->server)
                         : dial_tcp(t->dial, &to->local, &to->server, to->timeout_ms);
    return opened(t, l, "a connection to the server");
}

struct line *dial_server(struct trial *t)
{
    return dial_server_over(t, t->via);
}

struct line *peer_udp(struct trial *t)
{
    return is_over(t) ? &t->nowhere
                      : opened(t, dial_udp(t->dial, &t->target->peer, NULL), "a peer's socket");
}

struct line *peer_listen(struct trial *t)
{
    return is_over(t) ? &t->nowhere
                      : opened(t, dial_listen(t->dial, &t->target->peer), "a peer's socket");
}

void key_made_of(struct trial *t, const struct line *c, const struct account *as,
                 enum stun_algorithm algorithm, struct stun_key *key)
{
    as = as ? as : &t->target->user;
    struct slice realm = slice_of(c->realm.b, c->realm.len);
    if (stun_key_made(key, algorithm, as->name, realm, as->password)) {
        fail(t, "cannot make the key: libcrypto refuses MD5 or SHA-256");
    }
}

void key_of(struct trial *t, const struct line *c, const struct account *as,
            struct stun_key *key)
{
    key_made_of(t, c, as, STUN_ALGORITHM_MD5, key);
}

static void put_attr(struct stun_writer *s, const struct req_attr *a)
{
    if (a->code) {
        wr_u16(&s->w, a->code);
        wr_u16(&s->w, (uint16_t)a->bytes.len);
        wr_bytes(&s->w, a->bytes);
        (void)wr_room(&s->w, (4 - a->bytes.len % 4) % 4);
        return;
    }
    switch (stun_attr_desc(a->type)->kind) {
    case STUN_KIND_FLAG: stun_put_flag(s, a->type); break;
    case STUN_KIND_U8:
    case STUN_KIND_U8_RFFU:
    case STUN_KIND_CHANNEL:
    case STUN_KIND_U32: stun_put_u32(s, a->type, (uint32_t)a->n); break;
    case STUN_KIND_U64: stun_put_u64(s, a->type, a->n); break;
    case STUN_KIND_ADDR:
    case STUN_KIND_XOR_ADDR: stun_put_addr(s, a->type, &a->addr); break;
    case STUN_KIND_TEXT:
    case STUN_KIND_BYTES:
    case STUN_KIND_WORDS:
    case STUN_KIND_ERROR:
    case STUN_KIND_U16_LIST: stun_put_bytes(s, a->type, a->bytes); break;
    }
}

static void put_credentials(struct stun_writer *s, struct trial *t, const struct line *c,
                            const struct req *q)
{
    const struct account *as = q->as ? q->as : &t->target->user;
    struct slice nonce = q->nonce.len ? q->nonce : slice_of(c->nonce.b, c->nonce.len);
    if (!(q->omit & OMIT_USERNAME)) {
        stun_put_bytes(s, STUN_USERNAME, as->name);
    }
    if (!(q->omit & OMIT_REALM)) {
        stun_put_bytes(s, STUN_REALM, slice_of(c->realm.b, c->realm.len));
    }
    if (!(q->omit & OMIT_NONCE)) {
        stun_put_bytes(s, STUN_NONCE, nonce);
    }
}

static bool is_signed(const struct req *q)
{
    return q->method != STUN_BINDING && q->cls == STUN_REQUEST && !(q->omit & OMIT_CREDENTIALS);
}

/* A peer on IPv6 needs a relay of that family, which is not the default (RFC 8656 7.2). */
static bool lacks_family(const struct trial *t, const struct req *q)
{
    bool lacks = q->method == STUN_ALLOCATE && t->target->peer.family == ADDR_IP6;
    for (size_t i = 0; i < REQ_ATTRS_MAX && q->at[i].is_set; i++) {
        enum stun_attr type = q->at[i].type;
        lacks = lacks && type != STUN_REQUESTED_ADDRESS_FAMILY &&
                type != STUN_ADDITIONAL_ADDRESS_FAMILY && type != STUN_RESERVATION_TOKEN;
    }
    return lacks;
}

/* The HMAC counts its own attribute, so a shorter one is another (RFC 8489 14.6). */
static void put_cut(struct stun_writer *s, const struct stun_key *key, size_t len)
{
    uint8_t mac[32];
    size_t mac_len, end = s->w.len + 4 + len;
    struct slice text = wr_done(&s->w);
    if (!s->w.err && stun_integrity(s->wire, key, text, end, mac, &mac_len)) {
        s->w.err = ERR_UNSUPPORTED;
    }
    stun_put_bytes(s, STUN_MESSAGE_INTEGRITY_SHA256, slice_of(mac, len));
}

static void put_signature(struct stun_writer *s, struct trial *t, const struct line *c,
                          const struct req *q)
{
    struct stun_key sha1, sha256;
    key_made_of(t, c, q->as, q->sign == SIGN_SHA1 ? STUN_ALGORITHM_MD5 : STUN_ALGORITHM_SHA256,
                &sha256);
    sha1 = sha256;
    sha1.hash = STUN_SHA1;
    switch (q->sign) {
    case SIGN_SHA1: stun_put_integrity(s, &sha1); break;
    case SIGN_SHA256: stun_put_integrity(s, &sha256); break;
    case SIGN_SHA1_SHA256:
        stun_put_integrity(s, &sha1);
        stun_put_integrity(s, &sha256);
        break;
    case SIGN_SHA256_SHA1:
        stun_put_integrity(s, &sha256);
        stun_put_integrity(s, &sha1);
        break;
    case SIGN_SHA256_CUT_16: put_cut(s, &sha256, 16); break;
    }
    if (q->bad_integrity && !s->w.err) {
        s->w.buf[s->w.len - 1] ^= 1;
    }
}

static void put_all(struct stun_writer *s, struct trial *t, struct line *c, const struct req *q)
{
    if (is_signed(q)) {
        put_credentials(s, t, c, q);
    }
    if (lacks_family(t, q)) {
        stun_put_u32(s, STUN_REQUESTED_ADDRESS_FAMILY, ADDR_IP6);
    }
    for (size_t i = 0; i < REQ_ATTRS_MAX && q->at[i].is_set; i++) {
        put_attr(s, &q->at[i]);
    }
    if (is_signed(q)) {
        put_signature(s, t, c, q);
    }
    for (size_t i = 0; i < 2 && q->after[i].is_set; i++) {
        put_attr(s, &q->after[i]);
    }
    stun_put_fingerprint(s);
    if (q->bad_fingerprint && !s->w.err) {
        s->w.buf[s->w.len - 1] ^= 1;
    }
}

struct slice encode(struct trial *t, struct line *c, const struct req *q)
{
    struct stun_writer s;
    struct slice out;
    t->tid.len = 12;
    io_random(t->tid.b, t->tid.len);
    stun_begin(&s, t->sent, sizeof t->sent, &stun_wire_rfc8489, q->cls, q->method, &t->tid);
    put_all(&s, t, c, q);
    if (stun_end(&s, &out)) {
        fail(t, "our own message does not fit its buffer");
    }
    t->sent_len = out.len;
    return out;
}

void say(struct trial *t, struct line *c, struct slice bytes)
{
    if (!is_over(t)) {
        trial_record(t, SENT, bytes);
        line_send(c, bytes);
    }
}

void tell(struct trial *t, struct line *c, const struct req *q)
{
    if (!is_over(t)) {
        say(t, c, encode(t, c, q));
    }
}

struct want { /* what a script waits for */
    const struct stun_tid *tid;
    uint16_t method, channel;
    bool any;
};

static bool fits(const struct want *w, const struct frame *f)
{
    uint16_t channel;
    struct slice data;
    if (w->any) {
        return true;
    }
    if (w->channel) {
        return channel_data_parse(slice_of(f->b, f->len), &channel, &data) == OK &&
               channel == w->channel;
    }
    if (f->err) {
        return false;
    }
    if (w->method) {
        return f->msg.cls == STUN_INDICATION && f->msg.method == w->method;
    }
    return f->msg.cls >= STUN_SUCCESS && memcmp(f->msg.tid.b, w->tid->b, w->tid->len) == 0;
}

static struct frame *look(struct line *c, const struct want *w)
{
    for (;;) {
        for (struct frame *f = c->frames; f; f = f->next) {
            if (!f->is_taken && fits(w, f)) {
                f->is_taken = true;
                return f;
            }
        }
        /* Not a byte more than is needed: behind the answer to ConnectionBind come data. */
        if (!line_deframe(c)) {
            return NULL;
        }
    }
}

static struct frame *hear(struct trial *t, struct line *c, const struct want *w, uint32_t ms)
{
    uint64_t end = dial_in(t->dial, ms);
    struct frame *f;
    if (is_over(t)) {
        return NULL;
    }
    while (!(f = look(c, w)) && !c->is_closed && !c->has_ended && dial_wait(t->dial, end)) {
    }
    if (f) {
        trial_record(t, CAME, slice_of(f->b, f->len));
    }
    return f;
}

/* What else came, so that the reader sees why it was not what we waited for. */
static void record_rest(struct trial *t, struct line *c)
{
    for (struct frame *f = c->frames; f; f = f->next) {
        if (!f->is_taken) {
            trial_record(t, CAME, slice_of(f->b, f->len));
        }
    }
    if (c->is_closed || c->has_ended) {
        note(t, "the server closed the connection");
    } else if (c->is_broken) {
        note(t, "the server sent %zu bytes that begin no message", c->in_len);
    }
}

const struct stun_msg *answer(struct trial *t, struct line *c, uint32_t ms)
{
    struct want w = {.tid = &t->tid};
    uint32_t left = ms ? ms : t->target->timeout_ms;
    struct frame *f = NULL;
    while (!is_over(t) && !f && left > 0) {
        uint32_t now = c->udp && left > RESEND_MS ? RESEND_MS : left;
        f = hear(t, c, &w, now);
        left -= now;
        if (!f && left > 0 && c->udp) {
            note(t, "no answer: sent again");
            line_send(c, slice_of(t->sent, t->sent_len));
        } else if (c->is_closed || c->has_ended) {
            break;
        }
    }
    if (!f) {
        record_rest(t, c);
        fail(t, "no answer with this transaction id came");
        return &t->nothing;
    }
    return &f->msg;
}

unsigned code_of(const struct stun_msg *m)
{
    uint16_t code;
    struct slice reason;
    return m->cls == STUN_ERROR && stun_get_error(m, &code, &reason) == OK ? code : 0;
}

static void keep(struct dial_text *to, const struct stun_msg *m, enum stun_attr type)
{
    struct slice s;
    if (stun_get_bytes(m, type, &s) == OK && s.len <= sizeof to->b && s.len > 0) {
        memcpy(to->b, s.p, s.len);
        to->len = s.len;
    }
}

const struct stun_msg *challenge(struct trial *t, struct line *c)
{
    const struct stun_msg *m =
        expect(t, c, 401,
               REQ(ALLOCATE, .omit = OMIT_CREDENTIALS, .at = {NUM(REQUESTED_TRANSPORT, 17)}));
    keep(&c->realm, m, STUN_REALM);
    keep(&c->nonce, m, STUN_NONCE);
    if (!is_over(t) && (c->realm.len == 0 || c->nonce.len == 0)) {
        fail(t, "the 401 has no REALM or no NONCE");
    }
    return m;
}

static void remember(struct trial *t, struct line *c, const struct req *q,
                     const struct stun_msg *m)
{
    bool is_new = q->method == STUN_ALLOCATE && m->cls == STUN_SUCCESS && !c->has_alloc;
    if (is_new && c->udp && t->n_allocs < TRIAL_ALLOCS_MAX) {
        c->has_alloc = true;
        t->allocs[t->n_allocs++] = c;
    }
}

const struct stun_msg *ask(struct trial *t, struct line *c, const struct req *q)
{
    if (!is_over(t) && is_signed(q) && c->nonce.len == 0) {
        (void)challenge(t, c);
    }
    tell(t, c, q);
    const struct stun_msg *m = answer(t, c, q->patience_ms);
    bool is_usual = is_signed(q) && !q->omit && !q->as && !q->nonce.len && !q->bad_integrity;
    /* Some servers tie a nonce to a connection, and any may find it stale. */
    if (is_usual && (code_of(m) == 438 || code_of(m) == 401) && stun_has(m, STUN_NONCE)) {
        keep(&c->nonce, m, STUN_NONCE);
        tell(t, c, q);
        m = answer(t, c, q->patience_ms);
    }
    remember(t, c, q, m);
    return m;
}

const struct stun_msg *expect(struct trial *t, struct line *c, unsigned code,
                              const struct req *q)
{
    const struct stun_msg *m = ask(t, c, q);
    if (is_over(t)) {
        return m;
    }
    bool is_error = m->cls == STUN_ERROR;
    if (m->method != q->method) {
        fail(t, "the answer is of method 0x%03x, the request was 0x%03x", m->method, q->method);
    } else if (is_error && code_of(m) == 0) {
        fail(t, "the error response has no readable ERROR-CODE");
    } else if (code == 0 && is_error) {
        fail(t, "expected success, got error %u", code_of(m));
    } else if (code != 0 && !is_error) {
        fail(t, "expected error %u, got success", code);
    } else if (code_of(m) != code) {
        fail(t, "expected error %u, got %u", code, code_of(m));
    }
    return m;
}

static void missing(struct trial *t, enum stun_attr type)
{
    char name[64];
    struct wr w = wr_over((uint8_t *)name, sizeof name - 1);
    words_attr(&w, type);
    fail(t, "the message has no readable %s", words_end(&w));
}

struct addr addr_in(struct trial *t, const struct stun_msg *m, enum stun_attr type)
{
    struct addr a = {0};
    if (!is_over(t) && stun_get_addr(m, type, &a)) {
        missing(t, type);
    }
    return a;
}

uint32_t number_in(struct trial *t, const struct stun_msg *m, enum stun_attr type)
{
    uint32_t n = 0;
    if (!is_over(t) && stun_get_u32(m, type, &n)) {
        missing(t, type);
    }
    return n;
}

struct slice bytes_in(struct trial *t, const struct stun_msg *m, enum stun_attr type)
{
    struct slice s = slice_of(NULL, 0);
    if (!is_over(t) && stun_get_bytes(m, type, &s)) {
        missing(t, type);
    }
    return s;
}

const struct stun_msg *indication(struct trial *t, struct line *c, uint16_t method)
{
    struct want w = {.method = method};
    struct frame *f = hear(t, c, &w, t->target->timeout_ms);
    if (!f) {
        record_rest(t, c);
        fail(t, "no %s indication came", stun_method_name(method));
    }
    return f ? &f->msg : &t->nothing;
}

struct slice channel_data(struct trial *t, struct line *c, uint16_t channel)
{
    struct want w = {.channel = channel};
    struct frame *f = hear(t, c, &w, t->target->timeout_ms);
    struct slice data = slice_of(NULL, 0);
    if (!f) {
        record_rest(t, c);
        fail(t, "no ChannelData came on channel 0x%04x", channel);
    } else if (channel_data_parse(slice_of(f->b, f->len), &channel, &data)) {
        fail(t, "the ChannelData message is cut short");
    }
    return data;
}

struct frame *any_frame(struct trial *t, struct line *c, uint32_t ms)
{
    struct want w = {.any = true};
    return hear(t, c, &w, ms);
}

void still_alive(struct trial *t)
{
    struct line *c = dial_server(t);
    (void)expect(t, c, 0, REQ(BINDING));
}

void silence(struct trial *t, struct line *c, const char *after)
{
    if (is_over(t)) {
        return;
    }
    if (addr_eq(&c->remote, &t->target->server) && (c->udp || c->tcp) && !c->has_ended) {
        struct stun_tid was = t->tid;
        (void)expect(t, c, 0, REQ(BINDING));
        t->tid = was;
    }
    if (any_frame(t, c, t->target->quiet_ms)) {
        fail(t, "%s", after);
    }
}
