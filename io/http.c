/* A bounded HTTP/1.1 responder (RFC 9112): GET and HEAD of a few pages. */
#include "io/http.h"

#include <stdlib.h>

#include "lib/base/text.h"

#include "io/tcp.h"

struct conn {
    struct http *http;
    struct conn *next, **at;
    struct tcp *tcp;
    struct loop_timer *late;
};

struct http {
    struct loop *loop;
    struct tcp_listener *listener;
    const struct http_page *pages;
    void *ctx;
    struct conn *conns;
    size_t n_conns;
    uint8_t body[HTTP_BODY_MAX];
};

static void conn_free(struct conn *c)
{
    loop_timer_free(c->late);
    *c->at = c->next;
    if (c->next) {
        c->next->at = c->at;
    }
    c->http->n_conns--;
    free(c);
}

static void on_late(void *ctx)
{
    struct conn *c = ctx;
    tcp_close(c->tcp);
    conn_free(c);
}

static void answer(struct conn *c, const char *status, const char *type, struct slice body,
                   bool head_only)
{
    uint8_t text[256];
    struct wr w = wr_over(text, sizeof text);
    wr_text(&w,
            "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            status, type, body.len);
    if (tcp_write(c->tcp, wr_done(&w), head_only ? slice_of(NULL, 0) : body)) {
        tcp_close(c->tcp);
    } else {
        tcp_close_when_sent(c->tcp);
    }
    conn_free(c);
}

static void refuse(struct conn *c, const char *status)
{
    answer(c, status, "text/plain", slice_str("\n"), false);
}

static void answer_page(struct conn *c, const struct http_page *page, bool head_only)
{
    struct http *h = c->http;
    struct wr w = wr_over(h->body, sizeof h->body);
    page->write(&w, h->ctx);
    if (w.err) {
        refuse(c, "500 Internal Server Error");
    } else {
        answer(c, "200 OK", page->type, wr_done(&w), head_only);
    }
}

/* RFC 9112 3: method, target, version. The fields that follow do not matter to us. */
static void take_request(struct conn *c, struct slice line)
{
    struct slice method = text_split(&line, ' ');
    struct slice target = text_split(&line, ' ');
    struct slice path = text_split(&target, '?');
    bool is_head = slice_eq(method, slice_str("HEAD"));
    if (!slice_eq(line, slice_str("HTTP/1.1")) && !slice_eq(line, slice_str("HTTP/1.0"))) {
        refuse(c, "400 Bad Request");
        return;
    }
    if (!is_head && !slice_eq(method, slice_str("GET"))) {
        refuse(c, "405 Method Not Allowed");
        return;
    }
    for (const struct http_page *p = c->http->pages; p->path; p++) {
        if (slice_eq(path, slice_str(p->path))) {
            answer_page(c, p, is_head);
            return;
        }
    }
    refuse(c, "404 Not Found");
}

/* The length of the head with its empty line; 0: not all here yet. */
static size_t head_len(struct slice in)
{
    for (size_t i = 0; i + 4 <= in.len; i++) {
        if (memcmp(in.p + i, "\r\n\r\n", 4) == 0) {
            return i + 4;
        }
    }
    return 0;
}

static size_t on_data(struct tcp *t, struct slice bytes, void *ctx)
{
    struct conn *c = ctx;
    size_t len = head_len(bytes);
    (void)t;
    if (len > HTTP_HEAD_MAX || (len == 0 && bytes.len >= HTTP_HEAD_MAX)) {
        refuse(c, "431 Request Header Fields Too Large");
        return bytes.len;
    }
    if (len == 0) {
        return 0;
    }
    const uint8_t *end = memchr(bytes.p, '\r', len);
    take_request(c, slice_of(bytes.p, (size_t)(end - bytes.p)));
    return bytes.len; /* one request a connection */
}

static void on_ended(struct tcp *t, void *ctx)
{
    tcp_close(t);
    conn_free(ctx);
}

static void on_closed(struct tcp *t, int sys_errno, void *ctx)
{
    (void)t;
    (void)sys_errno;
    conn_free(ctx);
}

static void accepted(struct tcp *t, const struct addr *peer, void *ctx)
{
    static const struct tcp_events events = {
        .data = on_data, .ended = on_ended, .closed = on_closed};
    struct http *h = ctx;
    struct conn *c = h->n_conns < HTTP_CONNS_MAX ? calloc(1, sizeof *c) : NULL;
    (void)peer;
    if (!c || loop_timer_new(&c->late, h->loop, on_late, c)) {
        free(c);
        tcp_close(t);
        return;
    }
    c->http = h;
    c->tcp = t;
    c->next = h->conns;
    c->at = &h->conns;
    if (c->next) {
        c->next->at = &c->next;
    }
    h->conns = c;
    h->n_conns++;
    loop_timer_at(c->late, loop_now_ms(h->loop) + HTTP_WAIT_MS);
    tcp_start(t, &events, c);
}

int http_listen(struct http **out, struct loop *l, const struct addr *at,
                const struct http_page *pages, void *ctx)
{
    struct http *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h) {
        return ERR_NOMEM;
    }
    h->loop = l;
    h->pages = pages;
    h->ctx = ctx;
    int err = tcp_listen(&h->listener, l, at, NULL, accepted, h);
    if (err) {
        free(h);
        return err;
    }
    *out = h;
    return OK;
}

void http_free(struct http *h)
{
    if (!h) {
        return;
    }
    while (h->conns) {
        tcp_close(h->conns->tcp);
        conn_free(h->conns);
    }
    tcp_listener_free(h->listener);
    free(h);
}

struct addr http_addr(const struct http *h)
{
    return tcp_listener_addr(h->listener);
}
