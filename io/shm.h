/* Memory shared with a child process, and the descriptors that go with it. */
#pragma once

#include "lib/base/wire.h"

/* An unnamed file of `size` bytes, sealed against shrinking and growing; mapped read-write, or
 * read-only. The caller closes the descriptor. */
MUST_USE int shm_new(int *fd, size_t size);
MUST_USE int shm_map(void **out, int fd, size_t size, bool can_write);
void shm_unmap(void *p, size_t size);

/* A connected pair, both ends close-on-exec and non-blocking. */
MUST_USE int io_stream_pair(int fd[2]);  /* byte stream */
MUST_USE int io_message_pair(int fd[2]); /* messages keep their bounds (SOCK_SEQPACKET) */
