/* The operator's requests, as JSON. */
#include "run/turn_ctl.h"

#include <jansson.h>
#include <stdlib.h>

#include "lib/base/text.h"

enum {
    PAGE = 128 /* sessions in one answer: well below CTL_OUT_MAX */
};

struct turn_ctl {
    struct turn_ctl_config cfg;
    struct loop *loop;
    struct ctl *socket;
    uint64_t begun_ms;
};

/* A user's name is any bytes, JSON is UTF-8: a name that is not becomes hexadecimal. */
static json_t *text_of(struct slice s)
{
    char hex[2 * 128 + 1];
    struct wr w = wr_over((uint8_t *)hex, sizeof hex);
    json_t *j = json_stringn(s.p ? (const char *)s.p : "", s.len);
    for (size_t i = 0; !j && i < s.len && i < 128; i++) {
        wr_text(&w, "%02x", s.p[i]);
    }
    return j ? j : json_stringn(hex, w.len);
}

static json_t *addr_of(const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    return json_string(addr_text(a, text));
}

static json_t *id_of(turn_id id)
{
    char text[TURN_ID_TEXT];
    return json_string(turn_id_text(id, text));
}

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static const char *client_name_of(const struct turn_conn *c)
{
    return c->transport == TURN_TCP ? "tcp" : c->id ? "dtls" : "udp";
}

static const char *name_of(enum turn_transport t)
{
    return t == TURN_TCP ? "tcp" : "udp";
}

static json_t *session_of(const struct turn_ctl *t, const struct turn_session *s)
{
    struct tcp_pipe_count tcp = turn_run_tcp_count(t->cfg.run, s->id);
    const struct turn_session_relay *second = &s->relay[1];
    uint64_t left_ms =
        second->left_ms > s->relay[0].left_ms ? second->left_ms : s->relay[0].left_ms;
    json_t *j = json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id_of(s->id),
        "user", text_of(s->username), "client", addr_of(&s->conn.client), "client_transport",
        client_name_of(&s->conn), "relay", addr_of(&s->relay[0].addr), "transport",
        name_of(s->transport), "age_s", number(s->age_ms / 1000), "left_s",
        number(left_ms / 1000), "permissions", number(s->permissions), "channels",
        number(s->channels), "peers", number(s->peers), "to_peers",
        number(s->to_peers + tcp.a_to_b), "to_client", number(s->to_client + tcp.b_to_a));
    if (j) {
        (void)json_object_set_new(j, "realm",
                                  text_of(turn_run_realm(t->cfg.run, s->conn.realm)));
    }
    if (j && second->id) {
        (void)json_object_set_new(j, "relay2", addr_of(&second->addr));
    }
    if (j && s->is_away) {
        (void)json_object_set_new(j, "away", json_true());
    } else if (j && s->conn.id) {
        (void)json_object_set_new(j, "conn", id_of(s->conn.id));
    }
    return j;
}

static json_t *failed(const char *why)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", why);
}

/* The value of "id" or "after"; false: there is none, or it is no id. */
static bool take_id(const json_t *request, const char *key, turn_id *out)
{
    const char *text = json_string_value(json_object_get(request, key));
    return text && turn_id_parse(slice_str(text), out) == OK;
}

static json_t *do_sessions(struct turn_ctl *t, const json_t *request)
{
    const struct turn_server *core = turn_run_core(t->cfg.run);
    uint64_t now_ms = loop_now_ms(t->loop);
    struct turn_session s;
    turn_id at = 0;
    if (json_object_get(request, "after") && !take_id(request, "after", &at)) {
        return failed("\"after\" must be the id of a session");
    }
    json_t *list = json_array();
    size_t n = 0;
    for (; n < PAGE && turn_server_session_after(core, now_ms, at, &s); n++) {
        (void)json_array_append_new(list, session_of(t, &s));
        at = s.id;
    }
    json_t *answer = json_pack("{s:b, s:o}", "ok", 1, "sessions", list);
    if (n == PAGE && turn_server_session_after(core, now_ms, at, &s)) {
        (void)json_object_set_new(answer, "more", id_of(at));
    }
    return answer;
}

static json_t *do_session(struct turn_ctl *t, const json_t *request)
{
    const struct turn_server *core = turn_run_core(t->cfg.run);
    struct turn_session s;
    struct turn_session_peer p;
    turn_id id;
    if (!take_id(request, "id", &id) ||
        !turn_server_session(core, loop_now_ms(t->loop), id, &s)) {
        return failed("no such session; `sessions` lists all");
    }
    json_t *links = json_array();
    for (size_t i = 0; turn_server_session_peer(core, id, i, &p); i++) {
        struct tcp_pipe_count n = turn_run_link_count(t->cfg.run, p.id);
        (void)json_array_append_new(
            links, json_pack("{s:o, s:o, s:b, s:o, s:o}", "id", id_of(p.id), "peer",
                             addr_of(&p.addr), "bound", p.is_bound, "to_peer", number(n.a_to_b),
                             "to_client", number(n.b_to_a)));
    }
    json_t *j = session_of(t, &s);
    (void)json_object_set_new(j, "links", links);
    return json_pack("{s:b, s:o}", "ok", 1, "session", j);
}

