/* Each part of a picture is encoded once for all its viewers. */
#include <stdlib.h>

#include "run/web_run_impl.h"

enum {
    JPEG_QUALITY = 85,
    SNAPSHOT_EVERY_MS = 1000
};

static uint64_t rect_version(const struct picture *p, const struct rect *r)
{
    uint64_t v = 0;
    size_t tx_last = (size_t)(r->x + r->w - 1) / PICTURE_TILE;
    size_t ty_last = (size_t)(r->y + r->h - 1) / PICTURE_TILE;
    for (size_t ty = r->y / PICTURE_TILE; ty <= ty_last; ty++) {
        for (size_t tx = r->x / PICTURE_TILE; tx <= tx_last; tx++) {
            uint64_t t = p->tile[ty * p->tiles_x + tx].version;
            v = t > v ? t : v;
        }
    }
    return v;
}

static bool is_same(const struct web_encoded *e, const struct viewer_rect *r)
{
    return e->bytes.len > 0 && e->lossless == r->lossless && e->r.x == r->r.x &&
           e->r.y == r->r.y && e->r.w == r->r.w && e->r.h == r->r.h;
}

static void entry_drop(struct web_space *s, struct web_encoded *e)
{
    s->cache_bytes -= e->bytes.len;
    free(e->bytes.p);
    *e = (struct web_encoded){.version = 0};
}

static void cache_keep(struct web_space *s, const struct viewer_rect *r, struct slice bytes)
{
    struct web_encoded *e = &s->cache[s->cache_next];
    s->cache_next = (s->cache_next + 1) % WEB_CACHE;
    entry_drop(s, e);
    for (size_t i = 0; i < WEB_CACHE && s->cache_bytes + bytes.len > WEB_CACHE_BYTES; i++) {
        entry_drop(s, &s->cache[(s->cache_next + i) % WEB_CACHE]);
    }
    struct web_encoded fresh = {.r = r->r, .lossless = r->lossless};
    fresh.version = s->picture->version;
    if (bytes.len <= WEB_CACHE_BYTES && web_bytes_add(&fresh.bytes, bytes)) {
        *e = fresh;
        s->cache_bytes += bytes.len;
    }
}

int web_encoded(struct web *w, struct web_space *s, const struct viewer_rect *r,
                struct slice *out)
{
    uint64_t version = rect_version(s->picture, &r->r);
    for (size_t i = 0; i < WEB_CACHE; i++) {
        if (is_same(&s->cache[i], r) && s->cache[i].version >= version) {
            *out = slice_of(s->cache[i].bytes.p, s->cache[i].bytes.len);
            return OK;
        }
    }
    int err = r->lossless ? encode_png(w->encoder, s->picture, &r->r, out)
                          : encode_jpeg(w->encoder, s->picture, &r->r, JPEG_QUALITY, out);
    if (!err) {
        cache_keep(s, r, *out);
    }
    return err;
}

int web_snapshot(struct web *w, struct web_space *s, struct slice *out)
{
    const struct picture *p = s->picture;
    uint64_t now = loop_now_ms(w->loop);
    if (!p || p->width == 0) {
        return ERR_NOTFOUND;
    }
    bool is_old =
        s->snapshot_version != p->version && now - s->snapshot_ms >= SNAPSHOT_EVERY_MS;
    if (s->snapshot.len == 0 || is_old) {
        struct rect all = {.w = p->width, .h = p->height};
        struct slice png;
        int err = encode_png(w->encoder, p, &all, &png);
        if (err) {
            return err;
        }
        s->snapshot.len = 0;
        if (!web_bytes_add(&s->snapshot, png)) {
            return ERR_NOMEM;
        }
        s->snapshot_version = p->version;
        s->snapshot_ms = now;
    }
    *out = slice_of(s->snapshot.p, s->snapshot.len);
    return OK;
}

void web_space_forget(struct web_space *s)
{
    for (size_t i = 0; i < WEB_CACHE; i++) {
        entry_drop(s, &s->cache[i]);
    }
    free(s->snapshot.p);
    s->snapshot = (struct web_bytes){.p = NULL};
}
