/* A DTLS server among strangers: datagrams of the input's making, hellos with their right
 * cookie, and a real client whose datagrams are bent on the way. What it sends to somebody
 * unproven stays shorter than what came, and associations stay below their limit. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/tls/dtls_hello.h"
#include "lib/tls/dtls_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STEPS_MAX = 64,
    DATAGRAM_MAX = 1500,
    QUEUE = 32,
    ASSOCIATIONS = 3
};

struct fuzz {
    struct rd in;
    struct dtls_server *s;
    struct dtls *client;
    uint64_t now_ms;
    dtls_id last_id, up;
    struct addr from, local;
    uint8_t cookie[DTLS_COOKIE_LEN];
    uint8_t queue[QUEUE][DATAGRAM_MAX]; /* for the real client */
    size_t len[QUEUE], n_queue;
};

static struct tls_context *server_ctx, *client_ctx;

static void make_contexts(void)
{
    char dir[] = "/tmp/causeway-fuzz-XXXXXX", command[512], pem[64], why[TLS_WHY_MAX];
    if (!mkdtemp(dir)) {
        abort();
    }
    snprintf(pem, sizeof pem, "%s/pem", dir);
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        "-subj /CN=fuzz -out %s -keyout %s.key 2>/dev/null && cat %s.key >> %s && rm %s.key",
        pem, pem, pem, pem, pem);
    const struct tls_config server = {.cert_file = pem, .key_file = pem, .alpn = "stun.turn"};
    const struct tls_config client = {.insecure = true, .alpn = "stun.turn"};
    bool bad = system(command) != 0 || dtls_context_new(&server_ctx, &server, why) ||
               dtls_context_new(&client_ctx, &client, why);
    (void)unlink(pem);
    (void)rmdir(dir);
    if (bad) {
        abort();
    }
}

static void not_random(void *out, size_t len, void *ctx)
{
    (void)ctx;
    memset(out, 7, len);
}

static dtls_id next_id(void *ctx)
{
    return ++((struct fuzz *)ctx)->last_id;
}

static void pull(struct fuzz *f, size_t came)
{
    struct dtls_action a;
    while (dtls_server_next(f->s, &a)) {
        switch (a.what) {
        case DTLS_DO_SEND:
            if (a.id == 0) {
                if (a.bytes.len != DTLS_VERIFY_LEN || a.bytes.len > came) {
                    abort();
                }
                memcpy(f->cookie, a.bytes.p + DTLS_VERIFY_LEN - DTLS_COOKIE_LEN,
                       DTLS_COOKIE_LEN);
            }
            if (a.client.port == 1 && f->n_queue < QUEUE && a.bytes.len <= DATAGRAM_MAX) {
                memcpy(f->queue[f->n_queue], a.bytes.p, a.bytes.len);
                f->len[f->n_queue++] = a.bytes.len;
            }
            break;
        case DTLS_DO_BEGIN: f->up = a.id; break;
        case DTLS_DO_PLAIN: break;
        case DTLS_DO_END: f->up = f->up == a.id ? 0 : f->up; break;
        }
    }
    if (dtls_server_stats(f->s).associations > ASSOCIATIONS) {
        abort();
    }
}

/* To the byte, so that one too far is seen. */
static void to_server(struct fuzz *f, struct slice datagram)
{
    uint8_t *exact = malloc(datagram.len ? datagram.len : 1);
    if (!exact) {
        return;
    }
    if (datagram.len > 0) {
        memcpy(exact, datagram.p, datagram.len);
    }
    dtls_server_in(f->s, f->now_ms, &f->from, &f->local, slice_of(exact, datagram.len));
    pull(f, datagram.len);
    free(exact);
}

/* The input's datagram; as a second hello when it is a hello, with the cookie that it got. */
static void strange_datagram(struct fuzz *f, bool with_cookie)
{
    uint8_t b[DATAGRAM_MAX + DTLS_COOKIE_LEN];
    struct dtls_hello h;
    struct slice in = rd_take(&f->in, rd_u16(&f->in) % DATAGRAM_MAX);
    to_server(f, in);
    if (!with_cookie || dtls_hello_parse(&h, in) || h.message_seq != 0 || h.cookie.len != 0) {
        return;
    }
    size_t at = (size_t)(h.cookie.p ? h.cookie.p - in.p : h.random.p - in.p + 32);
    at +=
        h.cookie.p ? 0 : (size_t)in.p[at] + 2; /* behind the session and the cookie's length */
    if (at > in.len) {
        return;
    }
    struct wr w = wr_over(b, sizeof b);
    wr_bytes(&w, slice_of(in.p, at));
    wr_bytes(&w, slice_of(f->cookie, sizeof f->cookie));
    wr_bytes(&w, slice_from(in, at));
    if (w.err) {
        return;
    }
    b[at - 1] = DTLS_COOKIE_LEN;
    b[12] = (uint8_t)(b[12] + DTLS_COOKIE_LEN); /* the lengths: of small hellos only */
    b[16] = (uint8_t)(b[16] + DTLS_COOKIE_LEN);
    b[24] = (uint8_t)(b[24] + DTLS_COOKIE_LEN);
    b[18] = 1;
    to_server(f, wr_done(&w));
}

