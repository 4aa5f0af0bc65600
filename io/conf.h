/* Options of a program: one schema table drives the command line, the INI file, --help,
 * --check and --show-defaults. */
#pragma once

#include <stdio.h>

#include "lib/base/addr.h"

enum conf_type {
    CONF_TEXT,
    CONF_BOOL,   /* on/off, yes/no, true/false; on the command line the name alone is "on" */
    CONF_NUMBER, /* with min and max */
    CONF_ADDR,   /* address with port */
    CONF_IP,     /* address without */
    CONF_NET,    /* CIDR */
    CONF_PORTS,  /* "24000-29999" */
    CONF_CHOICE, /* one of `choices`, "json|text" */
    CONF_PAIR,   /* "name:secret": split at the first colon */
    CONF_FILE    /* a path; relative to the configuration file's folder when set there */
};

struct conf_option {
    const char *name; /* "relay-ports": --relay-ports and the key relay-ports */
    enum conf_type type;
    bool many;    /* may come again: values add up */
    bool secret;  /* never printed */
    bool reloads; /* for the program: may change while it runs */
    bool required;
    int64_t min, max;    /* numbers */
    const char *unit;    /* "seconds", or NULL */
    const char *choices; /* "json|text" */
    const char *preset;  /* default as one would write it, NULL: none */
    const char *help;    /* one line */
};

/* "[realm.NAME]" in the file, any number of times with other NAMEs: keys of its own. There are
 * none on the command line. */
struct conf_section {
    const char *kind;                  /* "realm" */
    const struct conf_option *options; /* ends with a NULL name */
    size_t max;                        /* how many there may be */
    bool reloads;                      /* for the program: they may come and go while it runs */
    const char *help;                  /* one line */
};

enum {
    CONF_NAME_MAX = 63 /* of a section: letters, digits, "-", "_" and "." */
};

struct conf;

struct conf_program {
    const char *name;                    /* "causeway-edge" */
    const char *summary;                 /* one line for --help */
    const struct conf_option *options;   /* ends with a NULL name */
    const struct conf_section *sections; /* ends with a NULL kind; NULL: none */
    FILE *complaints;                    /* where to say what is wrong; NULL: stderr */
};

enum conf_result {
    CONF_RUN,   /* go on */
    CONF_DONE,  /* --help, --version, --check, --show-defaults: said what was asked; exit 0 */
    CONF_FAILED /* said on stderr what is wrong, with file:line or option; exit 2 */
};

/* Reads -c FILE (or --config FILE), then the command line, which wins over the file (for `many`
 * options: adds). Every value is checked by its type here. Checks across options are the
 * program's: `validate` may be NULL; it returns false after conf_fail(). */
enum conf_result conf_load(struct conf **out, const struct conf_program *prog, int argc,
                           char **argv, bool (*validate)(struct conf *c));
void conf_free(struct conf *c); /* wipes secrets */

/* Complains about the n-th value of `name`, naming the file and line or option it came from. */
__attribute__((format(printf, 4, 5))) void conf_fail(struct conf *c, const char *name, size_t n,
                                                     const char *format, ...);

/* Have both the same values of the option `name`? */
bool conf_same(const struct conf *a, const struct conf *b, const char *name);
/* Have both the same sections of this kind, in the same order and with the same values of all
 * that neither reloads nor is secret? */
bool conf_same_sections(const struct conf *a, const struct conf *b, const char *kind);
/* Wipes the values of secret options: from here on it is as if none were given. */
void conf_forget_secrets(struct conf *c);

/* Was the option given, so that it is not its preset that holds? */
bool conf_is_given(const struct conf *c, const char *name);

size_t conf_sections(const struct conf *c, const char *kind); /* how many there are */
/* The n-th of its kind, in the file's order, for all the functions above and below; conf_fail()
 * makes `c` fail too. Lives as long as `c`. */
struct conf *conf_section(const struct conf *c, const char *kind, size_t n);
const char *conf_section_name(const struct conf *section); /* what follows the dot */

size_t conf_count(const struct conf *c, const char *name); /* presets count as one value */
/* The n-th value; the option's type must be right (assert). Text lives as long as `c`. */
const char *conf_text(const struct conf *c, const char *name, size_t n); /* NULL: none */
bool conf_bool(const struct conf *c, const char *name);
int64_t conf_number(const struct conf *c, const char *name);
struct addr conf_addr(const struct conf *c, const char *name, size_t n);
struct addr_net conf_net(const struct conf *c, const char *name, size_t n);
void conf_ports(const struct conf *c, const char *name, uint16_t *first, uint16_t *last);
size_t conf_choice(const struct conf *c, const char *name); /* index into choices */
void conf_pair(const struct conf *c, const char *name, size_t n, struct slice *left,
               struct slice *right);
