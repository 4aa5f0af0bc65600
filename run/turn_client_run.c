/* Runs a TURN client core. */
#include "run/turn_client_run.h"

#include <stdlib.h>

enum {
    SILENCE_MS =
        30000 /* of the server's TCP, until it is lost; a keep-alive goes out each 5 s */
};

struct data_conn {
    struct data_conn *next;
    struct turn_client_run *owner;
    struct tcp *tcp; /* NULL once it was handed over */
    turn_data id;
    bool refused; /* could not even be started: tell the core when it is our turn */
};

struct turn_client_run {
    struct loop *loop;
    struct turn_client *core;
    struct tcp *control;
    struct loop_timer *timer;
    struct data_conn *data;
    struct addr server;
    struct turn_locate_run *locate; /* NULL: `server` is the only one */
    uint32_t connect_ms;
    const struct log *log;
    char *tag;
    void (*event)(const struct relay_event *e, void *ctx); /* NULL while closing */
    void *ctx;
    bool is_new, is_connected, is_pumping, is_over;
};

static const struct tcp_events control_events;

static void pump(struct turn_client_run *r);

static int connect_control(struct turn_client_run *r)
{
    const struct tcp_options opt = {.timeout_ms = r->connect_ms};
    return tcp_connect(&r->control, r->loop, &r->server, &opt, &control_events, r);
}

static void emit(struct turn_client_run *r, const struct relay_event *e)
{
    if (r->event) {
        r->event(e, r->ctx);
    }
}

static struct data_conn *data_find(const struct turn_client_run *r, turn_data id)
{
    struct data_conn *d = r->data;
    while (d && d->id != id) {
        d = d->next;
    }
    return d;
}

static void data_free(struct data_conn *d)
{
    struct data_conn **at = &d->owner->data;
    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
    if (d->tcp) {
        tcp_close(d->tcp);
    }
    free(d);
}

static void data_connected(struct tcp *t, void *ctx)
{
    struct data_conn *d = ctx;
    struct turn_client_run *r = d->owner;
    (void)t;
    turn_client_data_opened(r->core, loop_now_ms(r->loop), d->id, true);
    pump(r);
}

static size_t data_bytes(struct tcp *t, struct slice bytes, void *ctx)
{
    struct data_conn *d = ctx;
    struct turn_client_run *r = d->owner;
    size_t used = 0;
    int err = turn_client_data_recv(r->core, loop_now_ms(r->loop), d->id, bytes, &used);
    if (err) {
        LOG(r->log, LOG_WARN, "relay-data-error", LOG_S("for", r->tag),
            LOG_S("why", err_text(err)));
    }
    /* What follows the ConnectionBind response stays with the stream for its next owner. */
    (void)t;
    pump(r);
    return used;
}

static void data_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct data_conn *d = ctx;
    struct turn_client_run *r = d->owner;
    turn_data id = d->id;
    (void)t;
    (void)sys_errno;
    d->tcp = NULL;
    turn_client_data_closed(r->core, loop_now_ms(r->loop), id);
    pump(r);
}

static void data_ended(struct tcp *t, void *ctx)
{
    tcp_close(t);
    data_closed(t, 0, ctx);
}

static const struct tcp_events data_events = {.connected = data_connected,
                                              .data = data_bytes,
                                              .ended = data_ended,
                                              .closed = data_closed};

static int data_open(struct turn_client_run *r, turn_data id)
{
    struct data_conn *d = calloc(1, sizeof *d);
    if (!d) {
        return ERR_NOMEM;
    }
    *d = (struct data_conn){.next = r->data, .owner = r, .id = id};
    r->data = d;
    const struct tcp_options opt = {.timeout_ms = 5000};
    d->refused = tcp_connect(&d->tcp, r->loop, &r->server, &opt, &data_events, d) != OK;
    return OK;
}

static void data_close(struct turn_client_run *r, const struct turn_client_action *a)
{
    struct data_conn *d = data_find(r, a->data);
    LOG(r->log, LOG_INFO, "relay-data-closed", LOG_S("for", r->tag), LOG_S("why", a->why));
    if (d) {
        data_free(d);
    }
    const struct relay_event e = {.type = RELAY_NO_CONNECT,
                                  .data = a->data,
                                  .peer = a->peer,
                                  .why = a->why,
                                  .code = a->code};
    emit(r, &e);
}

static void data_hand_over(struct turn_client_run *r, const struct turn_client_action *a)
{
    struct data_conn *d = data_find(r, a->data);
    char text[ADDR_TEXT_MAX];
    if (!d || !d->tcp) {
        return;
    }
    struct relay_event e = {
        .type = RELAY_PEER, .stream = d->tcp, .data = a->data, .peer = a->peer};
    LOG(r->log, LOG_INFO, "relay-peer", LOG_S("for", r->tag),
        LOG_S("peer", addr_text(&a->peer, text)));
    d->tcp = NULL;
    data_free(d);
    if (!r->event) {
        tcp_close(e.stream);
        return;
    }
    emit(r, &e);
}

