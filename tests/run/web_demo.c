/* Serves test pictures through the web server, for the tests that come in over the network.
 * Says port=N, then obeys lines on standard input and says ok after each:
 *   state NAME STATE SHARER|- DETAIL...   size W H   move   freeze   step   cursor X Y
 *   drop NAME   gone   shown   dump FILE   quit
 * The picture is shown in the space "demo". It moves by a step every 20 ms. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/share/encode.h"

#include "io/loop.h"
#include "run/web_run.h"

enum {
    STEP_MS = 20
};

struct demo {
    struct loop *loop;
    struct loop_timer *timer;
    struct web *web;
    struct picture picture;
    uint8_t *from;
    uint32_t n; /* steps so far */
    bool moves;
    char line[512];
    size_t len;
};

static const char *const states[] = {"waiting", "connecting", "live", "paused", "ended"};

static void rgb(uint8_t *pixel, uint32_t r, uint32_t g, uint32_t b)
{
    pixel[0] = (uint8_t)b;
    pixel[1] = (uint8_t)g;
    pixel[2] = (uint8_t)r;
}

/* A desktop of sorts: gradients, fine stripes, and a block that moves over it. */
static void draw(struct demo *d)
{
    uint32_t w = d->picture.width, h = d->picture.height;
    uint32_t bx = w > 240 ? d->n * 7 % (w - 200) : 0, by = h > 200 ? d->n * 3 % (h - 150) : 0;
    for (uint32_t y = 0; y < h; y++) {
        for (uint32_t x = 0; x < w; x++) {
            uint8_t *p = d->from + ((size_t)y * w + x) * 4;
            if (x - bx < 200 && y - by < 150) {
                rgb(p, x - bx, 180, d->n * 5);
            } else if (y / 4 % 8 == 0 && x / 3 % 2 == 0) {
                rgb(p, 40, 30, 30);
            } else {
                rgb(p, 70, 60 + 120 * y / h, 90 + 90 * x / w);
            }
        }
    }
    struct rect all = {.w = d->picture.width, .h = d->picture.height};
    if (picture_update(&d->picture, loop_now_ms(d->loop), &all, d->from)) {
        abort();
    }
    web_space_changed(d->web, "demo");
}

static void tick(void *ctx)
{
    struct demo *d = ctx;
    if (d->moves) {
        d->n++;
        draw(d);
        loop_timer_at(d->timer, loop_now_ms(d->loop) + STEP_MS);
    }
}

static void size(struct demo *d, unsigned width, unsigned height)
{
    free(d->from);
    d->from = calloc((size_t)width * height, 4);
    if (!d->from ||
        picture_resize(&d->picture, loop_now_ms(d->loop), (uint16_t)width, (uint16_t)height)) {
        abort();
    }
    draw(d);
}

static void state(struct demo *d, const char *args)
{
    char name[100], word[20], sharer[100];
    int at = 0;
    if (sscanf(args, "%99s %19s %99s %n", name, word, sharer, &at) < 3) {
        abort();
    }
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(states[i], word) == 0 &&
            web_space_set(d->web, name, (enum web_state)i,
                          strcmp(sharer, "-") == 0 ? NULL : sharer, args + at)) {
            abort();
        }
    }
}

static void cursor(struct demo *d, unsigned x, unsigned y)
{
    static uint8_t bgra[12 * 12 * 4];
    for (size_t i = 0; i < sizeof(bgra); i += 4) {
        bgra[i + 2] = 255;
        bgra[i + 3] = 255;
    }
    struct link_msg m = {.type = LINK_CURSOR, .width = 12, .height = 12, .x = 6, .y = 6};
    m.pixels = slice_of(bgra, sizeof(bgra));
    web_space_cursor(d->web, "demo", &m);
    m = (struct link_msg){.type = LINK_POINTER, .x = (uint16_t)x, .y = (uint16_t)y};
    web_space_cursor(d->web, "demo", &m);
}

