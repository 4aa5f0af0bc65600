/* Options of causeway-meet. */
#include "cmd/meet/conf.h"

#include "lib/base/text.h"

enum {
    TURN_TEXT_MAX = 512
};

static const struct conf_option options[] = {
    {.name = "sip",
     .type = CONF_TEXT,
     .many = true,
     .preset = "tcp:0.0.0.0:5060",
     .help = "where SIP is taken: udp:ADDR:PORT, tcp:ADDR:PORT or tls:ADDR:PORT"},
    {.name = "tls-cert",                                                                     .type = CONF_FILE, .help = "certificate chain for tls, PEM"},
    {.name = "tls-key",      .type = CONF_FILE, .help = "its private key, PEM"},
    {.name = "tls-ca",
     .type = CONF_FILE,
     .help = "certificates a TLS peer's is checked against, PEM; makes one mandatory"},
    {.name = "domain",
     .type = CONF_TEXT,
     .help = "of sip:SPACE@DOMAIN; without it any domain is taken"},
    {.name = "space",
     .type = CONF_TEXT,
     .many = true,
     .required = true,
     .help = "name of a space that can be called: letters, digits and -_.~"},
    {.name = "turn",
     .type = CONF_TEXT,
     .help = "TURN server for relay candidates (TCP): ADDR:PORT, or a URI as turn:example.org"},
    {.name = "dns",
     .type = CONF_ADDR,
     .help = "the name server to ask, in place of the system's"},
    {.name = "turn-user",
     .type = CONF_PAIR,
     .secret = true,
     .help = "NAME:PASSWORD at the TURN server"},
    {.name = "media-address",
     .type = CONF_IP,
     .many = true,
     .help = "an own address for host candidates; none: the relay only"},
    {.name = "allow-unencrypted-media",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "take shares whose RDP is not protected by SRTP"},
    {.name = "web",
     .type = CONF_ADDR,
     .preset = "0.0.0.0:8080",
     .help = "where the page is served"},
    {.name = "max-shares",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 200,
     .preset = "20",
     .help = "shares at a time, a causeway-rdp process each; more get 486"},
    {.name = "max-viewers",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 10000,
     .preset = "200",
     .help = "web viewers at a time, in all"},
    {.name = "max-viewers-per-space",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 10000,
     .preset = "100",
     .help = "web viewers of one space"},
    {.name = "max-fps",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 60,
     .preset = "15",
     .help = "pictures a second to one viewer"},
    {.name = "rdp-program",
     .type = CONF_FILE,
     .help = "causeway-rdp; found beside this program otherwise"},
    {.name = "log",
     .type = CONF_CHOICE,
     .choices = "text|json",
     .preset = "text",
     .help = "form of the log lines"},
    {.name = "log-level",
     .type = CONF_CHOICE,
     .choices = "error|warn|info|debug",
     .preset = "info",
     .help = "what is logged"},
    {.name = NULL                                                                               },
};

const struct conf_program meet_program = {
    .name = "causeway-meet",
    .summary =
        "Meeting server: takes Skype for Business screen shares and shows them on a page.",
    .options = options,
};

static bool read_listen(const char *text, enum sip_transport *transport, struct addr *at)
{
    struct slice rest = slice_str(text);
    struct slice name = text_split(&rest, ':');
    static const char *const names[] = {
        [SIP_UDP] = "udp", [SIP_TCP] = "tcp", [SIP_TLS] = "tls"};
    for (int i = SIP_UDP; i <= SIP_TLS; i++) {
        if (text_is(name, names[i])) {
            *transport = (enum sip_transport)i;
            return addr_parse(rest, at) == OK;
        }
    }
    return false;
}

static bool name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "0123456789-_.~");
    return n > 0 && n <= SPACE_NAME_MAX && name[n] == '\0';
}

/* A URI, or what is short for one. We speak TCP to the server, without TLS. */
static int read_turn(struct turn_uri *out, const char *text, const char **why)
{
    uint8_t buf[TURN_TEXT_MAX];
    struct wr w = wr_over(buf, sizeof buf);
    struct addr at;
    if (addr_parse(slice_str(text), &at) == OK) {
        wr_bytes(&w, slice_str("turn:"));
    }
    wr_bytes(&w, slice_str(text));
    int err = turn_uri_parse(out, wr_done(&w), why);
    if (!err && (out->is_stun || out->is_secure || out->way == TURN_WAY_UDP)) {
        *why = "we speak TCP without TLS to it: want turn:HOST or turn:HOST?transport=tcp";
        err = ERR_UNSUPPORTED;
    }
    return err;
}

