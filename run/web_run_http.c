/* Pages, the JSON interface, and who may open a WebSocket. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/text.h"

#include "run/web_run_impl.h"

#include "web/web_files.h"

enum {
    HEAD_MAX = 2048,
    REPLY_TIMEOUT_S = 60,
    PATH_MAX_LEN = 256
};

struct reply {
    int status;
    const char *type;
    const char *etag; /* NULL: never kept */
    struct slice body;
};

static const struct {
    const char *name, *value;
} safe_headers[] = {
    {"content-security-policy:",      "default-src 'self'; base-uri 'none'; form-action 'none'; "
                                 "frame-ancestors 'none'; object-src 'none'"},
    {"x-content-type-options:",       "nosniff"                                                             },
    {"x-frame-options:",              "DENY"                                                                },
    {"referrer-policy:",              "no-referrer"                                                         },
    {"cross-origin-opener-policy:",   "same-origin"                                                         },
    {"cross-origin-resource-policy:", "same-origin"                                                         },
};

struct head {
    struct lws *wsi;
    uint8_t *at, *end;
    bool failed;
};

static void head_put(struct head *h, const char *name, const char *value)
{
    h->failed = h->failed || lws_add_http_header_by_name(h->wsi, (const unsigned char *)name,
                                                         (const unsigned char *)value,
                                                         (int)strlen(value), &h->at, h->end);
}

static bool is_head(struct lws *wsi)
{
    return lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
}

/* 0 when all is written or on its way, -1 to close. */
static int reply_send(struct web *w, struct lws *wsi, const struct reply *r)
{
    uint8_t buf[LWS_PRE + HEAD_MAX], *start = buf + LWS_PRE;
    struct head h = {.wsi = wsi, .at = start, .end = buf + sizeof(buf) - 1};
    h.failed = lws_add_http_header_status(wsi, (unsigned)r->status, &h.at, h.end) ||
               lws_add_http_header_content_length(wsi, r->body.len, &h.at, h.end);
    head_put(&h, "content-type:", r->type);
    head_put(&h, "cache-control:", r->etag ? "no-cache" : "no-store");
    if (r->etag) {
        head_put(&h, "etag:", r->etag);
    }
    if (r->status == 405) {
        head_put(&h, "allow:", "GET, HEAD");
    }
    if (r->status == 503) {
        head_put(&h, "retry-after:", "1");
    }
    for (size_t i = 0; i < sizeof(safe_headers) / sizeof(safe_headers[0]); i++) {
        head_put(&h, safe_headers[i].name, safe_headers[i].value);
    }
    if (h.failed || lws_finalize_write_http_header(wsi, start, &h.at, h.end)) {
        return -1;
    }
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, REPLY_TIMEOUT_S);
    if (r->body.len == 0 || is_head(wsi)) {
        return 0;
    }
    w->out.len = 0;
    if (!web_bytes_room(&w->out, LWS_PRE)) {
        return -1;
    }
    w->out.len = LWS_PRE;
    if (!web_bytes_add(&w->out, r->body)) {
        return -1;
    }
    int sent = lws_write(wsi, w->out.p + LWS_PRE, r->body.len, LWS_WRITE_HTTP_FINAL);
    return sent < 0 ? -1 : 0;
}

static int reply_json(struct web *w, struct lws *wsi, int status, char *json)
{
    struct reply r = {
        .status = json ? status : 500, .type = "application/json", .body = slice_str(json)};
    int err = reply_send(w, wsi, &r);
    free(json);
    return err;
}

static int reply_error(struct web *w, struct lws *wsi, int status, const char *text)
{
    return reply_json(w, wsi, status, web_json_error(text));
}

static int reply_file(struct web *w, struct lws *wsi, int status, const char *path)
{
    for (size_t i = 0; i < sizeof(web_files) / sizeof(web_files[0]); i++) {
        const struct web_file *f = &web_files[i];
        if (strcmp(f->path, path) != 0) {
            continue;
        }
        char known[64] = "";
        struct reply r = {.status = status, .type = f->type, .etag = f->etag};
        r.body = slice_of(f->bytes, f->len);
        (void)lws_hdr_copy(wsi, known, sizeof(known), WSI_TOKEN_HTTP_IF_NONE_MATCH);
        if (status == 200 && strcmp(known, f->etag) == 0) {
            r.status = 304;
            r.body.len = 0;
        }
        return reply_send(w, wsi, &r);
    }
    return reply_error(w, wsi, 404, "there is nothing at this address");
}

static void snapshot_over(struct web *w, bool *is_snapshot)
{
    if (is_snapshot && *is_snapshot) {
        *is_snapshot = false;
        w->n_snapshots--;
    }
}

static int reply_snapshot(struct web *w, struct lws *wsi, struct slice name, bool *is_snapshot)
{
    struct web_space *s = web_space_find(w, name);
    struct reply r = {.status = 200, .type = "image/png"};
    if (!s) {
        return reply_error(w, wsi, 404, "there is no space of this name");
    }
    if (w->n_snapshots >= WEB_SNAPSHOTS_MAX) {
        return reply_error(w, wsi, 503, "too many pictures are being sent; try again");
    }
    int err = web_snapshot(w, s, &r.body);
    if (err) {
        return reply_error(w, wsi, err == ERR_NOTFOUND ? 404 : 500,
                           err == ERR_NOTFOUND ? "nothing was shared in this space yet"
                                               : err_text(err));
    }
    *is_snapshot = true;
    w->n_snapshots++;
    return reply_send(w, wsi, &r);
}

