/* The running edge: start, signals, reload, drain, end. */
#include "cmd/edge/service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/crypto.h"
#include "lib/base/text.h"

#include "io/daemon.h"
#include "io/jail.h"
#include "run/turn_ctl.h"
#include "run/turn_metrics.h"

#include "cmd/edge/own.h"
#include "cmd/edge/realms.h"
#include "cmd/edge/users.h"

enum {
    OWN_EVERY_MS = 10000 /* how often interfaces' addresses are looked at */
};

struct service {
    int argc;
    char **argv;
    struct conf *options; /* as it was started with, without the secrets */
    struct edge_conf conf;
    const struct log *log; /* in `conf` */
    struct loop *loop;
    struct users users; /* and the server they are for */
    struct turn_ctl *ctl;
    struct turn_metrics *metrics;
    struct loop_timer *limit; /* of draining after SIGTERM */
    struct loop_timer *watchdog;
    struct loop_timer *own; /* a listener at a wildcard is on addresses that come later, too */
    bool is_draining, is_ending;
};

static void on_drained(void *ctx)
{
    struct service *s = ctx;
    loop_stop(s->loop);
}

static void on_limit(void *ctx)
{
    struct service *s = ctx;
    loop_stop(s->loop);
}

static void drain(void *ctx)
{
    struct service *s = ctx;
    if (!s->is_draining) {
        s->is_draining = true;
        LOG(s->log, LOG_INFO, "draining",
            LOG_N("allocations", turn_run_stats(s->users.server).allocations));
        daemon_notify("STOPPING=1");
        turn_run_drain(s->users.server);
    }
}

/* The first drains, for a while; the second means now. */
static void on_term(int signo, void *ctx)
{
    struct service *s = ctx;
    (void)signo;
    if (s->is_ending || s->conf.drain_limit_s == 0) {
        loop_stop(s->loop);
        return;
    }
    s->is_ending = true;
    loop_timer_at(s->limit, loop_now_ms(s->loop) + 1000ull * s->conf.drain_limit_s);
    drain(s);
}

static void on_interrupt(int signo, void *ctx)
{
    struct service *s = ctx;
    (void)signo;
    loop_stop(s->loop);
}

/* Names what is new in the file and needs a restart. Secrets are forgotten once they are in
 * use: whether one has changed cannot be told. */
static void warn_fixed(const struct service *s, const struct conf *fresh)
{
    for (const struct conf_option *o = edge_program.options; o->name; o++) {
        if (!o->reloads && !o->secret && !conf_same(s->options, fresh, o->name)) {
            LOG(s->log, LOG_WARN, "reload-ignored", LOG_S("key", o->name),
                LOG_S("why", "it changes with a restart only"));
        }
    }
    for (const struct conf_section *k = edge_program.sections; k && k->kind; k++) {
        if (!k->reloads && !conf_same_sections(s->options, fresh, k->kind)) {
            LOG(s->log, LOG_WARN, "reload-ignored", LOG_S("key", k->kind),
                LOG_S("why", "it changes with a restart only"));
        }
    }
}

static void log_complaints(const struct service *s, const char *text)
{
    struct slice left = text_trim(slice_str(text));
    while (left.len > 0) {
        LOG(s->log, LOG_ERROR, "reload-failed", LOG_B("why", text_split(&left, '\n')));
    }
}

