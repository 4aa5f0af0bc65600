/* Log lines: `level event key=value ...` to stderr, or one JSON object a line. Values are
 * escaped, whatever they hold. What a peer can trigger goes through a limit. */
#pragma once

#include "lib/base/wire.h"

enum log_level {
    LOG_ERROR, /* an operator must act */
    LOG_WARN,  /* may have to */
    LOG_INFO,  /* life of an allocation or meeting */
    LOG_DEBUG  /* a message */
};

enum log_format {
    LOG_TEXT,
    LOG_JSON
};

struct log {
    enum log_level level;
    enum log_format format;
    const char *program; /* a literal */
    int fd;              /* usually 2 */
};

struct log_field {
    const char *key; /* a literal; NULL ends the list */
    struct slice text;
    int64_t number;
    bool is_number;
};

#define LOG_S(k, s) ((struct log_field){.key = (k), .text = slice_str(s)})
#define LOG_B(k, b) ((struct log_field){.key = (k), .text = (b)})
#define LOG_N(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v), .is_number = true})

/* `event` and keys are literals; values may come from anywhere. */
void log_event(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields);
#define LOG(log, level, event, ...) \
    log_event(log, level, event, (const struct log_field[]){__VA_ARGS__, {.key = NULL}})

/* At most `per_s` events a second; what was held back is counted in the next that passes. */
struct log_limit {
    uint64_t window_s;
    uint32_t n, held;
};
bool log_limit_pass(struct log_limit *lim, uint64_t now_s, uint32_t per_s, uint32_t *held);
