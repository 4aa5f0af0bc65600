/* What the files of the web server share. */
#pragma once

#include <libwebsockets.h>

#include "lib/share/encode.h"
#include "lib/share/view_msg.h"

#include "run/web_run.h"

enum {
    WEB_NAME_MAX = 64,
    WEB_SHARER_MAX = 128,
    WEB_DETAIL_MAX = 256,
    WEB_CACHE = 64,             /* encoded rectangles kept for a space */
    WEB_CACHE_BYTES = 32 << 20, /* and their bytes */
    WEB_SNAPSHOTS_MAX = 8,      /* on their way at a time */
    WEB_LISTS_MAX = 32          /* open lists of spaces */
};

struct web_bytes { /* a buffer that grows */
    uint8_t *p;
    size_t cap, len;
};

struct web_encoded {
    struct rect r;
    bool lossless;
    uint64_t version; /* of the picture, then */
    struct web_bytes bytes;
};

struct web_cursor {
    uint32_t shape_n, pointer_n; /* count changes; 0: none yet */
    uint16_t width, height, hot_x, hot_y, x, y;
    uint8_t rgba[LINK_CURSOR_MAX * LINK_CURSOR_MAX * 4];
};

struct web_space {
    struct web_space *next;
    char name[WEB_NAME_MAX + 1];
    enum web_state state;
    char sharer[WEB_SHARER_MAX + 1]; /* empty: none */
    char detail[WEB_DETAIL_MAX + 1];
    uint64_t since_s; /* Unix time */
    struct picture *picture;
    uint32_t n_viewers;
    struct web_cursor cursor;
    struct web_encoded cache[WEB_CACHE];
    size_t cache_next, cache_bytes;
    struct web_bytes snapshot;
    uint64_t snapshot_version, snapshot_ms;
};

/* One WebSocket: a viewer of a space, or a reader of the list. libwebsockets owns it, zeroed.
 */
struct web_conn {
    struct web_conn *next, **at; /* in web.conns; at is NULL when not in it */
    struct lws *wsi;
    struct web_space *space; /* NULL: list, or refused */
    struct viewer *viewer;
    const char *refused; /* the last state it is told: "missing", "full" */
    bool is_list, text_due;
    uint32_t shape_seen, pointer_seen; /* of the space's cursor */
    uint64_t next_ms;                  /* no update, or list, before */
    uint32_t n_flight;
    uint64_t waiting_ms; /* since when for an acknowledgement, if n_flight */
};

struct web {
    struct web_config cfg;
    struct loop *loop;
    struct lws_context *lws; /* libwebsockets sets it to NULL when it is all gone */
    struct lws_vhost *vhost;
    struct loop_timer *timer;
    struct loop_idle *flush;
    struct encoder *encoder;
    struct web_space *spaces;
    struct web_conn *conns;
    uint32_t n_sockets, n_sockets_max, n_viewers, n_lists, n_snapshots;
    struct web_bytes out; /* scratch: LWS_PRE bytes for libwebsockets, then what is sent */
};

/* Room for `n` more bytes; false without memory. */
bool web_bytes_room(struct web_bytes *b, size_t n);
bool web_bytes_add(struct web_bytes *b, struct slice s);

/* web_run.c */
struct web_space *web_space_find(struct web *w, struct slice name);
bool web_name_ok(struct slice name);
/* Something may have to be sent: looked at before the loop waits. */
void web_flush_soon(struct web *w);
/* Every reader of the list is told. */
void web_list_changed(struct web *w);

/* web_run_json.c: text to free(), NULL without memory. */
char *web_json_spaces(const struct web *w);
char *web_json_state(const struct web_space *s);
char *web_json_refused(const char *state);
char *web_json_error(const char *text);

/* web_run_picture.c. Results stay until the next call. */
MUST_USE int web_encoded(struct web *w, struct web_space *s, const struct viewer_rect *r,
                         struct slice *out);
/* At most a second old: a PNG of all of it takes a while. */
MUST_USE int web_snapshot(struct web *w, struct web_space *s, struct slice *out);
void web_space_forget(struct web_space *s); /* everything made of its picture */

/* web_run_http.c, web_run_ws.c: what libwebsockets calls. */
int web_http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t len);
int web_view_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t len);
int web_list_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t len);
/* Asks libwebsockets to send what is due; drops who stalls. Gives when to look again. */
uint64_t web_flush_conns(struct web *w, uint64_t now_ms);