/* Everything is read before anything changes. NULL: done; else what is wrong, to be freed. */
static char *reload(void *ctx)
{
    struct service *s = ctx;
    struct conf_program program = edge_program;
    struct edge_conf fresh = {.n_users = 0};
    struct conf *options = NULL;
    char *wrong = NULL;
    size_t len;
    program.complaints = open_memstream(&wrong, &len);
    if (!program.complaints) {
        return NULL;
    }
    daemon_notify("RELOADING=1");
    bool ok = conf_load(&options, &program, s->argc, s->argv, NULL) == CONF_RUN &&
              edge_conf_read(&fresh, options);
    if (ok && !realms_same(&s->conf, &fresh)) {
        /* Users' keys are made for their realm: with other ones nobody could sign. */
        fprintf(program.complaints, "realms change with a restart only\n");
        ok = false;
    }
    (void)fclose(program.complaints);
    if (ok) {
        warn_fixed(s, options);
        edge_conf_take(&s->conf, &fresh);
        user_chain_forget(s->users.chain);
        turn_run_set_policy(s->users.server, &s->conf.policy);
        turn_run_set_tls(s->users.server, s->conf.tls);
        turn_run_set_dtls(s->users.server, s->conf.dtls);
        LOG(s->log, LOG_INFO, "reloaded", LOG_N("users", s->conf.n_users));
        free(wrong);
        wrong = NULL;
    } else {
        log_complaints(s, wrong);
    }
    edge_conf_done(&fresh);
    conf_free(options);
    daemon_notify("READY=1");
    return wrong;
}

static void on_hangup(int signo, void *ctx)
{
    (void)signo;
    free(reload(ctx));
}

/* With too few, strangers' connections can leave none for relays. */
static void check_descriptors(const struct edge_conf *e)
{
    uint64_t have = io_raise_descriptors();
    const struct turn_config *s = &e->run.server;
    bool has_web = e->run.web.tls.family || e->run.web.plain.family;
    /* Each client's connection, each relay with a port kept, both ends of each pipe, those to
     * the web server's too, and a few of our own. */
    uint64_t pipes = (uint64_t)s->max_allocations * s->max_connections;
    pipes = pipes < s->tcp.in_all ? pipes : s->tcp.in_all;
    pipes += has_web ? e->run.web.max : 0;
    uint64_t want = e->run.max_connections + 2ull * s->max_allocations + 2 * pipes + 64;
    if (have < want) {
        LOG(&e->log, LOG_WARN, "few-descriptors", LOG_N("have", have), LOG_N("want", want),
            LOG_S("hint",
                  "raise the limit (ulimit -Hn, LimitNOFILE), or lower max-connections, "
                  "max-allocations or max-web"));
    }
}

static int start_server(struct service *s)
{
    struct turn_run_config *cfg = &s->conf.run;
    check_descriptors(&s->conf);
    cfg->drained = on_drained;
    cfg->drained_ctx = s;
    io_random(cfg->server.nonce_secret, sizeof cfg->server.nonce_secret);
    int err = users_start(&s->users, &s->conf, s->loop);
    err = err ? err : turn_run_new(&s->users.server, s->loop, cfg);
    secret_wipe(cfg->server.nonce_secret, sizeof cfg->server.nonce_secret);
    return err;
}

/* The default place may be missing, or another edge's: then there is no control. */
static int start_control(struct service *s)
{
    const struct edge_conf *e = &s->conf;
    const struct turn_ctl_config cfg = {
        .socket = {.path = e->control, .mode = e->control_mode},
        .run = s->users.server,
        .log = s->log,
        .drain = drain,
        .reload = reload,
        .ctx = s
    };
    int err = e->control ? turn_ctl_new(&s->ctl, s->loop, &cfg) : OK;
    if (!err) {
        LOG(s->log, LOG_INFO, "control-listening",
            LOG_S("path", e->control ? e->control : "off"));
        return OK;
    }
    LOG(s->log, e->control_is_default ? LOG_DEBUG : LOG_ERROR, "control-failed",
        LOG_S("path", e->control),
        LOG_S("why", err == ERR_BADSTATE ? "another program serves there"
                     : err == ERR_SYSTEM ? strerror(errno)
                                         : err_text(err)));
    return e->control_is_default ? OK : err;
}

static int refused(const struct service *s, const char *what, const char *hint)
{
    LOG(s->log, LOG_ERROR, "rights-failed", LOG_S("what", what), LOG_S("why", strerror(errno)),
        LOG_S("hint", hint));
    return ERR_SYSTEM;
}

