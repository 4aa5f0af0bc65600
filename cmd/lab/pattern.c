/* The page on the stand-in client's screen. XCB, as that reports a dead server to the caller
 * where Xlib ends the process. */
#include "cmd/lab/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <xcb/xcb.h>

enum {
    BOX = 96,
    DIGIT_W = 40,
    DIGIT_H = 72,
    STROKE = 10
};

#define WHITE 0xfafafaU
#define INK   0x202428U
#define NAVY  0x1b3a6bU
#define RED   0xc62828U
#define GREEN 0x2e7d32U
#define BLUE  0x1565c0U
#define AMBER 0xf9a825U
#define GREY  0xb0bec5U

struct pattern {
    xcb_connection_t *x;
    const xcb_screen_t *screen;
    xcb_gcontext_t gc;
    uint16_t width, height;
    xcb_rectangle_t box;
};

static void colour(struct pattern *p, uint32_t fore, uint32_t back)
{
    const uint32_t value[] = {fore, back};
    xcb_change_gc(p->x, p->gc, XCB_GC_FOREGROUND | XCB_GC_BACKGROUND, value);
}

static void fill(struct pattern *p, uint32_t rgb, xcb_rectangle_t r)
{
    colour(p, rgb, rgb);
    xcb_poly_fill_rectangle(p->x, p->screen->root, p->gc, 1, &r);
}

static xcb_rectangle_t area(int x, int y, int w, int h)
{
    return (xcb_rectangle_t){
        .x = (int16_t)x, .y = (int16_t)y, .width = (uint16_t)w, .height = (uint16_t)h};
}

static void text(struct pattern *p, int x, int y, const char *s)
{
    xcb_image_text_8(p->x, (uint8_t)strlen(s), p->screen->root, p->gc, (int16_t)x, (int16_t)y,
                     s);
}

static void draw_text(struct pattern *p)
{
    static const struct {
        uint32_t rgb;
        const char *s;
    } line[] = {
        {INK,   "Quarterly review: agenda"                                                   },
        {INK,   "1.  Sound and picture over one TURN server, both ways through the firewall" },
        {RED,   "2.  Red small print keeps its edges only if colour is not halved on the way"},
        {GREEN, "3.  Green:  il1| O0 rn m  .,;:  the quick brown fox jumps over the lazy dog"},
        {BLUE,  "4.  Blue:   {[(<>)]} #&@ 0123456789  PACK MY BOX WITH FIVE DOZEN JUGS"      },
        {INK,   "5.  Questions"                                                              },
    };
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        colour(p, line[i].rgb, WHITE);
        text(p, 40, 110 + (int)i * 28, line[i].s);
    }
    colour(p, WHITE, NAVY);
    text(p, 40, 38, "Causeway lab - this screen is shared by the stand-in Skype client");
}

static void draw_shapes(struct pattern *p)
{
    static const uint32_t bar[] = {RED, AMBER, GREEN, BLUE, NAVY, GREY};
    for (int i = 0; i < 6; i++) {
        fill(p, bar[i], area(60 + i * 70, 520 - 30 * (i + 1), 48, 30 * (i + 1)));
    }
    colour(p, INK, WHITE);
    for (int i = 0; i < 24; i++) { /* hairlines: one pixel, growing gaps */
        const xcb_point_t l[] = {
            {(int16_t)(560 + i * (i + 3) / 2), 300},
            {(int16_t)(560 + i * (i + 3) / 2), 400}
        };
        xcb_poly_line(p->x, XCB_COORD_MODE_ORIGIN, p->screen->root, p->gc, 2, l);
    }
    for (int i = 0; i < 4; i++) { /* discs */
        const xcb_arc_t a = {(int16_t)(560 + i * 90), 430, 80, 80, 0, 360 * 64};
        colour(p, bar[i], WHITE);
        xcb_poly_fill_arc(p->x, p->screen->root, p->gc, 1, &a);
    }
}

static void draw_page(struct pattern *p)
{
    fill(p, WHITE, area(0, 0, p->width, p->height));
    fill(p, NAVY, area(0, 0, p->width, 64));
    draw_text(p);
    draw_shapes(p);
}