static void ready(struct turn_client_run *r, const struct turn_client_action *a)
{
    char relayed[ADDR_TEXT_MAX], mapped[ADDR_TEXT_MAX];
    LOG(r->log, LOG_INFO, "relay-allocated", LOG_S("for", r->tag),
        LOG_S("relayed", addr_text(&a->relayed, relayed)),
        LOG_S("mapped", addr_text(&a->mapped, mapped)), LOG_N("lifetime_s", a->lifetime_s));
    const struct relay_event e = {
        .type = RELAY_READY, .relayed = a->relayed, .mapped = a->mapped};
    emit(r, &e);
}

static void lost(struct turn_client_run *r, uint16_t code, const char *why)
{
    char server[ADDR_TEXT_MAX];
    r->is_over = true;
    if (r->event) {
        LOG(r->log, LOG_WARN, "relay-lost", LOG_S("for", r->tag),
            LOG_S("server", addr_text(&r->server, server)), LOG_N("code", code),
            LOG_S("why", why));
    }
    const struct relay_event e = {.type = RELAY_LOST, .code = code, .why = why};
    emit(r, &e);
}

/* The server sends us to another one. */
static int go_to(struct turn_client_run *r, const struct addr *server)
{
    char text[ADDR_TEXT_MAX];
    LOG(r->log, LOG_INFO, "relay-redirected", LOG_S("for", r->tag),
        LOG_S("server", addr_text(server, text)));
    if (r->control) {
        tcp_close(r->control);
        r->control = NULL;
    }
    r->server = *server;
    int err = connect_control(r);
    if (err) {
        turn_client_control_closed(r->core, loop_now_ms(r->loop));
    }
    return err;
}

static void act(struct turn_client_run *r, const struct turn_client_action *a)
{
    struct data_conn *d;
    const struct slice none = {0};
    int err = OK;
    switch (a->what) {
    case TURN_CLIENT_SEND: err = r->control ? tcp_write(r->control, a->bytes, none) : OK; break;
    case TURN_CLIENT_REDIRECT: err = go_to(r, &a->server); break;
    case TURN_CLIENT_ALLOCATED: ready(r, a); break;
    case TURN_CLIENT_PERMITTED: emit(r, &(struct relay_event){.type = RELAY_PERMITTED}); break;
    case TURN_CLIENT_OPEN_DATA: err = data_open(r, a->data); break;
    case TURN_CLIENT_SEND_DATA:
        d = data_find(r, a->data);
        err = d && d->tcp ? tcp_write(d->tcp, a->bytes, none) : OK;
        break;
    case TURN_CLIENT_PEER: data_hand_over(r, a); break;
    case TURN_CLIENT_CLOSE_DATA: data_close(r, a); break;
    case TURN_CLIENT_REPORT:
        LOG(r->log, LOG_DEBUG, "relay-step", LOG_S("for", r->tag), LOG_S("step", a->why),
            LOG_N("code", a->code));
        break;
    case TURN_CLIENT_FAILED: lost(r, a->code, a->why); break;
    }
    if (err) {
        LOG(r->log, LOG_WARN, "relay-error", LOG_S("for", r->tag), LOG_S("why", err_text(err)));
    }
}

static void destroy(struct turn_client_run *r)
{
    while (r->data) {
        data_free(r->data);
    }
    if (r->control) {
        tcp_close_when_sent(r->control);
    }
    loop_timer_free(r->timer);
    turn_locate_run_free(r->locate);
    turn_client_free(r->core);
    free(r->tag);
    free(r);
}

/* Carries out what the core wants until it wants nothing. Calls that come in meanwhile leave
 * their actions to the loop that is already running. */
static void pump(struct turn_client_run *r)
{
    struct turn_client_action a;
    if (r->is_pumping) {
        return;
    }
    r->is_pumping = true;
    for (bool again = true; again;) {
        while (!r->is_over && turn_client_next(r->core, &a)) {
            act(r, &a);
        }
        again = false;
        for (struct data_conn *d = r->data; d && !r->is_over && !again; d = d->next) {
            again = d->refused;
            if (again) {
                d->refused = false;
                turn_client_data_opened(r->core, loop_now_ms(r->loop), d->id, false);
            }
        }
    }
    r->is_pumping = false;
    if (r->is_over && !r->event) {
        destroy(r);
        return;
    }
    loop_timer_at(r->timer, r->is_over ? UINT64_MAX : turn_client_deadline_ms(r->core));
}

static void control_connected(struct tcp *t, void *ctx)
{
    struct turn_client_run *r = ctx;
    r->is_connected = true;
    tcp_give_up_after(t, SILENCE_MS);
    turn_client_start(r->core, loop_now_ms(r->loop));
    pump(r);
}

