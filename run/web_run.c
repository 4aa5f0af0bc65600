/* The web server's life, its table of spaces, and when what is sent. */
#include <stdlib.h>

#include "run/web_run_impl.h"

enum {
    OTHER_SOCKETS = 64, /* beside the viewers': pages, lists, the interface */
    HEADER_BYTES = 4096,
    HEADER_TIMEOUT_S = 10,
    IDLE_TIMEOUT_S = 15,
    PING_S = 20, /* of silence, until a WebSocket is pinged */
    PONG_S = 35, /* and until it is closed */
    STALL_MS = 30000,
    CLOSING_TURNS = 4,
    RX_BYTES = 64 /* viewers send five at a time */
};

static const struct lws_protocols protocols[] = {
    {.name = "http",
     .callback = web_http_callback,
     .rx_buffer_size = HEADER_BYTES,
     .per_session_data_size = 8},
    {.name = "causeway-view-1",
     .callback = web_view_callback,
     .rx_buffer_size = RX_BYTES,
     .per_session_data_size = sizeof(struct web_conn)},
    {.name = "causeway-list-1",
     .callback = web_list_callback,
     .rx_buffer_size = RX_BYTES,
     .per_session_data_size = sizeof(struct web_conn)},
    {.name = NULL },
};

static const lws_retry_bo_t patience = {
    .secs_since_valid_ping = PING_S,
    .secs_since_valid_hangup = PONG_S,
};

