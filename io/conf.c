/* Options of a program, from the command line and from an INI file. */
#include "io/conf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "io/conf_impl.h"

const struct conf_option *conf_option_of(const struct conf *c, struct slice name)
{
    for (const struct conf_option *o = c->options; o->name; o++) {
        if (slice_eq(slice_str(o->name), name)) {
            return o;
        }
    }
    return NULL;
}

static const struct conf_value *nth(const struct conf *c, const struct conf_option *o, size_t n)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->value[i].option == o && n-- == 0) {
            return &c->value[i];
        }
    }
    return NULL;
}

void conf_complain(struct conf *c, enum conf_source source, int line, const char *name)
{
    c->failed = true;
    if (c->whole) {
        c->whole->failed = true;
    }
    if (source == CONF_FROM_FILE) {
        fprintf(c->to, "%s:%d: %s: ", c->file, line, name);
    } else if (c->kind) {
        fprintf(c->to, "%s:%d: [%s.%s]: %s: ", c->file, c->line, c->kind->kind, c->name, name);
    } else {
        fprintf(c->to, "%s: --%s: %s", c->prog->name, name,
                source == CONF_FROM_PRESET ? "the default: " : "");
    }
}

void conf_fail(struct conf *c, const char *name, size_t n, const char *format, ...)
{
    const struct conf_option *o = conf_option_of(c, slice_str(name));
    const struct conf_value *v = nth(c, o, n);
    conf_complain(c, v ? v->source : CONF_FROM_ARGS, v ? v->line : 0, name);
    va_list ap;
    va_start(ap, format);
    vfprintf(c->to, format, ap);
    va_end(ap);
    fputc('\n', c->to);
}

static void free_value(struct conf_value *v)
{
    if (v->text) {
        secret_wipe(v->text, strlen(v->text));
    }
    free(v->text);
}

/* The command line wins over the file, and both over the default. */
static void drop_weaker(struct conf *c, const struct conf_option *o, enum conf_source source)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->value[i].option == o && c->value[i].source < source) {
            free_value(&c->value[i]);
        } else {
            c->value[kept++] = c->value[i];
        }
    }
    c->n = kept;
}

/* What a relative path in the file starts from: the file's folder. */
static struct slice folder_of(const struct conf *c, const struct conf_value *v)
{
    const char *slash = v->source == CONF_FROM_FILE ? strrchr(c->file, '/') : NULL;
    bool is_relative = v->option->type == CONF_FILE && v->text[0] != '/';
    return slash && is_relative ? slice_of(c->file, (size_t)(slash - c->file) + 1)
                                : slice_str("");
}

static int keep(struct conf *c, struct conf_value v)
{
    struct slice folder = folder_of(c, &v);
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 32;
        struct conf_value *more = realloc(c->value, cap * sizeof *more);
        if (!more) {
            return ERR_NOMEM;
        }
        c->value = more;
        c->cap = cap;
    }
    size_t len = strlen(v.text);
    char *text = malloc(folder.len + len + 1);
    if (!text) {
        return ERR_NOMEM;
    }
    memcpy(text, folder.p, folder.len);
    memcpy(text + folder.len, v.text, len + 1);
    v.text = text;
    c->value[c->n++] = v;
    return OK;
}

static void complain_value(struct conf *c, const struct conf_value *v)
{
    const struct conf_option *o = v->option;
    conf_complain(c, v->source, v->line, o->name);
    if (!o->secret) {
        fprintf(c->to, "\"%s\" is ", v->text);
    }
    fprintf(c->to, "not %s", conf_kind(o->type)->want);
    if (o->type == CONF_NUMBER) {
        fprintf(c->to, " from %lld to %lld%s%s", (long long)o->min, (long long)o->max,
                o->unit ? " " : "", o->unit ? o->unit : "");
    }
    fprintf(c->to, "%s%s\n", o->type == CONF_CHOICE ? " " : "",
            o->type == CONF_CHOICE ? o->choices : "");
}

