/* Lays out the network, starts the programs, shows what passes between them, and with --once
 * compares the picture on the page with the screen that was shared. */
#include "cmd/causeway/demo.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/capture.h"
#include "io/conf.h"
#include "io/netns.h"

#include "cmd/causeway/crew.h"
#include "cmd/causeway/door.h"
#include "cmd/causeway/fetch.h"
#include "cmd/causeway/ladder.h"
#include "cmd/causeway/psnr.h"
#include "cmd/causeway/steps.h"

enum {
    STALL_MS = 30000,   /* between two steps; slow cores and sanitizers included */
    COMPARE_MS = 15000, /* for the picture to become what was frozen */
    RETRY_MS = 150,
    RESTART_MS = 3000, /* long enough to see on the page what its death did */
    GRACE_MS = 1200,   /* for the programs to end by themselves: all is over in 2 s */
    WHY_MAX = 2048     /* with a program's last lines */
};
#define PSNR_MIN_DB 35.0

struct demo {
    struct loop *loop;
    struct conf *conf;
    struct ladder ladder;
    struct net net;
    struct door *door;
    struct watch *watch;
    struct crew *crew;
    struct fetch *fetch;
    struct loop_timer *stall, *retry, *last, *restart;
    bool is_dead[MEMBER_COUNT];
    struct steps steps;
    char out[PATH_MAX];
    char why[WHY_MAX];                             /* the first thing that went wrong */
    uint64_t began_ms, began_us, compare_until_ms; /* began_us: wall clock */
    double psnr_db;
    bool once, keep_out, net_ok, ending, interrupted;
};

static const struct conf_option options[] = {
    {.name = "once",
     .type = CONF_BOOL,
     .preset = "off",
     .help = "end after the first picture has been compared with the shared screen"},
    {.name = "out",
     .type = CONF_FILE,
     .help = "folder for demo.pcap, and with --once picture.png, screen.png, result.json"},
    {.name = "port",
     .type = CONF_NUMBER,
     .min = 1,
     .max = 65535,
     .preset = "8080",
     .help = "of the page on 127.0.0.1; the next free one if it is taken"},
    {.name = NULL},
};

static const struct conf_program program = {
    .name = "causeway demo",
    .summary = "A screen share from a Skype site to a web page, on this machine.",
    .options = options,
};

static uint64_t since_start(const struct demo *d)
{
    return loop_now_ms(d->loop) - d->began_ms;
}

static uint64_t wall_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void end(struct demo *d)
{
    if (d->ending) {
        return;
    }
    d->ending = true;
    loop_timer_at(d->stall, UINT64_MAX);
    loop_timer_at(d->retry, UINT64_MAX);
    loop_timer_at(d->restart, UINT64_MAX);
    fetch_cancel(d->fetch);
    d->fetch = NULL;
    if (!d->crew || crew_is_empty(d->crew)) {
        loop_stop(d->loop);
        return;
    }
    crew_stop(d->crew, GRACE_MS);
    loop_timer_at(d->last, loop_now_ms(d->loop) + 2 * GRACE_MS);
}

/* Says what went wrong. With --once, and before the programs serve, that is the end. */
__attribute__((format(printf, 2, 3))) static void fail(struct demo *d, const char *format, ...)
{
    char text[WHY_MAX];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    (void)fprintf(stderr, "causeway demo: %s\n", text);
    if (!d->why[0]) {
        memcpy(d->why, text, sizeof d->why);
    }
    if (d->once || !d->steps.done[STEP_READY]) {
        end(d);
    }
}

static void mark_at(struct demo *d, enum step s, uint64_t ms)
{
    char line[LADDER_WIDTH + 1];
    if (d->steps.done[s]) {
        return;
    }
    d->steps.done[s] = true;
    d->steps.at_ms[s] = ms;
    (void)snprintf(line, sizeof line, "%7llu  == %2d of %d: %s",
                   (unsigned long long)d->steps.at_ms[s], (int)s + 1,
                   d->once ? STEP_COUNT : STEP_COMPARED, step_name(s));
    ladder_line(&d->ladder, TONE_GOOD, line);
    bool waits = !d->ending && (d->once || s < STEP_PICTURE);
    loop_timer_at(d->stall, waits ? loop_now_ms(d->loop) + STALL_MS : UINT64_MAX);
}

static void mark(struct demo *d, enum step s)
{
    mark_at(d, s, since_start(d));
}

static void stalled(void *ctx)
{
    struct demo *d = ctx;
    enum step next = steps_next(&d->steps);
    fail(d, "nothing new for %d s; the next step would be: %s", STALL_MS / 1000,
         next < STEP_COUNT ? step_name(next) : "the end");
}

static void give_up(void *ctx)
{
    struct demo *d = ctx;
    loop_stop(d->loop);
}

