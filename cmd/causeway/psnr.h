/* How alike two pictures are. */
#pragma once

#include "lib/base/wire.h"

enum {
    PSNR_WHY_MAX = 160,
    PSNR_SAME_DB = 99 /* reported for pictures without any difference */
};

/* Peak signal to noise ratio, over red, green and blue, of a PNG in memory and one in a file.
 * ERR_MALFORMED: one cannot be read, or they differ in size; `why` says which. */
MUST_USE int psnr_png(struct slice png, const char *path, double *db, char *why);
MUST_USE int psnr_files(const char *path_a, const char *path_b, double *db, char *why);
