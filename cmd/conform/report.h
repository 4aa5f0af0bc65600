/* Results for people, and for programs. */
#pragma once

#include "cmd/conform/run.h"

struct report_text {
    struct report base;
    bool is_coloured;
    bool is_verbose; /* every exchange, and its bytes */
};
void report_text_begin(struct report_text *r, const struct run *run);
void report_text_end(struct report_text *r, const struct run *run);

struct report_json {
    struct report base;
    void *checks; /* a json_t */
    bool is_verbose;
};
MUST_USE int report_json_begin(struct report_json *r);
MUST_USE int report_json_end(struct report_json *r, const struct run *run);

void report_list(const struct run *run);
