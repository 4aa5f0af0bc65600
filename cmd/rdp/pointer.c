/* The sharer's pointer. FreeRDP keeps the sharer's pictures in a cache and calls back when one
 * is chosen or the pointer moved. */
#include "cmd/rdp/pointer.h"

#include <freerdp/codec/color.h>
#include <freerdp/freerdp.h>
#include <freerdp/gdi/gdi.h>
#include <stdlib.h>

/* FreeRDP allocates this and knows the first member. */
struct picture_pointer {
    rdpPointer base;
    uint8_t *pixels; /* BGRA */
};

static BOOL on_new(rdpContext *c, rdpPointer *p)
{
    struct picture_pointer *own = (void *)p;
    if (p->width == 0 || p->width > LINK_CURSOR_MAX || p->height == 0 ||
        p->height > LINK_CURSOR_MAX) {
        return TRUE; /* is shown as the default arrow */
    }
    own->pixels = calloc((size_t)p->width * p->height, 4);
    if (!own->pixels) {
        return FALSE;
    }
    return freerdp_image_copy_from_pointer_data(
        own->pixels, PIXEL_FORMAT_BGRA32, 0, 0, 0, p->width, p->height, p->xorMaskData,
        p->lengthXorMask, p->andMaskData, p->lengthAndMask, p->xorBpp, &c->gdi->palette);
}

static void on_free(rdpContext *c, rdpPointer *p)
{
    struct picture_pointer *own = (void *)p;
    (void)c;
    free(own->pixels);
    own->pixels = NULL;
}

/* The hot spot is the top left corner until said otherwise. */
static void set_shape(rdpContext *c, uint16_t width, uint16_t height, const uint8_t *pixels)
{
    struct feed_pointer *to = pointer_of(c);
    to->has_shape = true;
    to->width = width;
    to->height = height;
    to->hot_x = to->hot_y = 0;
    if (pixels) {
        memcpy(to->pixels, pixels, (size_t)width * height * 4);
    }
}

/* An arrow, 12 x 17: white with a black edge. */
static BOOL on_default(rdpContext *c)
{
    static const char *const row[] = {
        "X",        "XX",       "X.X",       "X..X",       "X...X",       "X....X",
        "X.....X",  "X......X", "X.......X", "X........X", "X.....XXXXX", "X..X..X",
        "X.X X..X", "XX  X..X", "X    X..X", "     X..X",  "      XX"};
    enum {
        W = 12,
        H = sizeof row / sizeof *row
    };
    uint8_t px[W * H * 4] = {0};
    for (size_t y = 0; y < H; y++) {
        for (size_t x = 0; row[y][x]; x++) {
            if (row[y][x] != ' ') {
                memset(px + (y * W + x) * 4, row[y][x] == '.' ? 0xff : 0, 3);
                px[(y * W + x) * 4 + 3] = 0xff;
            }
        }
    }
    set_shape(c, W, H, px);
    return TRUE;
}

static BOOL on_set(rdpContext *c, const rdpPointer *p)
{
    const struct picture_pointer *own = (const void *)p;
    if (!own->pixels) {
        return on_default(c);
    }
    set_shape(c, (uint16_t)p->width, (uint16_t)p->height, own->pixels);
    pointer_of(c)->hot_x = (uint16_t)(p->xPos < p->width ? p->xPos : 0);
    pointer_of(c)->hot_y = (uint16_t)(p->yPos < p->height ? p->yPos : 0);
    return TRUE;
}

static BOOL on_null(rdpContext *c)
{
    set_shape(c, 0, 0, NULL);
    return TRUE;
}

static BOOL on_position(rdpContext *c, UINT32 x, UINT32 y)
{
    struct feed_pointer *to = pointer_of(c);
    to->has_place = true;
    to->x = x < LINK_WIDTH_MAX ? (uint16_t)x : LINK_WIDTH_MAX - 1;
    to->y = y < LINK_HEIGHT_MAX ? (uint16_t)y : LINK_HEIGHT_MAX - 1;
    return TRUE;
}

void pointer_register(rdpGraphics *g)
{
    rdpPointer p = {.size = sizeof(struct picture_pointer),
                    .New = on_new,
                    .Free = on_free,
                    .Set = on_set,
                    .SetNull = on_null,
                    .SetDefault = on_default,
                    .SetPosition = on_position};
    graphics_register_pointer(g, &p);
}
