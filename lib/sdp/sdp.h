/* SDP as lines, and m=applicationsharing ([MS-SDPEXT]) out of and into it. */
#pragma once

#include "lib/ice/agent.h"

enum {
    SDP_MEDIA_MAX = 16,
    SDP_SHARE_CANDS = 16
};

struct sdp_line {
    char type;        /* 'v', 'm', 'a', ... ; 0: broken */
    struct slice key; /* for a=: up to the colon; for others empty */
    struct slice value;
    struct slice raw; /* with its line end */
};

/* False at the end; a broken line has type 0 and is still in `raw`. CRLF or LF. */
bool sdp_next(struct rd *r, struct sdp_line *out);

/* a=candidate, in Microsoft's spelling (TCP-ACT, TCP-PASS) and RFC 6544's (TCP ... tcptype).
 * ERR_UNSUPPORTED for UDP ones and names in place of addresses. */
MUST_USE int sdp_read_candidate(const struct sdp_line *l, struct ice_cand *out);
/* Microsoft's spelling, one line for `component`. */
void sdp_put_candidate(struct wr *w, const struct ice_cand *c, uint8_t component);

enum sdp_role {
    SDP_ROLE_NONE,
    SDP_SHARER,
    SDP_VIEWER
};

struct sdp_media { /* one m= line: enough to answer it with port 0 */
    struct slice name, proto, formats;
    uint16_t port;
};

struct sdp_share {  /* m=applicationsharing, as far as we use it; slices borrow the body */
    struct addr at; /* c= and the m= line's port */
    struct slice ufrag, pwd, session_id, mid, contentflow;
    struct slice rtpmap;                   /* "x-data/90000" */
    struct ice_cand cand[SDP_SHARE_CANDS]; /* component 1 only */
    struct addr remote_cand;               /* of a=remote-candidates, component 1; or none */
    size_t n_cand, n_skipped;              /* skipped: unreadable or too many */
    enum sdp_role role;
    uint8_t payload_type;
    bool is_secure;  /* the m= line says SAVP */
    bool has_crypto; /* there are a=crypto lines */
    bool setup_active, connection_existing;
};

struct sdp_offer {
    struct sdp_media media[SDP_MEDIA_MAX]; /* in order */
    size_t n_media;
    size_t share_at; /* index of m=applicationsharing with a port; n_media: there is none */
    struct sdp_share share;
};

/* Also reads answers. ERR_MALFORMED with `why` (a literal) naming what is missing or broken. */
MUST_USE int sdp_read(struct slice body, struct sdp_offer *out, const char **why);

/* A whole description with our share. `offer`: the one being answered, whose other m= lines
 * get port 0; NULL when we offer. `share->at` goes into c= and m=; `remote_cand` and
 * component 2's copies are written as [MS-SDPEXT] wants them. */
void sdp_put(struct wr *w, uint64_t session, uint32_t version, const struct sdp_share *share,
             const struct sdp_offer *offer);
