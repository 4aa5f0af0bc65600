/* Locks the calling process in, for good: no new files, no network, no exec, no new rights. */
#pragma once

#include "lib/base/wire.h"

struct jail {
    uint64_t max_memory; /* bytes of address space; 0: not limited */
    uint64_t max_cpu_s;  /* 0: not limited */
    bool may_make_threads;
};

/* Only system calls on descriptors that are open already pass. Opening a path and making a
 * socket fail with EACCES, anything else not on the list ends the process. ERR_SYSTEM when the
 * kernel cannot do it: the caller must then give up. */
MUST_USE int jail_enter(const struct jail *j);

/* For a server: files, threads and sockets of IP, Unix and netlink go on as the user's rights
 * have it. Starting programs, tracing others and loading code into the kernel end the process;
 * whatever else is not on the list fails with EPERM. ERR_SYSTEM as above. */
MUST_USE int jail_enter_server(void);
