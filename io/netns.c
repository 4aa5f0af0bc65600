/* Namespaces, and the few rtnetlink messages that wire them up (rtnetlink(7)). */
#include "io/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MESSAGE_MAX = 512,
    KERNEL_WAIT_S = 5 /* rtnetlink answers at once; a busy machine may take its time */
};

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return ERR_SYSTEM;
    }
    ssize_t n = write(fd, text, strlen(text));
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return n == (ssize_t)strlen(text) ? 0 : ERR_SYSTEM;
}

/* Everybody keeps his own number inside: a program started from there looks as outside. */
static int map_self(uid_t uid, gid_t gid)
{
    char line[64];
    (void)snprintf(line, sizeof line, "%u %u 1\n", uid, uid);
    int err = write_file("/proc/self/uid_map", line);
    /* user_namespaces(7): required before an unprivileged process may write gid_map. */
    err = err ? err : write_file("/proc/self/setgroups", "deny");
    (void)snprintf(line, sizeof line, "%u %u 1\n", gid, gid);
    return err ? err : write_file("/proc/self/gid_map", line);
}

int netns_begin(void)
{
    if (unshare(CLONE_NEWNET) == 0) {
        return 0;
    }
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return ERR_SYSTEM;
    }
    return map_self(uid, gid);
}

int netns_enter(int fd)
{
    return setns(fd, CLONE_NEWNET) == 0 ? 0 : ERR_SYSTEM;
}

static int open_own(int *fd)
{
    *fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? 0 : ERR_SYSTEM;
}

/* rtnetlink messages are built in host byte order, aligned to 4. */
struct message {
    struct wr w;
    uint8_t buf[MESSAGE_MAX];
};

static void put_raw(struct message *m, const void *p, size_t len)
{
    wr_bytes(&m->w, slice_of(p, len));
    (void)wr_room(&m->w, (4 - len % 4) % 4);
}

static void put_attr(struct message *m, uint16_t type, const void *p, size_t len)
{
    struct rtattr a = {.rta_len = (unsigned short)(sizeof a + len), .rta_type = type};
    put_raw(m, &a, sizeof a);
    put_raw(m, p, len);
}

static void put_text(struct message *m, uint16_t type, const char *s)
{
    put_attr(m, type, s, strlen(s) + 1);
}

/* An attribute made of attributes: give what this returned to end_nest. */
static size_t begin_nest(struct message *m, uint16_t type)
{
    size_t at = m->w.len;
    put_attr(m, type, NULL, 0);
    return at;
}

static void end_nest(struct message *m, size_t at)
{
    unsigned short len = (unsigned short)(m->w.len - at);
    if (!m->w.err) {
        memcpy(m->buf + at, &len, sizeof len);
    }
}

static void begin(struct message *m, uint16_t type, uint16_t flags)
{
    m->w = wr_over(m->buf, sizeof m->buf);
    struct nlmsghdr h = {.nlmsg_type = type,
                         .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)};
    put_raw(m, &h, sizeof h);
}

/* Sends the message in the namespace the thread is in and waits for the kernel's verdict. */
static int ask(struct message *m)
{
    if (m->w.err) {
        return m->w.err;
    }
    uint32_t len = (uint32_t)m->w.len;
    memcpy(m->buf + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof len);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return ERR_SYSTEM;
    }
    int err = ERR_SYSTEM;
    struct timeval wait = {.tv_sec = KERNEL_WAIT_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    uint8_t answer[MESSAGE_MAX + 256];
    struct nlmsghdr h;
    struct nlmsgerr verdict;
    if (send(fd, m->buf, len, 0) == (ssize_t)len &&
        recv(fd, answer, sizeof answer, 0) >= (ssize_t)(sizeof h + sizeof verdict)) {
        memcpy(&h, answer, sizeof h);
        memcpy(&verdict, answer + NLMSG_HDRLEN, sizeof verdict);
        errno = h.nlmsg_type == NLMSG_ERROR ? -verdict.error : EPROTO;
        err = errno == 0 ? 0 : ERR_SYSTEM;
    }
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return err;
}

/* Carries out `fn` in namespace `ns` and comes back. Not being able to come back would leave
 * the process on another host: that ends it. */
static int inside(int ns, int (*fn)(const void *arg), const void *arg)
{
    int home;
    int err = open_own(&home);
    if (err) {
        return err;
    }
    err = netns_enter(ns);
    if (!err) {
        err = fn(arg);
        int saved = errno;
        if (netns_enter(home) != 0) {
            perror("cannot return to the network namespace");
            _exit(70);
        }
        errno = saved;
    }
    (void)close(home);
    return err;
}

