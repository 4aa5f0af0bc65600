/* Parts of a picture as JPEG and PNG, on libturbojpeg and libpng. */
#pragma once

#include "lib/share/picture.h"

struct encoder; /* keeps its buffers between calls; one thread */

MUST_USE int encoder_new(struct encoder **out);
void encoder_free(struct encoder *e);
/* 4:4:4, quality 1-100. The result is the encoder's until the next call. */
MUST_USE int encode_jpeg(struct encoder *e, const struct picture *p, const struct rect *r,
                         int quality, struct slice *out);
MUST_USE int encode_png(struct encoder *e, const struct picture *p, const struct rect *r,
                        struct slice *out);
