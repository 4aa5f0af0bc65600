/* From what stands on the command line to the server's address. */
#include "cmd/conform/find.h"

#include "lib/base/text.h"

#include "run/turn_locate_run.h"

#include "cmd/conform/dial.h"

enum {
    TEXT_MAX = 512
};

struct search {
    struct loop *loop;
    struct turn_locate_run *locate;
    struct found *out;
    bool is_any; /* there was a server at all */
};

static void on_server(const struct addr *server, enum turn_way way, void *ctx)
{
    struct search *s = ctx;
    (void)way; /* every check has its own */
    if (server) {
        s->is_any = true;
        s->out->server = *server;
        s->out->local = dial_source(server);
        if (!s->out->local.family) { /* no route there, as with IPv6 on many machines */
            turn_locate_run_next(s->locate, on_server, s);
            return;
        }
    }
    loop_stop(s->loop);
}

static int read_uri(struct turn_uri *out, const char *text, const char **why)
{
    uint8_t buf[TEXT_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    struct addr at;
    bool is_uri = text_starts(slice_str(text), "turn") || text_starts(slice_str(text), "stun");
    /* "turn.example.org:3478" is no URI. */
    is_uri = is_uri && (strncmp(text + 4, ":", 1) == 0 || strncmp(text + 4, "s:", 2) == 0);
    if (is_uri) {
        return turn_uri_parse(out, slice_str(text), why);
    }
    bool is_bare_ip6 =
        text[0] != '[' && addr_parse(slice_str(text), &at) == OK && at.family == ADDR_IP6;
    wr_bytes(&w, slice_str(is_bare_ip6 ? "turn:[" : "turn:"));
    wr_bytes(&w, slice_str(text));
    wr_bytes(&w, slice_str(is_bare_ip6 ? "]" : ""));
    return turn_uri_parse(out, wr_done(&w), why);
}

static int search(struct search *s, const struct turn_uri *uri, const struct addr *dns)
{
    static const enum turn_way ways[LOCATE_WAYS_MAX] = {TURN_WAY_UDP, TURN_WAY_TCP};
    struct resolver *resolver = NULL;
    int err = loop_new(&s->loop);
    err = err ? err : resolver_new(&resolver, s->loop, dns);
    err = err ? err : turn_locate_run_new(&s->locate, resolver, uri, ways);
    if (!err) {
        turn_locate_run_next(s->locate, on_server, s);
        /* One that was found at once stops a loop that does not run yet, and then it waits for
         * nothing. */
        if (!s->out->local.family) {
            loop_run(s->loop);
        }
    }
    turn_locate_run_free(s->locate);
    resolver_free(resolver);
    loop_free(s->loop);
    return err;
}

int find_server(struct found *out, const char *text, const struct addr *dns, const char **why)
{
    struct turn_uri uri;
    struct search s = {.out = out};
    *out = (struct found){0};
    int err = read_uri(&uri, text, why);
    if (err) {
        return err;
    }
    err = search(&s, &uri, dns);
    if (err == ERR_UNSUPPORTED) {
        *why = "plain UDP and TCP are what is checked: no turns:, no TLS, no DTLS";
    } else if (err) {
        *why = err_text(err);
    } else if (!out->local.family) {
        *why = s.is_any ? "there is no route to it" : "no such server: the DNS names none";
        err = ERR_NOTFOUND;
    }
    return err;
}
