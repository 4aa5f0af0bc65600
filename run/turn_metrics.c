/* The text exposition format, version 0.0.4. Label values are literals of ours: nothing to
 * escape, and no stranger can make a series. */
#include "run/turn_metrics.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/text.h"

#include "io/http.h"

struct turn_metrics {
    struct http *http;
    struct loop *loop;
    struct turn_run *run;
    uint64_t begun_ms;
};

static void put_head(struct wr *w, const char *name, const char *type, const char *help)
{
    wr_text(w, "# HELP causeway_%s %s\n# TYPE causeway_%s %s\n", name, help, name, type);
}

static void put_value(struct wr *w, const char *name, const char *labels, uint64_t value)
{
    wr_text(w, "causeway_%s%s %llu\n", name, labels, (unsigned long long)value);
}

static void put_one(struct wr *w, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    put_head(w, name, type, help);
    put_value(w, name, "", value);
}

static const char *method_name(uint16_t method)
{
    switch (method) {
    case STUN_BINDING: return "binding";
    case STUN_ALLOCATE: return "allocate";
    case STUN_REFRESH: return "refresh";
    case STUN_CREATE_PERMISSION: return "create-permission";
    case STUN_CHANNEL_BIND: return "channel-bind";
    case STUN_CONNECT: return "connect";
    case STUN_CONNECTION_BIND: return "connection-bind";
    default: return "other";
    }
}

static void put_answers(struct wr *w, const struct turn_run *run)
{
    struct turn_answers row;
    put_head(w, "requests_total", "counter", "Requests answered, by method and result.");
    for (size_t i = 0; turn_server_answers(turn_run_core(run), i, &row); i++) {
        if (row.n == 0 && row.code != 0) {
            continue;
        }
        wr_text(w, "causeway_requests_total{method=\"%s\",result=\"", method_name(row.method));
        wr_text(w, row.code ? "%u" : "success", row.code);
        wr_text(w, "\"} %llu\n", (unsigned long long)row.n);
    }
}

static void put_refusals(struct wr *w, const struct turn_run *run)
{
    struct turn_refusals row;
    put_head(w, "refusals_total", "counter", "Requests and peers refused, by reason.");
    for (size_t i = 0; turn_run_refusals(run, i, &row); i++) {
        wr_text(w, "causeway_refusals_total{reason=\"%s\"} %llu\n", row.why,
                (unsigned long long)row.n);
    }
}

static void put_traffic(struct wr *w, const struct turn_run *run)
{
    static const char bytes[] = "relayed_bytes_total", packets[] = "relayed_packets_total";
    struct turn_traffic n = turn_run_traffic(run);
    put_head(w, bytes, "counter", "Bytes relayed, without any protocol's head.");
    put_value(w, bytes, "{relay=\"udp\",to=\"peer\"}", n.bytes_to_peers);
    put_value(w, bytes, "{relay=\"udp\",to=\"client\"}", n.bytes_to_client);
    put_value(w, bytes, "{relay=\"tcp\",to=\"peer\"}", n.tcp_to_peers);
    put_value(w, bytes, "{relay=\"tcp\",to=\"client\"}", n.tcp_to_client);
    put_head(w, packets, "counter", "Datagrams relayed.");
    put_value(w, packets, "{relay=\"udp\",to=\"peer\"}", n.packets_to_peers);
    put_value(w, packets, "{relay=\"udp\",to=\"client\"}", n.packets_to_client);
    put_one(w, "icmp_total", "counter", "ICMP messages that clients were told of.",
            turn_run_stats(run).icmp_to_client);
    put_one(
        w, "dropped_packets_total", "counter",
        "Datagrams dropped because a client's TCP connection was full, or no DTLS record is "
        "that long.",
        n.dropped);
}

