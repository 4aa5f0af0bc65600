/* One web viewer's view of a picture: which tiles it has, and at which quality; what to send
 * next. Changed parts go out lossy at once and lossless REFRESH_MS after they stopped changing.
 * At most VIEWER_IN_FLIGHT updates are unacknowledged, so a slow viewer skips to the newest
 * picture, and its memory use is fixed. */
#pragma once

#include "lib/share/picture.h"

enum {
    VIEWER_IN_FLIGHT = 2,
    VIEWER_REFRESH_MS = 500,
    VIEWER_RECTS_MAX = 64, /* in one update */
    /* Tiles sent without loss in one update: PNG takes tens of milliseconds a megapixel, and
       nothing else runs meanwhile. */
    VIEWER_REFRESH_TILES = 96
};

struct viewer;

struct viewer_rect {
    struct rect r;
    bool lossless;
};

struct viewer_update {
    uint32_t seq;  /* the viewer acknowledges this number */
    bool lossless; /* with this one the viewer has all of the picture without loss */
    uint16_t width, height;
    size_t n;
    struct viewer_rect rect[VIEWER_RECTS_MAX];
};

MUST_USE int viewer_new(struct viewer **out);
void viewer_free(struct viewer *v);
/* From now on it looks at another picture, of which it has nothing. What is in flight stays. */
void viewer_reset(struct viewer *v);

/* What this viewer should be sent now: neighbouring tiles merged into few rectangles. False
 * when it is up to date or has enough in flight. The tiles count as sent from here on. */
bool viewer_next(struct viewer *v, uint64_t now_ms, const struct picture *p,
                 struct viewer_update *out);
/* The viewer has painted update `seq`. ERR_MALFORMED when that was not in flight. */
MUST_USE int viewer_ack(struct viewer *v, uint32_t seq);
/* When to ask viewer_next again although nothing changes; UINT64_MAX: not. */
uint64_t viewer_deadline_ms(const struct viewer *v, const struct picture *p);
