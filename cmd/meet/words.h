/* What the page calls the sharer. */
#pragma once

#include "lib/base/wire.h"

/* From's display name, or without one its address without scheme and parameters, into `out` of
 * `cap` bytes: UTF-8 whatever came (`?` for what is none), without control characters, cut
 * between characters. */
void sharer_text(char *out, size_t cap, struct slice name, struct slice uri);
