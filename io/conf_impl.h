/* Configuration from the inside: shared by the files of conf. */
#pragma once

#include "io/conf.h"

enum conf_source {
    CONF_FROM_PRESET,
    CONF_FROM_FILE,
    CONF_FROM_ARGS
};

struct conf_value {
    const struct conf_option *option;
    char *text; /* ours */
    enum conf_source source;
    int line; /* in the file */
};

struct conf { /* of the program, or one section of its file */
    const struct conf_program *prog;
    const struct conf_option *options;
    FILE *to;         /* complaints */
    const char *file; /* as given with -c, NULL: none */
    struct conf_value *value;
    size_t n, cap;
    struct conf *sections, *next; /* in the file's order */
    /* Of a section; NULL and 0 in the whole. */
    const struct conf_section *kind;
    struct conf *whole;
    int line; /* of its head */
    char name[CONF_NAME_MAX + 1];
    bool failed;
    bool check, show_defaults, help, version;
};

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

/* conf.c */
const struct conf_option *conf_option_of(const struct conf *c, struct slice name);
/* "edge.conf:12: relay-ports: " or "causeway-edge: --relay-ports: "; the rest is the caller's.
 */
void conf_complain(struct conf *c, enum conf_source source, int line, const char *name);
void conf_complain_unknown(struct conf *c, enum conf_source source, int line,
                           struct slice name);
/* Checks the value and keeps a copy, or complains. */
void conf_set(struct conf *c, struct conf_value v);

/* conf_file.c: reads c->file. */
void conf_read_file(struct conf *c);

void conf_print_help(const struct conf_program *prog);
void conf_print_defaults(const struct conf_program *prog);