/* The real client's next datagrams, one of them bent if the input says so. */
static void client_speaks(struct fuzz *f)
{
    struct slice s;
    uint8_t b[DATAGRAM_MAX], bend = rd_u8(&f->in);
    f->from.port = 1;
    while (f->client && dtls_out(f->client, &s)) {
        size_t n = s.len < sizeof b ? s.len : sizeof b;
        memcpy(b, s.p, n);
        if (bend) {
            b[rd_u16(&f->in) % n] ^= bend;
            bend = 0;
        }
        to_server(f, slice_of(b, n));
    }
    for (size_t i = 0; f->client && i < f->n_queue; i++) {
        uint8_t plain[64];
        size_t len;
        (void)!dtls_in(f->client, f->now_ms, slice_of(f->queue[i], f->len[i]));
        while (dtls_read(f->client, plain, sizeof plain, &len)) {
        }
    }
    f->n_queue = 0;
}

static void begin_client(struct fuzz *f)
{
    dtls_free(f->client);
    f->n_queue = 0;
    (void)!dtls_connect(&f->client, client_ctx, f->now_ms, NULL);
}

static void seal(struct fuzz *f)
{
    struct dtls_action out;
    static const uint8_t zero[DTLS_PLAIN_MAX];
    size_t n = rd_u16(&f->in);
    int err = dtls_server_seal(f->s, f->up, slice_str("x"),
                               slice_of(zero, n < sizeof zero ? n : sizeof zero), &out);
    if (f->up && err && err != ERR_LIMIT && err != ERR_BADSTATE && err != ERR_MALFORMED) {
        abort();
    }
}

static void step(struct fuzz *f)
{
    struct dtls_action out;
    uint8_t op = rd_u8(&f->in);
    f->from.port = (uint16_t)(1 + (op >> 4) % 5);
    switch (op & 15) {
    case 0:
    case 1: strange_datagram(f, false); break;
    case 2:
    case 3:
    case 4: strange_datagram(f, true); break;
    case 5: begin_client(f); break;
    case 6:
        if (f->client) {
            (void)!dtls_write(f->client, rd_take(&f->in, rd_u8(&f->in)));
        }
        break;
    case 7: seal(f); break;
    case 8:
        (void)dtls_server_close(f->s, f->up, &out);
        f->up = 0;
        break;
    case 9:
        f->now_ms += 100ull * rd_u8(&f->in);
        for (int i = 0; i < 8 && dtls_server_deadline_ms(f->s) <= f->now_ms; i++) {
            dtls_server_tick(f->s, f->now_ms);
            pull(f, 0);
        }
        break;
    case 10:
        if (f->client) {
            dtls_shutdown(f->client);
        }
        break;
    default: client_speaks(f); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server_ctx) {
        make_contexts();
    }
    struct fuzz *f = calloc(1, sizeof *f);
    const struct dtls_server_config cfg = {
        .max = ASSOCIATIONS, .max_per_prefix = 3, .max_unfinished = 2, .handshake_ms = 10000};
    const struct dtls_server_env env = {.random = not_random, .next_id = next_id, .ctx = f};
    if (!f || dtls_server_new(&f->s, &cfg, &env)) {
        abort();
    }
    dtls_server_set_context(f->s, server_ctx);
    f->in = rd_over(slice_of(data, size));
    f->from = (struct addr){
        .family = ADDR_IP4, .ip = {192, 0, 2, 1}
    };
    f->local = (struct addr){
        .family = ADDR_IP4, .ip = {198, 51, 100, 1},
             .port = 3478
    };
    for (int i = 0; i < STEPS_MAX && rd_left(&f->in) > 0; i++) {
        step(f);
    }
    dtls_free(f->client);
    dtls_server_free(f->s);
    free(f);
    return 0;
}
