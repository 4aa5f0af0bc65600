/* The stand-in Front End. */
#include "cmd/lab/front_end.h"

#include <stdlib.h>

#include "io/tcp.h"

enum {
    LINKS_MAX = 64
};

struct link {
    struct link *next;
    struct front_end *owner;
    struct tcp *client, *server; /* until they are joined */
    struct tcp_pipe *pipe;
};

struct front_end {
    struct loop *loop;
    struct tcp_listener *listener;
    struct link *links;
    size_t n_links;
    struct front_end_config cfg;
};

static void link_free(struct link *k)
{
    struct link **at = &k->owner->links;
    while (*at != k) {
        at = &(*at)->next;
    }
    *at = k->next;
    k->owner->n_links--;
    if (k->client) {
        tcp_close(k->client);
    }
    if (k->server) {
        tcp_close(k->server);
    }
    if (k->pipe) {
        tcp_pipe_close(k->pipe);
    }
    free(k);
}

static void piped(struct tcp_pipe *p, void *ctx)
{
    struct link *k = ctx;
    struct tcp_pipe_count n = tcp_pipe_count(p);
    LOG(k->owner->cfg.log, LOG_INFO, "link-closed", LOG_N("to_server", n.a_to_b),
        LOG_N("to_client", n.b_to_a));
    k->pipe = NULL;
    link_free(k);
}

static void server_connected(struct tcp *t, void *ctx)
{
    struct link *k = ctx;
    (void)t;
    int err = tcp_pipe_new(&k->pipe, k->client, k->server, piped, k);
    if (!err) {
        k->client = k->server = NULL;
        return;
    }
    LOG(k->owner->cfg.log, LOG_ERROR, "link-failed", LOG_S("why", err_text(err)));
    link_free(k);
}

static void server_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct link *k = ctx;
    char text[ADDR_TEXT_MAX];
    (void)t;
    k->server = NULL;
    LOG(k->owner->cfg.log, LOG_ERROR, "link-failed",
        LOG_S("to", addr_text(&k->owner->cfg.to, text)), LOG_S("why", strerror(sys_errno)));
    link_free(k);
}

static const struct tcp_events server_events = {.connected = server_connected,
                                                .closed = server_closed};

static void accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct front_end *f = ctx;
    const struct tcp_options opt = {.timeout_ms = 5000};
    char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
    struct link *k = f->n_links < LINKS_MAX ? calloc(1, sizeof *k) : NULL;
    if (!k) {
        tcp_close(t);
        return;
    }
    *k = (struct link){.next = f->links, .owner = f, .client = t};
    f->links = k;
    f->n_links++;
    LOG(f->cfg.log, LOG_INFO, "link", LOG_S("from", addr_text(peer, from)),
        LOG_S("to", addr_text(&f->cfg.to, to)));
    if (tcp_connect(&k->server, f->loop, &f->cfg.to, &opt, &server_events, k)) {
        link_free(k);
    }
}

int front_end_new(struct front_end **out, struct loop *l, const struct front_end_config *cfg)
{
    struct front_end *f = calloc(1, sizeof *f);
    char text[ADDR_TEXT_MAX];
    *out = NULL;
    if (!f) {
        return ERR_NOMEM;
    }
    *f = (struct front_end){.loop = l, .cfg = *cfg};
    int err = tcp_listen(&f->listener, l, &cfg->listen, NULL, accepted, f);
    if (err) {
        LOG(cfg->log, LOG_ERROR, "listen-failed", LOG_S("addr", addr_text(&cfg->listen, text)),
            LOG_S("why", err_text(err)));
        front_end_free(f);
        return err;
    }
    struct addr at = tcp_listener_addr(f->listener);
    LOG(cfg->log, LOG_INFO, "listening", LOG_S("for", "sip"),
        LOG_S("addr", addr_text(&at, text)));
    *out = f;
    return OK;
}

void front_end_free(struct front_end *f)
{
    if (!f) {
        return;
    }
    while (f->links) {
        link_free(f->links);
    }
    if (f->listener) {
        tcp_listener_free(f->listener);
    }
    free(f);
}
