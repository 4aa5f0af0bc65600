/* Options: what is read, from where, and how mistakes are named. */
#include <sys/stat.h>
#include <unistd.h>

#include "io/conf.h"

#include "tests/unit.h"

static const struct conf_option options[] = {
    {.name = "listen",         .type = CONF_ADDR, .many = true, .help = "where to listen"},
    {.name = "realm",            .type = CONF_TEXT, .required = true, .help = "the realm"},
    {.name = "user",                        .type = CONF_PAIR, .many = true, .secret = true, .help = "a user"},
    {.name = "relay-ports",.type = CONF_PORTS, .preset = "24000-29999", .help = "ports"},
    {.name = "relay-address",     .type = CONF_IP, .help = "address of relays"},
    {.name = "peer-deny",           .type = CONF_NET, .many = true, .help = "peers refused"},
    {.name = "lifetime",
     .type = CONF_NUMBER,
     .min = 60,
     .max = 3600,
     .unit = "seconds",
     .preset = "600",
     .help = "life"},
    {.name = "log",
     .type = CONF_CHOICE,
     .choices = "json|text",
     .preset = "text",
     .help = "form of the log"},
    {.name = "quiet",    .type = CONF_BOOL, .help = "say less"},
    {.name = "user-file", .type = CONF_FILE, .help = "users"},
    {.name = NULL                       },
};
static const struct conf_option pool_options[] = {
    {.name = "cidr",              .type = CONF_NET, .many = true, .required = true, .help = "its networks"},
    {.name = "accept",
     .type = CONF_CHOICE,
     .choices = "permission|any",
     .preset = "permission",
     .reloads = true,
     .help = "who may connect"},
    {.name = "key",     .type = CONF_TEXT, .secret = true, .help = "its secret"},
    {.name = "keys",            .type = CONF_FILE, .help = "its file"},
    {.name = NULL},
};
static const struct conf_section sections[] = {
    {.kind = "pool", .options = pool_options, .max = 3, .help = "a pool of peers"},
    {.kind = "site",      .options = pool_options, .max = 1, .help = "a site"},
    {.kind = NULL             },
};
static const struct conf_program prog = {
    .name = "causeway-edge", .summary = "a TURN server", .options = options};
static const struct conf_program prog_with_sections = {.name = "causeway-edge",
                                                       .summary = "a TURN server",
                                                       .options = options,
                                                       .sections = sections};
static const struct conf_program *program = &prog;

static char folder[64], file_path[128];

