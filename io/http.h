/* A page or two for machines on this host: answers GET, one request a connection, and is not
 * meant for strangers. Heads, connections and times are bounded. */
#pragma once

#include "lib/base/addr.h"

#include "io/loop.h"

struct http;

enum {
    HTTP_HEAD_MAX = 4096,      /* of a request; a longer one gets 431 */
    HTTP_CONNS_MAX = 16,       /* at once; more are closed */
    HTTP_BODY_MAX = 64 * 1024, /* of an answer */
    HTTP_WAIT_MS = 5000        /* from connecting to the end of the request's head */
};

struct http_page {
    const char *path, *type; /* "/metrics", "text/plain" */
    void (*write)(struct wr *w, void *ctx);
};

/* `pages` ends with a NULL path and outlives the listener. ERR_SYSTEM with errno. */
MUST_USE int http_listen(struct http **out, struct loop *l, const struct addr *at,
                         const struct http_page *pages, void *ctx);
void http_free(struct http *h);              /* NULL is fine */
struct addr http_addr(const struct http *h); /* with the port it got */
