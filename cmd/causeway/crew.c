/* Starts programs on their hosts and reads their log lines. */
#include "cmd/causeway/crew.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "io/child.h"

#include "cmd/causeway/find.h"

enum {
    TAIL_LINES = 6,
    TAIL_WIDTH = 200,
    ARGS_MAX = 40,
    HOW_MAX = TAIL_LINES * (TAIL_WIDTH + 8) + 128
};

#define RELAY_USER "alice:contoso"
#define TURN_USER  "turn:walkthrough"

/* The passwords are those of a laboratory that exists only inside this demo. OUT stands for the
 * folder of the run. */
static const char *const edge_args[] = {
    "--listen", NET_EDGE ":3478", "--realm", "TANDBERG", "--user", TURN_USER, "--relay-address",
    NET_EDGE, "--relay-ports", "24000-29999",
    /* The Skype Edge's pool: only it may connect to a relay, and as in the note without a
     * permission for just that address. */
    "--peer-allow", "192.168.1.0/24", "--tcp-accept", "any", "--log", "json",
    /* As the note's TURN server did: messages have its lengths. */
    "--password-algorithms", "md5",
    /* Ctrl-C must not wait for shares, and the two edges see one file system. */
    "--drain-limit", "0", "--control", "off", NULL};

static const char *const skype_edge_args[] = {"--listen",
                                              NET_SKYPE ":3478",
                                              "--realm",
                                              "contoso.example",
                                              "--user",
                                              RELAY_USER,
                                              "--relay-address",
                                              NET_SKYPE,
                                              "--relay-ports",
                                              "53000-53999",
                                              "--peer-allow",
                                              NET_EDGE,
                                              "--log",
                                              "json",
                                              "--drain-limit",
                                              "0",
                                              "--control",
                                              "off",
                                              NULL};

static const char *const meet_args[] = {"--sip",
                                        "tcp:" NET_MEET_SIP ":5060",
                                        "--domain",
                                        "meet.example",
                                        "--space",
                                        CREW_SPACE,
                                        "--turn",
                                        NET_EDGE ":3478",
                                        "--turn-user",
                                        TURN_USER,
                                        "--media-address",
                                        NET_MEET,
                                        "--allow-unencrypted-media",
                                        "--web",
                                        NET_MEET ":8080",
                                        "--log",
                                        "json",
                                        NULL};

static const char *const front_end_args[] = {
    "front-end", "--listen", NET_SKYPE ":5060", "--to", NET_MEET_SIP ":5060", "--log",
    "json",      NULL};

static const char *const share_args[] = {"share",
                                         "--proxy",
                                         NET_SKYPE ":5060",
                                         "--to",
                                         "sip:" CREW_SPACE "@meet.example",
                                         "--relay",
                                         NET_SKYPE ":3478",
                                         "--relay-user",
                                         RELAY_USER,
                                         "--media-address",
                                         NET_CLIENT,
                                         "--snapshot",
                                         "OUT/screen.png",
                                         "--log",
                                         "json",
                                         NULL};

static const struct {
    const char *title, *program;
    enum host host;
    const char *ready; /* the event that says it serves */
    const char *const *args;
} roles[MEMBER_COUNT] = {
    {"the edge (causeway-edge)",               "edge", HOST_EDGE,   "listening", edge_args     },
    {"the Skype Edge's relay (causeway-edge)", "edge", HOST_SKYPE,  "listening",
     skype_edge_args                                                                           },
    {"the meeting server (causeway-meet)",     "meet", HOST_MEET,   "ready",     meet_args     },
    {"the Skype front end (causeway-lab)",     "lab",  HOST_SKYPE,  "listening", front_end_args},
    {"the Skype client (causeway-lab)",        "lab",  HOST_CLIENT, NULL,        share_args    },
};

struct post { /* a member at work */
    struct crew *crew;
    enum member member;
    struct child *child; /* NULL: not running */
    bool ready;
    char tail[TAIL_LINES][TAIL_WIDTH];
    size_t n_lines;
};

struct crew {
    struct loop *loop;
    struct crew_config cfg;
    struct post posts[MEMBER_COUNT];
};