static size_t control_bytes(struct tcp *t, struct slice bytes, void *ctx)
{
    struct turn_client_run *r = ctx;
    size_t used = 0;
    (void)t;
    if (turn_client_recv(r->core, loop_now_ms(r->loop), bytes, &used)) {
        used = bytes.len; /* the core says FAILED, in a moment */
    }
    pump(r);
    return used;
}

/* The next server that the URI means. */
static void on_server(const struct addr *server, enum turn_way way, void *ctx)
{
    struct turn_client_run *r = ctx;
    char text[ADDR_TEXT_MAX];
    (void)way; /* TCP: nothing else was asked for */
    if (!server && r->is_new) {
        r->is_over = true;
        return;
    }
    if (!server) {
        turn_client_control_closed(r->core, loop_now_ms(r->loop));
        pump(r);
        return;
    }
    r->server = *server;
    LOG(r->log, LOG_DEBUG, "relay-server", LOG_S("for", r->tag),
        LOG_S("server", addr_text(server, text)));
    if (connect_control(r)) {
        turn_locate_run_next(r->locate, on_server, r);
    }
}

static void control_closed(struct tcp *t, int sys_errno, void *ctx)
{
    struct turn_client_run *r = ctx;
    (void)t;
    r->control = NULL;
    LOG(r->log, LOG_DEBUG, "relay-control-closed", LOG_S("for", r->tag),
        LOG_S("why", sys_errno ? strerror(sys_errno) : "closed by the server"));
    if (r->locate && !r->is_connected && r->event) {
        turn_locate_run_next(r->locate, on_server, r);
        return;
    }
    turn_client_control_closed(r->core, loop_now_ms(r->loop));
    pump(r);
}

static void control_ended(struct tcp *t, void *ctx)
{
    tcp_close(t);
    control_closed(t, 0, ctx);
}

static const struct tcp_events control_events = {.connected = control_connected,
                                                 .data = control_bytes,
                                                 .ended = control_ended,
                                                 .closed = control_closed};

static int begin(struct turn_client_run *r, const struct turn_client_run_config *cfg)
{
    static const enum turn_way ways[LOCATE_WAYS_MAX] = {TURN_WAY_TCP};
    if (!cfg->uri) {
        return connect_control(r);
    }
    int err = turn_locate_run_new(&r->locate, cfg->resolver, cfg->uri, ways);
    if (!err) {
        r->is_new = true;
        turn_locate_run_next(r->locate, on_server, r);
        r->is_new = false;
    }
    return !err && r->is_over ? ERR_SYSTEM : err;
}

static void on_timer(void *ctx)
{
    struct turn_client_run *r = ctx;
    turn_client_tick(r->core, loop_now_ms(r->loop));
    pump(r);
}

int turn_client_run_new(struct turn_client_run **out, struct loop *l,
                        const struct turn_client_run_config *cfg)
{
    struct turn_client_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        return ERR_NOMEM;
    }
    *r = (struct turn_client_run){.loop = l,
                                  .server = cfg->server,
                                  .connect_ms = cfg->connect_ms,
                                  .log = cfg->log,
                                  .tag = strdup(cfg->tag),
                                  .event = cfg->event,
                                  .ctx = cfg->ctx};
    const struct turn_client_config core = {.server = cfg->server,
                                            .username = cfg->username,
                                            .password = cfg->password,
                                            .software = slice_str("Causeway"),
                                            .lifetime_s = 600,
                                            .keepalive_ms = 5000,
                                            .answer_ms = 10000,
                                            .max_data = 8};
    const struct turn_client_env env = {.random = io_random_env};
    int err = r->tag ? turn_client_new(&r->core, &core, &env) : ERR_NOMEM;
    if (!err) {
        err = loop_timer_new(&r->timer, l, on_timer, r);
    }
    err = err ? err : begin(r, cfg);
    if (err) {
        destroy(r);
        return err;
    }
    *out = r;
    return OK;
}

void turn_client_run_close(struct turn_client_run *r)
{
    if (!r) {
        return;
    }
    r->event = NULL;
    while (r->data) {
        data_free(r->data);
    }
    if (r->is_over || !r->control) {
        r->is_over = true;
    } else {
        turn_client_release(r->core, loop_now_ms(r->loop));
    }
    pump(r);
}

int turn_client_run_permit(struct turn_client_run *r, const struct addr *peers, size_t n)
{
    int err = turn_client_permit(r->core, loop_now_ms(r->loop), peers, n);
    pump(r);
    return err;
}

int turn_client_run_connect(struct turn_client_run *r, const struct addr *peer, turn_data *data)
{
    int err = turn_client_connect(r->core, loop_now_ms(r->loop), peer, data);
    pump(r);
    return err;
}

void turn_client_run_peer_gone(struct turn_client_run *r, turn_data data)
{
    turn_client_data_closed(r->core, loop_now_ms(r->loop), data);
    pump(r);
}
