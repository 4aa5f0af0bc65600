/* coturn's configuration: what each of its options becomes here, and a reader of its file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum coturn_fate {
    COTURN_TAKEN,   /* becomes what `say` says; import-coturn does it */
    COTURN_SAFE,    /* can go: the edge does it anyway, or has no use for it */
    COTURN_INSTEAD, /* somebody has to do something else */
    COTURN_REFUSED  /* the edge does not do that */
};

struct coturn_option {
    const char *name;
    bool is_flag; /* on/off, and on without a value */
    enum coturn_fate fate;
    const char *key; /* the edge's, NULL: none, or several that `say` names */
    const char *say; /* for a row of the documentation, and for whoever imports a file */
};

extern const struct coturn_option coturn_options[];             /* ends with a NULL name */
const struct coturn_option *coturn_option_of(const char *name); /* NULL: none */
const char *coturn_fate_text(enum coturn_fate fate);

struct coturn_line {
    const struct coturn_option *option; /* NULL: coturn has none of this name */
    char *name, *value;                 /* value: "" without one */
    unsigned number;
};

struct coturn_file {
    const char *path;
    struct coturn_line *lines;
    size_t n;
};

/* Reads it as coturn 4.6 does. False after a message on stderr; `f` needs coturn_done() anyway.
 */
bool coturn_read(struct coturn_file *f, const char *path);
void coturn_done(struct coturn_file *f); /* wipes the values: there are passwords */

/* The last line with this option, which is the one that counts; NULL: none. */
const struct coturn_line *coturn_last(const struct coturn_file *f, const char *name);
const char *coturn_value(const struct coturn_file *f, const char *name, const char *otherwise);
bool coturn_flag(const struct coturn_file *f, const char *name);
/* For options that may come again: the next line after `at` (NULL: from the start). */
const struct coturn_line *coturn_next(const struct coturn_file *f, const char *name,
                                      const struct coturn_line *at);