/* When all sockets that need root are open, and before the first byte is read. */
static int give_up_rights(const struct service *s)
{
    const struct edge_conf *e = &s->conf;
    if (e->becomes && s->ctl &&
        ctl_give(turn_ctl_socket(s->ctl), e->run_as.uid, e->run_as.gid)) {
        return refused(s, "control", "start as root, or without run-as");
    }
    if (e->becomes && daemon_become(&e->run_as)) {
        return refused(s, "run-as", "start as root, or without run-as");
    }
    if (e->sandbox && jail_enter_server()) {
        return refused(s, "sandbox", "this kernel has no seccomp filters: sandbox = off");
    }
    return OK;
}

static void on_watchdog(void *ctx)
{
    struct service *s = ctx;
    daemon_notify("WATCHDOG=1");
    loop_timer_at(s->watchdog, loop_now_ms(s->loop) + daemon_watchdog_ms());
}

static void on_own(void *ctx)
{
    struct service *s = ctx;
    size_t before = s->conf.policy.n_own;
    bool fits = own_add_all(&s->conf);
    if (s->conf.policy.n_own != before) {
        turn_run_set_policy(s->users.server, &s->conf.policy);
        LOG(s->log, LOG_INFO, "own-addresses", LOG_N("n", s->conf.policy.n_own));
    }
    if (!fits) {
        LOG(s->log, LOG_WARN, "own-addresses-full", LOG_N("max", TURN_OWN_MAX));
        return;
    }
    loop_timer_at(s->own, loop_now_ms(s->loop) + OWN_EVERY_MS);
}

static int start(struct service *s)
{
    int err = loop_new(&s->loop);
    err = err ? err : loop_timer_new(&s->limit, s->loop, on_limit, s);
    err = err ? err : loop_timer_new(&s->watchdog, s->loop, on_watchdog, s);
    err = err ? err : loop_timer_new(&s->own, s->loop, on_own, s);
    err = err ? err : loop_on_signal(s->loop, SIGTERM, on_term, s);
    err = err ? err : loop_on_signal(s->loop, SIGINT, on_interrupt, s);
    err = err ? err : loop_on_signal(s->loop, SIGHUP, on_hangup, s);
    err = err ? err : start_server(s);
    if (!err && s->conf.metrics.family) {
        err = turn_metrics_new(&s->metrics, s->loop, s->users.server, &s->conf.metrics, s->log);
    }
    err = err ? err : start_control(s);
    return err ? err : give_up_rights(s);
}

int service_run(struct conf *options, int argc, char **argv)
{
    struct service s = {.argc = argc, .argv = argv, .options = options};
    s.log = &s.conf.log;
    int err = edge_conf_read(&s.conf, options) ? OK : ERR_MALFORMED;
    conf_forget_secrets(options);
    err = err ? err : start(&s);
    if (!err) {
        LOG(s.log, LOG_INFO, "ready", LOG_N("uid", getuid()),
            LOG_S("sandbox", s.conf.sandbox ? "on" : "off"));
        daemon_notify("READY=1");
        if (daemon_watchdog_ms() > 0) {
            on_watchdog(&s);
        }
        if (s.conf.policy.own_loopback) {
            on_own(&s);
        }
        loop_run(s.loop);
        LOG(s.log, LOG_INFO, "stopped",
            LOG_N("allocations", turn_run_stats(s.users.server).allocations));
    }
    turn_ctl_free(s.ctl);
    turn_metrics_free(s.metrics);
    turn_run_free(s.users.server);
    users_stop(&s.users);
    loop_timer_free(s.limit);
    loop_timer_free(s.watchdog);
    loop_timer_free(s.own);
    loop_free(s.loop);
    edge_conf_done(&s.conf);
    conf_free(options);
    return err ? 1 : 0;
}