const char *crew_title(enum member m)
{
    return roles[m].title;
}

int crew_new(struct crew **out, struct loop *l, const struct crew_config *cfg)
{
    struct crew *c = calloc(1, sizeof *c);
    if (!c) {
        return ERR_NOMEM;
    }
    c->loop = l;
    c->cfg = *cfg;
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        c->posts[i].crew = c;
        c->posts[i].member = (enum member)i;
    }
    *out = c;
    return 0;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static void take_line(struct child *c, bool is_stderr, struct slice line, void *ctx)
{
    struct post *p = ctx;
    (void)c;
    (void)is_stderr;
    char *tail = p->tail[p->n_lines++ % TAIL_LINES];
    (void)snprintf(tail, TAIL_WIDTH, "%.*s", (int)line.len, (const char *)line.p);
    json_t *object = json_loadb((const char *)line.p, line.len, 0, NULL);
    if (json_is_object(object)) {
        struct crew_event e = {.member = p->member,
                               .name = text_of(object, "event"),
                               .level = text_of(object, "level"),
                               .why = text_of(object, "why")};
        const char *ready = roles[p->member].ready;
        p->ready = p->ready || (ready && strcmp(e.name, ready) == 0);
        p->crew->cfg.event(&e, p->crew->cfg.ctx);
    }
    json_decref(object);
}

static void describe(const struct post *p, int status, char *how)
{
    int n;
    if (WIFSIGNALED(status)) {
        n = snprintf(how, HOW_MAX, "was ended by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
    } else {
        n = snprintf(how, HOW_MAX, "ended with status %d", WEXITSTATUS(status));
    }
    size_t first = p->n_lines > TAIL_LINES ? p->n_lines - TAIL_LINES : 0;
    for (size_t i = first; i < p->n_lines && n > 0 && n < HOW_MAX; i++) {
        n += snprintf(how + n, (size_t)(HOW_MAX - n), "%s\n    %s",
                      i == first ? "; it said last:" : "", p->tail[i % TAIL_LINES]);
    }
}

static void exited(struct child *c, int status, void *ctx)
{
    struct post *p = ctx;
    char how[HOW_MAX];
    (void)c;
    describe(p, status, how);
    p->child = NULL;
    p->ready = false;
    p->crew->cfg.gone(p->member, how, p->crew->cfg.ctx);
}

int crew_start(struct crew *c, enum member m)
{
    char path[FIND_PATH_MAX], in_out[FIND_PATH_MAX];
    const char *argv[ARGS_MAX + 2] = {path};
    int err = find_program(path, roles[m].program);
    if (err) {
        return err;
    }
    for (size_t i = 0; i < ARGS_MAX && roles[m].args[i]; i++) {
        argv[i + 1] = roles[m].args[i];
        if (strncmp(argv[i + 1], "OUT/", 4) == 0) {
            int n = snprintf(in_out, sizeof in_out, "%s%s", c->cfg.out, argv[i + 1] + 3);
            if (n >= (int)sizeof in_out) {
                return ERR_LIMIT;
            }
            argv[i + 1] = in_out;
        }
    }
    struct child_spec spec = {.argv = argv,
                              .netns_fd = c->cfg.net->ns[roles[m].host],
                              .line = take_line,
                              .exited = exited,
                              .ctx = &c->posts[m]};
    c->posts[m].n_lines = 0;
    return child_start(&c->posts[m].child, c->loop, &spec);
}

bool crew_is_ready(const struct crew *c, enum member m)
{
    return c->posts[m].ready;
}

int crew_signal(struct crew *c, enum member m, int signo)
{
    if (!c->posts[m].child) {
        return ERR_NOTFOUND;
    }
    child_kill(c->posts[m].child, signo);
    return 0;
}

void crew_stop(struct crew *c, uint32_t grace_ms)
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (c->posts[i].child) {
            child_stop(c->posts[i].child, grace_ms);
        }
    }
}

bool crew_is_empty(const struct crew *c)
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (c->posts[i].child) {
            return false;
        }
    }
    return true;
}

void crew_free(struct crew *c)
{
    free(c);
}
