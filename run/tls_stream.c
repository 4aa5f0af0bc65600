/* TLS beneath a TCP stream. */
#include "run/tls_stream.h"

static int on_in(void *ctx, struct slice wire)
{
    return tls_in(ctx, wire);
}

static size_t on_read(void *ctx, uint8_t *out, size_t cap)
{
    return tls_read(ctx, out, cap);
}

static bool on_ended(void *ctx)
{
    return tls_peer_closed(ctx);
}

static int on_write(void *ctx, struct slice plain)
{
    return tls_write(ctx, plain);
}

static void on_fin(void *ctx)
{
    tls_shutdown(ctx);
}

static struct slice on_out(void *ctx)
{
    return tls_out(ctx);
}

static void on_out_done(void *ctx, size_t n)
{
    tls_out_done(ctx, n);
}

static void on_free(void *ctx)
{
    tls_free(ctx);
}

static const struct tcp_filter filter = {
    .in = on_in,
    .read = on_read,
    .ended = on_ended,
    .write = on_write,
    .fin = on_fin,
    .out = on_out,
    .out_done = on_out_done,
    .free = on_free,
};

void tls_stream_begin(struct tcp *t, struct tls *tls, struct slice first)
{
    tcp_set_filter(t, &filter, tls, first);
}
