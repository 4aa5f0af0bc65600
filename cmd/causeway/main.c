/* causeway, the front door: `causeway demo`, and `causeway edge ...` runs causeway-edge. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/causeway/demo.h"
#include "cmd/causeway/find.h"
#include "cmd/causeway/psnr.h"

static const struct {
    const char *name, *help;
} programs[] = {
    {"edge",    "the TURN server: STUN, TURN over UDP and TCP, TCP relays (RFC 6062)"},
    {"meet",    "the meeting server: SIP, TURN client, RDP viewer, web page"         },
    {"lab",     "a stand-in Skype site: front end, and a client that shares a screen"},
    {"conform", "a conformance tester for any STUN and TURN server"                  },
};

static void usage(FILE *to)
{
    (void)fprintf(
        to,
        "usage: causeway COMMAND [OPTION...]\n\n"
        "  demo    the whole walkthrough on this machine; see causeway demo --help\n"
        "  compare A.png B.png: how alike two pictures are (PSNR in dB; %d: the same)\n",
        PSNR_SAME_DB);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        (void)fprintf(to, "  %-7s %s\n", programs[i].name, programs[i].help);
    }
}

/* Becomes that program; comes back only to complain. */
static int become(const char *name, char **argv)
{
    char path[FIND_PATH_MAX];
    if (find_program(path, name) != 0) {
        (void)fprintf(stderr,
                      "causeway: no causeway-%s beside this program: build it (make build) or "
                      "install it\n",
                      name);
        return 127;
    }
    argv[0] = path;
    (void)execv(path, argv);
    (void)fprintf(stderr, "causeway: cannot run %s: %s\n", path, strerror(errno));
    return 126;
}

static int compare(const char *a, const char *b)
{
    double db;
    char why[PSNR_WHY_MAX];
    if (psnr_files(a, b, &db, why)) {
        (void)fprintf(stderr, "causeway compare: %s\n", why);
        return 1;
    }
    (void)printf("%.2f\n", db);
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "demo") == 0) {
        return demo_main(argc - 1, argv + 1);
    }
    if (strcmp(command, "compare") == 0 && argc == 4) {
        return compare(argv[2], argv[3]);
    }
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        if (strcmp(command, programs[i].name) == 0) {
            return become(command, argv + 1);
        }
    }
    bool asked = strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0;
    if (!asked && *command) {
        (void)fprintf(stderr, "causeway: there is no command \"%s\"\n", command);
    }
    usage(asked ? stdout : stderr);
    return asked ? 0 : 2;
}
