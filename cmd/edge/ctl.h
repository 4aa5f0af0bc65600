/* causeway-edge ctl: asks a running edge, over its control socket. */
#pragma once

#define EDGE_CONTROL_PATH "/run/causeway/edge.sock"

/* `argv[0]` is "ctl". The exit status: 1 when the edge cannot be reached or refuses, 2 when the
 * command is wrong. */
int ctl_command(int argc, char **argv);
