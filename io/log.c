/* Log lines. Whatever a value holds, a line stays one line of printable ASCII. */
#include "io/log.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/text.h"

enum {
    LINE_MAX_BYTES = 4096,
    VALUE_MAX = 512 /* bytes of one value; the rest is cut off */
};

static const char *level_name(enum log_level level)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    return name[level];
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return s.len > 0;
}

static void put_text(struct wr *w, struct slice s)
{
    if (is_plain(s)) {
        wr_bytes(w, s);
        return;
    }
    wr_u8(w, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        if (c == '"' || c == '\\') {
            wr_u8(w, '\\');
            wr_u8(w, c);
        } else if (c < ' ' || c > '~') {
            wr_text(w, "\\x%02x", c);
        } else {
            wr_u8(w, c);
        }
    }
    wr_u8(w, '"');
}

/* One character of UTF-8 off the head of `s`; U+FFFD, and one byte taken, when it is not. */
static uint32_t next_char(struct slice *s)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint8_t c = s->p[0];
    size_t more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : 9;
    uint32_t v = more == 0 ? c : c & (0x3fu >> more);
    bool ok = more < s->len;
    for (size_t i = 1; ok && i <= more; i++) {
        ok = s->p[i] >> 6 == 2;
        v = v << 6 | (s->p[i] & 0x3f);
    }
    ok = ok && v >= least[more] && v <= 0x10ffff && v >> 11 != 0x1b;
    *s = slice_from(*s, ok ? more + 1 : 1);
    return ok ? v : 0xfffd;
}

static void put_json(struct wr *w, struct slice s)
{
    wr_u8(w, '"');
    while (s.len > 0) {
        uint32_t c = next_char(&s);
        if (c == '"' || c == '\\') {
            wr_u8(w, '\\');
            wr_u8(w, (uint8_t)c);
        } else if (c >= ' ' && c <= '~') {
            wr_u8(w, (uint8_t)c);
        } else if (c < 0x10000) {
            wr_text(w, "\\u%04x", (unsigned)c);
        } else {
            c -= 0x10000;
            wr_text(w, "\\u%04x\\u%04x", (unsigned)(0xd800 | c >> 10),
                    (unsigned)(0xdc00 | (c & 0x3ff)));
        }
    }
    wr_u8(w, '"');
}

static void put_field(struct wr *w, bool json, const struct log_field *f)
{
    struct slice text = f->text;
    text.len = text.len > VALUE_MAX ? VALUE_MAX : text.len;
    wr_text(w, json ? ",\"%s\":" : " %s=", f->key);
    if (f->is_number) {
        wr_text(w, "%lld", (long long)f->number);
    } else if (json) {
        put_json(w, text);
    } else {
        put_text(w, text);
    }
}

static void put_head(struct wr *w, const struct log *log, enum log_level level,
                     const char *event)
{
    if (log->format == LOG_TEXT) {
        wr_text(w, "%s %s", level_name(level), event);
        return;
    }
    struct timespec ts;
    struct tm tm;
    char when[32];
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    wr_text(w, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"%s\"",
            when, ts.tv_nsec / 1000000, level_name(level), log->program ? log->program : "",
            event);
}

void log_event(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields)
{
    uint8_t line[LINE_MAX_BYTES];
    struct wr w = wr_over(line, sizeof line - 2); /* the end always fits */
    bool json = log->format == LOG_JSON;
    if (level > log->level) {
        return;
    }
    put_head(&w, log, level, event);
    for (; fields->key; fields++) {
        size_t before = w.len;
        put_field(&w, json, fields);
        if (w.err) { /* left out whole: half a value would break the line's form */
            w.err = OK;
            w.len = before;
        }
    }
    w.cap = sizeof line;
    wr_bytes(&w, slice_str(json ? "}\n" : "\n"));
    ssize_t n;
    do {
        n = write(log->fd, line, w.len);
    } while (n < 0 && errno == EINTR);
}

bool log_limit_pass(struct log_limit *lim, uint64_t now_s, uint32_t per_s, uint32_t *held)
{
    *held = 0;
    if (lim->window_s != now_s) {
        lim->window_s = now_s;
        lim->n = 0;
    }
    if (lim->n >= per_s) {
        lim->held++;
        return false;
    }
    lim->n++;
    *held = lim->held;
    lim->held = 0;
    return true;
}