/* Takes `prefix` off the front of `s`. */
static bool path_after(struct slice *s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s->len < n || memcmp(s->p, prefix, n) != 0) {
        return false;
    }
    *s = slice_of(s->p + n, s->len - n);
    return true;
}

static bool path_before(struct slice *s, const char *suffix)
{
    size_t n = strlen(suffix);
    if (s->len < n || memcmp(s->p + s->len - n, suffix, n) != 0) {
        return false;
    }
    s->len -= n;
    return true;
}

/* `path` is percent-decoded and without its query already. */
static int route(struct web *w, struct lws *wsi, struct slice path, bool *is_snapshot)
{
    bool is_get = is_head(wsi) || lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
    struct slice rest = path;
    if (!is_get) {
        return reply_error(w, wsi, 405, "only GET and HEAD are understood here");
    }
    if (path.len > PATH_MAX_LEN || memchr(path.p, 0, path.len)) {
        return reply_error(w, wsi, 400, "this address is malformed");
    }
    if (slice_eq(path, slice_str("/"))) {
        return reply_file(w, wsi, 200, "/index.html");
    }
    if (slice_eq(path, slice_str("/api/v1/spaces"))) {
        return reply_json(w, wsi, 200, web_json_spaces(w));
    }
    if (path_after(&rest, "/api/v1/spaces/") && path_before(&rest, "/snapshot.png")) {
        return reply_snapshot(w, wsi, rest, is_snapshot);
    }
    rest = path;
    if (path_after(&rest, "/space/")) {
        return reply_file(w, wsi, web_space_find(w, rest) ? 200 : 404, "/space.html");
    }
    char text[PATH_MAX_LEN + 1] = "";
    memcpy(text, path.p, path.len);
    return reply_file(w, wsi, 200, text);
}

static int http_request(struct web *w, struct lws *wsi, bool *is_snapshot, struct slice path)
{
    snapshot_over(w, is_snapshot);
    if (route(w, wsi, path, is_snapshot)) {
        return -1;
    }
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* Other sites' pages may open WebSockets to us as well; browsers say who they are. */
static bool origin_ok(struct lws *wsi)
{
    char origin[300] = "", host[300] = "";
    if (lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) == 0) {
        return true;
    }
    if (lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN) <= 0 ||
        lws_hdr_copy(wsi, host, sizeof(host), WSI_TOKEN_HOST) <= 0) {
        return false;
    }
    struct slice o = slice_str(origin);
    return (path_after(&o, "http://") || path_after(&o, "https://")) && text_is(o, host);
}

/* 0: go on; else what to answer. */
static int upgrade_check(struct lws *wsi, const char *to, const char **why)
{
    char path[PATH_MAX_LEN + 1] = "", protocol[64] = "";
    *why = "only WebSockets of the viewer's page can be opened";
    if (strcmp(to, "websocket") != 0 ||
        lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) <= 0) {
        return 400;
    }
    if (!origin_ok(wsi)) {
        *why = "the page that asks comes from another server";
        return 403;
    }
    (void)lws_hdr_copy(wsi, protocol, sizeof(protocol), WSI_TOKEN_PROTOCOL);
    bool is_list = strcmp(path, "/ws") == 0;
    if (!is_list && strncmp(path, "/ws/", 4) != 0) {
        return 404;
    }
    *why = "this needs the subprotocol causeway-list-1 or causeway-view-1";
    return strcmp(protocol, is_list ? "causeway-list-1" : "causeway-view-1") == 0 ? 0 : 400;
}

static int upgrade(struct web *w, struct lws *wsi, const char *to)
{
    const char *why;
    int status = upgrade_check(wsi, to, &why);
    if (status == 0) {
        return 0;
    }
    return reply_error(w, wsi, status, why) ? -1 : 1;
}

/* libwebsockets tells of the end of its own sockets too, which it does not announce. */
static int socket_count(struct web *w, bool is_new)
{
    if (is_new) {
        w->n_sockets++;
    } else if (w->n_sockets > 0) {
        w->n_sockets--;
    }
    return 0;
}

int web_http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t len)
{
    struct web *w = lws_context_user(lws_get_context(wsi));
    switch ((int)reason) {
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION: return w->n_sockets >= w->n_sockets_max;
    case LWS_CALLBACK_WSI_CREATE: return socket_count(w, true);
    case LWS_CALLBACK_WSI_DESTROY: return socket_count(w, false);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return upgrade(w, wsi, in);
    case LWS_CALLBACK_HTTP: return http_request(w, wsi, user, slice_of(in, len));
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL: snapshot_over(w, user); return 0;
    case LWS_CALLBACK_RAW_ADOPT:
    case LWS_CALLBACK_RAW_RX:
    case LWS_CALLBACK_ESTABLISHED:
        return -1; /* what CONNECT, or no subprotocol, would lead to */
    default: return 0;
    }
}
