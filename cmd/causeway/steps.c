/* The walkthrough as a table of messages to wait for. */
#include "cmd/causeway/steps.h"

#include <jansson.h>
#include <stdio.h>

static const char *const names[STEP_COUNT] = {
    [STEP_NETWORK] = "four hosts are wired up",
    [STEP_NO_ROUTE] = "the client has no route to the edge",
    [STEP_READY] = "all servers serve",
    [STEP_INVITE] = "INVITE with m=applicationsharing",
    [STEP_CHALLENGE] = "the edge asks for credentials (401)",
    [STEP_RELAY] = "the edge gives a TCP relay",
    [STEP_REFRESH] = "the relay is refreshed",
    [STEP_ANSWER] = "200 OK with the relay candidate",
    [STEP_ATTEMPT] = "the Skype Edge connects to the relay (ConnectionAttempt)",
    [STEP_BIND] = "a second connection is bound to it (ConnectionBind)",
    [STEP_CHECKS] = "ICE checks are answered both ways",
    [STEP_RDP] = "the first RDP bytes",
    [STEP_PICTURE] = "the first picture is on the page",
    [STEP_COMPARED] = "the picture is what was shared",
};

/* Steps that one message on one leg shows. */
static const struct {
    enum step step;
    enum leg leg;
    enum heard_what what;
    uint16_t method;
    enum stun_class cls;
} signs[] = {
    {STEP_CHALLENGE, LEG_MEDIA, HEARD_STUN, STUN_ALLOCATE,           STUN_ERROR     },
    {STEP_RELAY,     LEG_MEDIA, HEARD_STUN, STUN_ALLOCATE,           STUN_SUCCESS   },
    {STEP_REFRESH,   LEG_MEDIA, HEARD_STUN, STUN_REFRESH,            STUN_SUCCESS   },
    {STEP_ATTEMPT,   LEG_MEDIA, HEARD_STUN, STUN_CONNECTION_ATTEMPT, STUN_INDICATION},
    {STEP_BIND,      LEG_MEDIA, HEARD_STUN, STUN_CONNECTION_BIND,    STUN_SUCCESS   },
};

const char *step_name(enum step s)
{
    return names[s];
}

enum step steps_next(const struct steps *s)
{
    size_t i = 0;
    while (i < STEP_COUNT && s->done[i]) {
        i++;
    }
    return (enum step)i;
}

static enum step step_of_sip(const struct heard *h)
{
    if (!h->is_invite) {
        return STEP_COUNT;
    }
    if (h->status == 0 && h->has_share) {
        return STEP_INVITE;
    }
    return h->status == 200 && h->has_relay ? STEP_ANSWER : STEP_COUNT;
}

/* Both sides must have asked, and have been answered. */
static enum step step_of_check(struct steps *s, const struct watched *w)
{
    size_t side = w->from == HOST_MEET ? 1 : 0;
    s->asked[side] = s->asked[side] || w->heard.cls == STUN_REQUEST;
    s->answered[side] = s->answered[side] || w->heard.cls == STUN_SUCCESS;
    bool all = s->asked[0] && s->asked[1] && s->answered[0] && s->answered[1];
    return all ? STEP_CHECKS : STEP_COUNT;
}

static enum step step_of(struct steps *s, const struct watched *w)
{
    if (w->is_opening) {
        return STEP_COUNT;
    }
    if (w->leg == LEG_SIP) {
        return step_of_sip(&w->heard);
    }
    if (w->leg == LEG_MEDIA && w->heard.what == HEARD_MEDIA) {
        return STEP_RDP;
    }
    if (w->leg == LEG_MEDIA && w->heard.what == HEARD_FRAMED_STUN) {
        return step_of_check(s, w);
    }
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (w->leg == signs[i].leg && w->heard.what == signs[i].what &&
            w->heard.method == signs[i].method && w->heard.cls == signs[i].cls) {
            return signs[i].step;
        }
    }
    return STEP_COUNT;
}

enum step steps_hear(struct steps *s, const struct watched *w)
{
    enum step step = step_of(s, w);
    return step < STEP_COUNT && !s->done[step] ? step : STEP_COUNT;
}

uint64_t steps_first_picture_ms(const struct steps *s)
{
    if (!s->done[STEP_INVITE] || !s->done[STEP_PICTURE]) {
        return 0;
    }
    return s->at_ms[STEP_PICTURE] - s->at_ms[STEP_INVITE];
}

int steps_write(const struct steps *s, const struct steps_report *r, const char *out)
{
    char path[4096];
    json_t *list = json_array();
    for (size_t i = 0; i < STEP_COUNT; i++) {
        if (s->done[i]) {
            (void)json_array_append_new(
                list, json_pack("{s:s, s:I}", "name", names[i], "ms", (json_int_t)s->at_ms[i]));
        }
    }
    json_t *all = json_pack("{s:b, s:o}", "ok", r->ok, "steps", list);
    if (r->psnr_db > 0) {
        (void)json_object_set_new(all, "psnr_db", json_real(r->psnr_db));
    }
    if (steps_first_picture_ms(s) > 0) {
        (void)json_object_set_new(all, "first_picture_ms",
                                  json_integer((json_int_t)steps_first_picture_ms(s)));
    }
    if (r->why) {
        (void)json_object_set_new(all, "why", json_string(r->why));
    }
    int n = snprintf(path, sizeof path, "%s/result.json", out);
    int status = -1;
    if (all && n < (int)sizeof path) {
        status = json_dump_file(all, path, JSON_INDENT(2) | JSON_REAL_PRECISION(5));
    }
    json_decref(all);
    return status == 0 ? 0 : ERR_SYSTEM;
}