static void dump(struct demo *d, const char *name)
{
    struct encoder *e;
    struct slice png;
    struct rect all = {.w = d->picture.width, .h = d->picture.height};
    FILE *f = fopen(name, "wb");
    if (!f || encoder_new(&e) || encode_png(e, &d->picture, &all, &png) ||
        fwrite(png.p, 1, png.len, f) != png.len || fclose(f)) {
        abort();
    }
    encoder_free(e);
}

static void obey(struct demo *d, const char *line)
{
    unsigned a = 0, b = 0;
    if (strncmp(line, "state ", 6) == 0) {
        state(d, line + 6);
    } else if (sscanf(line, "size %u %u", &a, &b) == 2) {
        size(d, a, b);
    } else if (sscanf(line, "cursor %u %u", &a, &b) == 2) {
        cursor(d, a, b);
    } else if (strncmp(line, "dump ", 5) == 0) {
        dump(d, line + 5);
    } else if (strncmp(line, "drop ", 5) == 0) {
        web_space_remove(d->web, line + 5);
    } else if (strcmp(line, "gone") == 0) {
        web_space_picture(d->web, "demo", NULL);
    } else if (strcmp(line, "shown") == 0) {
        web_space_picture(d->web, "demo", &d->picture);
    } else if (strcmp(line, "step") == 0) {
        d->n++;
        draw(d);
    } else if (strcmp(line, "move") == 0 || strcmp(line, "freeze") == 0) {
        d->moves = line[0] == 'm';
        loop_timer_at(d->timer, d->moves ? loop_now_ms(d->loop) : UINT64_MAX);
    } else if (strcmp(line, "quit") == 0) {
        loop_stop(d->loop);
    } else {
        abort();
    }
    puts("ok");
    fflush(stdout);
}

static void on_input(int events, void *ctx)
{
    struct demo *d = ctx;
    (void)events;
    ssize_t n = read(0, d->line + d->len, sizeof(d->line) - 1 - d->len);
    if (n <= 0) {
        loop_stop(d->loop);
        return;
    }
    d->len += (size_t)n;
    for (char *end; (end = memchr(d->line, '\n', d->len));) {
        size_t used = (size_t)(end + 1 - d->line);
        *end = '\0';
        obey(d, d->line);
        memmove(d->line, d->line + used, d->len - used);
        d->len -= used;
    }
}

int main(int argc, char **argv)
{
    struct demo d = {.n = 0};
    struct loop_fd *input;
    struct log log = {.level = LOG_DEBUG, .program = "web_demo", .fd = 2};
    struct web_config cfg = {.log = &log, .max_viewers = 8, .max_viewers_per_space = 6};
    cfg.max_fps = 30;
    cfg.stall_ms = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    if (addr_parse(slice_str(argc > 1 ? argv[1] : "127.0.0.1"), &cfg.listen) ||
        loop_new(&d.loop)) {
        return 2;
    }
    if (web_new(&d.web, d.loop, &cfg)) {
        loop_free(d.loop);
        return 1;
    }
    if (loop_timer_new(&d.timer, d.loop, tick, &d) ||
        loop_fd_new(&input, d.loop, 0, on_input, &d) ||
        web_space_set(d.web, "demo", WEB_LIVE, "Ann Example", NULL)) {
        return 2;
    }
    picture_init(&d.picture);
    size(&d, 800, 600);
    web_space_picture(d.web, "demo", &d.picture);
    loop_fd_want(input, LOOP_READ);
    printf("port=%d\n", web_addr(d.web).port);
    fflush(stdout);
    loop_run(d.loop);
    web_space_picture(d.web, "demo", NULL);
    web_free(d.web);
    picture_done(&d.picture);
    free(d.from);
    loop_timer_free(d.timer);
    loop_fd_free(input);
    loop_free(d.loop);
    return 0;
}
