/* Messages in words, for people. */
#pragma once

#include "lib/stun/msg.h"

/* "Allocate Request: REQUESTED-TRANSPORT 17, LIFETIME 600, ..." into `w`, as much as fits.
 * Understands ChannelData as well; other bytes are counted. */
void words_frame(struct wr *w, struct slice frame);
/* "XOR-PEER-ADDRESS". */
void words_attr(struct wr *w, enum stun_attr type);
/* Ends `w`'s text with a zero byte, whatever happened to it. */
const char *words_end(struct wr *w);
