/* Words for the page. */
#include "cmd/meet/words.h"

#include "lib/base/text.h"

/* Bytes of the UTF-8 character at the head of `s` (RFC 3629 4), its code point in `c`; 0: it is
 * none. */
static size_t utf8_next(struct slice s, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s.p[0] < 0x80   ? 1
               : s.p[0] < 0xc2 ? 0
               : s.p[0] < 0xe0 ? 2
               : s.p[0] < 0xf0 ? 3
                               : 4;
    if (n == 0 || s.p[0] > 0xf4 || n > s.len) {
        return 0;
    }
    *c = n == 1 ? s.p[0] : s.p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s.p[i] & 0xc0) != 0x80) {
            return 0;
        }
        *c = *c << 6 | (s.p[i] & 0x3f);
    }
    bool is_surrogate = *c >= 0xd800 && *c <= 0xdfff;
    return *c < least[n] || *c > 0x10ffff || is_surrogate ? 0 : n;
}

/* Controls, and what turns the direction of the text around it: a name has no use for them. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* `from` into `w`, as far as whole characters fit; with \x for x (RFC 3261 25.1), if
 * `has_pairs`. */
static void put(struct wr *w, struct slice from, bool has_pairs)
{
    while (from.len > 0) {
        uint32_t c = 0;
        if (has_pairs && from.p[0] == '\\' && from.len > 1) {
            from = slice_from(from, 1);
        }
        size_t n = utf8_next(from, &c);
        struct slice out = n ? slice_of(from.p, n) : slice_str("?");
        if (out.len > w->cap - w->len) {
            return;
        }
        if (n == 0 || !is_hidden(c)) {
            wr_bytes(w, out);
        }
        from = slice_from(from, n ? n : 1);
    }
}

void sharer_text(char *out, size_t cap, struct slice name, struct slice uri)
{
    struct wr w = wr_over((uint8_t *)out, cap - 1);
    put(&w, name, true);
    if (text_trim(wr_done(&w)).len == 0) {
        w.len = 0;
        size_t scheme = text_starts(uri, "sip:") ? 4 : text_starts(uri, "sips:") ? 5 : 0;
        uri = slice_from(uri, scheme);
        put(&w, text_split(&uri, ';'), false);
    }
    out[w.len] = '\0';
}

void sentence(char *out, size_t cap, const char *text)
{
    struct slice s = slice_str(text);
    struct wr w = wr_over((uint8_t *)out, cap - 2);
    put(&w, s, false);
    if (w.len > 0) {
        out[0] = (char)(out[0] >= 'a' && out[0] <= 'z' ? out[0] - 'a' + 'A' : out[0]);
        if (!strchr(".!?", out[w.len - 1])) {
            out[w.len++] = '.';
        }
    }
    out[w.len] = '\0';
}
