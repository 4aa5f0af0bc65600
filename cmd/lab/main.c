/* causeway-lab: the stand-in Skype site. `share` is a client, `front-end` the SIP way to the
 * meeting server. */
#include <signal.h>
#include <stdio.h>

#include "io/conf.h"

#include "cmd/lab/front_end.h"
#include "cmd/lab/share.h"

struct lab {
    struct loop *loop;
    struct lab_share *share;
    struct log log;
    int status;
    bool frozen;
};

#define LOG_OPTIONS                                                                   \
    {.name = "log",                                                                   \
     .type = CONF_CHOICE,                                                             \
     .choices = "text|json",                                                          \
     .preset = "text",                                                                \
     .help = "form of the log lines"},                                                \
    {                                                                                 \
        .name = "log-level", .type = CONF_CHOICE, .choices = "error|warn|info|debug", \
        .preset = "info", .help = "what is logged"                                    \
    }

static const struct conf_option share_options[] = {
    {.name = "proxy",                   .type = CONF_ADDR, .required = true, .help = "where SIP goes, over TCP"},
    {.name = "from",
     .type = CONF_TEXT,
     .preset = "sip:alice@sfb.example",
     .help = "who shares"},
    {.name = "to",
     .type = CONF_TEXT,
     .preset = "sip:demo@meet.example",
     .help = "the space that is called"},
    {.name = "relay",                 .type = CONF_ADDR, .help = "the Skype Edge's relay server"},
    {.name = "relay-user",
     .type = CONF_PAIR,
     .secret = true,
     .help = "NAME:PASSWORD at the relay server"},
    {.name = "media-address",
     .type = CONF_IP,
     .many = true,
     .help = "an own address for host candidates"},
    {.name = "width",
     .type = CONF_NUMBER,
     .min = 320,
     .max = 3840,
     .preset = "1280",
     .unit = "pixels",
     .help = "of the shared screen"},
    {.name = "height",
     .type = CONF_NUMBER,
     .min = 240,
     .max = 2160,
     .preset = "720",
     .unit = "pixels",
     .help = "of the shared screen"},
    {.name = "snapshot",
     .type = CONF_FILE,
     .help = "PNG written when SIGUSR1 freezes the picture"},
    LOG_OPTIONS,
    {.name = NULL                                },
};

static const struct conf_option front_end_options[] = {
    {.name = "listen",  .type = CONF_ADDR, .required = true, .help = "where clients connect"},
    {.name = "to", .type = CONF_ADDR, .required = true, .help = "the meeting server's SIP"},
    LOG_OPTIONS,
    {.name = NULL                },
};

static const struct conf_program share_program = {
    .name = "causeway-lab share",
    .summary = "A stand-in Skype client: shares a real X screen into a meeting.",
    .options = share_options};
static const struct conf_program front_end_program = {
    .name = "causeway-lab front-end",
    .summary = "A stand-in Front End: leads SIP connections to the meeting server.",
    .options = front_end_options};

static void on_stop(int signo, void *ctx)
{
    struct lab *lab = ctx;
    (void)signo;
    if (lab->share) {
        lab_share_hangup(lab->share);
    } else {
        loop_stop(lab->loop);
    }
}

static void on_usr1(int signo, void *ctx)
{
    struct lab *lab = ctx;
    (void)signo;
    lab->frozen = !lab->frozen;
    lab_share_freeze(lab->share, lab->frozen);
}

static void on_ended(bool ok, void *ctx)
{
    struct lab *lab = ctx;
    lab->status = ok ? 0 : 1;
    loop_stop(lab->loop);
}

static int run_share(struct lab *lab, const struct conf *c)
{
    struct lab_share_config cfg = {.log = &lab->log,
                                   .proxy = conf_addr(c, "proxy", 0),
                                   .from = conf_text(c, "from", 0),
                                   .to = conf_text(c, "to", 0),
                                   .n_hosts = conf_count(c, "media-address"),
                                   .width = (uint16_t)conf_number(c, "width"),
                                   .height = (uint16_t)conf_number(c, "height"),
                                   .ended = on_ended,
                                   .ctx = lab};
    if (conf_count(c, "relay")) {
        cfg.relay = conf_addr(c, "relay", 0);
        conf_pair(c, "relay-user", 0, &cfg.relay_username, &cfg.relay_password);
    }
    for (size_t i = 0; i < cfg.n_hosts; i++) {
        cfg.host[i] = conf_addr(c, "media-address", i);
    }
    cfg.snapshot = conf_count(c, "snapshot") ? conf_text(c, "snapshot", 0) : NULL;
    int err = lab_share_new(&lab->share, lab->loop, &cfg);
    err = err ? err : loop_on_signal(lab->loop, SIGUSR1, on_usr1, lab);
    if (!err) {
        loop_run(lab->loop);
    }
    lab_share_free(lab->share);
    return err;
}

static int run_front_end(struct lab *lab, const struct conf *c)
{
    struct front_end *f;
    const struct front_end_config cfg = {
        .listen = conf_addr(c, "listen", 0), .to = conf_addr(c, "to", 0), .log = &lab->log};
    int err = front_end_new(&f, lab->loop, &cfg);
    if (!err) {
        loop_run(lab->loop);
        front_end_free(f);
    }
    return err;
}

static bool share_validate(struct conf *c)
{
    if (conf_count(c, "media-address") > LAB_HOSTS_MAX) {
        conf_fail(c, "media-address", LAB_HOSTS_MAX, "at most %d", LAB_HOSTS_MAX);
        return false;
    }
    if (conf_count(c, "relay") && !conf_count(c, "relay-user")) {
        conf_fail(c, "relay", 0, "a relay server needs relay-user as well");
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct lab lab = {.status = 0};
    struct conf *c = NULL;
    bool is_share = argc > 1 && strcmp(argv[1], "share") == 0;
    if (!is_share && (argc < 2 || strcmp(argv[1], "front-end") != 0)) {
        (void)fputs("usage: causeway-lab share|front-end [options]; each has --help\n", stderr);
        return 2;
    }
    switch (conf_load(&c, is_share ? &share_program : &front_end_program, argc - 1, argv + 1,
                      is_share ? share_validate : NULL)) {
    case CONF_DONE: return 0;
    case CONF_FAILED: return 2;
    case CONF_RUN: break;
    }
    lab.log =
        (struct log){.level = (enum log_level)conf_choice(c, "log-level"),
                     .format = (enum log_format)conf_choice(c, "log"),
                     .program = is_share ? "causeway-lab-share" : "causeway-lab-front-end",
                     .fd = 2};
    int err = loop_new(&lab.loop);
    err = err ? err : loop_on_signal(lab.loop, SIGTERM, on_stop, &lab);
    err = err ? err : loop_on_signal(lab.loop, SIGINT, on_stop, &lab);
    err = err ? err : is_share ? run_share(&lab, c) : run_front_end(&lab, c);
    if (err) {
        LOG(&lab.log, LOG_ERROR, "failed", LOG_S("why", err_text(err)));
    }
    loop_free(lab.loop);
    conf_free(c);
    return err ? 1 : lab.status;
}
