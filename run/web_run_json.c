/* The web server's JSON. */
#include <jansson.h>
#include <stdlib.h>

#include "run/web_run_impl.h"

static const char *const state_names[] = {
    [WEB_WAITING] = "waiting", [WEB_CONNECTING] = "connecting", [WEB_LIVE] = "live",
    [WEB_PAUSED] = "paused",   [WEB_ENDED] = "ended",
};

/* Text as it is, or null when there is none or it is no UTF-8. */
static json_t *text_or_null(const char *s)
{
    json_t *j = *s ? json_string(s) : NULL;
    return j ? j : json_null();
}

bool web_name_ok(struct slice name)
{
    if (name.len == 0 || name.len > WEB_NAME_MAX || slice_eq(name, slice_str(".")) ||
        slice_eq(name, slice_str(".."))) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] < ' ' || name.p[i] == '/' || name.p[i] == 0x7f) {
            return false;
        }
    }
    json_t *utf8 = json_stringn((const char *)name.p, name.len);
    json_decref(utf8);
    return utf8;
}

static char *dump(json_t *j)
{
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static json_t *space_json(const struct web_space *s)
{
    return json_pack("{s:s,s:s,s:o,s:o,s:I}", "name", s->name, "state", state_names[s->state],
                     "sharer", text_or_null(s->sharer), "detail", text_or_null(s->detail),
                     "since", (json_int_t)s->since_s);
}

char *web_json_spaces(const struct web *w)
{
    json_t *list = json_array();
    for (const struct web_space *s = w->spaces; list && s; s = s->next) {
        json_t *j = space_json(s);
        int width = s->picture ? s->picture->width : 0;
        int height = s->picture ? s->picture->height : 0;
        if (!j || json_object_set_new(j, "viewers", json_integer(s->n_viewers)) ||
            json_object_set_new(j, "width", json_integer(width)) ||
            json_object_set_new(j, "height", json_integer(height))) {
            json_decref(j);
            json_decref(list);
            return NULL;
        }
        (void)json_array_append_new(list, j);
    }
    return dump(json_pack("{s:o}", "spaces", list));
}

char *web_json_state(const struct web_space *s)
{
    json_t *j = space_json(s);
    if (j && json_object_set_new(j, "type", json_string("state"))) {
        json_decref(j);
        return NULL;
    }
    return dump(j);
}

char *web_json_refused(const char *state)
{
    return dump(
        json_pack("{s:s,s:s,s:n,s:n}", "type", "state", "state", state, "sharer", "detail"));
}

char *web_json_error(const char *text)
{
    return dump(json_pack("{s:s}", "error", text));
}
