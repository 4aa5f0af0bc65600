/* The look of the ladder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/causeway/ladder.h"

/* What `draw` writes, as text. */
static void drawn(void (*draw)(const struct ladder *l), bool has_colour, char *out, size_t cap)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    struct ladder l = {.fd = fd[1], .has_colour = has_colour};
    draw(&l);
    (void)close(fd[1]);
    ssize_t n = read(fd[0], out, cap - 1);
    assert_true(n >= 0);
    out[n] = '\0';
    (void)close(fd[0]);
}

static void draw_all(const struct ladder *l)
{
    ladder_head(l);
    ladder_arrow(l, 7, HOST_CLIENT, HOST_SKYPE, TONE_SIP, "INVITE");
    ladder_arrow(l, 12345, HOST_MEET, HOST_SKYPE, TONE_SIP, "200 OK");
    ladder_arrow(l, 12345, HOST_EDGE, HOST_MEET, TONE_TURN, "Allocate success");
}

static void arrows_go_from_host_to_host(void **state)
{
    (void)state;
    char got[2048];
    drawn(draw_all, false, got, sizeof got);
    static const char want[] =
        "     ms client     Skype site      edge        meeting"
        "                                              \n"
        "      7    |----------->|            |            | INVITE\n"
        "  12345    |            |<------------------------| 200 OK\n"
        "  12345    |            |            |----------->| Allocate success\n";
    assert_string_equal(got, want);
}

static void draw_long(const struct ladder *l)
{
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ladder_arrow(l, UINT64_MAX, HOST_CLIENT, HOST_MEET, TONE_BAD, text);
    ladder_line(l, TONE_BAD, text);
}

static void no_line_is_wider_than_the_page(void **state)
{
    (void)state;
    char got[2048];
    drawn(draw_long, false, got, sizeof got);
    char *first_end = strchr(got, '\n');
    assert_non_null(first_end);
    assert_int_equal(first_end - got, LADDER_WIDTH);
    assert_int_equal(strlen(first_end + 1), LADDER_WIDTH + 1);
}

static void colours_are_for_terminals(void **state)
{
    (void)state;
    char got[2048];
    drawn(draw_all, false, got, sizeof got);
    assert_null(strchr(got, '\033'));
    drawn(draw_all, true, got, sizeof got);
    assert_non_null(strstr(got, "\033[34m"));
    assert_non_null(strstr(got, "\033[0m\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrows_go_from_host_to_host),
        cmocka_unit_test(no_line_is_wider_than_the_page),
        cmocka_unit_test(colours_are_for_terminals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
