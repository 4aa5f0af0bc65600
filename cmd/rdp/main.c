/* causeway-rdp: shows the meeting server one screen share. Started by it, never by hand:
 * descriptor 3 is the RDP byte stream, 4 the control socket (lib/share/link.h), 5 the shared
 * memory. It has no file system and no network once it reads the first byte of RDP. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/jail.h"

#include "cmd/rdp/view.h"

enum {
    CONTROL_FD = 4,
    MEMORY_FD = 5,
    /* The server starts this process before the sharer has answered; that may take minutes. */
    CONNECT_MS = 180000,
    MAX_MEMORY = 768 << 20,
    CRASH_STACK = 256 << 10, /* a message is built on it */
    STATUS_CRASHED = 3
};

struct watch {
    pthread_t thread;
    atomic_bool is_connected;
};

/* FreeRDP blocks while it connects, so that a thread looks whether the server is still there.
 * _exit, because nothing here needs tidying up and the other threads must not run on. */
static void *watch_run(void *arg)
{
    struct watch *w = arg;
    struct pollfd p = {.fd = CONTROL_FD, .events = 0}; /* hang-up is always reported */
    if (poll(&p, 1, CONNECT_MS) == 0 && !atomic_load(&w->is_connected)) {
        feed_gone(CONTROL_FD, "The screen share did not begin within three minutes.");
        _exit(1);
    }
    while (!(p.revents & (POLLHUP | POLLERR | POLLNVAL))) {
        poll(&p, 1, -1);
    }
    _exit(0);
}

/* FreeRDP stumbled over the sharer's bytes. Nothing can be relied on but that the server must
 * hear of it. (Unchecked, as AddressSanitizer would look into /proc before the _exit.) */
__attribute__((no_sanitize("address"))) static void on_crash(int signo)
{
    (void)signo;
    feed_gone(CONTROL_FD, "The viewer process failed on what the sharer sent.");
    _exit(STATUS_CRASHED);
}

static int catch_crashes(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static uint8_t stack[CRASH_STACK]; /* the ordinary one may be what overflowed */
    struct sigaction act = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND};
    int bad = sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        bad |= sigaction(fatal[i], &act, NULL);
    }
    return bad;
}

static int lock_in(void)
{
    struct jail j = {.max_memory = MAX_MEMORY, .may_make_threads = true};
#ifdef __SANITIZE_ADDRESS__
    j.max_memory = 0; /* the sanitizer reserves terabytes of address space */
#endif
    return jail_enter(&j);
}

static int run(struct feed *feed, struct watch *watch)
{
    struct view *v;
    int err = view_new(&v, feed);
    if (err || catch_crashes() || lock_in() ||
        pthread_create(&watch->thread, NULL, watch_run, watch)) {
        feed_gone(CONTROL_FD, "The viewer process cannot start on this system.");
        return 1;
    }
    err = feed_state(feed, LINK_CONNECTING, "Waiting for the sharer.");
    err = err ? err : view_connect(v);
    atomic_store(&watch->is_connected, true);
    while (!err) {
        err = view_step(v);
    }
    if (err == ERR_SYSTEM) {
        return 0; /* the server went first */
    }
    feed_gone(CONTROL_FD, view_reason(v));
    return 1;
}

int main(void)
{
    static struct feed feed = {.fd = CONTROL_FD};
    static struct watch watch;
    feed.mem = mmap(NULL, LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, MEMORY_FD, 0);
    if (feed.mem == MAP_FAILED) {
        fprintf(stderr, "causeway-rdp is started by causeway-meet, with descriptors 3 to 5\n");
        return 2;
    }
    /* FreeRDP wants a home, which a service may not have; nobody's settings are to be read. */
    int status = setenv("HOME", "/", 1) ? 1 : run(&feed, &watch);
    /* Without leaving main: the watch and FreeRDP's threads still run. */
    _exit(status);
}
