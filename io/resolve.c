/* Questions to the DNS, with c-ares. Its sockets and its next deadline are put on our loop. */
#include "io/resolve.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/time.h>

#include "io/loop_impl.h"
#include "io/sock.h"

enum {
    WAIT_MS = 1500, /* for an answer, before a question is repeated */
    TRIES = 3,
    SOCKETS_MAX = 16
};

struct resolve {
    struct resolve *next;
    struct resolver *owner;
    enum dns_type type;
    resolved *fn; /* NULL: nobody waits any more */
    void *ctx;
    struct loop_task done; /* c-ares may answer inside the call that asks */
    size_t n;
    struct dns_record records[DNS_RECORDS_MAX];
};

struct socket {
    struct resolver *owner;
    struct loop_fd *ready; /* NULL: free */
    int fd;
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct loop_timer *timer;
    struct resolve *asked;
    struct socket sockets[SOCKETS_MAX];
    bool is_ending;
};

static void set_timer(struct resolver *r)
{
    struct timeval left;
    if (r->is_ending) {
        return;
    }
    if (!ares_timeout(r->channel, NULL, &left)) {
        loop_timer_at(r->timer, UINT64_MAX);
        return;
    }
    uint64_t ms = (uint64_t)left.tv_sec * 1000 + (uint64_t)(left.tv_usec + 999) / 1000;
    loop_timer_at(r->timer, loop_now_ms(r->loop) + ms);
}

static void on_timer(void *ctx)
{
    struct resolver *r = ctx;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(r);
}

static void on_ready(int events, void *ctx)
{
    struct socket *s = ctx;
    struct resolver *r = s->owner;
    int fd = s->fd; /* c-ares may close it in between */
    ares_process_fd(r->channel, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
                    events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    set_timer(r);
}

/* What c-ares wants to know of its socket `fd`; nothing: it closes it in a moment. */
static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = ctx;
    struct socket *s = NULL;
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        struct socket *at = &r->sockets[i];
        s = at->ready && at->fd == fd ? at : s;
    }
    for (size_t i = 0; i < SOCKETS_MAX && !s && (readable || writable); i++) {
        struct socket *at = &r->sockets[i];
        if (!at->ready && !loop_fd_new(&at->ready, r->loop, fd, on_ready, at)) {
            at->fd = fd;
            s = at;
        }
    }
    if (!s) {
        return; /* no room to watch it: the question runs into its timeout */
    }
    loop_fd_want(s->ready, (readable ? LOOP_READ : 0) | (writable ? LOOP_WRITE : 0));
    if (!readable && !writable) {
        loop_fd_free(s->ready);
        s->ready = NULL;
    }
}

static void resolve_free(struct resolve *q)
{
    struct resolve **at = &q->owner->asked;
    while (*at != q) {
        at = &(*at)->next;
    }
    *at = q->next;
    loop_task_disarm(&q->done);
    free(q);
}

static void tell(void *ctx)
{
    struct resolve *q = ctx;
    if (q->fn) {
        q->fn(q->records, q->n, q->ctx);
    }
    resolve_free(q);
}

static void finish(struct resolve *q)
{
    if (q->owner->is_ending) {
        resolve_free(q);
        return;
    }
    loop_task_arm(q->owner->loop, &q->done);
}

static struct dns_record *add(struct resolve *q)
{
    if (q->n == DNS_RECORDS_MAX) {
        return NULL;
    }
    q->records[q->n] = (struct dns_record){.type = q->type};
    return &q->records[q->n++];
}

/* False when it does not fit: the record is then of no use. */
static bool copy(char *to, size_t cap, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    if (n >= cap) {
        return false;
    }
    memcpy(to, from ? from : "", n + 1);
    return true;
}

static void on_addresses(void *ctx, int status, int timeouts, struct ares_addrinfo *list)
{
    struct resolve *q = ctx;
    (void)timeouts;
    for (struct ares_addrinfo_node *a = status ? NULL : list->nodes; a; a = a->ai_next) {
        union sock_addr sa = {0};
        bool is_known = a->ai_family == AF_INET || a->ai_family == AF_INET6;
        struct dns_record *r = is_known && a->ai_addrlen <= sizeof sa ? add(q) : NULL;
        if (r) {
            memcpy(&sa, a->ai_addr, a->ai_addrlen);
            r->addr = sock_to_addr(&sa);
            r->addr.port = 0;
        }
    }
    if (list) {
        ares_freeaddrinfo(list);
    }
    finish(q);
}

