/* The list of damaged rectangles. */
#include "cmd/rdp/damage.h"

static bool holds(const struct rect *a, const struct rect *b)
{
    return a->x <= b->x && a->y <= b->y && a->x + a->w >= b->x + b->w &&
           a->y + a->h >= b->y + b->h;
}

static struct rect around(const struct rect *a, const struct rect *b)
{
    struct rect u = {.x = a->x < b->x ? a->x : b->x, .y = a->y < b->y ? a->y : b->y};
    int right = a->x + a->w > b->x + b->w ? a->x + a->w : b->x + b->w;
    int bottom = a->y + a->h > b->y + b->h ? a->y + a->h : b->y + b->h;
    u.w = (uint16_t)(right - u.x);
    u.h = (uint16_t)(bottom - u.y);
    return u;
}

/* Their union is a rectangle: one holds the other, or they share a whole side or more. */
static bool fit(const struct rect *a, const struct rect *b)
{
    bool row = a->y == b->y && a->h == b->h && a->x <= b->x + b->w && b->x <= a->x + a->w;
    bool column = a->x == b->x && a->w == b->w && a->y <= b->y + b->h && b->y <= a->y + a->h;
    return row || column || holds(a, b) || holds(b, a);
}

void damage_add(struct damage *d, const struct rect *r)
{
    struct rect all = *r;
    if (r->w == 0 || r->h == 0) {
        return;
    }
    /* What fits is taken out of the list and grows the new one, which may then fit others. */
    for (size_t i = 0; i < d->n;) {
        if (fit(&d->rect[i], &all)) {
            all = around(&d->rect[i], &all);
            d->rect[i] = d->rect[--d->n];
            i = 0;
        } else {
            i++;
        }
    }
    if (d->n == LINK_RECTS_MAX) {
        while (d->n > 0) {
            all = around(&d->rect[--d->n], &all);
        }
    }
    d->rect[d->n++] = all;
}
