/* [realm.NAME]: users that are apart from the others, found by SNI or listening address. */
#include "cmd/edge/realms.h"

const struct conf_option realm_options[] = {
    {.name = "name",                                                                        .type = CONF_TEXT, .help = "the realm; else NAME"},
    {.name = "sni",
     .type = CONF_TEXT,
     .many = true,
     .help = "TLS clients that ask for this name are of this realm"},
    {.name = "listen",
     .type = CONF_ADDR,
     .many = true,
     .help = "serves here too, over UDP and TCP: clients that come here are of this realm"},
    {.name = "user",
     .type = CONF_PAIR,
     .reloads = true,
     .many = true,
     .secret = true,
     .help = "a client that may allocate"},
    {.name = "user-file",
     .type = CONF_FILE,
     .reloads = true,
     .help = "a file with one NAME:PASSWORD a line; # begins a comment"},
    {.name = "secret",
     .type = CONF_TEXT,
     .reloads = true,
     .many = true,
     .secret = true,
     .help = "a secret of TURN REST for this realm, in place of those of the default one"},
    {.name = NULL},
};

static const char *add(struct turn_config *s, const char *name)
{
    struct slice realm = slice_str(name);
    if (realm.len == 0 || realm.len > 128) {
        return "must have 1 to 128 bytes";
    }
    for (size_t i = 0; i < s->n_realms; i++) {
        if (slice_eq(s->realms[i], realm)) {
            return "is the name of another realm";
        }
    }
    s->realms[s->n_realms++] = realm;
    return NULL;
}

bool realms_read(struct edge_conf *e, struct conf *c)
{
    for (size_t i = 0; i < conf_sections(c, "realm"); i++) {
        struct conf *section = conf_section(c, "realm", i);
        const char *name = conf_text(section, "name", 0);
        const char *wrong = add(&e->run.server, name ? name : conf_section_name(section));
        if (wrong) {
            conf_fail(section, "name", 0, "%s", wrong);
            return false;
        }
        if (conf_count(section, "sni") + conf_count(section, "listen") == 0) {
            conf_fail(section, "sni", 0,
                      "nobody could come to it: give a name or an address "
                      "to listen at");
            return false;
        }
    }
    return true;
}

bool realms_same(const struct edge_conf *a, const struct edge_conf *b)
{
    const struct turn_config *x = &a->run.server, *y = &b->run.server;
    bool same = x->n_realms == y->n_realms;
    for (size_t i = 0; i < x->n_realms && same; i++) {
        same = slice_eq(x->realms[i], y->realms[i]);
    }
    return same;
}
