/* Where one SIP message ends on a stream (RFC 3261 18.3). */
#pragma once

#include "lib/base/wire.h"

enum {
    SIP_HEAD_MAX = 16 * 1024,
    SIP_BODY_MAX = 48 * 1024
};

/* The message at the head of `in`. A keep-alive (CRLF pairs, RFC 5626 3.5.1) gives PARSE_OK and
 * an empty message. PARSE_BAD: no SIP, too long, or without Content-Length. */
enum parse sip_stream_next(struct slice in, struct slice *message, size_t *used);