void conf_set(struct conf *c, struct conf_value v)
{
    const struct conf_option *o = v.option;
    if (!conf_kind(o->type)->ok(o, slice_str(v.text))) {
        complain_value(c, &v);
        return;
    }
    const struct conf_value *old = nth(c, o, 0);
    if (!o->many && old && old->source == v.source) {
        conf_complain(c, v.source, v.line, o->name);
        fprintf(c->to, "given twice\n");
        return;
    }
    if (!o->many) {
        drop_weaker(c, o, v.source);
    }
    if (keep(c, v)) {
        conf_complain(c, v.source, v.line, o->name);
        fprintf(c->to, "out of memory\n");
    }
}

void conf_complain_unknown(struct conf *c, enum conf_source source, int line, struct slice name)
{
    const struct conf_option *near = conf_nearest(c->options, name);
    const char *dashes = source == CONF_FROM_FILE ? "" : "--";
    c->failed = true;
    if (c->whole) {
        c->whole->failed = true;
    }
    if (source == CONF_FROM_FILE) {
        fprintf(c->to, "%s:%d: ", c->file, line);
    } else {
        fprintf(c->to, "%s: ", c->prog->name);
    }
    fprintf(c->to, "%s%.*s: unknown %s", dashes, (int)name.len, (const char *)name.p,
            source == CONF_FROM_FILE ? "key" : "option");
    if (c->kind) {
        fprintf(c->to, " of [%s.%s]", c->kind->kind, c->name);
    }
    if (near) {
        fprintf(c->to, "; did you mean %s%s?\n", dashes, near->name);
    } else {
        fprintf(c->to, "; --help lists all\n");
    }
}

/* One word of the command line and what belongs to it. */
struct word {
    struct slice name;
    const char *text; /* NULL: none was given */
};

/* Splits argv[*i]; takes argv[*i + 1] as its value when there is no "=value". */
static struct word take_word(int argc, char **argv, int *i, bool wants_text)
{
    struct slice all = slice_str(argv[*i] + 2), rest = all;
    struct word w = {.name = text_split(&rest, '=')};
    if (w.name.len < all.len) {
        w.text = argv[*i] + 2 + w.name.len + 1;
    } else if (wants_text && *i + 1 < argc) {
        w.text = argv[++*i];
    }
    return w;
}

static bool is_flag(struct conf *c, const char *arg)
{
    c->help = c->help || strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
    c->version = c->version || strcmp(arg, "--version") == 0;
    c->check = c->check || strcmp(arg, "--check") == 0;
    c->show_defaults = c->show_defaults || strcmp(arg, "--show-defaults") == 0;
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 ||
           strcmp(arg, "--version") == 0 || strcmp(arg, "--check") == 0 ||
           strcmp(arg, "--show-defaults") == 0;
}

static void read_word(struct conf *c, int argc, char **argv, int *i)
{
    struct slice all = slice_str(argv[*i] + 2);
    const struct conf_option *o = conf_option_of(c, text_split(&all, '='));
    struct word w = take_word(argc, argv, i, o && o->type != CONF_BOOL);
    const char *text = w.text || (o && o->type != CONF_BOOL) ? w.text : "on";
    if (!o) {
        conf_complain_unknown(c, CONF_FROM_ARGS, 0, w.name);
    } else if (!text) {
        conf_complain(c, CONF_FROM_ARGS, 0, o->name);
        fprintf(c->to, "needs a value, --%s %s\n", o->name, conf_kind(o->type)->word);
    } else {
        conf_set(c, (struct conf_value){.option = o,
                                        .text = (char *)(uintptr_t)text,
                                        .source = CONF_FROM_ARGS});
    }
}

/* Two passes over the command line: the file's name first, then, with `c->file` read, the rest.
 */
