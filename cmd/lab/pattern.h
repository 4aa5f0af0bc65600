/* What the stand-in client has on its screen: a slide with text, shapes and hairlines, a clock
 * that counts, and a box that moves. Drawn with plain X requests. */
#pragma once

#include "lib/share/picture.h"

struct pattern;

/* Connects to X display `number` with its MIT cookie of 16 bytes and shows the page.
 * ERR_SYSTEM when there is no such display or it is not 24 bit deep. */
MUST_USE int pattern_new(struct pattern **out, int number, const uint8_t cookie[16]);
void pattern_free(struct pattern *p); /* NULL is fine */

/* Draws what the page looks like `ms` after it was shown. ERR_SYSTEM when X is gone. */
MUST_USE int pattern_draw(struct pattern *p, uint64_t ms);

/* What the root window shows now, after all drawing that was asked for. */
MUST_USE int pattern_read(struct pattern *p, struct picture *out);
