/* The sharer's pointer: its pictures and where it is. */
#pragma once

#include <freerdp/graphics.h>

#include "cmd/rdp/feed.h"

/* Shapes and moves go into the feed_pointer of the connection from now on. */
void pointer_register(rdpGraphics *g);
/* view.c knows which. */
struct feed_pointer *pointer_of(rdpContext *c);
