/* UDP over loopback. */
#include <sys/socket.h>

#include "io/udp.h"

#include "tests/io/io_test.h"

struct seen {
    struct loop *loop;
    size_t n, stop_at, bytes;
    struct addr from, local;
    struct dgram_opts opts;
    struct udp_error error;
    size_t n_errors, stop_at_error;
    bool echo, close_at_first, close_at_error, in_order;
    uint8_t last[64];
};

static void on_datagram(struct udp *u, const struct addr *from, const struct addr *local,
                        struct dgram datagram, void *ctx)
{
    struct seen *s = ctx;
    struct slice d = datagram.data;
    s->from = *from;
    s->local = *local;
    s->opts = datagram.opts;
    s->in_order = (s->n == 0 || s->in_order) && d.len > 0 && d.p[d.len - 1] == (uint8_t)s->n;
    s->n++;
    s->bytes += d.len;
    memcpy(s->last, d.p, d.len < sizeof s->last ? d.len : sizeof s->last);
    if (s->echo) {
        udp_send(u, from, local, slice_str("re:"), datagram);
    }
    if (s->close_at_first) {
        udp_close(u);
    }
    if (s->n == s->stop_at) {
        loop_stop(s->loop);
    }
}

static void on_failed(struct udp *u, const struct udp_error *e, void *ctx)
{
    struct seen *s = ctx;
    s->error = *e;
    s->n_errors++;
    if (s->close_at_error) {
        udp_close(u);
    }
    if (s->n_errors == s->stop_at_error) {
        loop_stop(s->loop);
    }
}

static struct udp *open_with(struct loop *l, const char *text, const struct udp_options *opt,
                             struct seen *s)
{
    struct udp *u;
    struct addr at = io_test_addr(text);
    s->loop = l;
    assert_int_equal(udp_open(&u, l, &at, opt, on_datagram, s), OK);
    return u;
}

static struct udp *open_at(struct loop *l, const char *text, struct seen *s)
{
    return open_with(l, text, NULL, s);
}

static struct addr with_port_of(const char *ip, struct udp *u)
{
    struct addr a = io_test_addr(ip);
    a.port = udp_addr(u).port;
    assert_int_not_equal(a.port, 0);
    return a;
}

static void a_batch_arrives_in_order(void **state)
{
    struct seen sa = {0}, sb = {.stop_at = 100};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b), none = io_test_addr("[2001:db8::1]:9");
    for (uint8_t i = 0; i < 100; i++) {
        udp_send(a, &to, NULL, slice_str("head"), dgram_of(slice_of(&i, 1)));
        udp_send(a, &none, NULL, slice_str("the wrong family is dropped"),
                 dgram_of(slice_str("")));
    }
    io_test_run(*state);
    assert_true(sb.in_order);
    assert_int_equal(sb.bytes, 500);
    struct addr here = udp_addr(a);
    assert_true(addr_eq(&sb.from, &here));
    udp_close(a);
    udp_close(b);
}

/* On a wildcard socket the answer must leave from the address the question came to. */
static void answers_from(struct loop *l, const char *any, const char *ip)
{
    struct seen server = {.echo = true}, client = {.stop_at = 1};
    struct udp *s = open_at(l, any, &server),
               *c = open_at(l, ip[0] == '1' ? "0.0.0.0" : "::", &client);
    struct addr to = with_port_of(ip, s);
    uint8_t zero = 0;
    udp_send(c, &to, NULL, slice_str(""), dgram_of(slice_of(&zero, 1)));
    io_test_run(l);
    assert_true(addr_eq(&server.local, &to));
    assert_true(addr_eq(&client.from, &to));
    assert_memory_equal(client.last, "re:\0", 4);
    udp_close(s);
    udp_close(c);
}

static void a_wildcard_socket_answers_from_the_address_asked(void **state)
{
    answers_from(*state, "0.0.0.0", "127.0.0.5");
    answers_from(*state, "::", "::1");
}

static void large_and_empty_ones_pass(void **state)
{
    static uint8_t big[65507];
    struct seen sa = {0}, sb = {.stop_at = 4};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    udp_send(a, &to, NULL, slice_of(big, sizeof big), dgram_of(slice_str("")));
    udp_send(a, &to, NULL, slice_of(big, sizeof big),
             dgram_of(slice_str("x"))); /* cannot be sent */
    udp_send(a, &to, NULL, slice_str(""), dgram_of(slice_str("")));
    udp_send(a, &to, NULL, slice_of(big, 30000), dgram_of(slice_of(big, 30000)));
    udp_send(a, &to, NULL, slice_str("a"), dgram_of(slice_str("b")));
    io_test_run(*state);
    assert_int_equal(sb.bytes, sizeof big + 60000 + 2);
    udp_close(a);
    udp_close(b);
}