static void add_srv(struct resolve *q, const unsigned char *answer, int len)
{
    struct ares_srv_reply *list = NULL;
    if (ares_parse_srv_reply(answer, len, &list) == ARES_SUCCESS) {
        for (const struct ares_srv_reply *s = list; s; s = s->next) {
            struct dns_record *r = add(q);
            if (r && copy(r->name, sizeof r->name, s->host)) {
                r->order = s->priority;
                r->weight = s->weight;
                r->port = s->port;
            } else if (r) {
                q->n--;
            }
        }
    }
    ares_free_data(list);
}

static void add_naptr(struct resolve *q, const unsigned char *answer, int len)
{
    struct ares_naptr_reply *list = NULL;
    if (ares_parse_naptr_reply(answer, len, &list) == ARES_SUCCESS) {
        for (const struct ares_naptr_reply *s = list; s; s = s->next) {
            struct dns_record *r = add(q);
            if (r && copy(r->name, sizeof r->name, s->replacement) &&
                copy(r->flags, sizeof r->flags, (const char *)s->flags) &&
                copy(r->service, sizeof r->service, (const char *)s->service)) {
                r->order = s->order;
                r->weight = s->preference;
                r->has_regexp = s->regexp && s->regexp[0];
            } else if (r) {
                q->n--;
            }
        }
    }
    ares_free_data(list);
}

static void on_answer(void *ctx, int status, int timeouts, unsigned char *answer, int len)
{
    struct resolve *q = ctx;
    (void)timeouts;
    if (status == ARES_SUCCESS && q->type == DNS_SRV) {
        add_srv(q, answer, len);
    } else if (status == ARES_SUCCESS) {
        add_naptr(q, answer, len);
    }
    finish(q);
}

static int use_server(struct resolver *r, const struct addr *server)
{
    struct addr at = *server;
    char text[ADDR_TEXT_MAX];
    at.port = at.port ? at.port : NAMESERVER_PORT;
    return ares_set_servers_ports_csv(r->channel, addr_text(&at, text)) ? ERR_SYSTEM : OK;
}

int resolver_new(struct resolver **out, struct loop *l, const struct addr *server)
{
    struct resolver *r = calloc(1, sizeof *r);
    struct ares_options opt = {.timeout = WAIT_MS, .tries = TRIES, .sock_state_cb = on_socket};
    *out = NULL;
    if (!r) {
        return ERR_NOMEM;
    }
    r->loop = l;
    opt.sock_state_cb_data = r;
    opt.lookups = "b"; /* a server of our own is asked about everything */
    int what = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
               (server ? ARES_OPT_LOOKUPS : 0);
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        r->sockets[i].owner = r;
    }
    if (ares_library_init(ARES_LIB_INIT_ALL) ||
        ares_init_options(&r->channel, &opt, what) != ARES_SUCCESS) {
        free(r);
        return ERR_SYSTEM;
    }
    int err = loop_timer_new(&r->timer, l, on_timer, r);
    err = err || !server ? err : use_server(r, server);
    if (err) {
        resolver_free(r);
        return err;
    }
    *out = r;
    return OK;
}

void resolver_free(struct resolver *r)
{
    if (!r) {
        return;
    }
    r->is_ending = true;
    ares_destroy(r->channel); /* answers what is out, and closes the sockets */
    while (r->asked) {        /* answered, and not yet told */
        resolve_free(r->asked);
    }
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        loop_fd_free(r->sockets[i].ready);
    }
    loop_timer_free(r->timer);
    ares_library_cleanup();
    free(r);
}

int resolver_ask(struct resolve **out, struct resolver *r, enum dns_type type, const char *name,
                 resolved *fn, void *ctx)
{
    struct resolve *q = calloc(1, sizeof *q);
    *out = q;
    if (!q) {
        return ERR_NOMEM;
    }
    *q = (struct resolve){
        .next = r->asked, .owner = r, .type = type, .fn = fn, .ctx = ctx, .done = {.fn = tell}};
    q->done.ctx = q;
    r->asked = q;
    if (type == DNS_ADDR) {
        const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
                                                  .ai_socktype = SOCK_DGRAM};
        ares_getaddrinfo(r->channel, name, NULL, &hints, on_addresses, q);
    } else {
        ares_query(r->channel, name, ns_c_in, type == DNS_SRV ? ns_t_srv : ns_t_naptr,
                   on_answer, q);
    }
    set_timer(r);
    return OK;
}

void resolve_cancel(struct resolve *q)
{
    q->fn = NULL;
}