/* Seven strokes: top, the two upper sides, middle, the two lower sides, bottom. */
static void draw_digit(struct pattern *p, int x, int y, int digit)
{
    static const uint8_t on[] = {0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f};
    const int mid = (DIGIT_H - STROKE) / 2, right = DIGIT_W - STROKE;
    const xcb_rectangle_t stroke[] = {
        area(x, y, DIGIT_W, STROKE),
        area(x, y, STROKE, mid + STROKE),
        area(x + right, y, STROKE, mid + STROKE),
        area(x, y + mid, DIGIT_W, STROKE),
        area(x, y + mid, STROKE, mid + STROKE),
        area(x + right, y + mid, STROKE, mid + STROKE),
        area(x, y + 2 * mid, DIGIT_W, STROKE),
    };
    fill(p, WHITE, area(x, y, DIGIT_W, DIGIT_H));
    for (int i = 0; i < 7; i++) {
        if (on[digit] >> i & 1) {
            fill(p, NAVY, stroke[i]);
        }
    }
}

/* The lane along the bottom edge, there and back in eight seconds. */
static void move_box(struct pattern *p, uint64_t ms)
{
    int lane = p->width - BOX, y = p->height - BOX - 16;
    int at = (int)(ms % 8000) * 2 * lane / 8000;
    fill(p, WHITE, p->box);
    p->box = area(at > lane ? 2 * lane - at : at, y, BOX, BOX);
    fill(p, RED, p->box);
    fill(p, AMBER, area(p->box.x + 24, y + 24, BOX - 48, BOX - 48));
}

int pattern_draw(struct pattern *p, uint64_t ms)
{
    uint64_t tenths = ms / 100;
    for (int i = 0; i < 5; i++) {
        draw_digit(p, p->width - 60 - i * (DIGIT_W + 12), 100, (int)(tenths % 10));
        tenths /= 10;
    }
    char counter[32];
    snprintf(counter, sizeof counter, "%10llu ms", (unsigned long long)ms);
    colour(p, INK, WHITE);
    text(p, p->width - 120, 200, counter);
    move_box(p, ms);
    return xcb_flush(p->x) > 0 ? 0 : ERR_SYSTEM;
}

static int open_display(struct pattern *p, int number, const uint8_t cookie[16])
{
    char name[16], key[16];
    memcpy(key, cookie, sizeof key);
    static char kind[] = "MIT-MAGIC-COOKIE-1";
    snprintf(name, sizeof name, ":%d", number);
    xcb_auth_info_t auth = {
        .namelen = sizeof kind - 1, .name = kind, .datalen = sizeof key, .data = key};
    p->x = xcb_connect_to_display_with_auth_info(name, &auth, NULL);
    if (xcb_connection_has_error(p->x)) {
        return ERR_SYSTEM;
    }
    p->screen = xcb_setup_roots_iterator(xcb_get_setup(p->x)).data;
    if (p->screen->root_depth != 24) {
        return ERR_SYSTEM;
    }
    p->width = p->screen->width_in_pixels;
    p->height = p->screen->height_in_pixels;
    return 0;
}

int pattern_new(struct pattern **out, int number, const uint8_t cookie[16])
{
    struct pattern *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p) {
        return ERR_NOMEM;
    }
    int err = open_display(p, number, cookie);
    if (err) {
        pattern_free(p);
        return err;
    }
    xcb_font_t font = xcb_generate_id(p->x);
    p->gc = xcb_generate_id(p->x);
    xcb_open_font(p->x, font, 5, "fixed"); /* built into the server */
    xcb_create_gc(p->x, p->gc, p->screen->root, XCB_GC_FONT, &font);
    draw_page(p);
    err = pattern_draw(p, 0);
    if (err) {
        pattern_free(p);
        return err;
    }
    *out = p;
    return 0;
}

void pattern_free(struct pattern *p)
{
    if (p) {
        xcb_disconnect(p->x);
        free(p);
    }
}

int pattern_read(struct pattern *p, struct picture *out)
{
    xcb_get_image_reply_t *r =
        xcb_get_image_reply(p->x,
                            xcb_get_image(p->x, XCB_IMAGE_FORMAT_Z_PIXMAP, p->screen->root, 0,
                                          0, p->width, p->height, ~0U),
                            NULL);
    size_t len = (size_t)p->width * p->height * 4;
    int err = r && (size_t)xcb_get_image_data_length(r) == len ? 0 : ERR_SYSTEM;
    err = err ? err : picture_resize(out, 0, p->width, p->height);
    if (!err) {
        memcpy(out->pixels, xcb_get_image_data(r), len);
    }
    free(r);
    return err;
}
