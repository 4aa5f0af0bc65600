/* Control messages of UDP sockets, IPv4's and IPv6's. */
#include "io/udp_control.h"

#include <errno.h>

/* clang-format off */
#include <time.h> /* before errqueue.h, which needs it and does not say so */
#include <linux/errqueue.h>
/* clang-format on */
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include "io/sock.h"

static void put(struct udp_control *k, int level, int type, struct slice value)
{
    struct cmsghdr h = {
        .cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(value.len)};
    memcpy(k->room + k->len, &h, sizeof h);
    memcpy(k->room + k->len + CMSG_LEN(0), value.p, value.len);
    k->len += CMSG_SPACE(value.len);
}

static void put_int(struct udp_control *k, int level, int type, int value)
{
    put(k, level, type, slice_of(&value, sizeof value));
}

static void put_local(struct udp_control *k, const struct addr *local)
{
    struct in_pktinfo info4 = {0};
    struct in6_pktinfo info6 = {0};
    if (local->family == ADDR_IP4) {
        memcpy(&info4.ipi_spec_dst, local->ip, 4);
        put(k, IPPROTO_IP, IP_PKTINFO, slice_of(&info4, sizeof info4));
    } else {
        memcpy(&info6.ipi6_addr, local->ip, 16);
        put(k, IPPROTO_IPV6, IPV6_PKTINFO, slice_of(&info6, sizeof info6));
    }
}

void udp_control_put(struct udp_control *k, uint8_t family, const struct addr *local,
                     const struct dgram_opts *opts)
{
    bool is_ip4 = family == ADDR_IP4;
    int level = is_ip4 ? IPPROTO_IP : IPPROTO_IPV6;
    k->len = 0;
    if (local) {
        put_local(k, local);
    }
    if (opts->tos) {
        put_int(k, level, is_ip4 ? IP_TOS : IPV6_TCLASS, opts->tos);
    }
    if (opts->ttl) {
        put_int(k, level, is_ip4 ? IP_TTL : IPV6_HOPLIMIT, opts->ttl);
    }
    if (opts->df && !is_ip4) { /* for IPv4 it is the socket's affair */
        put_int(k, level, IPV6_DONTFRAG, 1);
    }
}

/* A byte or an int: IP_TOS comes as the one and goes as the other. */
static uint8_t number_of(const struct cmsghdr *c)
{
    int v = 0;
    if (c->cmsg_len == CMSG_LEN(1)) {
        return *CMSG_DATA(c);
    }
    memcpy(&v, CMSG_DATA(c), sizeof v);
    return (uint8_t)v;
}

/* A datagram that came with 0 has no hop left, like one with 1: 0 means that it is not known.
 */
static uint8_t ttl_of(const struct cmsghdr *c)
{
    uint8_t ttl = number_of(c);
    return ttl ? ttl : 1;
}

static void get4(const struct cmsghdr *c, struct addr *local, struct dgram_opts *opts)
{
    struct in_pktinfo info;
    switch (c->cmsg_type) {
    case IP_PKTINFO:
        memcpy(&info, CMSG_DATA(c), sizeof info);
        memcpy(local->ip, &info.ipi_addr, 4);
        break;
    case IP_TOS: opts->tos = number_of(c); break;
    case IP_TTL: opts->ttl = ttl_of(c); break;
    default: break;
    }
}

static void get6(const struct cmsghdr *c, struct addr *local, struct dgram_opts *opts)
{
    struct in6_pktinfo info;
    switch (c->cmsg_type) {
    case IPV6_PKTINFO:
        memcpy(&info, CMSG_DATA(c), sizeof info);
        memcpy(local->ip, &info.ipi6_addr, 16);
        break;
    case IPV6_TCLASS: opts->tos = number_of(c); break;
    case IPV6_HOPLIMIT: opts->ttl = ttl_of(c); break;
    default: break;
    }
}

void udp_control_get(struct msghdr *m, struct addr *local, struct dgram_opts *opts)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP) {
            get4(c, local, opts);
        } else if (c->cmsg_level == IPPROTO_IPV6) {
            get6(c, local, opts);
        }
    }
}

/* False: of something else than a datagram's fate. */
static bool read_error(const struct sock_extended_err *e, struct udp_error *out)
{
    bool is_ip4 = out->to.family == ADDR_IP4;
    uint8_t too_big = is_ip4 ? ICMP_DEST_UNREACH : ICMP6_PACKET_TOO_BIG;
    uint8_t too_big_code = is_ip4 ? ICMP_FRAG_NEEDED : 0;
    if (e->ee_origin == SO_EE_ORIGIN_LOCAL && e->ee_errno == EMSGSIZE) {
        out->type = too_big;
        out->code = too_big_code;
    } else if (e->ee_origin == (is_ip4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6)) {
        out->type = e->ee_type;
        out->code = e->ee_code;
    } else {
        return false;
    }
    out->mtu = out->type == too_big && out->code == too_big_code ? e->ee_info : 0;
    return true;
}

static bool is_error(const struct cmsghdr *c)
{
    return (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
           (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
}

int udp_control_error(int fd, struct udp_error *out)
{
    struct { /* beside the error there may be all that a datagram comes with */
        _Alignas(struct cmsghdr) uint8_t room[512];
    } control;
    union sock_addr to = {.any = {0}};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof to,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    *out = (struct udp_error){.mtu = 0};
    if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0) {
        return errno == EINTR ? ERR_MALFORMED : ERR_NOTFOUND;
    }
    out->to = sock_to_addr(&to);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct sock_extended_err e;
        if (is_error(c) && c->cmsg_len >= CMSG_LEN(sizeof e)) {
            memcpy(&e, CMSG_DATA(c), sizeof e);
            return out->to.family && read_error(&e, out) ? OK : ERR_MALFORMED;
        }
    }
    return ERR_MALFORMED;
}
