/* A line of any bytes as a URI: what was read can be written, and then reads the same. Then its
 * servers are looked for, and the rest of the bytes answers the queries: that must end. */
#include <stdlib.h>

#include "lib/turn/locate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_writing(const struct turn_uri *u)
{
    uint8_t out[320], twice[320];
    struct turn_uri read;
    const char *why;
    struct wr w = wr_over(out, sizeof out), again = wr_over(twice, sizeof twice);
    turn_uri_put(&w, u);
    if (w.err || turn_uri_parse(&read, wr_done(&w), &why)) {
        abort();
    }
    turn_uri_put(&again, &read);
    if (!slice_eq(wr_done(&w), wr_done(&again))) {
        abort();
    }
}

static void take_word(struct rd *r, char *out, size_t cap)
{
    struct slice s = rd_take(r, rd_u8(r) % cap);
    if (s.len > 0) {
        memcpy(out, s.p, s.len);
    }
    out[s.len] = 0;
}

static size_t take_records(struct rd *r, enum dns_type type, struct dns_record *out)
{
    size_t n = rd_u8(r) % (DNS_RECORDS_MAX + 4);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct dns_record){
            .type = type,
            .addr = {.family = ADDR_IP4, .ip = {192, 0, 2, 1}},
            .order = rd_u8(r),
            .weight = rd_u16(r),
            .port = rd_u16(r)
        };
        out[i].has_regexp = type == DNS_NAPTR && out[i].port == 7;
        if (type != DNS_ADDR) {
            take_word(r, out[i].name, sizeof out[i].name);
            take_word(r, out[i].flags, 3);
            take_word(r, out[i].service, sizeof out[i].service);
        }
    }
    return n;
}

static void same(void *out, size_t len, void *ctx)
{
    const struct rd *r = ctx;
    memset(out, (int)r->at, len);
}

static void check_search(const struct turn_uri *u, struct rd *r)
{
    static struct dns_record records[DNS_RECORDS_MAX + 4];
    struct locate_config cfg = {
        .uri = *u,
        .ways = {TURN_WAY_UDP, TURN_WAY_TLS, TURN_WAY_TCP, TURN_WAY_DTLS},
        .n_ways = 4,
        .random = same,
        .ctx = r
    };
    struct locate_action a = {.what = LOCATE_QUERY};
    struct locate *l = NULL;
    if (locate_new(&l, &cfg)) {
        abort();
    }
    for (size_t n = 0; a.what != LOCATE_END; n++) {
        locate_next(l, &a);
        if (n > 1000 || (a.what == LOCATE_QUERY && strlen(a.name) >= DNS_NAME_MAX) ||
            (a.what == LOCATE_SERVER && (a.server.family == ADDR_NONE || !a.way))) {
            abort();
        }
        if (a.what == LOCATE_QUERY) {
            locate_answer(l, records, take_records(r, a.type, records));
        }
    }
    locate_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct turn_uri u;
    const char *why;
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    int err = turn_uri_parse(&u, slice_of(data, n), &why);
    if (!err != !why) {
        abort();
    }
    if (!err) {
        struct rd rest = rd_over(slice_from(slice_of(data, size), n));
        check_writing(&u);
        check_search(&u, &rest);
    }
    return 0;
}