static enum tone tone_of(const struct watched *w)
{
    static const enum tone tones[] = {[HEARD_SIP] = TONE_SIP,
                                      [HEARD_STUN] = TONE_TURN,
                                      [HEARD_FRAMED_STUN] = TONE_ICE,
                                      [HEARD_MEDIA] = TONE_MEDIA,
                                      [HEARD_OTHER] = TONE_PLAIN};
    return w->is_opening ? TONE_PLAIN : tones[w->heard.what];
}

static void heard(const struct watched *w, void *ctx)
{
    struct demo *d = ctx;
    char text[HEARD_TEXT_MAX];
    if (d->ending) {
        return;
    }
    (void)snprintf(text, sizeof text, "TCP to port %u", w->to_port);
    /* By the packet's clock: this process may look at it some time later. */
    uint64_t ms = w->at_us > d->began_us ? (w->at_us - d->began_us) / 1000 : 0;
    ladder_arrow(&d->ladder, ms, w->from, w->to, tone_of(w),
                 w->is_opening ? text : w->heard.text);
    enum step s = steps_hear(&d->steps, w);
    if (s < STEP_COUNT) {
        mark_at(d, s, ms);
    }
}

static struct addr web_server(void)
{
    return (struct addr){
        .family = ADDR_IP4, .ip = {10, 48, 54, 230},
             .port = CREW_WEB_PORT
    };
}

static int save(const struct demo *d, const char *name, struct slice bytes)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", d->out, name);
    FILE *f = fopen(path, "wb");
    if (!f) {
        return ERR_SYSTEM;
    }
    bool ok = fwrite(bytes.p, 1, bytes.len, f) == bytes.len;
    ok = fclose(f) == 0 && ok;
    return ok ? 0 : ERR_SYSTEM;
}

/* The picture as the page has it now: good enough, or to be looked at again, or too late. */
static void fetched(unsigned status, struct slice body, void *ctx)
{
    struct demo *d = ctx;
    char screen[PATH_MAX + 32], why[PSNR_WHY_MAX] = "the page has no picture";
    (void)snprintf(screen, sizeof screen, "%s/screen.png", d->out);
    d->fetch = NULL;
    d->psnr_db = 0;
    int err = status == 200 ? psnr_png(body, screen, &d->psnr_db, why) : ERR_NOTFOUND;
    if (status == 200 && save(d, "picture.png", body) != 0) {
        fail(d, "cannot write picture.png into %s: %s", d->out, strerror(errno));
        return;
    }
    if (!err && d->psnr_db >= PSNR_MIN_DB) {
        watch_flush(d->watch); /* what was captured but not looked at yet counts */
        mark(d, STEP_COMPARED);
        if (steps_next(&d->steps) < STEP_COUNT) {
            fail(d, "the picture came, but one step was never seen: %s",
                 step_name(steps_next(&d->steps)));
        }
        end(d);
    } else if (loop_now_ms(d->loop) >= d->compare_until_ms) {
        fail(d, "the picture is not what was shared: PSNR %.1f dB, %.0f needed%s%s", d->psnr_db,
             PSNR_MIN_DB, err ? "; " : "", err ? why : "");
    } else {
        loop_timer_at(d->retry, loop_now_ms(d->loop) + RETRY_MS);
    }
}

static void look(void *ctx)
{
    struct demo *d = ctx;
    struct addr server = web_server();
    int err = netns_enter(d->net.ns[HOST_MEET]);
    if (!err) {
        err = fetch_start(&d->fetch, d->loop, &server,
                          "/api/v1/spaces/" CREW_SPACE "/snapshot.png", fetched, d);
        int back = netns_enter(d->net.home);
        err = err ? err : back;
    }
    if (err) {
        fail(d, "cannot ask the meeting server for its picture: %s", err_text(err));
    }
}

static bool servers_ready(const struct demo *d)
{
    return crew_is_ready(d->crew, MEMBER_EDGE) && crew_is_ready(d->crew, MEMBER_SKYPE_EDGE) &&
           crew_is_ready(d->crew, MEMBER_MEET) && crew_is_ready(d->crew, MEMBER_FRONT_END);
}

static void start(struct demo *d, enum member m)
{
    int err = crew_start(d->crew, m);
    if (err) {
        fail(d, "cannot start %s: %s", crew_title(m),
             err == ERR_NOTFOUND ? "it is neither built nor installed beside this program"
             : err == ERR_SYSTEM ? strerror(errno)
                                 : err_text(err));
    }
}

static void say_address(const struct demo *d, const char *what)
{
    char line[LADDER_WIDTH + 1];
    (void)snprintf(line, sizeof line, "          %s http://127.0.0.1:%u/", what,
                   door_port(d->door));
    ladder_line(&d->ladder, TONE_PLAIN, line);
}

