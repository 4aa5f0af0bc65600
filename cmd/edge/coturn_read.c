/* Reads turnserver.conf: "name=value", "name value" or "name", # at the start of a comment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/crypto.h"

#include "cmd/edge/coturn.h"

enum {
    LINES_MAX = 100000,
    LINE_MAX_BYTES = 1024 /* coturn cuts longer ones in two */
};

const struct coturn_option *coturn_option_of(const char *name)
{
    for (const struct coturn_option *o = coturn_options; o->name; o++) {
        if (strcmp(o->name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

const char *coturn_fate_text(enum coturn_fate fate)
{
    static const char *const texts[] = {[COTURN_TAKEN] = "taken over",
                                        [COTURN_SAFE] = "not needed",
                                        [COTURN_INSTEAD] = "to do",
                                        [COTURN_REFUSED] = "refused"};
    return texts[fate];
}

/* In place. The value begins behind any number of blanks and equals signs; quotes around it go,
 * and what is within them stays as it is. */
static char *split(char *line)
{
    char *value = line + strcspn(line, " =\t");
    if (*value) {
        *value++ = '\0';
        value += strspn(value, " =\t");
    }
    if (*value == '"') {
        size_t len = strlen(++value);
        if (len > 0 && value[len - 1] == '"') {
            value[len - 1] = '\0';
        }
    }
    return value;
}

static bool keep(struct coturn_file *f, char *line, unsigned number)
{
    line += strspn(line, " \t\r\n\f\v");
    for (size_t len = strlen(line); len > 0 && strchr(" \t\r\n\f\v", line[len - 1]); len--) {
        line[len - 1] = '\0';
    }
    if (*line == '\0' || *line == '#') {
        return true;
    }
    struct coturn_line *more = realloc(f->lines, (f->n + 1) * sizeof *more);
    if (!more) {
        return false;
    }
    f->lines = more;
    char *value = split(line);
    struct coturn_line *l = &f->lines[f->n];
    *l = (struct coturn_line){.option = coturn_option_of(line),
                              .name = strdup(line),
                              .value = strdup(value),
                              .number = number};
    f->n++;
    return l->name && l->value;
}

bool coturn_read(struct coturn_file *f, const char *path)
{
    char line[LINE_MAX_BYTES];
    const char *wrong = NULL;
    unsigned number = 0;
    *f = (struct coturn_file){.path = path};
    FILE *in = fopen(path, "r");
    if (!in) {
        (void)fprintf(stderr, "causeway-edge: %s: %s\n", path, strerror(errno));
        return false;
    }
    while (!wrong && fgets(line, sizeof line, in)) {
        number++;
        if (!strchr(line, '\n') && !feof(in)) {
            wrong = "the line is too long";
        } else if (f->n == LINES_MAX) {
            wrong = "too many lines";
        } else if (!keep(f, line, number)) {
            wrong = "out of memory";
        }
    }
    if (!wrong && ferror(in)) {
        wrong = "cannot be read";
    }
    if (wrong) {
        (void)fprintf(stderr, "causeway-edge: %s:%u: %s\n", path, number, wrong);
    }
    secret_wipe(line, sizeof line);
    (void)fclose(in);
    return !wrong;
}

void coturn_done(struct coturn_file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->lines[i].value) {
            secret_wipe(f->lines[i].value, strlen(f->lines[i].value));
        }
        free(f->lines[i].value);
        free(f->lines[i].name);
    }
    free(f->lines);
    *f = (struct coturn_file){.path = NULL};
}

const struct coturn_line *coturn_next(const struct coturn_file *f, const char *name,
                                      const struct coturn_line *at)
{
    for (size_t i = at ? (size_t)(at - f->lines) + 1 : 0; i < f->n; i++) {
        if (f->lines[i].option && strcmp(f->lines[i].name, name) == 0) {
            return &f->lines[i];
        }
    }
    return NULL;
}

const struct coturn_line *coturn_last(const struct coturn_file *f, const char *name)
{
    const struct coturn_line *last = NULL;
    for (const struct coturn_line *l = NULL; (l = coturn_next(f, name, l));) {
        last = l;
    }
    return last;
}

const char *coturn_value(const struct coturn_file *f, const char *name, const char *otherwise)
{
    const struct coturn_line *l = coturn_last(f, name);
    return l && *l->value ? l->value : otherwise;
}

/* As coturn reads yes and no. */
bool coturn_flag(const struct coturn_file *f, const char *name)
{
    const struct coturn_line *l = coturn_last(f, name);
    return l && !strchr("0nNfF", l->value[0] ? l->value[0] : 'y') &&
           strcasecmp(l->value, "off") != 0;
}
