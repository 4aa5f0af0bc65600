/* causeway-edge import-coturn: the command, its notes and its table. */
#include "cmd/edge/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/edge/conf.h"

enum {
    WIDTH = 96, /* of comments */
    NOTE_MAX = 1024
};

void import_comment(struct import *m, const char *text)
{
    while (*text) {
        size_t len = strlen(text);
        if (len > WIDTH) {
            for (len = WIDTH; len > 0 && text[len] != ' '; len--) {
            }
            len = len > 0 ? len : WIDTH;
        }
        (void)fprintf(m->out, "; %.*s\n", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

void import_put(struct import *m, const char *key, const char *format, ...)
{
    va_list args;
    (void)fprintf(m->out, "%s = ", key);
    va_start(args, format);
    (void)vfprintf(m->out, format, args);
    va_end(args);
    (void)fputc('\n', m->out);
}

void import_note(struct import *m, const struct coturn_line *l, enum coturn_fate fate,
                 const char *format, ...)
{
    char text[NOTE_MAX], whole[NOTE_MAX + 256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    m->n[fate]++;
    if (l) {
        (void)fprintf(stderr, "%s:%u: %.64s: %s: %s\n", m->in.path, l->number, l->name,
                      coturn_fate_text(fate), text);
        (void)snprintf(whole, sizeof whole, "Line %u, %.64s: %s: %s", l->number, l->name,
                       coturn_fate_text(fate), text);
    } else {
        (void)fprintf(stderr, "%s: %s: %s\n", m->in.path, coturn_fate_text(fate), text);
        (void)snprintf(whole, sizeof whole, "%s: %s", coturn_fate_text(fate), text);
    }
    import_comment(m, whole);
}

/* What became of the options that have no line of their own in the new file. */
static void note_others(struct import *m)
{
    (void)fputs("\n; What else is in the old file.\n", m->out);
    for (size_t i = 0; i < m->in.n; i++) {
        const struct coturn_line *l = &m->in.lines[i];
        const struct coturn_option *o = l->option;
        if (!o) {
            import_note(m, l, COTURN_SAFE,
                        "coturn 4.6.1 has no such option in its file, and says so in its log");
        } else if (o->is_flag && !coturn_flag(&m->in, l->name)) {
            import_note(m, l, COTURN_SAFE, "it is switched off");
        } else if (o->fate == COTURN_TAKEN) {
            m->n[COTURN_TAKEN]++;
        } else {
            import_note(m, l, o->fate, "%s", o->say);
        }
    }
}

static void write_all(struct import *m)
{
    (void)fprintf(m->out,
                  "; causeway-edge, made from %s by causeway-edge import-coturn.\n"
                  "; Check it with: causeway-edge -c FILE --check\n",
                  m->in.path);
    import_listen(m);
    import_users(m);
    import_relays(m);
    import_peers(m);
    import_limits(m);
    import_rest(m);
    note_others(m);
}

/* The table of docs/coming-from-coturn.md. */
static void print_table(void)
{
    (void)puts("| turnserver.conf | edge.conf | | what that means |\n|---|---|---|---|");
    for (const struct coturn_option *o = coturn_options; o->name; o++) {
        (void)printf("| `%s` | %s%s%s | %s | %s |\n", o->name, o->key ? "`" : "",
                     o->key ? o->key : "", o->key ? "`" : "", coturn_fate_text(o->fate),
                     o->say);
    }
}

static int fail(const char *path, const char *why)
{
    (void)fprintf(stderr, "causeway-edge: %s: %s\n", path, why);
    return 1;
}

/* A new file is for its owner alone, as there are passwords in it. One that is there keeps its
 * owner and mode. */
static FILE *open_out(const char *path, bool force)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL);
    int fd = open(path, flags, S_IRUSR | S_IWUSR);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static int check(const char *path)
{
    struct conf *c = NULL;
    char name[] = "causeway-edge", option[] = "-c", flag[] = "--check";
    char *copy = strdup(path);
    char *argv[] = {name, option, copy, flag, NULL};
    if (!copy) {
        return fail(path, "out of memory");
    }
    enum conf_result got = conf_load(&c, &edge_program, 4, argv, edge_conf_valid);
    free(copy);
    return got == CONF_FAILED ? 2 : 0;
}

static int import(const char *from, const char *to, bool force)
{
    struct import m = {.out = stdout};
    int status = 1;
    if (!coturn_read(&m.in, from)) {
        goto out;
    }
    if (to && !(m.out = open_out(to, force))) {
        status =
            fail(to, errno == EEXIST ? "is there: --force writes over it" : strerror(errno));
        goto out;
    }
    write_all(&m);
    bool ok = !ferror(m.out);
    if (to ? fclose(m.out) : fflush(m.out)) {
        ok = false;
    }
    if (!ok) {
        status = fail(to ? to : "standard output", "cannot be written");
        goto out;
    }
    (void)fprintf(stderr, "%u taken over, %u not needed, %u to do, %u refused\n",
                  m.n[COTURN_TAKEN], m.n[COTURN_SAFE], m.n[COTURN_INSTEAD],
                  m.n[COTURN_REFUSED]);
    status = to ? check(to) : 0;
out:
    coturn_done(&m.in);
    return status;
}

static int usage(void)
{
    (void)fputs("usage: causeway-edge import-coturn TURNSERVER.CONF [--out FILE [--force]]\n"
                "       causeway-edge import-coturn --table\n",
                stderr);
    return 2;
}

int import_command(int argc, char **argv)
{
    const char *from = NULL, *to = NULL;
    bool force = false, table = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--out") == 0 && i + 1 < argc) {
            to = argv[++i];
        } else if (strncmp(argv[i], "--out=", 6) == 0) {
            to = argv[i] + 6;
        } else if (strcmp(argv[i], "--force") == 0) {
            force = true;
        } else if (strcmp(argv[i], "--table") == 0) {
            table = true;
        } else if (argv[i][0] != '-' && !from) {
            from = argv[i];
        } else {
            return usage();
        }
    }
    if (table && argc == 2) {
        print_table();
        return 0;
    }
    return from && !table && (to || !force) ? import(from, to, force) : usage();
}
