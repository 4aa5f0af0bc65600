/* From URIs to servers, with a DNS that the test holds. */
#include <stdio.h>

#include "lib/turn/locate.h"

#include "tests/unit.h"

struct row {
    const char *name;
    struct dns_record r;
};

/* clang-format off */
#define A4(last) {.type = DNS_ADDR, .addr = {.family = ADDR_IP4, .ip = {192, 0, 2, last}}}
#define A6(last) \
    {.type = DNS_ADDR, .addr = {.family = ADDR_IP6, .ip = {0x20, 1, 0xd, 0xb8, [15] = last}}}
#define SRV(prio, by, at, to) \
    {.type = DNS_SRV, .order = prio, .weight = by, .port = at, .name = to}
#define NAPTR(first, then, how, what, to) \
    {.type = DNS_NAPTR, .order = first, .weight = then, .flags = how, .service = what, .name = to}

static const struct row zone[] = {
    /* RFC 5928 4.1: one server for several protocols, by S-NAPTR. */
    {"example.com", NAPTR(100, 10, "", "RELAY:turn.udp", "datagram.example.com")},
    {"example.com", NAPTR(200, 10, "", "RELAY:turn.tcp:turn.tls", "stream.example.com")},
    {"datagram.example.com", NAPTR(100, 10, "S", "RELAY:turn.udp", "_udp.example.com")},
    {"stream.example.com", NAPTR(200, 10, "A", "RELAY:turn.tls", "a.example.com")},
    {"stream.example.com", NAPTR(100, 10, "S", "RELAY:turn.tcp", "_turn._tcp.example.com")},
    {"_udp.example.com", SRV(0, 0, 3478, "a.example.com")},
    {"_turn._tcp.example.com", SRV(0, 0, 5000, "a.example.com")},
    {"a.example.com", A4(1)},
    /* No NAPTR; SRV with priorities, and a target of both families. */
    {"_turn._udp.example.net", SRV(20, 0, 2000, "b.example.net")},
    {"_turn._udp.example.net", SRV(10, 0, 1000, "a.example.net")},
    {"_turns._tcp.example.net", SRV(10, 0, 443, "b.example.net")},
    {"_stun._udp.example.net", SRV(10, 0, 99, "b.example.net")},
    {"a.example.net", A6(2)},
    {"a.example.net", A4(2)},
    {"b.example.net", A4(3)},
    {"example.net", A4(9)},
    /* Neither: only addresses. */
    {"example.org", A4(4)},
    /* "There is no such service here." */
    {"_turn._tcp.none.example", SRV(0, 0, 0, ".")},
    {"none.example", A4(5)},
    /* Records for others, and one with a regular expression, lead nowhere. */
    {"sip.example", NAPTR(1, 1, "S", "SIP+D2U", "_sip._udp.sip.example")},
    {"sip.example",
     {.type = DNS_NAPTR, .flags = "S", .service = "RELAY:turn.udp", .has_regexp = true}},
    {"sip.example", NAPTR(1, 1, "U", "RELAY:turn.udp", "sip.example")},
    {"sip.example", A4(6)},
    /* Round and round. */
    {"loop.example", NAPTR(1, 1, "", "RELAY", "loop.example")},
};
/* clang-format on */

static void zero_random(void *out, size_t len, void *ctx)
{
    (void)ctx;
    memset(out, 0, len);
}

static size_t look_up(const struct locate_action *q, struct dns_record *out)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof zone / sizeof *zone && n < DNS_RECORDS_MAX; i++) {
        if (zone[i].r.type == q->type && strcmp(zone[i].name, q->name) == 0) {
            out[n++] = zone[i].r;
        }
    }
    return n;
}

