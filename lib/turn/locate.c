/* From a URI to servers. What is still to be looked at lies on a stack of steps, the next one
 * on top; the answer to a query puts what follows from it in the query's place. */
#include "lib/turn/locate.h"

#include <stdlib.h>

#include "lib/base/text.h"

enum {
    STEPS_MAX = 64,  /* what an answer adds beyond this is left out */
    QUERIES_MAX = 24 /* an answer cannot send us round for ever */
};

enum step_kind {
    STEP_NAPTR,
    STEP_SRV,
    STEP_HOST,     /* addresses of `name` */
    STEP_FALLBACK, /* the same, if no record led anywhere before */
    STEP_SERVER
};

struct step {
    enum step_kind kind;
    char name[DNS_NAME_MAX];
    enum turn_way way; /* TURN_WAY_NONE: each that the client can use */
    uint16_t port;
    struct addr server;
};

struct locate {
    struct locate_config cfg; /* ways: those that the URI leaves */
    struct step steps[STEPS_MAX];
    size_t n_steps, n_queries;
    struct step asked;
    bool is_asking, is_found; /* found: NAPTR or SRV records that can be used */
};

/* RFC 5928 3, table 1, and RFC 7350 for DTLS. */
static const struct {
    bool is_secure;
    const char *label, *tag; /* of SRV names; of NAPTR services */
} ways[] = {
    [TURN_WAY_NONE] = {false, "",       ""         },
    [TURN_WAY_UDP] = {false, "._udp.", "turn.udp" },
    [TURN_WAY_TCP] = {false, "._tcp.", "turn.tcp" },
    [TURN_WAY_TLS] = {true,  "._tcp.", "turn.tls" },
    [TURN_WAY_DTLS] = {true,  "._udp.", "turn.dtls"},
};

static void push(struct locate *l, const struct step *s)
{
    if (l->n_steps < STEPS_MAX) {
        l->steps[l->n_steps++] = *s;
    }
}

/* The stack's top is what was pushed last: turns round what was pushed since `from`. */
static void turn_round(struct locate *l, size_t from)
{
    for (size_t a = from, b = l->n_steps; a + 1 < b; a++) {
        struct step s = l->steps[a];
        l->steps[a] = l->steps[--b];
        l->steps[b] = s;
    }
}

static void push_server(struct locate *l, const struct addr *ip, uint16_t port,
                        enum turn_way way)
{
    struct step s = {.kind = STEP_SERVER, .way = way, .port = port, .server = *ip};
    for (size_t i = 0; i < l->cfg.n_ways; i++) {
        if (way == TURN_WAY_NONE || way == l->cfg.ways[i]) {
            s.way = l->cfg.ways[i];
            s.server.port = port;
            push(l, &s);
        }
    }
}

static bool set_name(struct step *s, const char *service, const char *label, const char *name)
{
    struct wr w = wr_over((uint8_t *)s->name, sizeof s->name);
    wr_bytes(&w, slice_str(service));
    wr_bytes(&w, slice_str(label));
    wr_bytes(&w, slice_str(name));
    wr_u8(&w, 0);
    return !w.err;
}

static void push_named(struct locate *l, enum step_kind kind, const char *name,
                       enum turn_way way)
{
    struct step s = {.kind = kind, .way = way, .port = turn_uri_port(&l->cfg.uri)};
    if (name[0] && set_name(&s, "", "", name)) {
        push(l, &s);
    }
}

/* "_turns._tcp.example.org" */
static void push_srv(struct locate *l, const char *domain, enum turn_way way)
{
    struct step s = {.kind = STEP_SRV, .way = way};
    const char *service = l->cfg.uri.is_stun ? "_stun" : "_turn";
    if (set_name(&s, ways[way].is_secure ? (l->cfg.uri.is_stun ? "_stuns" : "_turns") : service,
                 ways[way].label, domain)) {
        push(l, &s);
    }
}

