/* The INI file of a configuration, and its sections. */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/text.h"

#include "io/conf_impl.h"

struct ini_file {
    struct conf *whole;
    struct conf *c; /* what a key belongs to: the whole, or a section; NULL: a wrong one */
    FILE *f;
    int line;
    bool too_long;
    bool has_comment; /* the line in hand goes on behind its value */
};

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i], low = c | 0x20;
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (low < 'a' || low > 'z') && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return s.len > 0 && s.len <= CONF_NAME_MAX;
}

static const struct conf_section *kind_of(const struct conf_program *prog, struct slice word)
{
    for (const struct conf_section *k = prog->sections; k && k->kind; k++) {
        if (slice_eq(slice_str(k->kind), word)) {
            return k;
        }
    }
    return NULL;
}

/* "edge.conf:12: [realm.a]: " */
static void complain_head(const struct ini_file *in, struct slice head)
{
    struct conf *c = in->whole;
    c->failed = true;
    fprintf(c->to, "%s:%d: [%.*s]: ", c->file, in->line, (int)head.len, (const char *)head.p);
}

static void complain_kind(const struct ini_file *in, struct slice head)
{
    const struct conf_section *k = in->whole->prog->sections;
    complain_head(in, head);
    if (!k) {
        fprintf(in->whole->to, "this file has no sections, remove that line\n");
        return;
    }
    fprintf(in->whole->to, "no such section; there can be");
    for (; k->kind; k++) {
        fprintf(in->whole->to, " [%s.NAME]", k->kind);
    }
    fputc('\n', in->whole->to);
}

static bool is_welcome(const struct ini_file *in, const struct conf_section *kind,
                       struct slice head, struct slice name)
{
    size_t n = 0;
    for (const struct conf *s = in->whole->sections; s; s = s->next) {
        n += s->kind == kind;
        if (s->kind == kind && slice_eq(slice_str(s->name), name)) {
            complain_head(in, head);
            fprintf(in->whole->to, "given twice, first in line %d\n", s->line);
            return false;
        }
    }
    if (n >= kind->max) {
        complain_head(in, head);
        fprintf(in->whole->to, "at most %zu of this kind\n", kind->max);
        return false;
    }
    return true;
}

static struct conf *add_section(const struct ini_file *in, const struct conf_section *kind,
                                struct slice name)
{
    struct conf *s = calloc(1, sizeof *s), **at = &in->whole->sections;
    if (!s) {
        in->whole->failed = true;
        fprintf(in->whole->to, "%s: out of memory\n", in->whole->file);
        return NULL;
    }
    *s = (struct conf){.prog = in->whole->prog,
                       .options = kind->options,
                       .to = in->whole->to,
                       .file = in->whole->file,
                       .kind = kind,
                       .whole = in->whole,
                       .line = in->line};
    memcpy(s->name, name.p, name.len);
    while (*at) {
        at = &(*at)->next;
    }
    *at = s;
    return s;
}

/* "[realm.NAME]": inih would tell of it with the first key only, and cut a long one. */
static void begin_section(struct ini_file *in, struct slice line)
{
    struct slice tail = slice_from(line, 1), head = text_split(&tail, ']');
    struct slice name = head, word = text_split(&name, '.');
    const struct conf_section *kind = kind_of(in->whole->prog, word);
    tail = text_trim(tail);
    in->c = NULL;
    if (head.len + 1 == line.len) {
        return; /* without its end: inih says so */
    }
    if (tail.len > 0 && tail.p[0] != ';' && tail.p[0] != '#') {
        complain_head(in, head);
        fprintf(in->whole->to, "nothing may follow in this line\n");
    } else if (!kind) {
        complain_kind(in, head);
    } else if (!is_name(name)) {
        complain_head(in, head);
        fprintf(in->whole->to,
                "wants a name of at most %d letters, digits, - _ or . , [%s.a]\n",
                CONF_NAME_MAX, kind->kind);
    } else if (is_welcome(in, kind, head, name)) {
        in->c = add_section(in, kind, name);
    }
}

/* As fgets. Counts lines, since the handler is not told, and notices those that inih would cut
 * in two. Without the blanks in front: inih takes an indented line for more of the last value.
 */
static char *next_line(char *out, int size, void *ctx)
{
    struct ini_file *in = ctx;
    char *s = fgets(out, size, in->f);
    in->line++;
    if (!s) {
        return NULL;
    }
    if (!strchr(s, '\n') && !feof(in->f)) {
        in->too_long = true;
        return NULL;
    }
    in->has_comment = strstr(s, " ;") || strstr(s, "\t;");
    size_t blanks = strspn(s, " \t");
    memmove(s, s + blanks, strlen(s + blanks) + 1);
    if (*s == '[') {
        begin_section(in, text_trim(slice_str(s)));
    }
    return s;
}

static int on_key(void *ctx, const char *section, const char *name, const char *text)
{
    struct ini_file *in = ctx;
    struct conf *c = in->c;
    (void)section;
    if (!c) {
        return 1; /* of a section that was complained about */
    }
    const struct conf_option *o = conf_option_of(c, slice_str(name));
    if (!o && c->whole && conf_option_of(c->whole, slice_str(name))) {
        conf_complain(c, CONF_FROM_FILE, in->line, name);
        fprintf(c->to, "is no key of [%s.%s]; it must stand before the first section\n",
                c->kind->kind, c->name);
    } else if (!o) {
        conf_complain_unknown(c, CONF_FROM_FILE, in->line, slice_str(name));
    } else if (o->secret && in->has_comment) {
        /* It may be a comment; it may as well be half of a password, lost without a word. */
        conf_complain(c, CONF_FROM_FILE, in->line, name);
        fprintf(c->to, "the value would end at the semicolon behind a blank, where a comment "
                       "begins; take that away, or choose a secret without it\n");
    } else {
        struct conf_value v = {.option = o, .source = CONF_FROM_FILE, .line = in->line};
        v.text = (char *)(uintptr_t)text; /* copied */
        conf_set(c, v);
    }
    return 1;
}

void conf_read_file(struct conf *c)
{
    struct ini_file in = {.whole = c, .c = c, .f = fopen(c->file, "re")};
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
