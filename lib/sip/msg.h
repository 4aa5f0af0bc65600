/* A SIP message as slices of its bytes: header lines in their order and spelling, found by name
 * (long or compact), and small readers of their values. Nothing is copied or allocated. */
#pragma once

#include "lib/base/addr.h"
#include "lib/base/wire.h"

enum {
    SIP_HEADERS_MAX = 128
};

#define SIP_HEADER_LIST(X)                           \
    X(VIA, "Via", "v")                               \
    X(FROM, "From", "f")                             \
    X(TO, "To", "t")                                 \
    X(CALL_ID, "Call-ID", "i")                       \
    X(CSEQ, "CSeq", NULL)                            \
    X(CONTACT, "Contact", "m")                       \
    X(RECORD_ROUTE, "Record-Route", NULL)            \
    X(REQUIRE, "Require", NULL)                      \
    X(CONTENT_TYPE, "Content-Type", "c")             \
    X(CONTENT_LENGTH, "Content-Length", "l")         \
    X(CONTENT_ENCODING, "Content-Encoding", "e")     \
    X(WARNING, "Warning", NULL)                      \
    X(REASON, "Reason", NULL)                        \
    X(MS_DIAG, "ms-diagnostics", NULL)               \
    X(MS_DIAG_PUBLIC, "ms-diagnostics-public", NULL) \
    X(MS_DIAG_CLIENT, "ms-client-diagnostics", NULL)

#define SIP_HEADER_ENUM_(id, name, compact) SIP_H_##id,
enum sip_h {
    SIP_HEADER_LIST(SIP_HEADER_ENUM_) SIP_H_OTHER
};
#undef SIP_HEADER_ENUM_

struct sip_header {
    enum sip_h id;
    struct slice name, value; /* the value without blanks around it */
};

struct sip_msg {
    struct slice start;       /* the start line, without its end */
    struct slice method, uri; /* a request */
    uint16_t status;          /* a response; 0: a request */
    struct slice phrase;
    struct sip_header h[SIP_HEADERS_MAX];
    size_t n;
    struct slice body, content_type;
    struct slice call_id, from, to, from_tag, to_tag, cseq_method, branch;
    uint32_t cseq;
    bool has_essentials; /* enough of it was read to answer it, were it good or bad */
    const char *fault;   /* a literal: what is wrong with it */
};

/* Joins folded header lines in place (RFC 3261 7.3.1): blanks take the place of line ends. */
void sip_msg_unfold(uint8_t *msg, size_t len);
/* `in` is unfolded. ERR_MALFORMED leaves in `out` what was read by then, and `fault`. */
MUST_USE int sip_msg_parse(struct slice in, struct sip_msg *out);

/* The first header `id`, empty when there is none. */
struct slice sip_msg_find(const struct sip_msg *m, enum sip_h id);
/* The value at the head of a comma-separated list; quotes and <> are minded. False at its end.
 */
bool sip_value_next(struct slice *list, struct slice *value);
/* A parameter behind the address or first word of a header value. False when it is not there;
 * without "=" it is empty. */
bool sip_param(struct slice value, const char *name, struct slice *out);
/* Of a From, To, Contact or Route value: the URI and the name, without quotes. */
struct slice sip_addr_uri(struct slice value);
struct slice sip_addr_name(struct slice value);
/* "sip:user@host:port;x" in parts; ERR_UNSUPPORTED for a scheme other than sip and sips. */
MUST_USE int sip_uri_split(struct slice uri, struct slice *user, struct slice *host);
/* A part of a URI with its %XX turned into what they stand for (RFC 3261 19.1.4).
 * ERR_MALFORMED: a percent sign without two digits. ERR_NOSPACE: `w` is too small. */
MUST_USE int sip_unescape(struct slice part, struct wr *w);
