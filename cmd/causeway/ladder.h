/* The ladder of messages: a line each, hosts as columns, arrows between them. */
#pragma once

#include "cmd/causeway/net.h"

enum tone { /* colours, where the terminal has them */
    TONE_PLAIN,
    TONE_SIP,
    TONE_TURN,
    TONE_ICE,
    TONE_MEDIA,
    TONE_GOOD,
    TONE_BAD,
    TONE_COUNT
};

struct ladder {
    int fd;
    bool has_colour;
};

enum {
    LADDER_WIDTH = 100
};

/* The names of the hosts. */
void ladder_head(const struct ladder *l);
/* `ms` since the start. `from` and `to` are different hosts. */
void ladder_arrow(const struct ladder *l, uint64_t ms, enum host from, enum host to,
                  enum tone tone, const char *text);
/* A line of its own, cut to LADDER_WIDTH. */
void ladder_line(const struct ladder *l, enum tone tone, const char *text);
