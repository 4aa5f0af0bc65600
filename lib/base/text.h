/* Text into a cursor, and small text readers. */
#pragma once

#include "lib/base/wire.h"

/* printf into `w`, without an end mark. Sets w->err to ERR_NOSPACE when it does not fit. */
__attribute__((format(printf, 2, 3))) void wr_text(struct wr *w, const char *format, ...);

/* A decimal number that fills all of `s` and is at most `max`. ERR_MALFORMED otherwise. */
MUST_USE int text_u64(struct slice s, uint64_t max, uint64_t *out);

/* ASCII, case ignored. */
bool text_is(struct slice s, const char *word);
bool text_starts(struct slice s, const char *prefix);

/* Splits `s` at the first `sep`: the part before it, and `*s` becomes what follows. Without
 * `sep` all of `s` is given and `*s` becomes empty. Runs of spaces are one when sep is ' '. */
struct slice text_split(struct slice *s, char sep);

/* Without leading and trailing blanks and line ends. */
struct slice text_trim(struct slice s);

/* Two small hexadecimal digits for each byte. */
void text_put_hex(struct wr *w, struct slice in);

/* Base64 (RFC 4648 4) of `in` into `w`; and back: at most `cap` bytes to `out`. */
void text_put_base64(struct wr *w, struct slice in);
MUST_USE int text_base64(struct slice s, uint8_t *out, size_t cap, size_t *len);
