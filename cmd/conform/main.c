/* causeway-conform: asks any STUN and TURN server whether it does what the RFCs say. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/conf.h"

#include "cmd/conform/find.h"
#include "cmd/conform/report.h"

enum {
    ARGS_MAX = 64
};

static const struct conf_option options[] = {
    {.name = "server",
     .type = CONF_TEXT,
     .help = "HOST:PORT, HOST or turn: URI of the server; as first word it needs no name"},
    {.name = "dns",
     .type = CONF_ADDR,
     .help = "the name server to ask, in place of the system's"},
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

static bool read_target(struct target *to, struct conf *c)
{
    const char *server = conf_text(c, "server", 0), *why = "is needed: HOST:PORT";
    struct addr dns = conf_count(c, "dns") ? conf_addr(c, "dns", 0) : (struct addr){0};
    struct found found;
    if (!server || find_server(&found, server, dns.family ? &dns : NULL, &why)) {
        conf_fail(c, "server", 0, "%s", why);
        return false;
    }
    to->server = found.server;
    to->local = found.local;
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