/* "udp 192.0.2.1:3478, ..." */
static const char *servers(const char *text, enum turn_way a, enum turn_way b, enum turn_way c)
{
    static const char *const names[] = {"none", "udp", "tcp", "tls", "dtls"};
    static char out[1024];
    char at[ADDR_TEXT_MAX];
    const char *why;
    struct locate_config cfg = {
        .ways = {a, b, c},
          .n_ways = 3, .random = zero_random
    };
    struct locate *l;
    struct locate_action act;
    struct dns_record records[DNS_RECORDS_MAX];
    size_t len = 0, n_steps = 0;
    out[0] = '\0';
    assert_int_equal(turn_uri_parse(&cfg.uri, slice_str(text), &why), OK);
    assert_int_equal(locate_new(&l, &cfg), OK);
    for (locate_next(l, &act); act.what != LOCATE_END; locate_next(l, &act)) {
        assert_true(n_steps++ < 200);
        if (act.what == LOCATE_QUERY) {
            size_t n = look_up(&act, records);
            locate_answer(l, records, n);
        } else {
            len += (size_t)snprintf(out + len, sizeof out - len, "%s%s %s", len ? ", " : "",
                                    names[act.way], addr_text(&act.server, at));
        }
    }
    locate_free(l);
    return out;
}

static const char *all(const char *text)
{
    return servers(text, TURN_WAY_UDP, TURN_WAY_TCP, TURN_WAY_TLS);
}

static void an_address_needs_no_dns(void **state)
{
    (void)state;
    assert_string_equal(all("turn:192.0.2.7"), "udp 192.0.2.7:3478, tcp 192.0.2.7:3478");
    assert_string_equal(all("turn:[2001:db8::7]:99?transport=tcp"), "tcp [2001:db8::7]:99");
    assert_string_equal(all("turns:192.0.2.7"), "tls 192.0.2.7:5349");
}

static void a_name_with_a_port_is_looked_up_alone(void **state)
{
    (void)state;
    assert_string_equal(all("turn:example.com:77"), "");
    assert_string_equal(all("turn:a.example.net:77"), "udp [2001:db8::2]:77, udp 192.0.2.2:77, "
                                                      "tcp [2001:db8::2]:77, tcp 192.0.2.2:77");
    assert_string_equal(all("turn:b.example.net:77?transport=tcp"), "tcp 192.0.2.3:77");
}

static void naptr_leads_to_srv_and_to_hosts(void **state)
{
    (void)state;
    assert_string_equal(all("turn:example.com"), "udp 192.0.2.1:3478, tcp 192.0.2.1:5000");
    assert_string_equal(all("turns:example.com"), "tls 192.0.2.1:5349");
}

static void with_a_transport_srv_is_enough(void **state)
{
    (void)state;
    assert_string_equal(all("turn:example.com?transport=tcp"), "tcp 192.0.2.1:5000");
    assert_string_equal(all("turns:example.net?transport=tcp"), "tls 192.0.2.3:443");
}

static void srv_goes_by_priority_and_each_way(void **state)
{
    (void)state;
    assert_string_equal(all("turn:example.net"),
                        "udp [2001:db8::2]:1000, udp 192.0.2.2:1000, udp 192.0.2.3:2000");
    assert_string_equal(all("stun:example.net"), "udp 192.0.2.3:99");
}

static void without_records_the_name_itself_is_the_host(void **state)
{
    (void)state;
    assert_string_equal(all("turn:example.org"), "udp 192.0.2.4:3478, tcp 192.0.2.4:3478");
    assert_string_equal(servers("turn:example.org", TURN_WAY_TCP, TURN_WAY_UDP, TURN_WAY_TLS),
                        "tcp 192.0.2.4:3478, udp 192.0.2.4:3478");
    assert_string_equal(all("turns:example.org"), "tls 192.0.2.4:5349");
    assert_string_equal(all("turn:sip.example"), "udp 192.0.2.6:3478, tcp 192.0.2.6:3478");
    assert_string_equal(all("turn:nowhere.example"), "");
}

static void a_service_that_is_not_there_is_not_tried(void **state)
{
    (void)state;
    assert_string_equal(all("turn:none.example?transport=tcp"), "");
}

static void records_that_go_round_come_to_an_end(void **state)
{
    (void)state;
    assert_string_equal(all("turn:loop.example"), "");
}

static void what_the_client_cannot_do_is_refused_at_once(void **state)
{
    (void)state;
    static const char *const texts[] = {"turns:example.com?transport=udp", "turns:192.0.2.1",
                                        "stuns:example.com"};
    for (size_t i = 0; i < 3; i++) {
        struct locate_config cfg = {
            .ways = {TURN_WAY_TCP, TURN_WAY_UDP},
              .n_ways = 2
        };
        struct locate *l;
        const char *why;
        assert_int_equal(turn_uri_parse(&cfg.uri, slice_str(texts[i]), &why), OK);
        assert_int_equal(locate_new(&l, &cfg), ERR_UNSUPPORTED);
        assert_null(l);
    }
}

