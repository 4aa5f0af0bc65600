/* causeway-edge ctl: asks a running edge, and prints what it says. */
#include "cmd/edge/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/ctl.h"

enum {
    VALUE_WIDTH = 64 /* a longer value is cut in a table; --json has all */
};

struct command {
    const char *verb, *id, *path;
    bool as_json;
};

static const char usage[] =
    "Usage: causeway-edge ctl [--control PATH] [--json] VERB\n\n"
    "  sessions      list the allocations\n"
    "  session ID    one allocation with its peers' TCP connections\n"
    "  kick ID       end an allocation and all its connections\n"
    "  drain         take no new allocations, and end when the last one has gone\n"
    "  reload        read users, policy and log level again, as SIGHUP does\n"
    "  stats         counts since the start\n\n"
    "  --control PATH  the edge's option `control` [" EDGE_CONTROL_PATH "]\n"
    "  --json          one JSON object a line\n";

/* Control characters out of a stranger's name must not reach the terminal. */
static void print_text(const char *text, int width)
{
    int n = 0;
    for (; *text && n < VALUE_WIDTH; text++, n++) {
        putchar(*text >= ' ' && *text <= '~' ? *text : '?');
    }
    printf("%*s", width > n ? width - n : 1, "");
}

static void print_value(const json_t *v, int width)
{
    char number[32];
    if (json_is_integer(v)) {
        (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        print_text(number, width);
    } else if (json_is_boolean(v)) {
        print_text(json_is_true(v) ? "yes" : "no", width);
    } else {
        print_text(json_is_string(v) ? json_string_value(v) : "-", width);
    }
}

struct column {
    const char *key, *title;
    int width;
};

static const struct column session_columns[] = {
    {"id",        "ID",        11},
    {"user",      "USER",      17},
    {"client",    "CLIENT",    23},
    {"relay",     "RELAY",     23},
    {"transport", "VIA",       5 },
    {"age_s",     "AGE",       8 },
    {"left_s",    "LEFT",      7 },
    {"peers",     "PEERS",     6 },
    {"to_peers",  "TO-PEERS",  13},
    {"to_client", "TO-CLIENT", 1 },
    {NULL,        NULL,        0 },
};

static const struct column link_columns[] = {
    {"id",        "LINK",      11},
    {"peer",      "PEER",      23},
    {"bound",     "BOUND",     7 },
    {"to_peer",   "TO-PEER",   13},
    {"to_client", "TO-CLIENT", 1 },
    {NULL,        NULL,        0 },
};

static void print_titles(const struct column *columns)
{
    for (const struct column *c = columns; c->key; c++) {
        print_text(c->title, c->width);
    }
    putchar('\n');
}

static void print_rows(const struct column *columns, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        for (const struct column *c = columns; c->key; c++) {
            print_value(json_object_get(json_array_get(rows, i), c->key), c->width);
        }
        putchar('\n');
    }
}

static void print_pairs(json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!json_is_array(value)) {
            print_text(key, 20);
            print_value(value, 1);
            putchar('\n');
        }
    }
}

static void print_answer(const struct command *cmd, const json_t *answer, bool is_first)
{
    json_t *session = json_object_get(answer, "session");
    if (strcmp(cmd->verb, "sessions") == 0) {
        if (is_first) {
            print_titles(session_columns);
        }
        print_rows(session_columns, json_object_get(answer, "sessions"));
    } else if (session) {
        print_pairs(session);
        if (json_array_size(json_object_get(session, "links")) > 0) {
            putchar('\n');
            print_titles(link_columns);
            print_rows(link_columns, json_object_get(session, "links"));
        }
    } else {
        print_pairs(json_object_get(answer, "stats"));
    }
}

static json_t *ask(const struct command *cmd, const char *after)
{
    json_t *request =
        json_pack("{s:s, s:s*, s:s*}", "do", cmd->verb, "id", cmd->id, "after", after);
    char *line = request ? json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    char *text = NULL;
    int err = line ? ctl_ask(cmd->path, slice_str(line), &text) : ERR_NOMEM;
    json_t *answer = err ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (err) {
        fprintf(stderr, "causeway-edge ctl: %s: %s%s\n", cmd->path,
                err == ERR_SYSTEM ? strerror(errno) : err_text(err),
                err == ERR_SYSTEM && (errno == ENOENT || errno == ECONNREFUSED)
                    ? "; does the edge run, and has it this path as `control`?"
                    : "");
    } else if (!answer) {
        fprintf(stderr, "causeway-edge ctl: %s: the answer is not JSON\n", cmd->path);
    } else if (cmd->as_json) {
        puts(text);
    }
    free(text);
    free(line);
    json_decref(request);
    return answer;
}

/* Page after page. */
static int run(const struct command *cmd)
{
    char after[64] = "";
    for (bool is_first = true, more = true; more; is_first = false) {
        json_t *answer = ask(cmd, *after ? after : NULL);
        const char *next = json_string_value(json_object_get(answer, "more"));
        const char *wrong = json_string_value(json_object_get(answer, "error"));
        bool ok = json_is_true(json_object_get(answer, "ok"));
        if (!ok && wrong && !cmd->as_json) {
            fprintf(stderr, "causeway-edge ctl: %s\n", wrong);
        } else if (ok && !cmd->as_json) {
            print_answer(cmd, answer, is_first);
        }
        more = ok && next && strlen(next) < sizeof after;
        if (more) {
            memcpy(after, next, strlen(next) + 1);
        }
        json_decref(answer);
        if (!ok) {
            return 1;
        }
    }
    return 0;
}

static bool parse(struct command *cmd, int argc, char **argv)
{
    static const struct {
        const char *verb;
        bool has_id;
    } verbs[] = {
        {"sessions", false},
        {"session",  true },
        {"kick",     true },
        {"drain",    false},
        {"reload",   false},
        {"stats",    false},
    };
    *cmd = (struct command){.path = EDGE_CONTROL_PATH};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            cmd->as_json = true;
        } else if (strcmp(argv[i], "--control") == 0 && i + 1 < argc) {
            cmd->path = argv[++i];
        } else if (argv[i][0] != '-' && !cmd->verb) {
            cmd->verb = argv[i];
        } else if (argv[i][0] != '-' && !cmd->id) {
            cmd->id = argv[i];
        } else {
            return false;
        }
    }
    for (size_t i = 0; cmd->verb && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(cmd->verb, verbs[i].verb) == 0) {
            return verbs[i].has_id == (cmd->id != NULL);
        }
    }
    return false;
}

int ctl_command(int argc, char **argv)
{
    struct command cmd;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (!parse(&cmd, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    return run(&cmd);
}