static void read_args(struct conf *c, int argc, char **argv, bool only_file)
{
    for (int i = 1; i < argc; i++) {
        bool is_file = strcmp(argv[i], "-c") == 0 || strncmp(argv[i], "--config=", 9) == 0 ||
                       strcmp(argv[i], "--config") == 0;
        if (is_file) {
            const char *eq = argv[i][1] == '-' ? strchr(argv[i], '=') : NULL;
            const char *file = eq ? eq + 1 : i + 1 < argc ? argv[++i] : NULL;
            if (only_file && (!file || c->file)) {
                c->failed = true;
                fprintf(c->to, "%s: -c %s\n", c->prog->name,
                        file ? "given twice" : "needs a file's name");
            }
            c->file = only_file ? file : c->file;
        } else if (is_flag(c, argv[i])) {
            continue;
        } else if (strncmp(argv[i], "--", 2) != 0 && only_file) {
            c->failed = true;
            fprintf(c->to, "%s: unexpected argument \"%s\"; options begin with --\n",
                    c->prog->name, argv[i]);
        } else if (strncmp(argv[i], "--", 2) != 0) {
            continue;
        } else if (only_file) {
            struct slice name = slice_str(argv[i] + 2);
            const struct conf_option *o = conf_option_of(c, text_split(&name, '='));
            (void)take_word(argc, argv, &i, o && o->type != CONF_BOOL);
        } else {
            read_word(c, argc, argv, &i);
        }
    }
}

static void fill_in(struct conf *c)
{
    bool failed_before = c->failed; /* then what is missing may be what was wrong */
    for (const struct conf_option *o = c->options; o->name; o++) {
        if (nth(c, o, 0)) {
            continue;
        }
        if (o->preset) {
            struct conf_value v = {.option = o, .source = CONF_FROM_PRESET};
            v.text = (char *)(uintptr_t)o->preset;
            conf_set(c, v);
        } else if (o->required && !failed_before) {
            conf_complain(c, CONF_FROM_ARGS, 0, o->name);
            fprintf(c->to, "is required%s\n",
                    c->kind ? "" : ", here or as a key of the file given with -c");
        }
    }
    for (struct conf *s = c->sections; s; s = s->next) {
        fill_in(s);
    }
}

static enum conf_result load(struct conf *c, int argc, char **argv,
                             bool (*validate)(struct conf *))
{
    read_args(c, argc, argv, true);
    if (c->help) {
        conf_print_help(c->prog);
        return CONF_DONE;
    }
    if (c->version) {
        printf("%s %s\n", c->prog->name, CAUSEWAY_VERSION);
        return CONF_DONE;
    }
    if (c->show_defaults) {
        conf_print_defaults(c->prog);
        return CONF_DONE;
    }
    if (c->file && !c->failed) {
        conf_read_file(c);
    }
    read_args(c, argc, argv, false);
    fill_in(c);
    if (!c->failed && validate && !validate(c)) {
        c->failed = true;
    }
    if (!c->failed && c->check) {
        printf("%s: the configuration is right\n", c->prog->name);
        return CONF_DONE;
    }
    return c->failed ? CONF_FAILED : CONF_RUN;
}

enum conf_result conf_load(struct conf **out, const struct conf_program *prog, int argc,
                           char **argv, bool (*validate)(struct conf *c))
{
    struct conf *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) {
        fprintf(stderr, "%s: out of memory\n", prog->name);
        return CONF_FAILED;
    }
    c->prog = prog;
    c->options = prog->options;
    c->to = prog->complaints ? prog->complaints : stderr;
    enum conf_result result = load(c, argc, argv, validate);
    if (result != CONF_RUN) {
        conf_free(c);
        return result;
    }
    *out = c;
    return result;
}

void conf_free(struct conf *c)
{
    if (!c) {
        return;
    }
    while (c->sections) { /* they have none of their own */
        struct conf *s = c->sections;
        c->sections = s->next;
        conf_free(s);
    }
    for (size_t i = 0; i < c->n; i++) {
        free_value(&c->value[i]);
    }
    free(c->value);
    free(c);
}

bool conf_same(const struct conf *a, const struct conf *b, const char *name)
{
    const struct conf_option *o = conf_option_of(a, slice_str(name));
    const struct conf_value *x, *y;
    size_t n = 0;
    do {
        x = nth(a, o, n);
        y = nth(b, o, n++);
    } while (x && y && strcmp(x->text, y->text) == 0);
    return !x && !y;
}

