/* The edge's options, and what they make of the server's configuration. */
#include "cmd/edge/conf.h"

#include "lib/tls/dtls.h"

#include "cmd/edge/ctl.h"
#include "cmd/edge/doors.h"
#include "cmd/edge/limits.h"
#include "cmd/edge/nat.h"
#include "cmd/edge/peers.h"
#include "cmd/edge/realms.h"
#include "cmd/edge/relays.h"
#include "cmd/edge/tokens.h"
#include "cmd/edge/users.h"

static const struct conf_option options[] = {
    {.name = "listen",
     .type = CONF_ADDR,
     .many = true,
     .preset = "0.0.0.0:3478",
     .help = "where clients come, over UDP and TCP"},
    {.name = "tls-cert",
     .type = CONF_FILE,
     .reloads = true,
     .help = "certificate chain, PEM: the listen ports then take TLS beside plain TCP"},
    {.name = "tls-key",
     .type = CONF_FILE,
     .reloads = true,
     .help = "its private key, PEM, which only the user may read whom the server runs as"},
    {.name = "proxy-from",
     .type = CONF_NET,
     .many = true,
     .help = "a network of proxies: their TCP connections must begin with a PROXY header"},
    {.name = "dtls",
     .type = CONF_BOOL,
     .preset = "on",
     .help = "with tls-cert the listen ports take DTLS beside plain UDP"},
    {.name = "max-dtls",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 100000,
     .preset = "1000",
     .help = "clients' DTLS associations, in all"},
    {.name = "max-dtls-per-address",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 100000,
     .preset = "200",
     .help = "those of one IPv4 address, or of one IPv6 /64"},
    {.name = "tls-name",
     .type = CONF_TEXT,
     .many = true,
     .help = "a name of this server that TLS clients ask for (SNI), beside a web server's"},
    {.name = "web-upstream",
     .type = CONF_ADDR,
     .help =
         "a web server that shares the TCP ports: gets the TLS that is not for TURN, as it is"},
    {.name = "web-upstream-plain",                                                                              .type = CONF_ADDR, .help = "where HTTP without TLS goes"},
    {.name = "web-upstream-proxy-protocol",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "a PROXY header, version 2, tells the web server who the client is"},
    {.name = "max-web",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 100000,
     .preset = "1000",
     .help = "connections to the web server"},
    {.name = "web-idle",
     .type = CONF_NUMBER,
     .min = 5,
     .max = 86400,
     .unit = "seconds",
     .preset = "300",
     .help = "a connection to the web server is closed when nothing has passed for so long"},
    {.name = "nat-discovery",
     .type = CONF_ADDR,
     .many = true,
     .help = "a second address and port, for clients that find out about their NAT (RFC 5780)"},
    {.name = "realm",
     .type = CONF_TEXT,
     .preset = "causeway",
     .help = "the realm that clients' passwords belong to"},
    {.name = "user",
     .type = CONF_PAIR,
     .reloads = true,
     .many = true,
     .secret = true,
     .help =
         "a client that may allocate, NAME:PASSWORD (others can see it in the process list)"},
    {.name = "user-file",
     .type = CONF_FILE,
     .reloads = true,
     .help = "a file with one NAME:PASSWORD a line; # begins a comment"},
    {.name = "secret",
     .type = CONF_TEXT,
     .reloads = true,
     .many = true,
     .secret = true,
     .help =
         "a secret that passwords of users EXPIRY or EXPIRY:NAME are made from (TURN REST)"},
    {.name = "secret-hash",
     .type = CONF_CHOICE,
     .choices = "sha1|sha256|both",
     .preset = "both",
     .help = "the HMAC that such passwords may be made with"},
    {.name = "password-algorithms",
     .type = CONF_CHOICE,
     .choices = "auto|md5|both|sha256",
     .preset = "auto",
     .help = "what keys are made with; auto: SHA-256 too where each user's password is known"},
    {.name = "userhash",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "ask clients to send a hash of their name instead of the name"},
    {.name = "third-party-auth",
     .type = CONF_TEXT,
     .help = "take tokens made for this name (RFC 7635)"},
    {.name = "oauth-key",
     .type = CONF_PAIR,
     .many = true,
     .secret = true,
     .help = "a key that tokens are sealed with: its id, and base64"},
    {.name = "strict-expiry",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "an expired EXPIRY also ends the use of what was allocated before"},
    {.name = "userdb",
     .type = CONF_FILE,
     .help = "an SQLite file with users and secrets in coturn's tables"},
    {.name = "postgres",
     .type = CONF_TEXT,
     .secret = true,
     .help =
         "users and secrets in PostgreSQL, coturn's tables: hostaddr=... dbname=... user=..."},
    {.name = "redis",
     .type = CONF_TEXT,
     .secret = true,
     .help =
         "users and secrets in Redis, coturn's keys: ip=ADDRESS port=N dbname=N password=..."},
    {.name = "user-cache",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 3600,
     .unit = "seconds",
     .preset = "60",
     .help = "users and secrets are looked up again after this"},
    {.name = "relay-address",
     .type = CONF_IP,
     .many = true,
     .help = "where relays are opened, one IPv4 and one IPv6; else the first listen address"},
    {.name = "external-address",
     .type = CONF_IP,
     .help = "told to clients in place of the relay's address (static NAT)"},
    {.name = "relay-ports",
     .type = CONF_PORTS,
     .preset = "24000-29999",
     .help = "the relays' ports"},
    {.name = "peer-allow",
     .type = CONF_NET,
     .reloads = true,
     .many = true,
     .help = "a network whose addresses may be peers although they are special (private, ...)"},
    {.name = "peer-deny",
     .type = CONF_NET,
     .reloads = true,
     .many = true,
     .help = "a network whose addresses may not be peers; wins over peer-allow"},
    {.name = "relay-to-relay",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "this server's own relays may be peers: for two clients that both use it"},
    {.name = "tcp-accept",
     .type = CONF_CHOICE,
     .choices = "permission|any",
     .preset = "permission",
     .help = "who may connect to a TCP relay: peers with a permission, or any allowed address"},
    {.name = "mobility",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "clients may take their allocations to another address (RFC 8016)"},
    {.name = "alternate-server",
     .type = CONF_ADDR,
     .many = true,
     .help = "where clients are sent while draining, or when max-allocations is reached"},
    {.name = "alternate-domain",
     .type = CONF_TEXT,
     .help = "the name in that server's certificate, where it is another one"},
    {.name = "max-allocations",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 100000,
     .preset = "1000",
     .help = "allocations, in all"},
    {.name = "max-per-user",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 100000,
     .preset = "200",
     .help = "relays of one user, and ports kept by EVEN-PORT"},
    {.name = "max-connections",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 1000000,
     .preset = "4000",
     .help = "clients' TCP connections that carry no pipe, in all"},
    {.name = "max-peers",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 1000,
     .preset = "32",
     .help = "peers' TCP connections of one allocation"},
    {.name = "max-unbound",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 1000,
     .preset = "16",
     .help = "peers' TCP connections of one allocation that wait for ConnectionBind"},
    {.name = "max-peers-per-user",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "1000",
     .help = "peers' TCP connections of one user, on all his allocations; 0: any"},
    {.name = "max-unbound-per-user",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "100",
     .help = "of those, the ones that wait for ConnectionBind; 0: any"},
    {.name = "max-peers-in-all",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 1000000,
     .preset = "2000",
     .help = "peers' TCP connections, in all"},
    {.name = "tcp-connect",
     .type = CONF_CHOICE,
     .choices = "named|any|off",
     .preset = "named",
     .help = "which peers clients may connect to (Connect): those that peer-allow or a "
             "section peers.NAME names, any, or none"},
    {.name = "max-connects",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "20",
     .help = "Connects of one user in a second, so that nobody scans ports; 0: any"},
    {.name = "max-bandwidth-per-allocation",
     .type = CONF_TEXT,
     .preset = "0",
     .help = "relayed in a second, each way: kbit, or with a unit (500k, 20M, 1G); 0: any"},
    {.name = "max-bandwidth-per-user",
     .type = CONF_TEXT,
     .preset = "0",
     .help = "the same of all allocations of one user"},
    {.name = "max-bandwidth",
     .type = CONF_TEXT,
     .preset = "0",
     .help = "the same of all together"},
    {.name = "max-permissions",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 1000,
     .preset = "64",
     .help = "permissions of one allocation"},
    {.name = "max-channels",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 1000,
     .preset = "64",
     .help = "channels of one allocation"},
    {.name = "max-accepts",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "200",
     .help = "new TCP connections a second from one network; 0: any"},
    {.name = "max-strangers",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "400",
     .help = "TCP connections without an allocation from one network; 0: any"},
    {.name = "max-answers",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "200",
     .help = "answers a second over UDP to one network that has not shown a password; 0: any"},
    {.name = "max-failures",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000,
     .preset = "50",
     .help = "wrong names and passwords a second from one network; 0: any"},
    {.name = "network-ip4",
     .type = CONF_NUMBER,
     .min = 8,
     .max = 32,
     .unit = "bits",
     .preset = "24",
     .help =
         "addresses that have these in common are one network, where limits are by network"},
    {.name = "network-ip6",
     .type = CONF_NUMBER,
     .min = 16,
     .max = 128,
     .unit = "bits",
     .preset = "56",
     .help = "the same for IPv6"},
    {.name = "max-lifetime",
     .type = CONF_NUMBER,
     .min = 600,
     .max = 86400,
     .unit = "seconds",
     .preset = "3600",
     .help = "longest life of an allocation without a Refresh; 600 without a wish"},
    {.name = "nonce-life",
     .type = CONF_NUMBER,
     .min = 30,
     .max = 86400,
     .unit = "seconds",
     .preset = "3600",
     .help = "how long a nonce is good"},
    {.name = "idle",
     .type = CONF_NUMBER,
     .min = 5,
     .max = 3600,
     .unit = "seconds",
     .preset = "60",
     .help = "a silent TCP connection without an allocation is closed"},
    {.name = "first-message",
     .type = CONF_NUMBER,
     .min = 3,
     .max = 3600,
     .unit = "seconds",
     .preset = "10",
     .help =
         "a TCP connection is closed that has not sent a whole message (behind TLS) by then"},
    {.name = "udp-buffer",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 1000000000,
     .unit = "bytes",
     .preset = "4194304",
     .help = "what the system should hold for a listener, each way; 0: what it holds anyway"},
    {.name = "control",
     .type = CONF_TEXT,
     .help = "Unix socket for causeway-edge ctl, or off; else " EDGE_CONTROL_PATH
             " if it can be made"},
    {.name = "control-mode",
     .type = CONF_CHOICE,
     .choices = "0600|0660",
     .preset = "0600",
     .help = "who may use it: the owner, or the group too"},
    {.name = "drain-limit",
     .type = CONF_NUMBER,
     .min = 0,
     .max = 86400,
     .unit = "seconds",
     .preset = "10",
     .help = "allocations may go on for so long after SIGTERM"},
    {.name = "metrics",
     .type = CONF_ADDR,
     .help = "where Prometheus gets /metrics, over plain HTTP; a loopback address"},
    {.name = "metrics-anywhere",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "metrics may be at another address than loopback: anybody there can read them"},
    {.name = "run-as",
     .type = CONF_TEXT,
     .help = "USER or USER:GROUP to become when the sockets are open, for one started as root"},
    {.name = "sandbox",
     .type = CONF_BOOL,
     .preset = "on",
     .help = "give up system calls that it never needs (seccomp)"},
    {.name = "log",
     .type = CONF_CHOICE,
     .choices = "text|json",
     .preset = "text",
     .help = "form of the log lines on stderr"},
    {.name = "log-level",
     .type = CONF_CHOICE,
     .reloads = true,
     .choices = "error|warn|info|debug",
     .preset = "info",
     .help = "the least that is logged"},
    {.name = NULL },
};

