/* Lays out lines of LADDER_WIDTH characters. */
#include "cmd/causeway/ladder.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    TIME_WIDTH = 7,
    COLUMN_FIRST = 11, /* where the first host's line stands */
    COLUMN_STEP = 13,
    TEXT_AT = COLUMN_FIRST + (HOST_COUNT - 1) * COLUMN_STEP + 2
};

static const char *const colours[TONE_COUNT] = {
    [TONE_PLAIN] = "",       [TONE_SIP] = "\033[34m",   [TONE_TURN] = "\033[36m",
    [TONE_ICE] = "\033[33m", [TONE_MEDIA] = "\033[35m", [TONE_GOOD] = "\033[32m",
    [TONE_BAD] = "\033[31m",
};

/* A line is written at once, so that it does not mix with what the programs print. */
static void put(const struct ladder *l, enum tone tone, const char *line)
{
    char out[LADDER_WIDTH + 32];
    const char *colour = l->has_colour ? colours[tone] : "";
    int n = snprintf(out, sizeof out, "%s%.*s%s\n", colour, LADDER_WIDTH, line,
                     *colour ? "\033[0m" : "");
    /* A terminal that is gone is no reason to stop: the demo ends by its own signals. */
    ssize_t unused = write(l->fd, out, (size_t)n);
    (void)unused;
}

static size_t column(enum host h)
{
    return COLUMN_FIRST + (size_t)h * COLUMN_STEP;
}

void ladder_head(const struct ladder *l)
{
    static const char *const names[HOST_COUNT] = {"client", "Skype site", "edge", "meeting"};
    char line[LADDER_WIDTH + 1];
    memset(line, ' ', LADDER_WIDTH);
    line[LADDER_WIDTH] = '\0';
    memcpy(line + TIME_WIDTH - 2, "ms", 2);
    for (size_t h = 0; h < HOST_COUNT; h++) {
        size_t len = strlen(names[h]);
        memcpy(line + column((enum host)h) - len / 2, names[h], len);
    }
    put(l, TONE_PLAIN, line);
}

void ladder_arrow(const struct ladder *l, uint64_t ms, enum host from, enum host to,
                  enum tone tone, const char *text)
{
    char line[LADDER_WIDTH + 1], time[TIME_WIDTH + 16];
    memset(line, ' ', TEXT_AT);
    int n = snprintf(time, sizeof time, "%*llu", TIME_WIDTH, (unsigned long long)ms);
    memcpy(line, time, n > TIME_WIDTH + 2 ? TIME_WIDTH + 2 : (size_t)n);
    for (size_t h = 0; h < HOST_COUNT; h++) {
        line[column((enum host)h)] = '|';
    }
    size_t left = column(from < to ? from : to), right = column(from < to ? to : from);
    memset(line + left + 1, '-', right - left - 1);
    line[from < to ? right - 1 : left + 1] = from < to ? '>' : '<';
    (void)snprintf(line + TEXT_AT, sizeof line - TEXT_AT, "%s", text);
    put(l, tone, line);
}

void ladder_line(const struct ladder *l, enum tone tone, const char *text)
{
    put(l, tone, text);
}