struct dice {
    uint32_t next;
};

static void roll(void *out, size_t len, void *ctx)
{
    struct dice *d = ctx;
    assert_int_equal(len, sizeof d->next);
    d->next = d->next * 1664525 + 1013904223;
    memcpy(out, &d->next, len);
}

/* RFC 2782: three times the weight is chosen first about three times as often; weight 0 hardly
 * ever, but every record has its turn. */
static void weights_are_chances(void **state)
{
    (void)state;
    static const struct dns_record srv[] = {
        SRV(5, 10, 1, "ten"),
        SRV(5, 30, 2, "thirty"),
        SRV(5, 0, 3, "zero"),
    };
    struct dice dice = {1};
    size_t first[3] = {0};
    for (size_t run = 0; run < 4000; run++) {
        struct locate_config cfg = {
            .ways = {TURN_WAY_UDP}, .n_ways = 1, .random = roll, .ctx = &dice};
        struct locate_action a;
        struct locate *l;
        const char *why;
        bool seen[3] = {false};
        assert_int_equal(turn_uri_parse(&cfg.uri, slice_str("turn:x?transport=udp"), &why), OK);
        assert_int_equal(locate_new(&l, &cfg), OK);
        locate_next(l, &a);
        assert_string_equal(a.name, "_turn._udp.x");
        locate_answer(l, srv, 3);
        for (size_t k = 0; k < 3; k++) {
            locate_next(l, &a);
            assert_int_equal(a.what, LOCATE_QUERY);
            for (size_t i = 0; i < 3; i++) {
                if (strcmp(a.name, srv[i].name) == 0) {
                    assert_false(seen[i]);
                    seen[i] = true;
                    first[i] += k == 0;
                }
            }
        }
        assert_true(seen[0] && seen[1] && seen[2]);
        locate_free(l);
    }
    assert_in_range(first[0], 800, 1200);
    assert_in_range(first[1], 2700, 3200);
    assert_in_range(first[2], 1, 250);
}

/* Whatever comes back, and however much of it: an end, and no more than so many queries. */
static void floods_are_bounded(void **state)
{
    (void)state;
    struct dns_record many[DNS_RECORDS_MAX + 5];
    struct locate_config cfg = {
        .ways = {TURN_WAY_UDP, TURN_WAY_TCP},
          .n_ways = 2, .random = zero_random
    };
    struct locate_action a = {.what = LOCATE_QUERY};
    struct locate *l;
    const char *why;
    size_t n = 0;
    assert_int_equal(turn_uri_parse(&cfg.uri, slice_str("turn:x"), &why), OK);
    assert_int_equal(locate_new(&l, &cfg), OK);
    for (; a.what != LOCATE_END; n++) {
        locate_next(l, &a);
        for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
            many[i] = (struct dns_record)NAPTR(1, 1, "", "RELAY", "again");
            many[i].flags[0] = n < 3 ? '\0' : 'S';
            many[i].port = 9;
            many[i].addr = (struct addr){.family = ADDR_IP4};
        }
        locate_answer(l, many, sizeof many / sizeof *many);
    }
    assert_in_range(n, 10, 500);
    locate_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_needs_no_dns),
        cmocka_unit_test(a_name_with_a_port_is_looked_up_alone),
        cmocka_unit_test(naptr_leads_to_srv_and_to_hosts),
        cmocka_unit_test(with_a_transport_srv_is_enough),
        cmocka_unit_test(srv_goes_by_priority_and_each_way),
        cmocka_unit_test(without_records_the_name_itself_is_the_host),
        cmocka_unit_test(a_service_that_is_not_there_is_not_tried),
        cmocka_unit_test(records_that_go_round_come_to_an_end),
        cmocka_unit_test(what_the_client_cannot_do_is_refused_at_once),
        cmocka_unit_test(weights_are_chances),
        cmocka_unit_test(floods_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