/* Calls conf_load with stdout and stderr caught in `said`. */
static enum conf_result load(struct conf **c, char *said, bool (*validate)(struct conf *),
                             const char *const *args)
{
    char *argv[16] = {(char *)(uintptr_t) "causeway-edge"};
    int argc = 1, saved[2] = {dup(1), dup(2)};
    char name[] = "/tmp/conf-said-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0 && saved[0] >= 0 && saved[1] >= 0);
    assert_int_equal(unlink(name), 0);
    for (; args[argc - 1]; argc++) {
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    }
    fflush(stdout);
    assert_true(dup2(fd, 1) == 1 && dup2(fd, 2) == 2);
    enum conf_result r = conf_load(c, program, argc, argv, validate);
    fflush(stdout);
    assert_true(dup2(saved[0], 1) == 1 && dup2(saved[1], 2) == 2);
    ssize_t n = pread(fd, said, 4095, 0);
    said[n > 0 ? n : 0] = '\0';
    assert_true(close(fd) == 0 && close(saved[0]) == 0 && close(saved[1]) == 0);
    return r;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void write_file(const char *text)
{
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The file as given must fail with exactly this complaint, after "<path>:". */
static void file_fails(const char *text, const char *complaint)
{
    struct conf *c;
    char said[4096], want[512];
    write_file(text);
    assert_int_equal(load(&c, said, NULL, ARGS("-c", file_path)), CONF_FAILED);
    assert_null(c);
    (void)snprintf(want, sizeof want, "%s:%s\n", file_path, complaint);
    assert_string_equal(said, want);
}

static void each_mistake_in_the_file_names_its_line(void **state)
{
    (void)state;
    file_fails("realm = x\n\nrelay-ports = 30000-20000\n",
               "3: relay-ports: \"30000-20000\" is not a range of ports, 24000-29999");
    file_fails("realm = x\nlisten = 10.0.0.1\n",
               "2: listen: \"10.0.0.1\" is not an address with a port, 192.0.2.1:3478 or "
               "[2001:db8::1]:0");
    file_fails("realm = x\nrelay-address = 10.0.0.1:5\n",
               "2: relay-address: \"10.0.0.1:5\" is not an address, 192.0.2.1 or 2001:db8::1");
    file_fails("realm = x\npeer-deny = 10.0.0.1/8\n",
               "2: peer-deny: \"10.0.0.1/8\" is not a network, 10.0.0.0/8 (no bits set after "
               "the prefix)");
    file_fails("realm = x\nlifetime = 59\n",
               "2: lifetime: \"59\" is not a number from 60 to 3600 seconds");
    file_fails("realm = x\nlog = xml\n", "2: log: \"xml\" is not one of json|text");
    file_fails("realm = x\nquiet = maybe\n", "2: quiet: \"maybe\" is not on or off");
    file_fails("realm = x\nuser = secretwithoutname\n",
               "2: user: not a name, a colon and a secret");
    file_fails("realm = x\nrealm = y\n", "2: realm: given twice");
    file_fails("realm = x\nrelay-port = 1-2\n",
               "2: relay-port: unknown key; did you mean relay-ports?");
    file_fails("realm = x\nzzzzzz = 1\n", "2: zzzzzz: unknown key; --help lists all");
    file_fails("realm = x\nnothing\n", "2: not a line of the form key = value");
    file_fails("[turn]\nrealm = x\n", "1: [turn]: this file has no sections, remove that line");
}

static void sections_are_read_with_their_names(void **state)
{
    (void)state;
    struct conf *c;
    char said[4096], text[ADDR_TEXT_MAX];
    write_file("realm = x\n"
               "[pool.edge-1]   ; the first\n"
               "  cidr = 10.0.0.0/8\n"
               "\tcidr = 11.0.0.0/8\n"
               "  keys = here\n"
               "[site.a]\ncidr = 12.0.0.0/8\n"
               " [pool.Edge_2.x]\ncidr=13.0.0.0/8\naccept = any\nkey = s\n");
    assert_int_equal(load(&c, said, NULL, ARGS("-c", file_path)), CONF_RUN);
    assert_string_equal(said, "");
    assert_int_equal(conf_sections(c, "pool"), 2);
    assert_int_equal(conf_sections(c, "site"), 1);
    struct conf *first = conf_section(c, "pool", 0), *second = conf_section(c, "pool", 1);
    assert_string_equal(conf_section_name(first), "edge-1");
    assert_string_equal(conf_section_name(second), "Edge_2.x");
    assert_null(conf_section(c, "pool", 2));
    assert_int_equal(conf_count(first, "cidr"), 2);
    struct addr_net net = conf_net(first, "cidr", 1);
    assert_string_equal(addr_ip_text(&net.base, text), "11.0.0.0");
    assert_int_equal(conf_choice(first, "accept"), 0);
    assert_int_equal(conf_choice(second, "accept"), 1);
    (void)snprintf(said, sizeof said, "%s/here", folder);
    assert_string_equal(conf_text(first, "keys", 0), said);
    assert_null(conf_text(second, "keys", 0));
    assert_string_equal(conf_text(second, "key", 0), "s");
    conf_forget_secrets(c);
    assert_null(conf_text(second, "key", 0));
    conf_free(c);
}

static void mistakes_in_sections_name_their_lines(void **state)
{
    (void)state;
    file_fails("realm = x\n[pools.a]\ncidr = 1.0.0.0/8\n",
               "2: [pools.a]: no such section; there can be [pool.NAME] [site.NAME]");
    file_fails("realm = x\n[pool]\n", "2: [pool]: wants a name of at most 63 letters, "
                                      "digits, - _ or . , [pool.a]");
    file_fails("realm = x\n[pool.a b]\n", "2: [pool.a b]: wants a name of at most 63 letters, "
                                          "digits, - _ or . , [pool.a]");
    file_fails("realm = x\n[pool.a]\ncidr = 1.0.0.0/8\n[site.a]\ncidr = 1.0.0.0/8\n"
               "[pool.a]\ncidr = 2.0.0.0/8\n",
               "6: [pool.a]: given twice, first in line 2");
    file_fails("realm = x\n[site.a]\ncidr = 1.0.0.0/8\n[site.b]\ncidr = 1.0.0.0/8\n",
               "4: [site.b]: at most 1 of this kind");
    file_fails("realm = x\n\n[pool.a]\naccept = any\n", "3: [pool.a]: cidr: is required");
    file_fails("realm = x\n[pool.a] cidr = 1.0.0.0/8\n",
               "2: [pool.a]: nothing may follow in this line");
    file_fails("realm = x\n[pool.a\n", "2: not a line of the form key = value");
    file_fails("realm = x\n[pool.a]\ncidr = 1.0.0.0/8\nacept = any\n",
               "4: acept: unknown key of [pool.a]; did you mean accept?");
    file_fails("realm = x\n[pool.a]\ncidr = 1.0.0.0/8\nlog = json\n",
               "4: log: is no key of [pool.a]; it must stand before the first section");
    file_fails("realm = x\n[pool.a]\ncidr = 1.0.0.0/33\n",
               "3: cidr: \"1.0.0.0/33\" is not a network, 10.0.0.0/8 (no bits set after the "
               "prefix)");
    file_fails("realm = x\n[pool.a]\ncidr = 1.0.0.0/8\nkey = a ;b\n",
               "4: key: the value would end at the semicolon behind a blank, where a comment "
               "begins; take that away, or choose a secret without it");
}

static bool refuse_second_net(struct conf *c)
{
    conf_fail(conf_section(c, "pool", 0), "cidr", 1, "is one too many");
    conf_fail(conf_section(c, "pool", 0), "keys", 0, "is missed");
    return false;
}

static void the_programs_own_checks_of_a_section_name_the_place(void **state)
{
    (void)state;
    struct conf *c;
    char said[4096], want[512];
    write_file("realm = x\n[pool.a]\ncidr = 1.0.0.0/8\ncidr = 2.0.0.0/8\n");
    assert_int_equal(load(&c, said, refuse_second_net, ARGS("-c", file_path)), CONF_FAILED);
    (void)snprintf(want, sizeof want,
                   "%s:4: cidr: is one too many\n%s:2: [pool.a]: keys: is missed\n", file_path,
                   file_path);
    assert_string_equal(said, want);
}

static struct conf *load_text(const char *text)
{
    struct conf *c;
    char said[4096];
    write_file(text);
    assert_int_equal(load(&c, said, NULL, ARGS("-c", file_path)), CONF_RUN);
    return c;
}

static void sections_can_be_compared(void **state)
{
    static const char *const others[] = {
        "realm = x\n",
        "realm = x\n[pool.b]\ncidr = 1.0.0.0/8\n",
        "realm = x\n[pool.a]\ncidr = 2.0.0.0/8\n",
        "realm = x\n[pool.a]\ncidr = 1.0.0.0/8\n[pool.b]\ncidr = 1.0.0.0/8\n",
    };
    (void)state;
    struct conf *a = load_text("realm = x\n[pool.a]\ncidr = 1.0.0.0/8\n");
    struct conf *same =
        load_text("realm = y\n[pool.a]\naccept = any\nkey = k\ncidr = 1.0.0.0/8\n");
    assert_true(conf_same_sections(a, same, "pool") && conf_same_sections(a, same, "site"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct conf *b = load_text(others[i]);
        assert_false(conf_same_sections(a, b, "pool"));
        assert_false(conf_same_sections(b, a, "pool"));
        conf_free(b);
    }
    conf_free(a);
    conf_free(same);
}

static void help_and_defaults_show_sections(void **state)
{
    (void)state;
    struct conf *c;
    char said[4096];
    assert_int_equal(load(&c, said, NULL, ARGS("--help")), CONF_DONE);
    assert_non_null(strstr(said, "\n[pool.NAME] in the file, behind all other keys: a pool of "
                                 "peers\n"));
    assert_non_null(strstr(said, "\n  accept = permission|any         who may connect "
                                 "[permission]\n"));
    assert_int_equal(load(&c, said, NULL, ARGS("--show-defaults")), CONF_DONE);
    assert_non_null(strstr(said, "\n#[pool.NAME]\n"));
    write_file(said);
    assert_int_equal(load(&c, said, NULL, ARGS("-c", file_path, "--realm=x")), CONF_RUN);
    conf_free(c);
}

static int with_sections(void **state)
{
    (void)state;
    program = &prog_with_sections;
    return 0;
}

static int without_sections(void **state)
{
    (void)state;
    program = &prog;
    return 0;
}

static void a_secret_is_not_cut_at_a_comment(void **state)
{
    static const char why[] =
        "1: user: the value would end at the semicolon behind a blank, where a comment "
        "begins; take that away, or choose a secret without it";
    (void)state;
    file_fails("user = a:b ;c\n", why);
    file_fails("user = a:b\t; who it is\n", why);
}

static void a_line_too_long_is_not_cut(void **state)
{
    (void)state;
    char text[400] = "realm = ";
    memset(text + 8, 'x', 300);
    file_fails(text, "1: the line is too long");
}

static void each_mistake_on_the_command_line_names_its_option(void **state)
{
    (void)state;
    static const struct {
        const char *args[4], *said;
    } cases[] = {
        {{"--realm", "x", "--lifetime=1"},
         "causeway-edge: --lifetime: \"1\" is not a number from 60 to 3600 seconds\n"                     },
        {{"--realm=x", "--relay-prots", "1-2"},
         "causeway-edge: --relay-prots: unknown option; did you mean --relay-ports?\n"
         "causeway-edge: unexpected argument \"1-2\"; options begin with --\n"                            },
        {{"--realm"},                              "causeway-edge: --realm: needs a value, --realm TEXT\n"},
        {{"--quiet"},
         "causeway-edge: --realm: is required, here or as a key of the file given with -c\n"              },
        {{"--realm=x", "-c", "/nonexistent.conf"},
         "causeway-edge: -c /nonexistent.conf: No such file or directory\n"                               },
        {{"-c"},                                   "causeway-edge: -c needs a file's name\n"              },
        {{"--realm=x", "stray"},
         "causeway-edge: unexpected argument \"stray\"; options begin with --\n"                          },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conf *c;
        char said[4096];
        assert_int_equal(load(&c, said, NULL, cases[i].args), CONF_FAILED);
        if (i == 1) { /* the stray word is met first */
            assert_non_null(strstr(said, "did you mean --relay-ports?"));
            continue;
        }
        assert_string_equal(said, cases[i].said);
    }
}

static void values_come_back_as_written(void **state)
{
    (void)state;
    struct conf *c;
    char said[4096], text[ADDR_TEXT_MAX];
    struct slice name, secret;
    uint16_t first, last;
    write_file("# comment\nrealm = from file\nlisten = 10.0.0.1:3478\nuser = a:b:c\n"
               "user-file = users.txt\nlifetime = 100\npeer-deny = 2001:db8::/32\n");
    assert_int_equal(load(&c, said, NULL,
                          ARGS("--config", file_path, "--realm=from args", "--listen",
                               "[::1]:0", "--quiet", "--relay-ports=5-6", "--log", "json")),
                     CONF_RUN);
    assert_string_equal(said, "");
    assert_string_equal(conf_text(c, "realm", 0), "from args");
    assert_int_equal(conf_count(c, "realm"), 1);
    assert_true(conf_is_given(c, "realm") && conf_is_given(c, "lifetime"));
    assert_false(conf_is_given(c, "relay-address"));
    assert_int_equal(conf_count(c, "listen"), 2);
    struct addr a = conf_addr(c, "listen", 0), b = conf_addr(c, "listen", 1);
    assert_string_equal(addr_text(&a, text), "10.0.0.1:3478");
    assert_int_equal(b.family, ADDR_IP6);
    conf_pair(c, "user", 0, &name, &secret);
    assert_true(slice_eq(name, slice_str("a")) && slice_eq(secret, slice_str("b:c")));
    (void)snprintf(said, sizeof said, "%s/users.txt", folder);
    assert_string_equal(conf_text(c, "user-file", 0), said);
    assert_int_equal(conf_number(c, "lifetime"), 100);
    assert_int_equal(conf_net(c, "peer-deny", 0).bits, 32);
    conf_ports(c, "relay-ports", &first, &last);
    assert_true(first == 5 && last == 6);
    assert_int_equal(conf_choice(c, "log"), 0);
    assert_true(conf_bool(c, "quiet"));
    assert_null(conf_text(c, "relay-address", 0));
    conf_free(c);
    assert_int_equal(load(&c, said, NULL, ARGS("--realm=x", "--user-file=rel", "--quiet=off")),
                     CONF_RUN);
    assert_string_equal(conf_text(c, "user-file", 0), "rel");
    assert_false(conf_is_given(c, "lifetime"));
    assert_false(conf_bool(c, "quiet"));
    conf_ports(c, "relay-ports", &first, &last);
    assert_true(first == 24000 && last == 29999);
    assert_int_equal(conf_choice(c, "log"), 1);
    conf_free(c);
}

static bool refuse_second_listen(struct conf *c)
{
    if (conf_count(c, "listen") > 1) {
        conf_fail(c, "listen", 1, "is one too many for %s", "me");
        return false;
    }
    return true;
}

static void the_programs_own_checks_name_the_place(void **state)
{
    (void)state;
    struct conf *c;
    char said[4096], want[512];
    write_file("realm = x\nlisten = 10.0.0.1:1\nlisten = 10.0.0.1:2\n");
    assert_int_equal(load(&c, said, refuse_second_listen, ARGS("-c", file_path, "--check")),
                     CONF_FAILED);
    (void)snprintf(want, sizeof want, "%s:3: listen: is one too many for me\n", file_path);
    assert_string_equal(said, want);
    assert_int_equal(load(&c, said, refuse_second_listen, ARGS("--realm=x", "--check")),
                     CONF_DONE);
    assert_string_equal(said, "causeway-edge: the configuration is right\n");
}

static void questions_about_itself_end_it(void **state)
{
    (void)state;
    struct conf *c;
    char said[4096];
    assert_int_equal(load(&c, said, NULL, ARGS("--help")), CONF_DONE);
    for (const struct conf_option *o = options; o->name; o++) {
        assert_non_null(strstr(said, o->name));
        assert_non_null(strstr(said, o->help));
    }
    assert_int_equal(load(&c, said, NULL, ARGS("--version")), CONF_DONE);
    assert_non_null(strstr(said, "causeway-edge 0."));
    assert_int_equal(load(&c, said, NULL, ARGS("--show-defaults")), CONF_DONE);
    assert_non_null(strstr(said, "\nrelay-ports = 24000-29999\n"));
    /* What it prints is a configuration it reads. */
    write_file(said);
    assert_int_equal(load(&c, said, NULL, ARGS("-c", file_path, "--realm=x")), CONF_RUN);
    conf_free(c);
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/conf-test-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    (void)snprintf(file_path, sizeof file_path, "%s/edge.conf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return unlink(file_path) || rmdir(folder);
}

static void complaints_go_where_the_program_wants_them(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "causeway-edge", (char *)(uintptr_t) "--realm"};
    struct conf_program other = prog;
    struct conf *c;
    char *said;
    size_t len;
    (void)state;
    other.complaints = open_memstream(&said, &len);
    assert_non_null(other.complaints);
    assert_int_equal(conf_load(&c, &other, 2, argv, NULL), CONF_FAILED);
    assert_int_equal(fclose(other.complaints), 0);
    assert_string_equal(said, "causeway-edge: --realm: needs a value, --realm TEXT\n");
    free(said);
}

static void two_can_be_compared_and_secrets_forgotten(void **state)
{
    char said[4096];
    struct conf *a, *b;
    (void)state;
    assert_int_equal(load(&a, said, NULL,
                          ARGS("--realm", "x", "--user", "u:p", "--peer-deny", "10.0.0.0/8",
                               "--peer-deny", "11.0.0.0/8")),
                     CONF_RUN);
    assert_int_equal(load(&b, said, NULL,
                          ARGS("--realm", "x", "--user", "u:p", "--peer-deny", "10.0.0.0/8",
                               "--relay-ports", "1-2")),
                     CONF_RUN);
    assert_true(conf_same(a, b, "realm") && conf_same(a, b, "user"));
    assert_true(conf_same(a, b, "lifetime") && conf_same(a, b, "relay-address"));
    assert_false(conf_same(a, b, "peer-deny"));
    assert_false(conf_same(b, a, "peer-deny"));
    assert_false(conf_same(a, b, "relay-ports"));
    conf_forget_secrets(a);
    assert_int_equal(conf_count(a, "user"), 0);
    assert_int_equal(conf_count(a, "peer-deny"), 2);
    assert_string_equal(conf_text(a, "realm", 0), "x");
    conf_free(a);
    conf_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_in_the_file_names_its_line),
        cmocka_unit_test(a_secret_is_not_cut_at_a_comment),
        cmocka_unit_test(a_line_too_long_is_not_cut),
        cmocka_unit_test(each_mistake_on_the_command_line_names_its_option),
        cmocka_unit_test(values_come_back_as_written),
        cmocka_unit_test(the_programs_own_checks_name_the_place),
        cmocka_unit_test(questions_about_itself_end_it),
        cmocka_unit_test(complaints_go_where_the_program_wants_them),
        cmocka_unit_test(two_can_be_compared_and_secrets_forgotten),
        cmocka_unit_test_setup_teardown(sections_are_read_with_their_names, with_sections,
                                        without_sections),
        cmocka_unit_test_setup_teardown(mistakes_in_sections_name_their_lines, with_sections,
                                        without_sections),
        cmocka_unit_test_setup_teardown(the_programs_own_checks_of_a_section_name_the_place,
                                        with_sections, without_sections),
        cmocka_unit_test_setup_teardown(sections_can_be_compared, with_sections,
                                        without_sections),
        cmocka_unit_test_setup_teardown(help_and_defaults_show_sections, with_sections,
                                        without_sections),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
