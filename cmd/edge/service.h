/* The running edge: the server and what surrounds it, until it is told to end. */
#pragma once

#include "io/conf.h"

/* `argv` is read again by a reload. Takes `options` over. The exit status. */
int service_run(struct conf *options, int argc, char **argv);
