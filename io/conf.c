/* Options of a program, from the command line and from an INI file. */
#include "io/conf.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "io/conf_impl.h"

enum source {
    FROM_PRESET,
    FROM_FILE,
    FROM_ARGS
};

struct value {
    const struct conf_option *option;
    char *text; /* ours */
    enum source source;
    int line; /* in the file */
};

struct conf {
    const struct conf_program *prog;
    FILE *to;         /* complaints */
    const char *file; /* as given with -c, NULL: none */
    struct value *value;
    size_t n, cap;
    bool failed;
    bool check, show_defaults, help, version;
};

static const struct conf_option *option_of(const struct conf *c, struct slice name)
{
    for (const struct conf_option *o = c->prog->options; o->name; o++) {
        if (slice_eq(slice_str(o->name), name)) {
            return o;
        }
    }
    return NULL;
}

static const struct value *nth(const struct conf *c, const struct conf_option *o, size_t n)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->value[i].option == o && n-- == 0) {
            return &c->value[i];
        }
    }
    return NULL;
}

/* "edge.conf:12: relay-ports: " or "causeway-edge: --relay-ports: ". */
static void begin_complaint(struct conf *c, enum source source, int line, const char *name)
{
    c->failed = true;
    if (source == FROM_FILE) {
        fprintf(c->to, "%s:%d: %s: ", c->file, line, name);
    } else {
        fprintf(c->to, "%s: --%s: %s", c->prog->name, name,
                source == FROM_PRESET ? "the default: " : "");
    }
}

void conf_fail(struct conf *c, const char *name, size_t n, const char *format, ...)
{
    const struct conf_option *o = option_of(c, slice_str(name));
    const struct value *v = nth(c, o, n);
    begin_complaint(c, v ? v->source : FROM_ARGS, v ? v->line : 0, name);
    va_list ap;
    va_start(ap, format);
    vfprintf(c->to, format, ap);
    va_end(ap);
    fputc('\n', c->to);
}

static void free_value(struct value *v)
{
    if (v->text) {
        secret_wipe(v->text, strlen(v->text));
    }
    free(v->text);
}

/* The command line wins over the file, and both over the default. */
static void drop_weaker(struct conf *c, const struct conf_option *o, enum source source)
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
static struct slice folder_of(const struct conf *c, const struct value *v)
{
    const char *slash = v->source == FROM_FILE ? strrchr(c->file, '/') : NULL;
    bool is_relative = v->option->type == CONF_FILE && v->text[0] != '/';
    return slash && is_relative ? slice_of(c->file, (size_t)(slash - c->file) + 1)
                                : slice_str("");
}

