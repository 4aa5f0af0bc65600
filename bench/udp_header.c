/* What it costs to read and set the IP headers of relayed datagrams: one socket that passes on
 * what it gets, over loopback, in variants that take turns. Prints the process's CPU time for a
 * datagram, which has the source's and the sink's share in it, so look at the differences. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "io/udp.h"

enum {
    BATCH = 64,
    ROUND = 200 * BATCH, /* datagrams */
    ROUNDS = 41,
    SIZE = 172 /* bytes: a voice packet */
};

struct variant {
    const char *name;
    bool reads, sets, splits_df;
    double ns[ROUNDS];
};

struct run {
    struct loop *loop;
    const struct variant *v;
    struct udp *source, *sink;
    struct addr relay, to;
    size_t n_sent, n_got;
    uint8_t bytes[SIZE];
};

static void feed(struct run *r)
{
    const struct dgram d = {.data = slice_of(r->bytes, SIZE), .opts = {.tos = 0xb8}};
    for (size_t i = 0; i < BATCH; i++) {
        udp_send(r->source, &r->relay, NULL, slice_of(NULL, 0), d);
    }
    r->n_sent += BATCH;
}

static void pass_on(struct udp *u, const struct addr *from, const struct addr *local,
                    struct dgram d, void *ctx)
{
    struct run *r = ctx;
    (void)from;
    (void)local;
    struct dgram_opts opts = {.tos = 0};
    if (r->v->sets) {
        opts = (struct dgram_opts){.tos = d.opts.tos, .ttl = (uint8_t)(d.opts.ttl - 1)};
        opts.df = r->v->splits_df && r->n_got++ % 2;
    }
    udp_send(u, &r->to, NULL, slice_of(NULL, 0), (struct dgram){.data = d.data, .opts = opts});
}

struct sink {
    struct run *run;
    size_t n;
};

static void taken(struct udp *u, const struct addr *from, const struct addr *local,
                  struct dgram d, void *ctx)
{
    struct sink *s = ctx;
    (void)u;
    (void)from;
    (void)local;
    (void)d;
    s->n++;
    if (s->n == ROUND) {
        loop_stop(s->run->loop);
    } else if (s->n == s->run->n_sent) {
        feed(s->run);
    }
}

static void too_late(void *ctx)
{
    (void)ctx;
    (void)fprintf(stderr, "udp_header: a datagram was lost on loopback, so this says nothing\n");
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int one_round(struct run *r, double *ns)
{
    struct addr host;
    struct udp *relay = NULL;
    struct sink sink = {.run = r};
    struct loop_timer *late;
    const struct udp_options opt = {.has_header = r->v->reads};
    int err = addr_parse(slice_str("127.0.0.1"), &host);
    err = err ? err : loop_new(&r->loop);
    err = err ? err : loop_timer_new(&late, r->loop, too_late, NULL);
    err = err ? err : udp_open(&r->source, r->loop, &host, NULL, taken, &sink);
    err = err ? err : udp_open(&r->sink, r->loop, &host, NULL, taken, &sink);
    err = err ? err : udp_open(&relay, r->loop, &host, &opt, pass_on, r);
    if (err) {
        return err;
    }
    loop_timer_at(late, loop_now_ms(r->loop) + 20000);
    r->relay = udp_addr(relay);
    r->to = udp_addr(r->sink);
    r->n_sent = r->n_got = 0;
    feed(r);
    double begun = cpu_ns();
    loop_run(r->loop);
    *ns = (cpu_ns() - begun) / ROUND;
    udp_close(relay);
    udp_close(r->source);
    udp_close(r->sink);
    loop_timer_free(late);
    loop_free(r->loop);
    return OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    static struct variant variants[] = {
        {.name = "nothing"},
        {.name = "read", .reads = true},
        {.name = "read-and-set", .reads = true, .sets = true},
        {.name = "and-DF-each-second", .reads = true, .sets = true, .splits_df = true},
    };
    enum {
        N = sizeof variants / sizeof *variants
    };
    static struct run r;
    for (size_t i = 0; i < ROUNDS * N; i++) {
        r.v = &variants[i % N];
        if (one_round(&r, &variants[i % N].ns[i / N])) {
            perror("udp_header");
            return 1;
        }
    }
    for (size_t i = 0; i < N; i++) {
        double *ns = variants[i].ns;
        qsort(ns, ROUNDS, sizeof *ns, by_size);
        printf("headers=%s cpu_ns_per_datagram=%.0f lower_quartile=%.0f upper_quartile=%.0f\n",
               variants[i].name, ns[ROUNDS / 2], ns[ROUNDS / 4], ns[3 * ROUNDS / 4]);
    }
    return 0;
}
