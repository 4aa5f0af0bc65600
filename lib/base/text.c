/* Text into a cursor, and small text readers. */
#include "lib/base/text.h"

#include <stdarg.h>
#include <stdio.h>

void wr_text(struct wr *w, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (w->err || n < 0) {
        return;
    }
    /* vsnprintf ends what it writes with a zero byte, which needs room of its own. */
    if ((size_t)n >= w->cap - w->len) {
        w->err = ERR_NOSPACE;
        return;
    }
    va_start(ap, format);
    (void)vsnprintf((char *)w->buf + w->len, w->cap - w->len, format, ap);
    va_end(ap);
    w->len += (size_t)n;
}

int text_u64(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    *out = 0;
    if (s.len == 0) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return ERR_MALFORMED;
        }
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (digit > max || v > (max - digit) / 10) {
            return ERR_MALFORMED;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return OK;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool text_starts(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s.len < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (lower(s.p[i]) != lower((uint8_t)prefix[i])) {
            return false;
        }
    }
    return true;
}

bool text_is(struct slice s, const char *word)
{
    return s.len == strlen(word) && text_starts(s, word);
}

struct slice text_split(struct slice *s, char sep)
{
    while (sep == ' ' && s->len > 0 && s->p[0] == ' ') {
        *s = slice_from(*s, 1);
    }
    const uint8_t *at = s->len > 0 ? memchr(s->p, sep, s->len) : NULL;
    struct slice head = *s;
    if (!at) {
        *s = slice_of(NULL, 0);
        return head;
    }
    head.len = (size_t)(at - s->p);
    *s = slice_from(*s, head.len + 1);
    return head;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice text_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.p[0])) {
        s = slice_from(s, 1);
    }
    while (s.len > 0 && is_blank(s.p[s.len - 1])) {
        s.len--;
    }
    return s;
}

void text_put_hex(struct wr *w, struct slice in)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        wr_u8(w, (uint8_t)digits[in.p[i] >> 4]);
        wr_u8(w, (uint8_t)digits[in.p[i] & 15]);
    }
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_put_base64(struct wr *w, struct slice in)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.p[i] << 16;
        v |= n > 1 ? (uint32_t)in.p[i + 1] << 8 : 0;
        v |= n > 2 ? in.p[i + 2] : 0;
        wr_u8(w, (uint8_t)base64_digits[v >> 18]);
        wr_u8(w, (uint8_t)base64_digits[v >> 12 & 63]);
        wr_u8(w, n > 1 ? (uint8_t)base64_digits[v >> 6 & 63] : '=');
        wr_u8(w, n > 2 ? (uint8_t)base64_digits[v & 63] : '=');
    }
}

int text_base64(struct slice s, uint8_t *out, size_t cap, size_t *len)
{
    struct wr w = wr_over(out, cap);
    uint32_t v = 0;
    unsigned bits = 0;
    *len = 0;
    while (s.len > 0 && s.p[s.len - 1] == '=') {
        s.len--;
    }
    if (s.len % 4 == 1) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < s.len; i++) {
        const char *digit = s.p[i] ? strchr(base64_digits, s.p[i]) : NULL;
        if (!digit) {
            return ERR_MALFORMED;
        }
        v = (v << 6 | (uint32_t)(digit - base64_digits)) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            wr_u8(&w, (uint8_t)(v >> bits));
        }
    }
    *len = w.err ? 0 : w.len;
    return w.err;
}
