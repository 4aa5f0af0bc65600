/* Where the other programs are: beside this one when installed, in the folders next to it in a
 * build folder. */
#pragma once

#include "lib/base/err.h"

enum {
    FIND_PATH_MAX = 4096
};

/* The path of causeway-`name` into `out`, of FIND_PATH_MAX bytes. ERR_NOTFOUND. */
MUST_USE int find_program(char *out, const char *name);
