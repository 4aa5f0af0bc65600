/* Memory shared with a child process, and pairs of connected sockets. */
#include "io/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int shm_new(int *fd, size_t size)
{
    *fd = memfd_create("causeway", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) {
        return ERR_SYSTEM;
    }
    if (size > INT64_MAX || ftruncate(*fd, (off_t)size) ||
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        int saved = errno;
        (void)close(*fd);
        *fd = -1;
        errno = saved;
        return ERR_SYSTEM;
    }
    return OK;
}

int shm_map(void **out, int fd, size_t size, bool can_write)
{
    *out = mmap(NULL, size, PROT_READ | (can_write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (*out == MAP_FAILED) {
        *out = NULL;
        return ERR_SYSTEM;
    }
    return OK;
}

void shm_unmap(void *p, size_t size)
{
    if (p) {
        (void)munmap(p, size);
    }
}

int io_stream_pair(int fd[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) ? ERR_SYSTEM
                                                                                  : OK;
}

int io_message_pair(int fd[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd)
               ? ERR_SYSTEM
               : OK;
}