/* RFC 5928 3, steps 1 to 4. STUN has no NAPTR records (RFC 8489 8.1). */
static void begin(struct locate *l)
{
    const struct turn_uri *u = &l->cfg.uri;
    if (u->ip.family != ADDR_NONE) {
        push_server(l, &u->ip, turn_uri_port(u), TURN_WAY_NONE);
    } else if (u->port) {
        push_named(l, STEP_HOST, u->host, TURN_WAY_NONE);
    } else if (u->way == TURN_WAY_NONE && !u->is_stun) {
        push_named(l, STEP_NAPTR, u->host, TURN_WAY_NONE);
    } else {
        for (size_t i = 0; i < l->cfg.n_ways; i++) {
            push_srv(l, u->host, l->cfg.ways[i]);
        }
        push_named(l, STEP_FALLBACK, u->host, TURN_WAY_NONE);
    }
    turn_round(l, 0);
}

int locate_new(struct locate **out, const struct locate_config *cfg)
{
    struct locate *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) {
        return ERR_NOMEM;
    }
    l->cfg = *cfg;
    l->cfg.n_ways = 0;
    for (size_t i = 0; i < cfg->n_ways; i++) {
        enum turn_way way = cfg->ways[i];
        if (ways[way].is_secure == cfg->uri.is_secure &&
            (cfg->uri.way == TURN_WAY_NONE || cfg->uri.way == way)) {
            l->cfg.ways[l->cfg.n_ways++] = way;
        }
    }
    if (l->cfg.n_ways == 0) {
        locate_free(l);
        return ERR_UNSUPPORTED;
    }
    begin(l);
    *out = l;
    return OK;
}

void locate_free(struct locate *l)
{
    free(l);
}

static enum dns_type type_of(enum step_kind kind)
{
    return kind == STEP_NAPTR ? DNS_NAPTR : kind == STEP_SRV ? DNS_SRV : DNS_ADDR;
}

void locate_next(struct locate *l, struct locate_action *out)
{
    *out = (struct locate_action){.what = LOCATE_END};
    if (l->is_asking) { /* not answered, and now never will be */
        locate_answer(l, NULL, 0);
    }
    while (l->n_steps > 0) {
        struct step *s = &l->steps[--l->n_steps];
        if (s->kind == STEP_SERVER) {
            out->what = LOCATE_SERVER;
            out->server = s->server;
            out->way = s->way;
            return;
        }
        bool is_needed = s->kind != STEP_FALLBACK || !l->is_found;
        if (is_needed && l->n_queries < QUERIES_MAX) {
            l->n_queries++;
            l->asked = *s;
            l->is_asking = true;
            out->what = LOCATE_QUERY;
            out->type = type_of(s->kind);
            out->name = l->asked.name;
            return;
        }
    }
}

static void answer_host(struct locate *l, const struct step *asked, const struct dns_record *r,
                        size_t n)
{
    /* All addresses by the best way, then all by the next one. */
    for (size_t w = 0; w < l->cfg.n_ways; w++) {
        enum turn_way way = l->cfg.ways[w];
        for (size_t i = 0; i < n && (!asked->way || asked->way == way); i++) {
            push_server(l, &r[i].addr, asked->port, way);
        }
    }
}

static uint32_t random_below(struct locate *l, uint32_t n)
{
    uint32_t v = 0;
    l->cfg.random(&v, sizeof v, l->cfg.ctx);
    return (uint32_t)(((uint64_t)v * n) >> 32);
}

