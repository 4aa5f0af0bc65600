/* The parts of the picture that the server has not been told about yet, in a bounded list. */
#pragma once

#include "lib/share/link.h"

struct damage {
    size_t n;
    struct rect rect[LINK_RECTS_MAX];
};

/* Covers `r` as well. When the list is full it becomes the one rectangle around all. */
void damage_add(struct damage *d, const struct rect *r);
