/* One WebSocket: a viewer of a space, or a reader of the list of spaces. */
#include <stdlib.h>

#include "run/web_run_impl.h"

enum {
    LIST_EVERY_MS = 200
};

static void conn_add(struct web *w, struct web_conn *c)
{
    c->next = w->conns;
    c->at = &w->conns;
    if (c->next) {
        c->next->at = &c->next;
    }
    w->conns = c;
}

static void conn_remove(struct web_conn *c)
{
    if (c->at) {
        *c->at = c->next;
        if (c->next) {
            c->next->at = c->at;
        }
        c->at = NULL;
    }
}

static void viewer_joins(struct web *w, struct web_conn *c)
{
    char path[8 + WEB_NAME_MAX] = "";
    int n = lws_hdr_copy(c->wsi, path, sizeof(path), WSI_TOKEN_GET_URI);
    struct slice name = slice_from(slice_str(path), strlen("/ws/"));
    struct web_space *s = n > 0 ? web_space_find(w, name) : NULL;
    if (!s) {
        c->refused = "missing";
    } else if (w->n_viewers >= w->cfg.max_viewers ||
               s->n_viewers >= w->cfg.max_viewers_per_space || viewer_new(&c->viewer)) {
        c->refused = "full";
    } else {
        c->space = s;
        s->n_viewers++;
        w->n_viewers++;
        LOG(w->cfg.log, LOG_INFO, "viewer-joined", LOG_S("space", s->name),
            LOG_N("viewers", s->n_viewers));
        web_list_changed(w);
    }
}

static void conn_opened(struct web *w, struct web_conn *c, struct lws *wsi, bool is_list)
{
    c->wsi = wsi;
    c->text_due = true;
    conn_add(w, c);
    if (!is_list) {
        viewer_joins(w, c);
    } else if (w->n_lists >= WEB_LISTS_MAX) {
        c->refused = "full";
    } else {
        c->is_list = true;
        w->n_lists++;
    }
    web_flush_soon(w);
}

static void conn_closed(struct web *w, struct web_conn *c)
{
    conn_remove(c);
    w->n_lists -= c->is_list;
    c->is_list = false;
    if (c->viewer) {
        w->n_viewers--;
    }
    if (c->space) {
        c->space->n_viewers--;
        LOG(w->cfg.log, LOG_INFO, "viewer-left", LOG_S("space", c->space->name),
            LOG_N("viewers", c->space->n_viewers));
    }
    viewer_free(c->viewer);
    c->viewer = NULL;
    c->space = NULL;
    web_list_changed(w);
}

/* Starts what is sent next in w->out. */
static bool out_begin(struct web *w)
{
    w->out.len = 0;
    bool ok = web_bytes_room(&w->out, LWS_PRE);
    w->out.len = ok ? LWS_PRE : 0;
    return ok;
}

/* A cursor over `n` fresh bytes at the end of w->out; add what it wrote to w->out.len. */
static struct wr out_room(struct web *w, size_t n)
{
    if (!web_bytes_room(&w->out, n)) {
        return (struct wr){.err = ERR_NOMEM};
    }
    return wr_over(w->out.p + w->out.len, n);
}

static int out_send(struct web *w, struct web_conn *c, enum lws_write_protocol how)
{
    return lws_write(c->wsi, w->out.p + LWS_PRE, w->out.len - LWS_PRE, how) < 0 ? -1 : 0;
}

static int text_send(struct web *w, struct web_conn *c)
{
    char *json = c->refused   ? web_json_refused(c->refused)
                 : c->is_list ? web_json_spaces(w)
                              : web_json_state(c->space);
    int err = -1;
    c->text_due = false;
    c->next_ms = c->is_list ? loop_now_ms(w->loop) + LIST_EVERY_MS : c->next_ms;
    if (json && out_begin(w) && web_bytes_add(&w->out, slice_str(json))) {
        err = out_send(w, c, LWS_WRITE_TEXT);
    }
    free(json);
    return err;
}

static int small_send(struct web *w, struct web_conn *c, const struct view_msg *m)
{
    if (!out_begin(w)) {
        return -1;
    }
    struct wr o = out_room(w, VIEW_CURSOR_LEN + m->pixels.len);
    view_put(&o, m);
    w->out.len += o.len;
    return o.err ? -1 : out_send(w, c, LWS_WRITE_BINARY);
}

static int shape_send(struct web *w, struct web_conn *c)
{
    const struct web_cursor *k = &c->space->cursor;
    struct view_msg m = {.type = VIEW_CURSOR, .width = k->width, .height = k->height};
    m.x = k->hot_x;
    m.y = k->hot_y;
    m.pixels = slice_of(k->rgba, (size_t)k->width * k->height * 4);
    c->shape_seen = k->shape_n;
    return small_send(w, c, &m);
}

static int pointer_send(struct web *w, struct web_conn *c)
{
    const struct web_cursor *k = &c->space->cursor;
    struct view_msg m = {.type = VIEW_POINTER, .x = k->x, .y = k->y};
    c->pointer_seen = k->pointer_n;
    return small_send(w, c, &m);
}