static int keep(struct conf *c, struct value v)
{
    struct slice folder = folder_of(c, &v);
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 32;
        struct value *more = realloc(c->value, cap * sizeof *more);
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

static void complain_value(struct conf *c, const struct value *v)
{
    const struct conf_option *o = v->option;
    begin_complaint(c, v->source, v->line, o->name);
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

static void set(struct conf *c, struct value v)
{
    const struct conf_option *o = v.option;
    if (!conf_kind(o->type)->ok(o, slice_str(v.text))) {
        complain_value(c, &v);
        return;
    }
    const struct value *old = nth(c, o, 0);
    if (!o->many && old && old->source == v.source) {
        begin_complaint(c, v.source, v.line, o->name);
        fprintf(c->to, "given twice\n");
        return;
    }
    if (!o->many) {
        drop_weaker(c, o, v.source);
    }
    if (keep(c, v)) {
        begin_complaint(c, v.source, v.line, o->name);
        fprintf(c->to, "out of memory\n");
    }
}

static void complain_unknown(struct conf *c, enum source source, int line, struct slice name)
{
    const struct conf_option *near = conf_nearest(c->prog->options, name);
    const char *dashes = source == FROM_FILE ? "" : "--";
    c->failed = true;
    if (source == FROM_FILE) {
        fprintf(c->to, "%s:%d: ", c->file, line);
    } else {
        fprintf(c->to, "%s: ", c->prog->name);
    }
    fprintf(c->to, "%s%.*s: unknown %s", dashes, (int)name.len, (const char *)name.p,
            source == FROM_FILE ? "key" : "option");
    if (near) {
        fprintf(c->to, "; did you mean %s%s?\n", dashes, near->name);
    } else {
        fprintf(c->to, "; --help lists all\n");
    }
}

struct ini_file {
    struct conf *c;
    FILE *f;
    int line;
    bool too_long;
    bool has_comment; /* the line in hand goes on behind its value */
};

/* As fgets. Counts lines, since the handler is not told, and notices those that inih would cut
 * in two. */
static char *next_line(char *out, int size, void *ctx)
{
    struct ini_file *in = ctx;
    char *s = fgets(out, size, in->f);
    in->line++;
    if (s && !strchr(s, '\n') && !feof(in->f)) {
        in->too_long = true;
        return NULL;
    }
    in->has_comment = s && (strstr(s, " ;") || strstr(s, "\t;"));
    return s;
}

static int on_key(void *ctx, const char *section, const char *name, const char *text)
{
    struct ini_file *in = ctx;
    struct conf *c = in->c;
    const struct conf_option *o = option_of(c, slice_str(name));
    if (*section) {
        begin_complaint(c, FROM_FILE, in->line, name);
        fprintf(c->to, "is in section [%s]; this file has no sections, remove that line\n",
                section);
    } else if (!o) {
        complain_unknown(c, FROM_FILE, in->line, slice_str(name));
    } else if (o->secret && in->has_comment) {
        /* It may be a comment; it may as well be half of a password, lost without a word. */
        begin_complaint(c, FROM_FILE, in->line, name);
        fprintf(stderr, "the value would end at the semicolon behind a blank, where a comment "
                        "begins; take that away, or choose a secret without it\n");
    } else {
        struct value v = {.option = o, .source = FROM_FILE, .line = in->line};
        v.text = (char *)(uintptr_t)text; /* copied by keep() */
        set(c, v);
    }
    return 1;
}

static void read_file(struct conf *c)
{
    struct ini_file in = {.c = c, .f = fopen(c->file, "re")};
    if (!in.f) {
        c->failed = true;
        fprintf(c->to, "%s: -c %s: %s\n", c->prog->name, c->file, strerror(errno));
        return;
    }
    int bad_line = ini_parse_stream(next_line, &in, on_key, &in);
    if (in.too_long) {
        c->failed = true;
        fprintf(c->to, "%s:%d: the line is too long\n", c->file, in.line);
    } else if (bad_line > 0) {
        c->failed = true;
        fprintf(c->to, "%s:%d: not a line of the form key = value\n", c->file, bad_line);
    } else if (bad_line < 0 || ferror(in.f)) {
        c->failed = true;
        fprintf(c->to, "%s: cannot be read\n", c->file);
    }
    (void)fclose(in.f);
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
    const struct conf_option *o = option_of(c, text_split(&all, '='));
    struct word w = take_word(argc, argv, i, o && o->type != CONF_BOOL);
    const char *text = w.text || (o && o->type != CONF_BOOL) ? w.text : "on";
    if (!o) {
        complain_unknown(c, FROM_ARGS, 0, w.name);
    } else if (!text) {
        begin_complaint(c, FROM_ARGS, 0, o->name);
        fprintf(c->to, "needs a value, --%s %s\n", o->name, conf_kind(o->type)->word);
    } else {
        set(c,
            (struct value){.option = o, .text = (char *)(uintptr_t)text, .source = FROM_ARGS});
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
            const struct conf_option *o = option_of(c, text_split(&name, '='));
            (void)take_word(argc, argv, &i, o && o->type != CONF_BOOL);
        } else {
            read_word(c, argc, argv, &i);
        }
    }
}

static void fill_in(struct conf *c)
{
    bool failed_before = c->failed; /* then what is missing may be what was wrong */
    for (const struct conf_option *o = c->prog->options; o->name; o++) {
        if (nth(c, o, 0)) {
            continue;
        }
        if (o->preset) {
            struct value v = {.option = o, .source = FROM_PRESET};
            v.text = (char *)(uintptr_t)o->preset;
            set(c, v);
        } else if (o->required && !failed_before) {
            begin_complaint(c, FROM_ARGS, 0, o->name);
            fprintf(c->to, "is required, here or as a key of the file given with -c\n");
        }
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
        read_file(c);
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
    for (size_t i = 0; i < c->n; i++) {
        free_value(&c->value[i]);
    }
    free(c->value);
    free(c);
}

bool conf_same(const struct conf *a, const struct conf *b, const char *name)
{
    const struct conf_option *o = option_of(a, slice_str(name));
    const struct value *x, *y;
    size_t n = 0;
    do {
        x = nth(a, o, n);
        y = nth(b, o, n++);
    } while (x && y && strcmp(x->text, y->text) == 0);
    return !x && !y;
}

void conf_forget_secrets(struct conf *c)
{
    size_t kept = 0;
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
    const struct conf_option *o = option_of(c, slice_str(name));
    size_t n = 0;
    while (nth(c, o, n)) {
        n++;
    }
    return n;
}

/* An option that is not in the table, or of another type, is our own mistake. */
static struct slice text_of(const struct conf *c, const char *name, size_t n,
                            enum conf_type type)
{
    const struct conf_option *o = option_of(c, slice_str(name));
    assert(o && o->type == type);
    (void)type;
    const struct value *v = nth(c, o, n);
    return slice_str(v ? v->text : NULL);
}

const char *conf_text(const struct conf *c, const char *name, size_t n)
{
    const struct conf_option *o = option_of(c, slice_str(name));
    assert(o);
    const struct value *v = nth(c, o, n);
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
    const struct conf_option *o = option_of(c, slice_str(name));
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
    return conf_parse_choice(option_of(c, slice_str(name))->choices, text, &i) ? i : 0;
}

void conf_pair(const struct conf *c, const char *name, size_t n, struct slice *left,
               struct slice *right)
{
    *right = text_of(c, name, n, CONF_PAIR);
    *left = text_split(right, ':');
}
