/* Words for the page. */
#pragma once

#include "lib/base/wire.h"

/* From's display name, or without one its address without scheme and parameters, into `out` of
 * `cap` bytes: UTF-8 whatever came (`?` for what is none), without control characters, cut
 * between characters. */
void sharer_text(char *out, size_t cap, struct slice name, struct slice uri);
/* `text`, a literal of the log, as a sentence: with a capital and a full stop. Cut to `cap`. */
void sentence(char *out, size_t cap, const char *text);
