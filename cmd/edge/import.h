/* causeway-edge import-coturn: a configuration of coturn becomes one of the edge. */
#pragma once

#include <stdio.h>

#include "cmd/edge/coturn.h"

/* `argv[0]` is "import-coturn". The exit status: 1 when a file cannot be read or written, 2
 * when the command, or what came of it, is wrong. */
int import_command(int argc, char **argv);

/* What one import has to say, beside the file that it writes. */
struct import {
    struct coturn_file in;
    FILE *out;
    unsigned n[COTURN_REFUSED + 1]; /* lines, by fate */
};

/* A note about a line (NULL: about the whole), for the user and, as a comment, for the file. */
__attribute__((format(printf, 4, 5))) void import_note(struct import *m,
                                                       const struct coturn_line *l,
                                                       enum coturn_fate fate,
                                                       const char *format, ...);
/* A comment, broken into lines. */
void import_comment(struct import *m, const char *text);
__attribute__((format(printf, 3, 4))) void import_put(struct import *m, const char *key,
                                                      const char *format, ...);

/* The parts of the new file, in its order. */
void import_listen(struct import *m);
void import_users(struct import *m);
void import_relays(struct import *m);
void import_peers(struct import *m);
void import_limits(struct import *m);
void import_rest(struct import *m);
