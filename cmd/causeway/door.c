/* Accepts outside, connects inside, joins the two. */
#include "cmd/causeway/door.h"

#include <errno.h>
#include <stdlib.h>

#include "io/netns.h"
#include "io/tcp.h"

enum {
    PIPES_MAX = 128 /* connections at a time */
};

struct door {
    struct loop *loop;
    struct tcp_listener *listener;
    int home, ns; /* ns -1: closed */
    struct addr inside;
    struct tcp_pipe *pipes[PIPES_MAX];
};

static void pipe_done(struct tcp_pipe *p, void *ctx)
{
    struct door *d = ctx;
    for (size_t i = 0; i < PIPES_MAX; i++) {
        if (d->pipes[i] == p) {
            d->pipes[i] = NULL;
        }
    }
}

static int connect_inside(struct door *d, struct tcp **out)
{
    /* Never called: the pipe takes the stream over before the loop turns. */
    static const struct tcp_events none = {0};
    int err = netns_enter(d->ns);
    if (err) {
        return err;
    }
    err = tcp_connect(out, d->loop, &d->inside, NULL, &none, d);
    int back = netns_enter(d->home);
    return err ? err : back;
}

static void accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    struct door *d = ctx;
    struct tcp *inside;
    size_t i = 0;
    (void)peer;
    while (i < PIPES_MAX && d->pipes[i]) {
        i++;
    }
    if (i == PIPES_MAX || d->ns < 0 || connect_inside(d, &inside) != 0) {
        tcp_close(t);
        return;
    }
    if (tcp_pipe_new(&d->pipes[i], t, inside, pipe_done, d) != 0) {
        d->pipes[i] = NULL;
        tcp_close(t);
        tcp_close(inside);
    }
}

int door_new(struct door **out, struct loop *l, uint16_t port)
{
    struct door *d = calloc(1, sizeof *d);
    if (!d) {
        return ERR_NOMEM;
    }
    d->loop = l;
    d->home = d->ns = -1;
    int err = ERR_SYSTEM;
    for (unsigned i = 0; i < DOOR_TRIES && port + i <= UINT16_MAX; i++) {
        struct addr at = {
            .family = ADDR_IP4, .ip = {127, 0, 0, 1},
                 .port = (uint16_t)(port + i)
        };
        err = tcp_listen(&d->listener, l, &at, NULL, accepted, d);
        if (!err || errno != EADDRINUSE) {
            break;
        }
    }
    if (err) {
        free(d);
        return err;
    }
    *out = d;
    return 0;
}

uint16_t door_port(const struct door *d)
{
    return tcp_listener_addr(d->listener).port;
}

void door_open(struct door *d, int home, int ns, const struct addr *inside)
{
    d->home = home;
    d->ns = ns;
    d->inside = *inside;
}

void door_free(struct door *d)
{
    if (!d) {
        return;
    }
    for (size_t i = 0; i < PIPES_MAX; i++) {
        if (d->pipes[i]) {
            tcp_pipe_close(d->pipes[i]);
        }
    }
    tcp_listener_free(d->listener);
    free(d);
}