/* Encodes update `u` into w->out. */
static int update_put(struct web *w, struct web_space *s, const struct viewer_update *u)
{
    if (!out_begin(w)) {
        return ERR_NOMEM;
    }
    struct wr o = out_room(w, VIEW_HEAD_LEN);
    view_put_update(&o, u);
    w->out.len += o.len;
    for (size_t i = 0; !o.err && i < u->n; i++) {
        struct view_rect r = {.r = u->rect[i].r};
        r.format = u->rect[i].lossless ? VIEW_PNG : VIEW_JPEG;
        int err = web_encoded(w, s, &u->rect[i], &r.bytes);
        if (err) {
            return err;
        }
        o = out_room(w, VIEW_RECT_LEN + r.bytes.len);
        view_put_rect(&o, &r);
        w->out.len += o.len;
    }
    return o.err;
}

static int update_send(struct web *w, struct web_conn *c, uint64_t now_ms)
{
    struct viewer_update u;
    if (!viewer_next(c->viewer, now_ms, c->space->picture, &u)) {
        return 0;
    }
    c->next_ms = now_ms + 1000 / w->cfg.max_fps;
    c->waiting_ms = c->n_flight++ == 0 ? now_ms : c->waiting_ms;
    return update_put(w, c->space, &u) ? -1 : out_send(w, c, LWS_WRITE_BINARY);
}

/* When the next picture is due; UINT64_MAX: not until something happens. */
static uint64_t update_due_ms(const struct web_conn *c)
{
    if (!c->space || !c->space->picture) {
        return UINT64_MAX;
    }
    uint64_t at = viewer_deadline_ms(c->viewer, c->space->picture);
    return at < c->next_ms ? c->next_ms : at;
}

static bool shape_due(const struct web_conn *c)
{
    return c->space && c->shape_seen != c->space->cursor.shape_n;
}

static bool pointer_due(const struct web_conn *c)
{
    return c->space && c->pointer_seen != c->space->cursor.pointer_n;
}

static uint64_t text_due_ms(const struct web_conn *c)
{
    if (!c->text_due) {
        return UINT64_MAX;
    }
    return c->is_list ? c->next_ms : 0;
}

/* One message, the most urgent: libwebsockets wants one a callback. */
static int conn_send(struct web *w, struct web_conn *c)
{
    uint64_t now = loop_now_ms(w->loop);
    web_flush_soon(w);
    if (text_due_ms(c) <= now) {
        return text_send(w, c);
    }
    if (c->refused) {
        return -1; /* it was told why */
    }
    if (shape_due(c)) {
        return shape_send(w, c);
    }
    if (pointer_due(c)) {
        return pointer_send(w, c);
    }
    return update_due_ms(c) <= now ? update_send(w, c, now) : 0;
}

/* Acknowledgements of updates on their way are all a viewer may say. */
static int conn_heard(struct web *w, struct web_conn *c, struct slice in)
{
    struct view_msg m;
    bool is_whole = lws_is_first_fragment(c->wsi) && lws_is_final_fragment(c->wsi) &&
                    lws_frame_is_binary(c->wsi);
    if (c->refused) {
        return 0; /* acknowledges what it got before; it is on its way out */
    }
    if (!is_whole || !c->viewer || view_parse(&m, in) || m.type != VIEW_ACK ||
        viewer_ack(c->viewer, m.seq)) {
        lws_close_reason(c->wsi, LWS_CLOSE_STATUS_POLICY_VIOLATION, NULL, 0);
        return -1;
    }
    c->n_flight--;
    c->waiting_ms = loop_now_ms(w->loop);
    web_flush_soon(w);
    return 0;
}

static int ws_callback(struct lws *wsi, enum lws_callback_reasons reason, struct web_conn *c,
                       struct slice in)
{
    struct web *w = lws_context_user(lws_get_context(wsi));
    switch ((int)reason) {
    case LWS_CALLBACK_SERVER_WRITEABLE: return conn_send(w, c);
    case LWS_CALLBACK_RECEIVE: return conn_heard(w, c, in);
    case LWS_CALLBACK_CLOSED: conn_closed(w, c); return 0;
    case LWS_CALLBACK_HTTP: return -1;
    default: return 0;
    }
}

int web_view_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t len)
{
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        conn_opened(lws_context_user(lws_get_context(wsi)), user, wsi, false);
        return 0;
    }
    return ws_callback(wsi, reason, user, slice_of(in, len));
}

int web_list_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t len)
{
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        conn_opened(lws_context_user(lws_get_context(wsi)), user, wsi, true);
        return 0;
    }
    return ws_callback(wsi, reason, user, slice_of(in, len));
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t web_flush_conns(struct web *w, uint64_t now_ms)
{
    uint64_t again = UINT64_MAX;
    for (struct web_conn *c = w->conns, *next; c; c = next) {
        next = c->next;
        uint64_t stall = c->n_flight > 0 ? c->waiting_ms + w->cfg.stall_ms : UINT64_MAX;
        if (stall <= now_ms) {
            LOG(w->cfg.log, LOG_INFO, "viewer-stalled",
                LOG_S("space", c->space ? c->space->name : ""), LOG_N("ms", w->cfg.stall_ms));
            lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
            continue;
        }
        uint64_t due = earlier(text_due_ms(c), update_due_ms(c));
        if (due <= now_ms || c->refused || shape_due(c) || pointer_due(c)) {
            lws_callback_on_writable(c->wsi);
            due = UINT64_MAX; /* looked at again when it is writable */
        }
        again = earlier(again, earlier(due, stall));
    }
    return again;
}