static const struct conf_section sections[] = {
    {.kind = "realm",
     .options = realm_options,
     .max = TURN_REALMS_MAX - 1,
     .help = "a realm of its own, beside the default one of the option realm"},
    {.kind = "peers",
     .options = peers_options,
     .max = TURN_NETS_MAX,
     .reloads = true,
     .help = "a pool of addresses that may, or may not, be peers"},
    {.kind = NULL                         },
};

const struct conf_program edge_program = {
    .name = "causeway-edge",
    .summary = "TURN server with TCP relays (RFC 8656, RFC 6062)",
    .options = options,
    .sections = sections,
};

bool edge_conf_add_own(struct edge_conf *e, const struct addr *a)
{
    for (size_t i = 0; i < e->policy.n_own; i++) {
        if (addr_ip_eq(&e->policy.own[i], a)) {
            return true;
        }
    }
    if (e->policy.n_own == TURN_OWN_MAX) {
        return false;
    }
    e->policy.own[e->policy.n_own++] = *a;
    return true;
}

static uint32_t number(const struct conf *c, const char *name)
{
    return (uint32_t)conf_number(c, name);
}

static bool read_control(struct edge_conf *e, struct conf *c)
{
    const char *path = conf_text(c, "control", 0);
    e->control_is_default = !path;
    e->control = path ? path : EDGE_CONTROL_PATH;
    e->control_mode = conf_choice(c, "control-mode") == 1 ? 0660 : 0600;
    e->drain_limit_s = number(c, "drain-limit");
    if (path && strcmp(path, "off") == 0) {
        e->control = NULL;
    } else if (e->control[0] != '/') {
        conf_fail(c, "control", 0, "must be a path that begins with /, or off");
        return false;
    }
    return true;
}

