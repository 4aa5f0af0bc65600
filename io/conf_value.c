/* Values of options: one table row per type. */
#include "lib/base/text.h"

#include "io/conf_impl.h"

bool conf_parse_bool(struct slice text, bool *out)
{
    *out = text_is(text, "on") || text_is(text, "yes") || text_is(text, "true");
    return *out || text_is(text, "off") || text_is(text, "no") || text_is(text, "false");
}

bool conf_parse_number(struct slice text, int64_t *out)
{
    bool is_negative = text.len > 0 && text.p[0] == '-';
    uint64_t v;
    if (text_u64(slice_from(text, is_negative), INT64_MAX, &v)) {
        return false;
    }
    *out = is_negative ? -(int64_t)v : (int64_t)v;
    return true;
}

bool conf_parse_ports(struct slice text, uint16_t *first, uint16_t *last)
{
    uint64_t a, b;
    struct slice rest = text;
    struct slice head = text_split(&rest, '-');
    bool is_range = head.len < text.len;
    if (text_u64(text_trim(head), UINT16_MAX, &a) ||
        text_u64(text_trim(is_range ? rest : head), UINT16_MAX, &b) || a == 0 || a > b) {
        return false;
    }
    *first = (uint16_t)a;
    *last = (uint16_t)b;
    return true;
}

bool conf_parse_choice(const char *choices, struct slice text, size_t *out)
{
    struct slice left = slice_str(choices);
    for (*out = 0; left.len > 0; ++*out) {
        if (slice_eq(text_split(&left, '|'), text)) {
            return true;
        }
    }
    return false;
}

static bool ok_any(const struct conf_option *o, struct slice text)
{
    (void)o;
    (void)text;
    return true;
}

static bool ok_bool(const struct conf_option *o, struct slice text)
{
    bool v;
    (void)o;
    return conf_parse_bool(text, &v);
}

static bool ok_number(const struct conf_option *o, struct slice text)
{
    int64_t v;
    return conf_parse_number(text, &v) && v >= o->min && v <= o->max;
}

/* In text that addr_parse() takes; port 0 is a port too. */
static bool names_port(struct slice text)
{
    const uint8_t *end = memchr(text.p, ']', text.len);
    struct slice after = end ? slice_from(text, (size_t)(end - text.p)) : text;
    return memchr(after.p, ':', after.len) != NULL;
}

static bool ok_addr(const struct conf_option *o, struct slice text)
{
    struct addr a;
    (void)o;
    return addr_parse(text, &a) == OK && names_port(text) &&
           !(a.family == ADDR_IP6 && text.p[0] != '[');
}

static bool ok_ip(const struct conf_option *o, struct slice text)
{
    struct addr a;
    (void)o;
    return addr_parse(text, &a) == OK && text.p[0] != '[' &&
           !(a.family == ADDR_IP4 && memchr(text.p, ':', text.len));
}

static bool ok_net(const struct conf_option *o, struct slice text)
{
    struct addr_net net;
    (void)o;
    return addr_net_parse(text, &net) == OK;
}

static bool ok_ports(const struct conf_option *o, struct slice text)
{
    uint16_t first, last;
    (void)o;
    return conf_parse_ports(text, &first, &last);
}

static bool ok_choice(const struct conf_option *o, struct slice text)
{
    size_t i;
    return conf_parse_choice(o->choices, text, &i);
}

static bool ok_pair(const struct conf_option *o, struct slice text)
{
    (void)o;
    struct slice left = text_split(&text, ':');
    return left.len > 0 && text.len > 0;
}

static bool ok_file(const struct conf_option *o, struct slice text)
{
    (void)o;
    return text.len > 0;
}

const struct conf_kind *conf_kind(enum conf_type type)
{
    static const struct conf_kind kinds[] = {
        [CONF_TEXT] = {"TEXT",        "a text",                                                    ok_any   },
        [CONF_BOOL] = {"",            "on or off",                                                 ok_bool  },
        [CONF_NUMBER] = {"N",           "a number",                                                  ok_number},
        [CONF_ADDR] = {"ADDR:PORT",   "an address with a port, 192.0.2.1:3478 or [2001:db8::1]:0",
                       ok_addr                                                                              },
        [CONF_IP] = {"ADDR",        "an address, 192.0.2.1 or 2001:db8::1",                      ok_ip    },
        [CONF_NET] = {"CIDR",        "a network, 10.0.0.0/8 (no bits set after the prefix)",      ok_net   },
        [CONF_PORTS] = {"FIRST-LAST",  "a range of ports, 24000-29999",                             ok_ports },
        [CONF_CHOICE] = {"WORD",        "one of",                                                    ok_choice},
        [CONF_PAIR] = {"NAME:SECRET", "a name, a colon and a secret",                              ok_pair  },
        [CONF_FILE] = {"FILE",        "a path",                                                    ok_file  },
    };
    return &kinds[type];
}

enum {
    NAME_MAX_LEN = 64
};

/* Levenshtein's distance; 99 for names too long to be ours. */
static size_t distance(struct slice a, struct slice b)
{
    size_t row[NAME_MAX_LEN + 1];
    if (a.len > NAME_MAX_LEN || b.len > NAME_MAX_LEN) {
        return 99;
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = diagonal + (a.p[i - 1] != b.p[j - 1]);
            size_t skip = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < skip ? change : skip;
        }
    }
    return row[b.len];
}

const struct conf_option *conf_nearest(const struct conf_option *options, struct slice name)
{
    const struct conf_option *best = NULL;
    size_t least = name.len / 2 < 4 ? name.len / 2 : 4; /* further away it is no help */
    for (const struct conf_option *o = options; o->name; o++) {
        size_t d = distance(slice_str(o->name), name);
        if (d <= least && (!best || d < least)) {
            best = o;
            least = d;
        }
    }
    return best;
}