/* RFC 2782: of the lowest priority that is left, one by chance and by weight. */
static size_t pick_srv(struct locate *l, const struct dns_record *r, size_t n, const bool *used)
{
    uint32_t lowest = UINT32_MAX, total = 0;
    for (size_t i = 0; i < n; i++) {
        lowest = !used[i] && r[i].order < lowest ? r[i].order : lowest;
    }
    for (size_t i = 0; i < n; i++) {
        total += !used[i] && r[i].order == lowest ? r[i].weight : 0u;
    }
    uint32_t at = random_below(l, total + 1), sum = 0;
    /* Weight 0 comes first in the running sum, or it would never be picked beside others. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            if (used[i] || r[i].order != lowest || (r[i].weight != 0) != pass) {
                continue;
            }
            sum += r[i].weight;
            if (sum >= at) {
                return i;
            }
        }
    }
    return n;
}

static void answer_srv(struct locate *l, const struct step *asked, const struct dns_record *r,
                       size_t n)
{
    bool used[DNS_RECORDS_MAX] = {false};
    size_t at;
    for (size_t k = 0; k < n && (at = pick_srv(l, r, n, used)) < n; k++) {
        struct step s = {.kind = STEP_HOST, .way = asked->way, .port = r[at].port};
        used[at] = true;
        l->is_found = true;
        /* A target of "." says that there is no such service here: nothing to look up. */
        bool is_none = r[at].name[0] == '\0' || strcmp(r[at].name, ".") == 0;
        if (!is_none && r[at].port && set_name(&s, "", "", r[at].name)) {
            push(l, &s);
        }
    }
}

/* "RELAY:turn.udp:turn.tcp": does it name the way? "RELAY" alone names every one (RFC
 * 3958 6.5). */
static bool has_tag(const char *service, enum turn_way way)
{
    struct slice rest = slice_str(service);
    if (!text_is(text_split(&rest, ':'), "RELAY")) {
        return false;
    }
    bool any = rest.len == 0;
    while (rest.len > 0 && !any) {
        any = text_is(text_split(&rest, ':'), ways[way].tag);
    }
    return any;
}

static void use_naptr(struct locate *l, const struct dns_record *r)
{
    bool is_more = r->flags[0] == '\0', is_srv = text_is(slice_str(r->flags), "s");
    bool is_host = text_is(slice_str(r->flags), "a"), was_pushed = false;
    for (size_t i = 0; i < l->cfg.n_ways; i++) {
        enum turn_way way = l->cfg.ways[i];
        if (r->has_regexp || !has_tag(r->service, way) || (is_more && was_pushed)) {
            continue;
        }
        if (is_more) {
            push_named(l, STEP_NAPTR, r->name, way);
        } else if (is_host) {
            push_named(l, STEP_HOST, r->name, way);
        } else if (is_srv) {
            struct step s = {.kind = STEP_SRV, .way = way};
            if (set_name(&s, "", "", r->name)) {
                push(l, &s);
            }
        }
        was_pushed = true;
        l->is_found |= is_more || is_host || is_srv;
    }
}

/* RFC 3958 2.2.1: by order, then by preference; each leads to a lookup of its own. */
static void answer_naptr(struct locate *l, const struct step *asked, const struct dns_record *r,
                         size_t n)
{
    bool used[DNS_RECORDS_MAX] = {false};
    bool was_found = l->is_found;
    for (size_t k = 0; k < n; k++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            bool is_first = best == n || r[i].order < r[best].order ||
                            (r[i].order == r[best].order && r[i].weight < r[best].weight);
            best = !used[i] && is_first ? i : best;
        }
        used[best] = true;
        use_naptr(l, &r[best]);
    }
    if (l->is_found || was_found) {
        return;
    }
    for (size_t i = 0; i < l->cfg.n_ways; i++) {
        push_srv(l, asked->name, l->cfg.ways[i]);
    }
    push_named(l, STEP_FALLBACK, asked->name, TURN_WAY_NONE);
}

void locate_answer(struct locate *l, const struct dns_record *records, size_t n)
{
    size_t from = l->n_steps;
    n = n < DNS_RECORDS_MAX ? n : DNS_RECORDS_MAX;
    if (!l->is_asking) {
        return;
    }
    l->is_asking = false;
    switch (l->asked.kind) {
    case STEP_NAPTR: answer_naptr(l, &l->asked, records, n); break;
    case STEP_SRV: answer_srv(l, &l->asked, records, n); break;
    case STEP_HOST:
    case STEP_FALLBACK: answer_host(l, &l->asked, records, n); break;
    case STEP_SERVER: break;
    }
    turn_round(l, from);
}
