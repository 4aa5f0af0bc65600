/* The network's tables, and how they become namespaces. */
#include "cmd/causeway/net.h"

#include <stdlib.h>
#include <unistd.h>

#include "io/netns.h"

enum {
    TRY_MS = 500 /* for connections that must not come about */
};

struct socket_of_cable {
    enum host host;
    const char *device, *ip;
};

static const struct {
    struct socket_of_cable a, b;
} cables[LEG_COUNT] = {
    [LEG_INSIDE] = {{HOST_SKYPE, "inside", NET_SKYPE},      {HOST_CLIENT, "lan", NET_CLIENT}   },
    [LEG_OUTSIDE] = {{HOST_EDGE, "outside", "10.48.53.229"},
                    {HOST_SKYPE, "outside", "10.48.53.252"}                                    },
    [LEG_SIP] = {{HOST_MEET, "sip", NET_MEET_SIP},       {HOST_SKYPE, "sip", "10.48.55.252"}},
    [LEG_MEDIA] = {{HOST_MEET, "media", NET_MEET},         {HOST_EDGE, "media", NET_EDGE}     },
};

static const struct {
    enum host host;
    const char *to, *via;
} routes[] = {
    {HOST_SKYPE, NET_EDGE,  "10.48.53.229"},
    {HOST_EDGE,  NET_SKYPE, "10.48.53.252"},
};

/* What must be out of reach, so that the relay is the only way. */
static const struct {
    enum host from;
    const char *to, *why;
} closed[] = {
    {HOST_CLIENT, NET_EDGE ":3478", "the client can reach the edge past the Skype site"        },
    {HOST_CLIENT, NET_MEET ":8080", "the client can reach the meeting server directly"         },
    {HOST_SKYPE,  NET_MEET ":8080", "the Skype site can reach the meeting server past the edge"},
};

/* Text of our own tables. */
static struct addr addr_of(const char *text)
{
    struct addr a;
    if (addr_parse(slice_str(text), &a) != 0) {
        abort();
    }
    return a;
}

static struct netns_end end_of(const struct net *n, const struct socket_of_cable *s)
{
    return (struct netns_end){
        .ns = n->ns[s->host], .name = s->device, .ip = addr_of(s->ip), .bits = 24};
}

static int lay_cables(const struct net *n)
{
    int err = 0;
    for (size_t i = 0; i < LEG_COUNT && !err; i++) {
        struct netns_end a = end_of(n, &cables[i].a), b = end_of(n, &cables[i].b);
        err = netns_link(&a, &b);
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes && !err; i++) {
        struct addr_net to = {.base = addr_of(routes[i].to), .bits = 32};
        struct addr via = addr_of(routes[i].via);
        err = netns_route(n->ns[routes[i].host], &to, &via);
    }
    return err;
}

int net_new(struct net *n, const char **why)
{
    *n = (struct net){
        .home = -1, .ns = {-1, -1, -1, -1}
    };
    *why =
        "the kernel does not let this user make network namespaces: run as root, or allow user "
        "namespaces (sysctl kernel.unprivileged_userns_clone=1; in a container: "
        "--privileged)";
    int err = netns_begin();
    err = err ? err : netns_new(&n->home);
    err = err ? err : netns_enter(n->home);
    for (size_t i = 0; i < HOST_COUNT && !err; i++) {
        err = netns_new(&n->ns[i]);
    }
    if (!err) {
        *why = "the network namespaces cannot be wired up (is the veth driver there?)";
        err = lay_cables(n);
    }
    if (err) {
        net_done(n);
    }
    return err;
}

void net_done(struct net *n)
{
    for (size_t i = 0; i < HOST_COUNT; i++) {
        if (n->ns[i] >= 0) {
            (void)close(n->ns[i]);
        }
    }
    if (n->home >= 0) {
        (void)close(n->home);
    }
}

int net_check(const struct net *n, const char **why)
{
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        struct addr to = addr_of(closed[i].to);
        *why = closed[i].why;
        int got = netns_try_connect(n->ns[closed[i].from], &to, TRY_MS);
        if (got != ERR_NOTFOUND) {
            return ERR_BADSTATE;
        }
    }
    return 0;
}

const char *net_leg_device(enum leg leg, enum host *at)
{
    *at = cables[leg].a.host;
    return cables[leg].a.device;
}

enum host net_host_of(const struct addr *ip)
{
    for (size_t i = 0; i < LEG_COUNT; i++) {
        const struct socket_of_cable *side[] = {&cables[i].a, &cables[i].b};
        for (size_t k = 0; k < 2; k++) {
            struct addr a = addr_of(side[k]->ip);
            if (addr_ip_eq(&a, ip)) {
                return side[k]->host;
            }
        }
    }
    return HOST_COUNT;
}