static json_t *do_kick(struct turn_ctl *t, const json_t *request)
{
    turn_id id;
    if (!take_id(request, "id", &id) || turn_run_kick(t->cfg.run, id)) {
        return failed("no such session; `sessions` lists all");
    }
    return json_pack("{s:b}", "ok", 1);
}

static json_t *do_drain(struct turn_ctl *t, const json_t *request)
{
    (void)request;
    t->cfg.drain(t->cfg.ctx);
    return json_pack("{s:b, s:o}", "ok", 1, "allocations",
                     number(turn_run_stats(t->cfg.run).allocations));
}

static json_t *do_reload(struct turn_ctl *t, const json_t *request)
{
    (void)request;
    char *wrong = t->cfg.reload(t->cfg.ctx);
    json_t *answer = wrong ? failed(wrong) : json_pack("{s:b}", "ok", 1);
    free(wrong);
    return answer ? answer : failed("the configuration is wrong: see the log");
}

static json_t *do_stats(struct turn_ctl *t, const json_t *request)
{
    (void)request;
    struct turn_stats s = turn_run_stats(t->cfg.run);
    struct turn_traffic n = turn_run_traffic(t->cfg.run);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"uptime_s",             (loop_now_ms(t->loop) - t->begun_ms) / 1000},
        {"allocations",          s.allocations                              },
        {"allocations_total",    s.allocations_total                        },
        {"auth_failures",        s.auth_failures_total                      },
        {"refusals",             s.denied_total                             },
        {"clients",              turn_run_clients(t->cfg.run)               },
        {"links",                s.tcp_connections                          },
        {"links_unbound",        s.tcp_unbound                              },
        {"permissions",          s.permissions                              },
        {"channels",             s.channels                                 },
        {"packets_to_peers",     n.packets_to_peers                         },
        {"packets_to_client",    n.packets_to_client                        },
        {"bytes_to_peers",       n.bytes_to_peers + n.tcp_to_peers          },
        {"bytes_to_client",      n.bytes_to_client + n.tcp_to_client        },
        {"dropped",              n.dropped                                  },
        {"dropped_bandwidth",    s.packets_held_back                        },
        {"held_back_allocation", s.held_back[TURN_BANDWIDTH_ALLOC]          },
        {"held_back_user",       s.held_back[TURN_BANDWIDTH_USER]           },
        {"held_back_all",        s.held_back[TURN_BANDWIDTH_ALL]            },
        {"dtls",                 turn_run_dtls(t->cfg.run).associations     },
    };
    json_t *stats = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)json_object_set_new(stats, rows[i].key, number(rows[i].value));
    }
    return json_pack("{s:b, s:o}", "ok", 1, "stats", stats);
}

static const struct {
    const char *name;
    json_t *(*run)(struct turn_ctl *t, const json_t *request);
} verbs[] = {
    {"sessions", do_sessions},
    {"session",  do_session },
    {"kick",     do_kick    },
    {"drain",    do_drain   },
    {"reload",   do_reload  },
    {"stats",    do_stats   },
};

static json_t *answer_to(struct turn_ctl *t, struct slice line, const char **verb)
{
    json_t *request = json_loadb((const char *)line.p, line.len, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(request, "do"));
    json_t *answer = NULL;
    *verb = NULL;
    for (size_t i = 0; name && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(name, verbs[i].name) == 0) {
            *verb = verbs[i].name;
            answer = verbs[i].run(t, request);
        }
    }
    json_decref(request);
    return *verb
               ? answer
               : failed("a request is one JSON object a line, with \"do\": sessions, session, "
                        "kick, drain, reload or stats");
}

static void on_line(struct ctl_conn *c, const struct ctl_peer *who, struct slice line,
                    void *ctx)
{
    struct turn_ctl *t = ctx;
    const char *verb;
    json_t *answer = answer_to(t, line, &verb);
    char *text = answer ? json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    LOG(t->cfg.log, LOG_INFO, "control", LOG_S("do", verb ? verb : "?"),
        LOG_N("ok", json_is_true(json_object_get(answer, "ok"))), LOG_N("uid", who->uid),
        LOG_N("pid", who->pid));
    ctl_write(c, slice_str(text ? text : "{\"ok\":false,\"error\":\"out of memory\"}"));
    ctl_write(c, slice_str("\n"));
    free(text);
    json_decref(answer);
}

int turn_ctl_new(struct turn_ctl **out, struct loop *l, const struct turn_ctl_config *cfg)
{
    struct turn_ctl *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t) {
        return ERR_NOMEM;
    }
    *t = (struct turn_ctl){.cfg = *cfg, .loop = l, .begun_ms = loop_now_ms(l)};
    struct ctl_config socket = cfg->socket;
    socket.line = on_line;
    socket.ctx = t;
    int err = ctl_listen(&t->socket, l, &socket);
    if (err) {
        free(t);
        return err;
    }
    *out = t;
    return OK;
}

void turn_ctl_free(struct turn_ctl *t)
{
    if (t) {
        ctl_free(t->socket);
        free(t);
    }
}

struct ctl *turn_ctl_socket(const struct turn_ctl *t)
{
    return t->socket;
}
