/* causeway-meet: the meeting server. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/meet/conf.h"

enum {
    LINGER_MS = 1500
};

static void on_signal(int signo, void *ctx)
{
    (void)signo;
    loop_stop(ctx);
}

/* causeway-rdp beside this program, or in the build tree's folder for it. */
static const char *find_rdp(char *out, size_t cap)
{
    static const char *const places[] = {"causeway-rdp", "../rdp/causeway-rdp"};
    char self[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        slash[1] = '\0';
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int len = snprintf(out, cap, "%s%s", self, places[i]);
        if (len > 0 && (size_t)len < cap && access(out, X_OK) == 0) {
            return out;
        }
    }
    return "causeway-rdp";
}

static int run(struct loop *l, const struct conf *conf)
{
    struct meeting *m = NULL;
    struct meeting_config cfg;
    struct log log;
    char rdp[640];
    meet_conf_read(conf, &cfg, &log);
    cfg.rdp_program = cfg.rdp_program ? cfg.rdp_program : find_rdp(rdp, sizeof rdp);
    int err = meeting_new(&m, l, &cfg);
    for (size_t i = 0; !err && i < conf_count(conf, "space"); i++) {
        err = meeting_add_space(m, conf_text(conf, "space", i));
    }
    err = err ? err : loop_on_signal(l, SIGTERM, on_signal, l);
    err = err ? err : loop_on_signal(l, SIGINT, on_signal, l);
    if (err) {
        LOG(&log, LOG_ERROR, "start-failed", LOG_S("why", err_text(err)));
    } else {
        LOG(&log, LOG_INFO, "ready", LOG_N("spaces", conf_count(conf, "space")));
        loop_run(l);
        LOG(&log, LOG_INFO, "stop", LOG_S("why", "asked to"));
    }
    meeting_free(m);
    /* Until the last BYE is out and the RDP processes have ended. */
    loop_run_at_most(l, LINGER_MS);
    return err ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct conf *conf = NULL;
    struct loop *loop = NULL;
    switch (conf_load(&conf, &meet_program, argc, argv, meet_conf_validate)) {
    case CONF_DONE: return 0;
    case CONF_FAILED: return 2;
    case CONF_RUN: break;
    }
    if (loop_new(&loop)) {
        (void)fputs("causeway-meet: no event loop\n", stderr);
        conf_free(conf);
        return 1;
    }
    int status = run(loop, conf);
    loop_free(loop);
    conf_free(conf);
    return status;
}