bool meet_conf_validate(struct conf *c)
{
    struct turn_uri turn;
    const char *why;
    enum sip_transport transport;
    struct addr at;
    for (size_t i = 0; i < conf_count(c, "sip"); i++) {
        if (i >= SIP_LISTEN_MAX || !read_listen(conf_text(c, "sip", i), &transport, &at)) {
            conf_fail(c, "sip", i, "want udp:, tcp: or tls: and ADDR:PORT, at most %d of them",
                      SIP_LISTEN_MAX);
            return false;
        }
        if (transport == SIP_TLS && (!conf_count(c, "tls-cert") || !conf_count(c, "tls-key"))) {
            conf_fail(c, "sip", i, "tls needs tls-cert and tls-key");
            return false;
        }
    }
    for (size_t i = 0; i < conf_count(c, "space"); i++) {
        if (!name_ok(conf_text(c, "space", i))) {
            conf_fail(c, "space", i, "want 1 to %d of letters, digits and -_.~",
                      SPACE_NAME_MAX);
            return false;
        }
    }
    if (conf_count(c, "turn") && read_turn(&turn, conf_text(c, "turn", 0), &why)) {
        conf_fail(c, "turn", 0, "%s", why);
        return false;
    }
    if (conf_count(c, "turn") && !conf_count(c, "turn-user")) {
        conf_fail(c, "turn", 0, "a TURN server needs turn-user as well");
        return false;
    }
    if (conf_count(c, "media-address") > MEETING_HOSTS_MAX) {
        conf_fail(c, "media-address", MEETING_HOSTS_MAX, "at most %d", MEETING_HOSTS_MAX);
        return false;
    }
    return true;
}

static const char *text_or_null(const struct conf *c, const char *name)
{
    return conf_count(c, name) ? conf_text(c, name, 0) : NULL;
}

void meet_conf_read(const struct conf *c, struct meeting_config *cfg, struct log *log)
{
    *log = (struct log){.level = (enum log_level)conf_choice(c, "log-level"),
                        .format = (enum log_format)conf_choice(c, "log"),
                        .program = "causeway-meet",
                        .fd = 2};
    *cfg = (struct meeting_config){.log = log};
    cfg->domain = text_or_null(c, "domain");
    if (conf_count(c, "turn")) {
        const char *why;
        (void)!read_turn(&cfg->turn_uri, conf_text(c, "turn", 0), &why);
        conf_pair(c, "turn-user", 0, &cfg->turn_username, &cfg->turn_password);
    }
    if (conf_count(c, "dns")) {
        cfg->dns = conf_addr(c, "dns", 0);
    }
    cfg->n_media_hosts = conf_count(c, "media-address");
    for (size_t i = 0; i < cfg->n_media_hosts; i++) {
        cfg->media_host[i] = conf_addr(c, "media-address", i);
    }
    cfg->max_shares = (uint32_t)conf_number(c, "max-shares");
    cfg->allow_unencrypted = conf_bool(c, "allow-unencrypted-media");
    cfg->rdp_program = text_or_null(c, "rdp-program");
    cfg->sip = (struct sip_run_config){
        .ua = {.user_agent = slice_str("Causeway"),
               .max_dialogs = 256,
               .max_transactions = 1024},
        .log = log,
        .n_listen = conf_count(c, "sip"),
        .tls_cert = text_or_null(c, "tls-cert"),
        .tls_key = text_or_null(c, "tls-key"),
        .tls_ca = text_or_null(c, "tls-ca"),
        .tls_require_peer_cert = conf_count(c, "tls-ca") > 0,
        .max_flows = 512,
        .idle_s = 600,
        .silent_s = 15,
        .log_messages = true,
    };
    for (size_t i = 0; i < cfg->sip.n_listen; i++) {
        (void)read_listen(conf_text(c, "sip", i), &cfg->sip.listen[i].transport,
                          &cfg->sip.listen[i].at);
    }
    cfg->web = (struct web_config){
        .listen = conf_addr(c, "web", 0),
        .log = log,
        .max_viewers = (uint32_t)conf_number(c, "max-viewers"),
        .max_viewers_per_space = (uint32_t)conf_number(c, "max-viewers-per-space"),
        .max_fps = (uint32_t)conf_number(c, "max-fps"),
    };
}