bool web_bytes_room(struct web_bytes *b, size_t n)
{
    if (n <= b->cap - b->len) {
        return true;
    }
    size_t cap = b->len + n + b->cap / 2;
    uint8_t *p = realloc(b->p, cap);
    if (!p) {
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

bool web_bytes_add(struct web_bytes *b, struct slice s)
{
    if (!web_bytes_room(b, s.len)) {
        return false;
    }
    if (s.len > 0) {
        memcpy(b->p + b->len, s.p, s.len);
    }
    b->len += s.len;
    return true;
}

static void flush(void *ctx)
{
    struct web *w = ctx;
    loop_timer_at(w->timer, web_flush_conns(w, loop_now_ms(w->loop)));
}

void web_flush_soon(struct web *w)
{
    if (w->flush) {
        loop_idle_arm(w->flush);
    }
}

static int lws_start(struct web *w)
{
    /* Its own log lines are dropped: a peer can trigger most of them. */
    lws_set_log_level(0, NULL);
    char ip[ADDR_TEXT_MAX];
    void *loops[1] = {loop_uv(w->loop)};
    struct lws_context_creation_info info = {
        .port = w->cfg.listen.port,
        .iface = addr_is_any(&w->cfg.listen) ? NULL : addr_ip_text(&w->cfg.listen, ip),
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
                   (w->cfg.listen.family == ADDR_IP4 ? LWS_SERVER_OPTION_DISABLE_IPV6 : 0),
        .foreign_loops = loops,
        .gid = -1,
        .uid = -1,
        .user = w,
        .pcontext = &w->lws,
        .server_string = "causeway",
        .max_http_header_data = HEADER_BYTES,
        .max_http_header_pool = (unsigned short)w->n_sockets_max,
        .timeout_secs = HEADER_TIMEOUT_S,
        .keepalive_timeout = IDLE_TIMEOUT_S,
        .retry_and_idle_policy = &patience,
    };
    w->lws = lws_create_context(&info);
    if (!w->lws) {
        LOG(w->cfg.log, LOG_ERROR, "web-start-failed",
            LOG_S("hint", "is the package libwebsockets-evlib-uv installed?"));
        return ERR_SYSTEM;
    }
    w->vhost = lws_create_vhost(w->lws, &info);
    if (!w->vhost) {
        LOG(w->cfg.log, LOG_ERROR, "web-listen-failed",
            LOG_S("listen", addr_text(&w->cfg.listen, ip)),
            LOG_S("hint", "is the port taken, or the address of another host?"));
        return ERR_SYSTEM;
    }
    return OK;
}

int web_new(struct web **out, struct loop *l, const struct web_config *cfg)
{
    *out = NULL;
    struct web *w = calloc(1, sizeof(*w));
    if (!w) {
        return ERR_NOMEM;
    }
    w->cfg = *cfg;
    w->cfg.max_fps = cfg->max_fps ? cfg->max_fps : 30;
    w->cfg.stall_ms = cfg->stall_ms ? cfg->stall_ms : STALL_MS;
    w->n_sockets_max = cfg->max_viewers + OTHER_SOCKETS;
    w->loop = l;
    int err = encoder_new(&w->encoder);
    if (!err) {
        err = loop_timer_new(&w->timer, l, flush, w);
    }
    if (!err) {
        err = loop_idle_new(&w->flush, l, flush, w);
    }
    if (!err) {
        err = lws_start(w);
    }
    if (err) {
        web_free(w);
        return err;
    }
    *out = w;
    return OK;
}

/* On a loop not its own libwebsockets is destroyed in two calls. Between them its handles
 * close: the sockets' in one turn of the loop, which starts closing its timers, those in the
 * next. */
static void turn(void *ctx)
{
    loop_stop(ctx);
}

static void lws_end(struct web *w)
{
    struct loop_idle *i;
    if (!w->lws || loop_idle_new(&i, w->loop, turn, w->loop)) {
        return;
    }
    lws_context_destroy(w->lws);
    for (size_t n = 0; w->lws && n < CLOSING_TURNS; n++) {
        loop_idle_arm(i);
        loop_run(w->loop);
    }
    if (w->lws) {
        lws_context_destroy(w->lws);
    }
    loop_idle_free(i);
}

static void space_free(struct web_space *s)
{
    web_space_forget(s);
    free(s);
}

void web_free(struct web *w)
{
    if (!w) {
        return;
    }
    loop_timer_free(w->timer);
    loop_idle_free(w->flush);
    w->timer = NULL;
    w->flush = NULL;
    lws_end(w);
    while (w->spaces) {
        struct web_space *s = w->spaces;
        w->spaces = s->next;
        space_free(s);
    }
    encoder_free(w->encoder);
    free(w->out.p);
    free(w);
}

struct addr web_addr(const struct web *w)
{
    struct addr a = w->cfg.listen;
    a.port = (uint16_t)lws_get_vhost_listen_port(w->vhost);
    return a;
}

struct web_space *web_space_find(struct web *w, struct slice name)
{
    for (struct web_space *s = w->spaces; s; s = s->next) {
        if (slice_eq(slice_str(s->name), name)) {
            return s;
        }
    }
    return NULL;
}

/* Cuts at WEB_..._MAX bytes, between characters. */
static void text_copy(char *out, size_t max, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    if (n > max) {
        n = max;
        while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    if (n > 0) {
        memcpy(out, from, n);
    }
    out[n] = '\0';
}

static struct web_space *space_add(struct web *w, const char *name)
{
    struct web_space *s = calloc(1, sizeof(*s)), **end = &w->spaces;
    if (s) {
        text_copy(s->name, WEB_NAME_MAX, name);
        while (*end) {
            end = &(*end)->next;
        }
        *end = s;
    }
    return s;
}

static void space_tell(struct web *w, struct web_space *s)
{
    for (struct web_conn *c = w->conns; c; c = c->next) {
        c->text_due = c->text_due || c->space == s;
    }
    web_list_changed(w);
}

void web_list_changed(struct web *w)
{
    for (struct web_conn *c = w->conns; c; c = c->next) {
        c->text_due = c->text_due || c->is_list;
    }
    web_flush_soon(w);
}

int web_space_set(struct web *w, const char *name, enum web_state state, const char *sharer,
                  const char *detail)
{
    if (!web_name_ok(slice_str(name))) {
        return ERR_MALFORMED;
    }
    struct web_space *s = web_space_find(w, slice_str(name));
    bool is_new = !s;
    if (is_new) {
        s = space_add(w, name);
    }
    if (!s) {
        return ERR_NOMEM;
    }
    if (is_new || s->state != state) {
        s->since_s = loop_unix_s();
    }
    s->state = state;
    text_copy(s->sharer, WEB_SHARER_MAX, sharer);
    text_copy(s->detail, WEB_DETAIL_MAX, detail);
    space_tell(w, s);
    return OK;
}

void web_space_remove(struct web *w, const char *name)
{
    struct web_space *s = web_space_find(w, slice_str(name)), **at = &w->spaces;
    if (!s) {
        return;
    }
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    for (struct web_conn *c = w->conns; c; c = c->next) {
        if (c->space == s) {
            c->space = NULL;
            c->refused = "missing";
            c->text_due = true;
        }
    }
    space_free(s);
    web_list_changed(w);
}

void web_space_picture(struct web *w, const char *name, struct picture *p)
{
    struct web_space *s = web_space_find(w, slice_str(name));
    if (!s) {
        return;
    }
    s->picture = p;
    web_space_forget(s);
    if (s->cursor.width > 0) { /* it was the former picture's */
        s->cursor.width = s->cursor.height = s->cursor.hot_x = s->cursor.hot_y = 0;
        s->cursor.shape_n++;
    }
    for (struct web_conn *c = w->conns; c; c = c->next) {
        if (c->space == s) {
            viewer_reset(c->viewer);
        }
    }
    web_list_changed(w);
}

void web_space_changed(struct web *w, const char *name)
{
    (void)name; /* each viewer finds out by itself what it lacks */
    web_flush_soon(w);
}

static void shape_set(struct web_cursor *c, const struct link_msg *m)
{
    c->width = m->width;
    c->height = m->height;
    c->hot_x = m->x;
    c->hot_y = m->y;
    for (size_t i = 0; i + 3 < m->pixels.len; i += 4) {
        c->rgba[i] = m->pixels.p[i + 2];
        c->rgba[i + 1] = m->pixels.p[i + 1];
        c->rgba[i + 2] = m->pixels.p[i];
        c->rgba[i + 3] = m->pixels.p[i + 3];
    }
    c->shape_n++;
}

void web_space_cursor(struct web *w, const char *name, const struct link_msg *cursor)
{
    struct web_space *s = web_space_find(w, slice_str(name));
    if (!s) {
        return;
    }
    if (cursor->type == LINK_POINTER) {
        s->cursor.x = cursor->x;
        s->cursor.y = cursor->y;
        s->cursor.pointer_n++;
    } else if (cursor->type == LINK_CURSOR && cursor->width <= LINK_CURSOR_MAX &&
               cursor->height <= LINK_CURSOR_MAX &&
               cursor->pixels.len == (size_t)cursor->width * cursor->height * 4) {
        shape_set(&s->cursor, cursor);
    }
    web_flush_soon(w);
}
