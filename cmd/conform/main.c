/* causeway-conform: asks any STUN and TURN server whether it does what the RFCs say. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/conf.h"

#include "cmd/conform/report.h"

enum {
    ARGS_MAX = 64,
    HOST_MAX = 256
};

static const struct conf_option options[] = {
    {.name = "server",
     .type = CONF_TEXT,
     .help = "HOST:PORT of the server, port 3478 without one; as first word it needs no name"},
    {.name = "user",
     .type = CONF_PAIR,
     .secret = true,
     .help = "an account there; without it only what needs none is checked"},
    {.name = "other-user",
     .type = CONF_PAIR,
     .secret = true,
     .help = "another account, for what must be kept from other users"},
    {.name = "peer-address",
     .type = CONF_IP,
     .help = "our address that peers are opened on; else the one used towards the server"},
    {.name = "nat",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "there is a NAT in between: addresses are not compared with ours"},
    {.name = "only",
     .type = CONF_TEXT,
     .help = "run those checks whose ids match this pattern, as 'tcp.*' does"},
    {.name = "timeout",
     .type = CONF_NUMBER,
     .min = 100,
     .max = 60000,
     .unit = "milliseconds",
     .preset = "3000",
     .help = "how long an answer may take"},
    {.name = "quiet",
     .type = CONF_NUMBER,
     .min = 10,
     .max = 10000,
     .unit = "milliseconds",
     .preset = "150",
     .help = "how long to listen for what must not come"},
    {.name = "list",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "list the checks, each with its RFC and sentence, and end"},
    {.name = "json",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "print one JSON object in place of lines; the manual page has its keys"},
    {.name = "verbose",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "show all messages, in words and bytes; also -v"},
    {.name = NULL                                                                                       },
};

static const struct conf_program program = {
    .name = "causeway-conform",
    .summary = "conformance tester for STUN and TURN servers",
    .options = options,
};

/* "host:port", "host", "[ip6]:port", "ip6". */
static bool split(const char *text, char host[HOST_MAX], const char **port)
{
    const char *colon = strrchr(text, ':'), *first = strchr(text, ':');
    const char *end = text + strlen(text);
    *port = "3478";
    if (text[0] == '[') {
        end = strchr(++text, ']');
        *port = end && end[1] == ':' ? end + 2 : *port;
    } else if (colon && colon == first) {
        end = colon;
        *port = colon + 1;
    }
    if (!end || end == text || (size_t)(end - text) >= HOST_MAX) {
        return false;
    }
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = 0;
    return true;
}

static bool resolve(const char *text, struct addr *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    struct sockaddr_in in4 = {0};
    struct sockaddr_in6 in6 = {0};
    char host[HOST_MAX];
    const char *port;
    *out = (struct addr){0};
    if (!split(text, host, &port) || getaddrinfo(host, port, &hints, &list) != 0) {
        return false;
    }
    if (list->ai_family == AF_INET) {
        memcpy(&in4, list->ai_addr, sizeof in4);
        *out = (struct addr){.family = ADDR_IP4, .port = ntohs(in4.sin_port)};
        memcpy(out->ip, &in4.sin_addr, 4);
    } else if (list->ai_family == AF_INET6) {
        memcpy(&in6, list->ai_addr, sizeof in6);
        *out = (struct addr){.family = ADDR_IP6, .port = ntohs(in6.sin6_port)};
        memcpy(out->ip, &in6.sin6_addr, 16);
    }
    freeaddrinfo(list);
    return out->family != ADDR_NONE && out->port != 0;
}

static bool read_target(struct target *to, struct conf *c)
{
    const char *server = conf_text(c, "server", 0);
    if (!server || !resolve(server, &to->server)) {
        conf_fail(c, "server", 0, server ? "no such host or port" : "is needed: HOST:PORT");
        return false;
    }
    to->local = dial_source(&to->server);
    if (!to->local.family) {
        conf_fail(c, "server", 0, "there is no route to it");
        return false;
    }
    to->peer = conf_count(c, "peer-address") ? conf_addr(c, "peer-address", 0) : to->local;
    if (conf_count(c, "user")) {
        conf_pair(c, "user", 0, &to->user.name, &to->user.password);
    }
    if (conf_count(c, "other-user")) {
        conf_pair(c, "other-user", 0, &to->other.name, &to->other.password);
    }
    to->timeout_ms = (uint32_t)conf_number(c, "timeout");
    to->quiet_ms = (uint32_t)conf_number(c, "quiet");
    to->nat = conf_bool(c, "nat");
    return true;
}

static bool any_wanted(const struct run *r)
{
    for (const struct check_group *g = check_groups; g->title; g++) {
        for (const struct check *c = g->checks; c->id; c++) {
            if (run_wants(r, c)) {
                return true;
            }
        }
    }
    return false;
}

static int run_text(struct run *r, struct conf *c)
{
    struct report_text report = {.is_verbose = conf_bool(c, "verbose")};
    report.is_coloured = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    report_text_begin(&report, r);
    int err = run_all(r, &report.base);
    if (!err) {
        report_text_end(&report, r);
    }
    return err;
}

static int run_json(struct run *r, struct conf *c)
{
    struct report_json report = {.is_verbose = conf_bool(c, "verbose")};
    int err = report_json_begin(&report);
    err = err ? err : run_all(r, &report.base);
    int end = report_json_end(&report, r);
    return err ? err : end;
}

static const char *why_not(int err)
{
    switch (err) {
    case ERR_NOTFOUND: return "the server answers neither over UDP nor over TCP";
    case ERR_AUTH: return "the server refuses --user with 401: check name and password";
    default: return err_text(err);
    }
}

static int run(struct conf *c)
{
    struct run r = {.only = conf_text(c, "only", 0)};
    if (!any_wanted(&r)) {
        conf_fail(c, "only", 0, "no check has such an id; see --list");
        return 2;
    }
    if (conf_bool(c, "list")) {
        report_list(&r);
        return 0;
    }
    if (!read_target(&r.target, c)) {
        return 2;
    }
    int err = conf_bool(c, "json") ? run_json(&r, c) : run_text(&r, c);
    if (err) {
        (void)fprintf(stderr, "causeway-conform: %s\n", why_not(err));
        return 2;
    }
    return r.n[FAILED] ? 1 : 0;
}

int main(int argc, char **argv)
{
    static char server[] = "--server", verbose[] = "--verbose";
    char *args[ARGS_MAX];
    int n = 0;
    struct conf *c = NULL;
    if (argc > ARGS_MAX - 2) {
        (void)fprintf(stderr, "causeway-conform: too many arguments\n");
        return 2;
    }
    for (int i = 0; i < argc; i++) {
        if (i == 1 && argv[i][0] != '-') {
            args[n++] = server;
        }
        args[n++] = strcmp(argv[i], "-v") == 0 ? verbose : argv[i];
    }
    enum conf_result got = conf_load(&c, &program, n, args, NULL);
    if (got != CONF_RUN) {
        return got == CONF_DONE ? 0 : 2;
    }
    int status = run(c);
    conf_free(c);
    return status;
}