static bool read_rights(struct edge_conf *e, struct conf *c)
{
    const char *who = conf_text(c, "run-as", 0);
    const char *wrong = who ? daemon_find_user(&e->run_as, who) : NULL;
    e->becomes = who != NULL;
    e->sandbox = conf_bool(c, "sandbox");
    if (wrong) {
        conf_fail(c, "run-as", 0, "%s", wrong);
    }
    return !wrong;
}

static bool read_metrics(struct edge_conf *e, struct conf *c)
{
    if (conf_count(c, "metrics") == 0) {
        return true;
    }
    e->metrics = conf_addr(c, "metrics", 0);
    const char *kind = addr_special(&e->metrics);
    if (!conf_bool(c, "metrics-anywhere") && (!kind || strcmp(kind, "loopback") != 0)) {
        conf_fail(c, "metrics", 0,
                  "must be a loopback address: there is no login. metrics-anywhere = on if "
                  "something else keeps strangers out");
        return false;
    }
    return true;
}

static bool read_tls(struct edge_conf *e, struct conf *c)
{
    struct tls_config cfg = {.alpn = "stun.turn,stun.nat-discovery"}; /* RFC 7443 */
    char why[TLS_WHY_MAX];
    bool has_cert = conf_count(c, "tls-cert") > 0, has_key = conf_count(c, "tls-key") > 0;
    bool has_dtls = conf_bool(c, "dtls");
    e->run.max_dtls = has_dtls ? number(c, "max-dtls") : 0;
    e->run.max_dtls_per_address = number(c, "max-dtls-per-address");
    if (has_cert != has_key) {
        conf_fail(c, has_cert ? "tls-cert" : "tls-key", 0, "tls-cert and tls-key go together");
        return false;
    }
    if (!has_cert) {
        return true;
    }
    cfg.cert_file = conf_text(c, "tls-cert", 0);
    cfg.key_file = conf_text(c, "tls-key", 0);
    int err = tls_context_new(&e->tls, &cfg, why);
    err = err || !has_dtls ? err : dtls_context_new(&e->dtls, &cfg, why);
    if (err) {
        conf_fail(c, "tls-cert", 0, "%s", err == ERR_SYSTEM ? why : err_text(err));
    }
    e->run.tls = e->tls;
    e->run.dtls = e->dtls;
    return !err;
}