bool conf_same_sections(const struct conf *a, const struct conf *b, const char *kind)
{
    size_t n = conf_sections(a, kind);
    if (conf_sections(b, kind) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct conf *x = conf_section(a, kind, i), *y = conf_section(b, kind, i);
        if (strcmp(x->name, y->name) != 0) {
            return false;
        }
        for (const struct conf_option *o = x->options; o->name; o++) {
            if (!o->reloads && !o->secret && !conf_same(x, y, o->name)) {
                return false;
            }
        }
    }
    return true;
}

size_t conf_sections(const struct conf *c, const char *kind)
{
    size_t n = 0;
    while (conf_section(c, kind, n)) {
        n++;
    }
    return n;
}

struct conf *conf_section(const struct conf *c, const char *kind, size_t n)
{
    struct conf *s = c->sections;
    while (s && (strcmp(s->kind->kind, kind) != 0 || n-- > 0)) {
        s = s->next;
    }
    return s;
}

const char *conf_section_name(const struct conf *section)
{
    return section->name;
}

void conf_forget_secrets(struct conf *c)
{
    size_t kept = 0;
    for (struct conf *s = c->sections; s; s = s->next) {
        conf_forget_secrets(s);
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->value[i].option->secret) {
            free_value(&c->value[i]);
        } else {
            c->value[kept++] = c->value[i];
        }
    }
    c->n = kept;
}

size_t conf_count(const struct conf *c, const char *name)
{
    const struct conf_option *o = conf_option_of(c, slice_str(name));
    size_t n = 0;
    while (nth(c, o, n)) {
        n++;
    }
    return n;
}

bool conf_is_given(const struct conf *c, const char *name)
{
    const struct conf_value *v = nth(c, conf_option_of(c, slice_str(name)), 0);
    return v && v->source != CONF_FROM_PRESET;
}

/* An option that is not in the table, or of another type, is our own mistake. */
static struct slice text_of(const struct conf *c, const char *name, size_t n,
                            enum conf_type type)
{
    const struct conf_option *o = conf_option_of(c, slice_str(name));
    assert(o && o->type == type);
    (void)type;
    const struct conf_value *v = nth(c, o, n);
    return slice_str(v ? v->text : NULL);
}

const char *conf_text(const struct conf *c, const char *name, size_t n)
{
    const struct conf_option *o = conf_option_of(c, slice_str(name));
    assert(o);
    const struct conf_value *v = nth(c, o, n);
    return v ? v->text : NULL;
}

bool conf_bool(const struct conf *c, const char *name)
{
    bool v;
    return conf_parse_bool(text_of(c, name, 0, CONF_BOOL), &v) && v;
}

int64_t conf_number(const struct conf *c, const char *name)
{
    int64_t v;
    return conf_parse_number(text_of(c, name, 0, CONF_NUMBER), &v) ? v : 0;
}

struct addr conf_addr(const struct conf *c, const char *name, size_t n)
{
    const struct conf_option *o = conf_option_of(c, slice_str(name));
    struct addr a;
    assert(o && (o->type == CONF_ADDR || o->type == CONF_IP));
    return addr_parse(text_of(c, name, n, o->type), &a) ? (struct addr){0} : a;
}

struct addr_net conf_net(const struct conf *c, const char *name, size_t n)
{
    struct addr_net net;
    return addr_net_parse(text_of(c, name, n, CONF_NET), &net) ? (struct addr_net){0} : net;
}

void conf_ports(const struct conf *c, const char *name, uint16_t *first, uint16_t *last)
{
    *first = *last = 0;
    (void)conf_parse_ports(text_of(c, name, 0, CONF_PORTS), first, last);
}

size_t conf_choice(const struct conf *c, const char *name)
{
    size_t i = 0;
    struct slice text = text_of(c, name, 0, CONF_CHOICE);
    return conf_parse_choice(conf_option_of(c, slice_str(name))->choices, text, &i) ? i : 0;
}

void conf_pair(const struct conf *c, const char *name, size_t n, struct slice *left,
               struct slice *right)
{
    *right = text_of(c, name, n, CONF_PAIR);
    *left = text_split(right, ':');
}