static void put_dtls(struct wr *w, const struct turn_run *run)
{
    static const char shakes[] = "dtls_handshakes_total";
    struct dtls_server_stats n = turn_run_dtls(run);
    put_one(w, "dtls_associations", "gauge", "DTLS associations, and handshakes not done.",
            n.associations);
    put_one(w, "dtls_cookies_total", "counter", "ClientHellos answered with a cookie.",
            n.verify_total);
    put_head(w, shakes, "counter", "DTLS handshakes of clients that returned their cookie.");
    put_value(w, shakes, "{result=\"success\"}", n.begun_total);
    put_value(w, shakes, "{result=\"failed\"}", n.failed_total);
    put_value(w, shakes, "{result=\"refused\"}", n.refused_total);
}

static void put_held_back(struct wr *w, const struct turn_stats *s)
{
    static const char name[] = "bandwidth_used_up_total";
    put_head(w, name, "counter", "How often something had to wait, or was dropped, for it.");
    put_value(w, name, "{of=\"allocation\"}", s->held_back[TURN_BANDWIDTH_ALLOC]);
    put_value(w, name, "{of=\"user\"}", s->held_back[TURN_BANDWIDTH_USER]);
    put_value(w, name, "{of=\"all\"}", s->held_back[TURN_BANDWIDTH_ALL]);
    put_one(w, "bandwidth_dropped_packets_total", "counter",
            "Datagrams dropped because a bandwidth was used up.", s->packets_held_back);
}

static void write_metrics(struct wr *w, void *ctx)
{
    const struct turn_metrics *m = ctx;
    struct turn_stats s = turn_run_stats(m->run);
    size_t web;
    uint64_t web_ever;
    turn_run_web(m->run, &web, &web_ever);
    put_head(w, "build_info", "gauge", "Always 1; the label has the version.");
    put_value(w, "build_info", "{version=\"" CAUSEWAY_VERSION "\"}", 1);
    put_one(w, "uptime_seconds", "gauge", "Since the start.",
            (loop_now_ms(m->loop) - m->begun_ms) / 1000);
    put_one(w, "allocations", "gauge", "Allocations there are.", s.allocations);
    put_one(w, "allocations_total", "counter", "Allocations made.", s.allocations_total);
    put_one(w, "permissions", "gauge", "Permissions there are.", s.permissions);
    put_one(w, "channels", "gauge", "Channels there are.", s.channels);
    put_one(w, "client_connections", "gauge",
            "Clients' TCP connections that are not joined to a peer's.",
            turn_run_clients(m->run));
    put_one(w, "web_connections", "gauge", "Connections joined to the web server.", web);
    put_one(w, "web_connections_total", "counter", "Connections sent to the web server.",
            web_ever);
    put_one(w, "peer_connections", "gauge", "Peers' TCP connections.", s.tcp_connections);
    put_one(w, "peer_connections_unbound", "gauge",
            "Peers' TCP connections that wait for the client.", s.tcp_unbound);
    put_one(w, "auth_failures_total", "counter", "Wrong names and passwords.",
            s.auth_failures_total);
    put_answers(w, m->run);
    put_refusals(w, m->run);
    put_traffic(w, m->run);
    put_held_back(w, &s);
    put_dtls(w, m->run);
}

int turn_metrics_new(struct turn_metrics **out, struct loop *l, struct turn_run *run,
                     const struct addr *at, const struct log *log)
{
    static const struct http_page pages[] = {
        {"/metrics", "text/plain; version=0.0.4; charset=utf-8", write_metrics},
        {NULL,       NULL,                                       NULL         },
    };
    char text[ADDR_TEXT_MAX];
    struct turn_metrics *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m) {
        return ERR_NOMEM;
    }
    *m = (struct turn_metrics){.loop = l, .run = run, .begun_ms = loop_now_ms(l)};
    int err = http_listen(&m->http, l, at, pages, m);
    if (err) {
        LOG(log, LOG_ERROR, "metrics-failed", LOG_S("addr", addr_text(at, text)),
            LOG_S("why", err == ERR_SYSTEM ? strerror(errno) : err_text(err)));
        free(m);
        return err;
    }
    struct addr got = http_addr(m->http);
    LOG(log, LOG_INFO, "metrics-listening", LOG_S("addr", addr_text(&got, text)));
    *out = m;
    return OK;
}

void turn_metrics_free(struct turn_metrics *m)
{
    if (m) {
        http_free(m->http);
        free(m);
    }
}
