/* causeway-edge: the TURN server. */
#include <signal.h>

#include "lib/base/crypto.h"

#include "cmd/edge/admin.h"
#include "cmd/edge/users.h"

static void on_signal(int signo, void *ctx)
{
    (void)signo;
    loop_stop(ctx);
}

/* With too few, strangers' connections can leave none for relays. */
static void check_descriptors(const struct edge_conf *e)
{
    uint64_t have = io_raise_descriptors();
    /* Each client's connection, each relay with a port kept and a pipe, a few of our own. */
    uint64_t want = e->run.max_connections + 4ull * e->run.server.max_allocations + 64;
    if (have < want) {
        LOG(&e->log, LOG_WARN, "few-descriptors", LOG_N("have", have), LOG_N("want", want),
            LOG_S("hint", "raise the limit (ulimit -Hn, LimitNOFILE), or lower max-connections "
                          "or max-allocations"));
    }
}

/* Reads the configuration, starts the server, and forgets the passwords. */
static int start(struct edge_conf *e, struct conf *c, struct loop *l, struct users *users)
{
    if (!edge_conf_read(e, c)) {
        return ERR_MALFORMED;
    }
    check_descriptors(e);
    io_random(e->run.server.nonce_secret, sizeof e->run.server.nonce_secret);
    int err = users_start(users, e, l);
    err = err ? err : turn_run_new(&users->server, l, &e->run);
    secret_wipe(e->run.server.nonce_secret, sizeof e->run.server.nonce_secret);
    return err;
}

int main(int argc, char **argv)
{
    struct conf *c = NULL;
    struct loop *l = NULL;
    struct users users = {.server = NULL};
    struct edge_conf e = {.n_users = 0};
    if (admin_is(argc, argv)) {
        return admin_run(argc, argv);
    }
    enum conf_result got = conf_load(&c, &edge_program, argc, argv, edge_conf_valid);
    if (got != CONF_RUN) {
        return got == CONF_DONE ? 0 : 2;
    }
    int err = loop_new(&l);
    err = err ? err : loop_on_signal(l, SIGTERM, on_signal, l);
    err = err ? err : loop_on_signal(l, SIGINT, on_signal, l);
    err = err ? err : start(&e, c, l, &users);
    conf_free(c);
    if (!err) {
        loop_run(l);
        LOG(&e.log, LOG_INFO, "stopped",
            LOG_N("allocations", turn_run_stats(users.server).allocations));
    }
    turn_run_free(users.server);
    users_stop(&users);
    loop_free(l);
    edge_conf_done(&e);
    return err ? 1 : 0;
}