static void all_ready(struct demo *d)
{
    struct addr web = web_server();
    mark(d, STEP_READY);
    door_open(d->door, d->net.home, d->net.ns[HOST_MEET], &web);
    say_address(d, "The page is at");
    start(d, MEMBER_SHARE);
}

static void picture_came(struct demo *d)
{
    bool first = !d->steps.done[STEP_PICTURE];
    mark(d, STEP_PICTURE);
    if (!d->once) {
        say_address(d, "Ctrl-C ends the demonstration. The screen is live at");
    } else if (first && crew_signal(d->crew, MEMBER_SHARE, SIGUSR1) != 0) {
        fail(d, "%s is gone and cannot freeze the screen", crew_title(MEMBER_SHARE));
    }
}

static void logged(const struct crew_event *e, void *ctx)
{
    struct demo *d = ctx;
    char line[LADDER_WIDTH + 1];
    if (d->ending) {
        return;
    }
    if (strcmp(e->level, "error") == 0 || strcmp(e->level, "warn") == 0) {
        (void)snprintf(line, sizeof line, "          %s: %s%s%s", crew_title(e->member),
                       e->name, *e->why ? ": " : "", e->why);
        ladder_line(&d->ladder, TONE_BAD, line);
    }
    if (!d->steps.done[STEP_READY] && servers_ready(d)) {
        all_ready(d);
    } else if (e->member == MEMBER_MEET && strcmp(e->name, "share-live") == 0) {
        picture_came(d);
    } else if (d->once && e->member == MEMBER_SHARE && strcmp(e->name, "screen-saved") == 0) {
        d->compare_until_ms = loop_now_ms(d->loop) + COMPARE_MS;
        look(d);
    }
}

/* What has died is started again, so that a person can end any program and see what happens. */
static void restart(void *ctx)
{
    struct demo *d = ctx;
    char line[LADDER_WIDTH + 1];
    for (int m = 0; m < MEMBER_COUNT && !d->ending; m++) {
        if (d->is_dead[m]) {
            d->is_dead[m] = false;
            (void)snprintf(line, sizeof line, "          %s starts again",
                           crew_title((enum member)m));
            ladder_line(&d->ladder, TONE_PLAIN, line);
            start(d, (enum member)m);
        }
    }
}

static void gone(enum member m, const char *how, void *ctx)
{
    struct demo *d = ctx;
    if (!d->ending && !d->once && d->steps.done[STEP_READY]) {
        (void)fprintf(stderr, "causeway demo: %s %s\n", crew_title(m), how);
        d->is_dead[m] = true;
        loop_timer_at(d->restart, loop_now_ms(d->loop) + RESTART_MS);
    } else if (!d->ending) {
        fail(d, "%s %s", crew_title(m), how);
    }
    if (d->ending && crew_is_empty(d->crew)) {
        loop_stop(d->loop);
    }
}

static void on_signal(int signo, void *ctx)
{
    struct demo *d = ctx;
    (void)signo;
    d->interrupted = true;
    if (d->ending) {
        crew_stop(d->crew, 0); /* asked twice */
    }
    end(d);
}

/* The client stops the shared screen's movement, writes screen.png; or lets it move again. */
static void on_freeze(int signo, void *ctx)
{
    struct demo *d = ctx;
    if (d->crew && !d->ending) {
        (void)crew_signal(d->crew, MEMBER_SHARE, signo);
    }
}

/* A folder for what is written: the user's, or one that is gone afterwards. */
static int prepare_out(struct demo *d)
{
    const char *wish = conf_count(d->conf, "out") ? conf_text(d->conf, "out", 0) : NULL;
    d->keep_out = wish != NULL;
    if (!wish) {
        (void)snprintf(d->out, sizeof d->out, "/tmp/causeway-demo-XXXXXX");
        return mkdtemp(d->out) ? 0 : ERR_SYSTEM;
    }
    if (mkdir(wish, 0777) != 0 && errno != EEXIST) {
        return ERR_SYSTEM;
    }
    /* Absolute: the programs need not run where we do. */
    size_t at = 0;
    if (wish[0] != '/') {
        if (!getcwd(d->out, sizeof d->out - 1)) {
            return ERR_SYSTEM;
        }
        at = strlen(d->out);
        d->out[at++] = '/';
    }
    int n = snprintf(d->out + at, sizeof d->out - at, "%s", wish);
    errno = ENAMETOOLONG;
    return n < (int)(sizeof d->out - at) ? 0 : ERR_SYSTEM;
}

