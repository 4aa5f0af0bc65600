/* Configuration from the inside: shared by conf.c, conf_value.c and conf_help.c. */
#pragma once

#include "io/conf.h"

struct conf_kind {
    const char *word; /* in --help: --listen ADDR:PORT */
    const char *want; /* completes "not ..." */
    bool (*ok)(const struct conf_option *o, struct slice text);
};

const struct conf_kind *conf_kind(enum conf_type type);
bool conf_parse_bool(struct slice text, bool *out);
bool conf_parse_number(struct slice text, int64_t *out);
bool conf_parse_ports(struct slice text, uint16_t *first, uint16_t *last);
/* The place of `text` in "json|text". */
bool conf_parse_choice(const char *choices, struct slice text, size_t *out);

/* The option whose name is most like `name`, or NULL when none is near. */
const struct conf_option *conf_nearest(const struct conf_option *options, struct slice name);

void conf_print_help(const struct conf_program *prog);
void conf_print_defaults(const struct conf_program *prog);