static int set_up(const void *name)
{
    struct ifinfomsg info = {
        .ifi_index = (int)if_nametoindex(name), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    if (info.ifi_index == 0) {
        return ERR_SYSTEM;
    }
    struct message m;
    begin(&m, RTM_NEWLINK, 0);
    put_raw(&m, &info, sizeof info);
    return ask(&m);
}

int netns_new(int *fd)
{
    int home;
    int err = open_own(&home);
    if (err) {
        return err;
    }
    *fd = -1;
    err = unshare(CLONE_NEWNET) == 0 ? open_own(fd) : ERR_SYSTEM;
    int saved = errno;
    if (netns_enter(home) != 0) {
        perror("cannot return to the network namespace");
        _exit(70);
    }
    errno = saved;
    (void)close(home);
    err = err ? err : inside(*fd, set_up, "lo");
    if (err && *fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return err;
}

static int add_addr(const void *arg)
{
    const struct netns_end *e = arg;
    unsigned index = if_nametoindex(e->name);
    if (index == 0) {
        return ERR_SYSTEM;
    }
    bool is_ip6 = e->ip.family == ADDR_IP6;
    struct ifaddrmsg info = {.ifa_family = is_ip6 ? AF_INET6 : AF_INET,
                             .ifa_prefixlen = e->bits,
                             .ifa_flags = is_ip6 ? IFA_F_NODAD : 0,
                             .ifa_index = index};
    struct message m;
    begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    put_raw(&m, &info, sizeof info);
    put_attr(&m, IFA_LOCAL, e->ip.ip, addr_ip_len(e->ip.family));
    put_attr(&m, IFA_ADDRESS, e->ip.ip, addr_ip_len(e->ip.family));
    return ask(&m);
}

int netns_addr(const struct netns_end *end)
{
    return inside(end->ns, add_addr, end);
}

struct pair {
    const struct netns_end *a, *b;
};

static int add_pair(const void *arg)
{
    const struct pair *p = arg;
    struct ifinfomsg none = {0};
    struct message m;
    begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    put_raw(&m, &none, sizeof none);
    put_text(&m, IFLA_IFNAME, p->a->name);
    size_t info = begin_nest(&m, IFLA_LINKINFO);
    put_text(&m, IFLA_INFO_KIND, "veth");
    size_t data = begin_nest(&m, IFLA_INFO_DATA);
    size_t peer = begin_nest(&m, VETH_INFO_PEER);
    put_raw(&m, &none, sizeof none);
    put_text(&m, IFLA_IFNAME, p->b->name);
    put_attr(&m, IFLA_NET_NS_FD, &p->b->ns, sizeof p->b->ns);
    end_nest(&m, peer);
    end_nest(&m, data);
    end_nest(&m, info);
    return ask(&m);
}

int netns_link(const struct netns_end *a, const struct netns_end *b)
{
    if (strlen(a->name) > NETNS_NAME_MAX || strlen(b->name) > NETNS_NAME_MAX) {
        return ERR_LIMIT;
    }
    struct pair p = {a, b};
    int err = inside(a->ns, add_pair, &p);
    err = err ? err : netns_addr(a);
    err = err ? err : netns_addr(b);
    err = err ? err : inside(a->ns, set_up, a->name);
    return err ? err : inside(b->ns, set_up, b->name);
}

struct way {
    const struct addr_net *to;
    const struct addr *via;
};

static int add_route(const void *arg)
{
    const struct way *r = arg;
    size_t len = addr_ip_len(r->via->family);
    struct rtmsg info = {.rtm_family = r->via->family == ADDR_IP6 ? AF_INET6 : AF_INET,
                         .rtm_dst_len = r->to->bits,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_BOOT,
                         .rtm_scope = RT_SCOPE_UNIVERSE,
                         .rtm_type = RTN_UNICAST};
    struct message m;
    begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    put_raw(&m, &info, sizeof info);
    put_attr(&m, RTA_DST, r->to->base.ip, len);
    put_attr(&m, RTA_GATEWAY, r->via->ip, len);
    return ask(&m);
}

int netns_route(int ns, const struct addr_net *to, const struct addr *via)
{
    struct way r = {to, via};
    return inside(ns, add_route, &r);
}

/* How a connection came out, from errno. */
static int verdict_of(int sys_errno)
{
    switch (sys_errno) {
    case 0: return 0;
    case ENETUNREACH:
    case EHOSTUNREACH: return ERR_NOTFOUND;
    case ETIMEDOUT: return ERR_LIMIT;
    default: errno = sys_errno; return ERR_SYSTEM;
    }
}

struct attempt {
    const struct addr *to;
    int timeout_ms;
};

static socklen_t fill_sockaddr(struct sockaddr_storage *out, const struct addr *a)
{
    *out = (struct sockaddr_storage){0};
    if (a->family == ADDR_IP6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
        memcpy(&in6.sin6_addr, a->ip, 16);
        memcpy(out, &in6, sizeof in6);
        return sizeof in6;
    }
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    memcpy(&in4.sin_addr, a->ip, 4);
    memcpy(out, &in4, sizeof in4);
    return sizeof in4;
}

static int attempt_connect(const void *arg)
{
    const struct attempt *t = arg;
    struct sockaddr_storage to;
    socklen_t len = fill_sockaddr(&to, t->to);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return ERR_SYSTEM;
    }
    int result = 0;
    if (connect(fd, (const struct sockaddr *)&to, len) != 0) {
        result = errno;
    }
    if (result == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t n = sizeof result;
        if (poll(&p, 1, t->timeout_ms) != 1) {
            result = ETIMEDOUT;
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &n) != 0) {
            result = errno;
        }
    }
    (void)close(fd);
    return verdict_of(result);
}

int netns_try_connect(int ns, const struct addr *to, int timeout_ms)
{
    struct attempt t = {to, timeout_ms};
    return inside(ns, attempt_connect, &t);
}