bool edge_conf_read(struct edge_conf *e, struct conf *c)
{
    static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    *e = (struct edge_conf){
        .log = {.level = levels[conf_choice(c, "log-level")],
                .format = conf_choice(c, "log") == 1 ? LOG_JSON : LOG_TEXT,
                .program = "causeway-edge",
                .fd = 2}
    };
    e->run.log = &e->log;
    e->run.server.policy = &e->policy;
    return doors_read_listen(e, c) && nat_read(e, c) && relays_read(e, c) &&
           limits_read(e, c) && read_control(e, c) && read_metrics(e, c) && read_rights(e, c) &&
           peers_read(e, c) && read_tls(e, c) && realms_read(e, c) && doors_read(e, c) &&
           tokens_read(e, c) && users_read(e, c) && peers_read_database(e, c);
}

bool edge_conf_valid(struct conf *c)
{
    struct edge_conf e;
    bool ok = edge_conf_read(&e, c);
    edge_conf_done(&e);
    return ok;
}

void edge_conf_done(struct edge_conf *e)
{
    tls_context_free(e->tls);
    tls_context_free(e->dtls);
    users_done(e);
    tokens_done(e);
}

void edge_conf_take(struct edge_conf *e, struct edge_conf *fresh)
{
    users_take(e, fresh);
    tls_context_free(e->tls);
    e->tls = e->run.tls = fresh->tls;
    fresh->tls = NULL;
    tls_context_free(e->dtls);
    e->dtls = e->run.dtls = fresh->dtls;
    fresh->dtls = NULL;
    if (!peers_take(e, fresh)) {
        LOG(&e->log, LOG_WARN, "own-addresses-full", LOG_N("max", TURN_OWN_MAX));
    }
    e->log.level = fresh->log.level;
}