static void closing_inside_its_own_callback_is_fine(void **state)
{
    struct seen sa = {0}, sb = {.close_at_first = true, .stop_at = 1};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    for (int i = 0; i < 40; i++) {
        udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("y")));
    }
    io_test_run(*state);
    io_test_run_for(*state, 10);
    assert_int_equal(sb.n, 1);
    /* What was sent before the close still goes; and a refused port does not spin or fail. */
    udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("y")));
    udp_close(a);
}

static void a_flood_leaves_room_for_timers(void **state)
{
    struct seen sa = {.echo = true}, sb = {.echo = true};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    for (int i = 0; i < 32; i++) {
        udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("")));
    }
    uint64_t before = loop_now_ms(*state);
    io_test_run_for(*state, 100);
    assert_true(loop_now_ms(*state) - before < 5000);
    assert_true(sa.n > 32);
    udp_close(a);
    udp_close(b);
}

static const char *const hosts[] = {"127.0.0.1", "::1"};

static void the_header_goes_out_and_comes_in(void **state)
{
    static const struct dgram_opts many[] = {
        {.tos = 0xb9, .ttl = 7  },
        {.tos = 0x02, .ttl = 255},
        {.tos = 0xff, .ttl = 1  },
    };
    const struct udp_options opt = {.has_header = true};
    for (size_t h = 0; h < 2; h++) {
        for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
            struct seen sa = {0}, sb = {.stop_at = 1};
            struct udp *a = open_at(*state, hosts[h], &sa);
            struct udp *b = open_with(*state, hosts[h], &opt, &sb);
            struct addr to = udp_addr(b);
            udp_send(a, &to, NULL, slice_str("x"), (struct dgram){.opts = many[i]});
            io_test_run(*state);
            assert_int_equal(sb.opts.tos, many[i].tos);
            assert_int_equal(sb.opts.ttl, many[i].ttl);
            udp_close(a);
            udp_close(b);
        }
    }
}

/* With the address that it is sent from, and for this one only: the next is as the system does.
 */
static void the_header_is_that_datagrams_own(void **state)
{
    const struct udp_options opt = {.has_header = true};
    const char *const any[] = {"0.0.0.0", "::"};
    for (size_t h = 0; h < 2; h++) {
        struct seen sa = {0}, sb = {.stop_at = 1};
        struct udp *a = open_with(*state, any[h], &opt, &sa);
        struct udp *b = open_with(*state, any[h], &opt, &sb);
        struct addr to = with_port_of(hosts[h], b), from = with_port_of(hosts[h], a);
        const struct dgram d = {
            .opts = {.tos = 0x28, .ttl = 9}
        };
        udp_send(a, &to, &from, slice_str("x"), d);
        io_test_run(*state);
        assert_true(addr_eq(&sb.from, &from) && addr_eq(&sb.local, &to));
        assert_int_equal(sb.opts.tos, 0x28);
        assert_int_equal(sb.opts.ttl, 9);
        sb.stop_at = 2;
        udp_send(a, &to, &from, slice_str("x"), dgram_of(slice_str("")));
        io_test_run(*state);
        assert_int_equal(sb.opts.tos, 0);
        assert_in_range(sb.opts.ttl, 30, 255);
        udp_close(a);
        udp_close(b);
    }
}

static void who_does_not_ask_is_told_nothing_of_headers(void **state)
{
    struct seen sa = {0}, sb = {.stop_at = 1};
    struct udp *a = open_at(*state, "127.0.0.1", &sa), *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    udp_send(a, &to, NULL, slice_str("x"),
             (struct dgram){
                 .opts = {.tos = 0x28, .ttl = 9}
    });
    io_test_run(*state);
    assert_true(sb.opts.tos == 0 && sb.opts.ttl == 0 && !sb.opts.df);
    udp_close(a);
    udp_close(b);
}

/* A port that nobody listens at. */
static struct addr closed_port(struct loop *l, const char *host)
{
    struct seen s = {0};
    struct udp *u = open_at(l, host, &s);
    struct addr at = udp_addr(u);
    udp_close(u);
    return at;
}

static void an_unreachable_port_is_told(void **state)
{
    static const struct udp_error expected[] = {
        {.type = 3, .code = 3},
        {.type = 1, .code = 4}
    };
    const struct udp_options opt = {.failed = on_failed};
    for (size_t h = 0; h < 2; h++) {
        struct seen sa = {.stop_at_error = 1}, sb = {.stop_at = 3};
        struct addr nobody = closed_port(*state, hosts[h]);
        struct udp *a = open_with(*state, hosts[h], &opt, &sa);
        struct udp *b = open_at(*state, hosts[h], &sb);
        struct addr to = udp_addr(b);
        udp_send(a, &nobody, NULL, slice_str("x"), dgram_of(slice_str("y")));
        io_test_run(*state);
        assert_true(addr_eq(&sa.error.to, &nobody));
        assert_int_equal(sa.error.type, expected[h].type);
        assert_int_equal(sa.error.code, expected[h].code);
        assert_int_equal(sa.error.mtu, 0);
        assert_int_equal(sa.n, 0);
        /* The kernel tells it again to whoever sends next: nothing is lost by that. */
        for (uint8_t i = 0; i < 3; i++) {
            udp_send(a, &nobody, NULL, slice_str("x"), dgram_of(slice_str("y")));
            udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_of(&i, 1)));
        }
        io_test_run(*state);
        assert_true(sb.in_order);
        udp_close(a);
        udp_close(b);
    }
}

