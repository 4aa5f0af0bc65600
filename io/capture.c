/* libpcap, on the loop. */
#include "io/capture.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SNAP_LEN = 262144, /* whole segments, also those that the network card is to split */
    /* A full-screen change is some 400 kB at once, and we may not get the processor for a
     * while. */
    KERNEL_BUFFER = 16 * 1024 * 1024,
    BATCH = 256,    /* packets a turn of the loop */
    FLUSH_MAX = 512 /* batches */
};

struct capture {
    pcap_t *pcap;
    pcap_dumper_t *file;
    struct loop_fd *fd;
    capture_fn *fn;
    void *ctx;
    int link;
};

static void took_packet(u_char *ctx, const struct pcap_pkthdr *h, const u_char *bytes)
{
    struct capture *c = (void *)ctx;
    if (c->file) {
        pcap_dump((u_char *)c->file, h, bytes);
    }
    if (!c->fn) {
        return;
    }
    struct capture_packet p = {.at_us =
                                   (uint64_t)h->ts.tv_sec * 1000000 + (uint64_t)h->ts.tv_usec,
                               .link = c->link,
                               .bytes = slice_of(bytes, h->caplen),
                               .wire_len = h->len};
    c->fn(&p, c->ctx);
}

static void readable(int events, void *ctx)
{
    struct capture *c = ctx;
    (void)events;
    /* An error here (the device went away) leaves nothing to be taken, nothing more. */
    (void)pcap_dispatch(c->pcap, BATCH, took_packet, (u_char *)c);
}

static int set_filter(struct capture *c, const char *filter)
{
    struct bpf_program prog;
    if (!filter) {
        return 0;
    }
    if (pcap_compile(c->pcap, &prog, filter, 1, PCAP_NETMASK_UNKNOWN) != 0) {
        return ERR_SYSTEM;
    }
    int status = pcap_setfilter(c->pcap, &prog);
    pcap_freecode(&prog);
    return status == 0 ? 0 : ERR_SYSTEM;
}

static int activate(struct capture *c, const struct capture_options *opt)
{
    /* Immediate mode: packets when they come, not when a buffer is full. */
    if (pcap_set_snaplen(c->pcap, SNAP_LEN) != 0 || pcap_set_immediate_mode(c->pcap, 1) != 0 ||
        pcap_set_buffer_size(c->pcap, KERNEL_BUFFER) != 0) {
        return ERR_SYSTEM;
    }
    char unused[PCAP_ERRBUF_SIZE];
    if (pcap_activate(c->pcap) < 0 || set_filter(c, opt->filter) != 0 ||
        pcap_setnonblock(c->pcap, 1, unused) != 0) {
        return ERR_SYSTEM;
    }
    c->link = pcap_datalink(c->pcap);
    if (opt->save_to) {
        c->file = pcap_dump_open(c->pcap, opt->save_to);
        return c->file ? 0 : ERR_SYSTEM;
    }
    return 0;
}

int capture_open(struct capture **out, struct loop *l, const struct capture_options *opt,
                 capture_fn *fn, void *ctx, char *why)
{
    char reason[PCAP_ERRBUF_SIZE] = "out of memory";
    struct capture *c = calloc(1, sizeof *c);
    if (!c) {
        return ERR_NOMEM;
    }
    c->fn = fn;
    c->ctx = ctx;
    int err = ERR_SYSTEM;
    c->pcap = pcap_create(opt->device, reason);
    if (c->pcap) {
        err = activate(c, opt);
        (void)snprintf(reason, sizeof reason, "%s", pcap_geterr(c->pcap));
    }
    if (!err) {
        err = loop_fd_new(&c->fd, l, pcap_get_selectable_fd(c->pcap), readable, c);
    }
    if (err) {
        (void)snprintf(why, CAPTURE_WHY_MAX, "%s: %s", opt->device, reason);
        capture_close(c);
        return err;
    }
    loop_fd_want(c->fd, LOOP_READ);
    *out = c;
    return 0;
}

uint64_t capture_lost(const struct capture *c)
{
    struct pcap_stat s;
    return pcap_stats(c->pcap, &s) == 0 ? s.ps_drop : 0;
}

void capture_flush(struct capture *c)
{
    /* The limit: traffic that goes on must not keep us here. */
    for (int i = 0; i < FLUSH_MAX; i++) {
        if (pcap_dispatch(c->pcap, BATCH, took_packet, (u_char *)c) <= 0) {
            break;
        }
    }
    if (c->file) {
        (void)pcap_dump_flush(c->file);
    }
}

void capture_close(struct capture *c)
{
    if (!c) {
        return;
    }
    if (c->fd) {
        c->fn = NULL;
        capture_flush(c);
        loop_fd_free(c->fd);
    }
    if (c->file) {
        pcap_dump_close(c->file);
    }
    if (c->pcap) {
        pcap_close(c->pcap);
    }
    free(c);
}

int capture_read_file(const char *path, capture_fn *fn, void *ctx, char *why)
{
    char reason[PCAP_ERRBUF_SIZE] = "";
    struct capture c = {.pcap = pcap_open_offline(path, reason), .fn = fn, .ctx = ctx};
    if (!c.pcap) {
        (void)snprintf(why, CAPTURE_WHY_MAX, "%s", reason);
        return ERR_SYSTEM;
    }
    c.link = pcap_datalink(c.pcap);
    int status = pcap_loop(c.pcap, -1, took_packet, (u_char *)&c);
    if (status != 0) {
        (void)snprintf(why, CAPTURE_WHY_MAX, "%s: %s", path, pcap_geterr(c.pcap));
    }
    pcap_close(c.pcap);
    return status == 0 ? 0 : ERR_SYSTEM;
}
