/* Log lines stay lines, whatever the values hold. */
#include <unistd.h>

#include "io/log.h"

#include "tests/unit.h"

static char said[16384];
static int pipe_fd[2];

static const char *line(void)
{
    ssize_t n = read(pipe_fd[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = '\0';
    return said;
}

static struct log text_log(void)
{
    return (struct log){.level = LOG_INFO, .program = "p", .fd = pipe_fd[1]};
}

static void values_are_escaped_in_text(void **state)
{
    (void)state;
    struct log log = text_log();
    uint8_t odd[] = "a\nb\x1b\"\\\xff=";
    LOG(&log, LOG_WARN, "event", LOG_S("plain", "x:1"), LOG_B("odd", slice_of(odd, 8)),
        LOG_N("n", -5), LOG_S("none", NULL));
    assert_string_equal(
        line(), "warn event plain=x:1 odd=\"a\\x0ab\\x1b\\\"\\\\\\xff=\" n=-5 none=\"\"\n");
}

static void values_are_escaped_in_json(void **state)
{
    (void)state;
    struct log log = text_log();
    log.format = LOG_JSON;
    LOG(&log, LOG_ERROR, "e",
        LOG_S("k", "\"\\\n\xc3\xa9\xf0\x9f\x98\x80\xff\xc0\x80\xed\xa0\x80"), LOG_N("n", 7));
    const char *got = strstr(line(), "\"level\"");
    assert_non_null(got);
    assert_string_equal(got, "\"level\":\"error\",\"program\":\"p\",\"event\":\"e\","
                             "\"k\":\"\\\"\\\\\\u000a\\u00e9\\ud83d\\ude00\\ufffd\\ufffd\\ufffd"
                             "\\ufffd\\ufffd\\ufffd\",\"n\":7}\n");
}

static void a_long_line_keeps_its_form(void **state)
{
    (void)state;
    static uint8_t hostile[5000];
    struct log log = text_log();
    struct slice v = slice_of(hostile, sizeof hostile);
    log.format = LOG_JSON;
    LOG(&log, LOG_INFO, "e", LOG_B("a", v), LOG_B("b", v), LOG_S("c", "last"));
    size_t n = strlen(line());
    assert_true(n <= 4096);
    assert_string_equal(said + n - 13, ",\"c\":\"last\"}\n");
    assert_null(memchr(said, '\n', n - 1));
}

static void a_level_hides_what_is_below(void **state)
{
    (void)state;
    struct log log = text_log();
    LOG(&log, LOG_DEBUG, "hidden", LOG_N("n", 1));
    LOG(&log, LOG_INFO, "shown", LOG_N("n", 1));
    assert_string_equal(line(), "info shown n=1\n");
}

static void a_limit_counts_what_it_held(void **state)
{
    (void)state;
    struct log_limit lim = {0};
    uint32_t held;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(log_limit_pass(&lim, 5, 3, &held), i < 3);
        assert_int_equal(held, 0);
    }
    assert_true(log_limit_pass(&lim, 6, 3, &held));
    assert_int_equal(held, 7);
    assert_true(log_limit_pass(&lim, 6, 3, &held));
    assert_int_equal(held, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_escaped_in_text),
        cmocka_unit_test(values_are_escaped_in_json),
        cmocka_unit_test(a_long_line_keeps_its_form),
        cmocka_unit_test(a_level_hides_what_is_below),
        cmocka_unit_test(a_limit_counts_what_it_held),
    };
    return pipe(pipe_fd) ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