static void many_errors_come_by_and_by_and_data_between(void **state)
{
    const struct udp_options opt = {.failed = on_failed};
    struct seen sa = {.stop_at_error = 50}, sb = {.echo = true};
    struct udp *a = open_with(*state, "127.0.0.1", &opt, &sa);
    struct udp *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(b);
    const struct addr nobody[] = {
        closed_port(*state, "127.0.0.3"),
        closed_port(*state, "127.0.0.4")}; /* one: they would be one */
    for (int i = 0; i < 50; i++) {
        udp_send(a, &nobody[i % 2], NULL, slice_str("x"), dgram_of(slice_str("")));
        udp_send(a, &to, NULL, slice_str("x"), dgram_of(slice_str("y")));
    }
    io_test_run(*state);
    io_test_run_for(*state, 10);
    assert_int_equal(sa.n_errors, 50);
    assert_int_equal(sb.n, 50);
    assert_int_equal(sa.n, 50);
    udp_close(a);
    udp_close(b);
}

struct stubborn { /* sends again for each error, to one who does not listen */
    struct seen seen;
    struct addr nobody[2];
};

static void on_failed_again(struct udp *u, const struct udp_error *e, void *ctx)
{
    struct stubborn *s = ctx;
    bool is_first = addr_eq(&e->to, &s->nobody[0]);
    udp_send(u, &s->nobody[is_first], NULL, slice_str("x"), dgram_of(slice_str("")));
    if (++s->seen.n_errors == s->seen.stop_at_error) {
        loop_stop(s->seen.loop);
    }
}

static void errors_without_end_do_not_keep_data_waiting(void **state)
{
    const struct udp_options opt = {.failed = on_failed_again};
    struct stubborn sa = {
        .seen.stop_at_error = 200,
        .nobody = {closed_port(*state, "127.0.0.3"), closed_port(*state, "127.0.0.4")}
    };
    struct seen sb = {0};
    struct udp *a = open_with(*state, "127.0.0.1", &opt, &sa.seen);
    struct udp *b = open_at(*state, "127.0.0.1", &sb);
    struct addr to = udp_addr(a);
    for (int i = 0; i < 40; i++) {
        udp_send(a, &sa.nobody[i % 2], NULL, slice_str("x"), dgram_of(slice_str("")));
    }
    udp_send(b, &to, NULL, slice_str("x"), dgram_of(slice_str("y")));
    io_test_run(*state);
    assert_int_equal(sa.seen.n, 1);
    udp_close(a);
    udp_close(b);
}

static void closing_when_told_of_an_error_is_fine(void **state)
{
    const struct udp_options opt = {.failed = on_failed};
    struct seen s = {.close_at_error = true, .stop_at_error = 1};
    struct addr nobody = closed_port(*state, "127.0.0.1");
    struct udp *u = open_with(*state, "127.0.0.1", &opt, &s);
    for (int i = 0; i < 4; i++) {
        udp_send(u, &nobody, NULL, slice_str("x"), dgram_of(slice_str("y")));
    }
    io_test_run(*state);
    io_test_run_for(*state, 10);
    assert_int_equal(s.n_errors, 1);
}

static void the_buffer_is_what_was_asked_or_what_there_is(void **state)
{
    struct udp_options opt = {.buffer = 8192};
    struct seen s = {0};
    struct udp *u = open_with(*state, "127.0.0.1", &opt, &s);
    assert_int_equal(udp_buffer(u), 8192);
    udp_close(u);
    opt.buffer = UINT32_MAX; /* nobody gets that */
    u = open_with(*state, "127.0.0.1", &opt, &s);
    assert_in_range(udp_buffer(u), 8192, INT32_MAX / 2 - 1);
    udp_close(u);
    u = open_at(*state, "127.0.0.1", &s);
    assert_int_equal(udp_buffer(u), 0);
    udp_close(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_batch_arrives_in_order),
        IO_TEST(a_wildcard_socket_answers_from_the_address_asked),
        IO_TEST(large_and_empty_ones_pass),
        IO_TEST(closing_inside_its_own_callback_is_fine),
        IO_TEST(a_flood_leaves_room_for_timers),
        IO_TEST(the_header_goes_out_and_comes_in),
        IO_TEST(the_header_is_that_datagrams_own),
        IO_TEST(who_does_not_ask_is_told_nothing_of_headers),
        IO_TEST(an_unreachable_port_is_told),
        IO_TEST(many_errors_come_by_and_by_and_data_between),
        IO_TEST(errors_without_end_do_not_keep_data_waiting),
        IO_TEST(closing_when_told_of_an_error_is_fine),
        IO_TEST(the_buffer_is_what_was_asked_or_what_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