static void tidy_out(const struct demo *d)
{
    static const char *const names[] = {"picture.png", "screen.png"};
    char path[PATH_MAX + 32];
    if (d->keep_out || !d->out[0]) {
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", d->out, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(d->out);
}

static int open_loop(struct demo *d)
{
    int err = loop_new(&d->loop);
    err = err ? err : loop_timer_new(&d->stall, d->loop, stalled, d);
    err = err ? err : loop_timer_new(&d->retry, d->loop, look, d);
    err = err ? err : loop_timer_new(&d->last, d->loop, give_up, d);
    err = err ? err : loop_timer_new(&d->restart, d->loop, restart, d);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < 3 && !err; i++) {
        err = loop_on_signal(d->loop, signals[i], on_signal, d);
    }
    err = err ? err : loop_on_signal(d->loop, SIGUSR1, on_freeze, d);
    return err;
}

/* Everything up to the running programs; false: said why not. */
static bool lay_out(struct demo *d)
{
    const char *why;
    char reason[CAPTURE_WHY_MAX], pcap[PATH_MAX + 32];
    if (door_new(&d->door, d->loop, (uint16_t)conf_number(d->conf, "port")) != 0) {
        fail(d, "cannot listen on 127.0.0.1: %s", strerror(errno));
        return false;
    }
    if (net_new(&d->net, &why) != 0) {
        fail(d, "%s (%s)", why, strerror(errno));
        return false;
    }
    d->net_ok = true;
    mark(d, STEP_NETWORK);
    if (net_check(&d->net, &why) != 0) {
        fail(d, "the network is not what it should be: %s", why);
        return false;
    }
    mark(d, STEP_NO_ROUTE);
    (void)snprintf(pcap, sizeof pcap, "%s/demo.pcap", d->out);
    if (watch_new(&d->watch, d->loop, &d->net, d->keep_out ? pcap : NULL, heard, d, reason) !=
        0) {
        fail(d, "cannot capture: %s", reason);
        return false;
    }
    return true;
}

static void run(struct demo *d)
{
    struct crew_config cfg = {
        .net = &d->net, .out = d->out, .event = logged, .gone = gone, .ctx = d};
    d->began_ms = loop_now_ms(d->loop);
    d->began_us = wall_us();
    ladder_head(&d->ladder);
    if (!lay_out(d)) {
        return;
    }
    if (crew_new(&d->crew, d->loop, &cfg) != 0) {
        fail(d, "out of memory");
        return;
    }
    for (int m = 0; m < MEMBER_SHARE && !d->ending; m++) {
        start(d, (enum member)m);
    }
    loop_run(d->loop);
}

static int report(struct demo *d)
{
    bool ok = !d->why[0] && (d->once ? steps_next(&d->steps) == STEP_COUNT : true);
    if (d->once && d->interrupted && !d->why[0]) {
        (void)snprintf(d->why, sizeof d->why, "interrupted");
    }
    if (d->once && d->keep_out) {
        struct steps_report r = {
            .ok = ok, .why = d->why[0] ? d->why : NULL, .psnr_db = d->psnr_db};
        if (steps_write(&d->steps, &r, d->out) != 0) {
            (void)fprintf(stderr, "causeway demo: cannot write %s/result.json\n", d->out);
            ok = false;
        }
    }
    if (d->keep_out && d->watch && watch_lost(d->watch) > 0) {
        (void)fprintf(stderr, "causeway demo: the captures lack %llu packets: too busy\n",
                      (unsigned long long)watch_lost(d->watch));
    }
    if (d->once && ok) {
        (void)printf(
            "The page shows what was shared: PSNR %.1f dB; first picture %llu ms after "
            "the INVITE.\n",
            d->psnr_db, (unsigned long long)steps_first_picture_ms(&d->steps));
    }
    return ok ? 0 : 1;
}

static void clean_up(struct demo *d)
{
    fetch_cancel(d->fetch);
    door_free(d->door);
    watch_free(d->watch);
    crew_free(d->crew);
    if (d->net_ok) {
        net_done(&d->net);
    }
    loop_timer_free(d->stall);
    loop_timer_free(d->retry);
    loop_timer_free(d->last);
    loop_timer_free(d->restart);
    loop_free(d->loop);
    tidy_out(d);
    conf_free(d->conf);
}

int demo_main(int argc, char **argv)
{
    struct demo d = {.ladder = {.fd = STDOUT_FILENO}};
    switch (conf_load(&d.conf, &program, argc, argv, NULL)) {
    case CONF_DONE: return 0;
    case CONF_FAILED: return 2;
    case CONF_RUN: break;
    }
    d.once = conf_bool(d.conf, "once");
    d.ladder.has_colour = isatty(STDOUT_FILENO) == 1;
    int status = 1;
    if (prepare_out(&d) != 0) {
        (void)fprintf(stderr, "causeway demo: cannot make the folder for its files: %s\n",
                      strerror(errno));
    } else if (open_loop(&d) != 0) {
        (void)fprintf(stderr, "causeway demo: cannot start its loop: %s\n", strerror(errno));
    } else {
        run(&d);
        status = report(&d);
    }
    clean_up(&d);
    return status;
}
