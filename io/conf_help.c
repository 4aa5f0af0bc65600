/* --help and --show-defaults, made from the schema. */
#include <stdio.h>

#include "io/conf_impl.h"

static void print_option(const struct conf_option *o, bool is_key)
{
    const char *word = o->type == CONF_CHOICE ? o->choices : conf_kind(o->type)->word;
    int n = is_key ? printf("  %s = %s", o->name, *word ? word : "on|off")
                   : printf("  --%s%s%s", o->name, *word ? " " : "", word);
    /* A long one has its text on the next line. */
    printf(n < 32 ? "%*s" : "\n%*s", n < 32 ? 34 - n : 34, "");
    fputs(o->help, stdout);
    if (o->type == CONF_NUMBER) {
        printf(", %lld to %lld%s%s", (long long)o->min, (long long)o->max, o->unit ? " " : "",
               o->unit ? o->unit : "");
    }
    if (o->preset && !o->secret) {
        printf(" [%s]", o->preset);
    }
    printf("%s%s\n", o->many ? " (may come again)" : "", o->required ? " (required)" : "");
}

void conf_print_help(const struct conf_program *prog)
{
    printf("%s: %s\n\nUsage: %s [-c FILE] [OPTION]...\n\n"
           "The options' names are also the keys of the configuration file.\n\n"
           "  -c, --config FILE               read this file first\n"
           "  --check                         say whether the configuration is right, and end\n"
           "  --show-defaults                 print a configuration file with the defaults\n"
           "  --version, --help\n\n",
           prog->name, prog->summary, prog->name);
    for (const struct conf_option *o = prog->options; o->name; o++) {
        print_option(o, false);
    }
    for (const struct conf_section *k = prog->sections; k && k->kind; k++) {
        printf("\n[%s.NAME] in the file, behind all other keys: %s\n", k->kind, k->help);
        for (const struct conf_option *o = k->options; o->name; o++) {
            print_option(o, true);
        }
    }
}

static void print_default(const struct conf_option *o, bool is_set)
{
    printf("\n# %s\n%s%s = %s\n", o->help, is_set ? "" : "#", o->name,
           o->preset && !o->secret ? o->preset : "");
}

void conf_print_defaults(const struct conf_program *prog)
{
    printf("# %s: %s\n", prog->name, prog->summary);
    for (const struct conf_option *o = prog->options; o->name; o++) {
        print_default(o, o->preset && !o->secret);
    }
    for (const struct conf_section *k = prog->sections; k && k->kind; k++) {
        printf("\n# %s\n#[%s.NAME]\n", k->help, k->kind);
        for (const struct conf_option *o = k->options; o->name; o++) {
            print_default(o, false);
        }
    }
}
