/* The demo's network: four hosts, and no way from the client to the edge.
 *
 *   client                Skype site                  edge                 meeting server
 *   192.168.1.10 -------- 192.168.1.252
 *                         10.48.53.252 -------------- 10.48.53.229
 *                                                     10.48.54.229 ------- 10.48.54.230
 *                         10.48.55.252 ----------- SIP ------------------- 10.48.55.230
 *
 * The Skype Edge relays from 192.168.1.252, the peer address of the tech note; only the edge
 * knows a way back there. Nobody forwards for anybody. */
#pragma once

#include "lib/base/addr.h"

enum host {
    HOST_CLIENT,
    HOST_SKYPE,
    HOST_EDGE,
    HOST_MEET,
    HOST_COUNT
};

#define NET_EDGE     "10.48.54.229"
#define NET_MEET     "10.48.54.230"
#define NET_MEET_SIP "10.48.55.230"
#define NET_SKYPE    "192.168.1.252"
#define NET_CLIENT   "192.168.1.10"

/* The cables. Captures are taken at the host named first. */
enum leg {
    LEG_INSIDE,  /* client and Skype site */
    LEG_OUTSIDE, /* Skype site and edge */
    LEG_SIP,     /* Skype site and meeting server */
    LEG_MEDIA,   /* edge and meeting server: the leg of the note's capture */
    LEG_COUNT
};

struct net {
    int home; /* an empty namespace: nothing of the machine's own network can be reached */
    int ns[HOST_COUNT];
};

/* Lays it all out. Call before any thread is started and after opening what must stay outside.
 * On failure `why` (a literal) says what could not be done; errno says more. */
MUST_USE int net_new(struct net *n, const char **why);
void net_done(struct net *n);

/* Checks that no packet can go from the client to the edge or to the meeting server, nor from
 * the Skype site past the edge. The way that is open is named in `why`. */
MUST_USE int net_check(const struct net *n, const char **why);

/* Where to listen in on a leg: the host, and its interface. */
const char *net_leg_device(enum leg leg, enum host *at);
/* Whose address it is; HOST_COUNT: nobody's. */
enum host net_host_of(const struct addr *ip);
