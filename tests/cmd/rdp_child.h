/* causeway-rdp as the meeting server sees it, for tests that play that server. */
#pragma once

#include <sys/types.h>

#include "lib/share/link.h"

struct rdp_child {
    pid_t pid;
    int stream, control; /* our ends, non-blocking */
    uint8_t *mem;
    uint16_t width, height; /* of the last LINK_SIZE */
    uint32_t n_damage;
    uint32_t n_cursor;
    bool is_active;
    char gone[201]; /* the text of LINK_GONE */
};

/* Starts `program`. Anything that cannot be done fails the test. */
void rdp_child_start(struct rdp_child *c, const char *program);
/* Takes one message, if there is one, and acknowledges damage. False at the end. */
bool rdp_child_read(struct rdp_child *c);
/* Waits for the end for at most 20 s and gives the status of waitpid; fails the test when it
 * does not come. Messages that arrive are read. */
int rdp_child_wait(struct rdp_child *c);
/* Ends what is still there and gives everything back. */
void rdp_child_stop(struct rdp_child *c);
