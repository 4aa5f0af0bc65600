/* Writes the endpoint's messages. What the peer must find again goes back as it came. */
#include "lib/base/text.h"

#include "lib/sip/ua_core.h"

static const char *const via_names[] = {"UDP", "TCP", "TLS"};
static const char *const uri_params[] = {"", ";transport=tcp", ";transport=tls"};

static const struct {
    uint16_t status;
    const char *phrase;
} phrases[] = {
    {100, "Trying"                         },
    {180, "Ringing"                        },
    {183, "Session Progress"               },
    {200, "OK"                             },
    {400, "Bad Request"                    },
    {403, "Forbidden"                      },
    {404, "Not Found"                      },
    {405, "Method Not Allowed"             },
    {408, "Request Timeout"                },
    {415, "Unsupported Media Type"         },
    {416, "Unsupported URI Scheme"         },
    {420, "Bad Extension"                  },
    {480, "Temporarily Unavailable"        },
    {481, "Call/Transaction Does Not Exist"},
    {482, "Loop Detected"                  },
    {486, "Busy Here"                      },
    {487, "Request Terminated"             },
    {488, "Not Acceptable Here"            },
    {489, "Bad Event"                      },
    {491, "Request Pending"                },
    {500, "Server Internal Error"          },
    {503, "Service Unavailable"            },
    {505, "Version Not Supported"          },
    {603, "Decline"                        },
};

static struct slice phrase_of(uint16_t status)
{
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].status == status) {
            return slice_str(phrases[i].phrase);
        }
    }
    return slice_str(status < 300 ? "OK" : "Refused");
}

static void line(struct wr *w, const char *name, struct slice value)
{
    wr_bytes(w, slice_str(name));
    wr_bytes(w, slice_str(": "));
    wr_bytes(w, value);
    wr_bytes(w, slice_str("\r\n"));
}

static void contact(struct wr *w, const struct sip_flow_info *flow, struct slice user)
{
    char at[ADDR_TEXT_MAX];
    wr_bytes(w, slice_str("Contact: <sip:"));
    wr_bytes(w, user);
    wr_bytes(w, slice_str(user.len > 0 ? "@" : ""));
    wr_text(w, "%s%s>\r\n", addr_text(&flow->local, at), uri_params[flow->transport]);
}

/* The topmost Via value with where it really came from (RFC 3261 18.2.1, RFC 3581 4). Answers
 * go back on the flow in any case, so that this only informs the peer. */
static void put_top_via(struct wr *w, const struct addr *from, struct slice value)
{
    char ip[ADDR_TEXT_MAX];
    struct slice rest = value, rport;
    struct slice head = text_split(&rest, ';'); /* its first part has no quotes */
    struct slice host = head;
    (void)text_split(&host, ' ');
    host = text_trim(host);
    struct addr said;
    bool asks = sip_param(value, "rport", &rport);
    bool differs = addr_parse(host, &said) || !addr_ip_eq(&said, from);
    wr_bytes(w, head);
    while (rest.len > 0) {
        struct slice param = text_split(&rest, ';');
        struct slice v = param;
        struct slice name = text_trim(text_split(&v, '='));
        if (!text_is(name, "rport") && !text_is(name, "received")) {
            wr_bytes(w, slice_str(";"));
            wr_bytes(w, param);
        }
    }
    if (asks || differs) {
        wr_text(w, ";received=%s", addr_ip_text(from, ip));
    }
    if (asks) {
        wr_text(w, ";rport=%u", (unsigned)from->port);
    }
}

static void put_vias(struct wr *w, const struct sip_flow_info *flow, const struct sip_msg *req)
{
    bool is_top = true;
    for (size_t i = 0; i < req->n; i++) {
        struct slice list = req->h[i].value, value;
        if (req->h[i].id != SIP_H_VIA) {
            continue;
        }
        while (sip_value_next(&list, &value)) {
            wr_bytes(w, slice_str("Via: "));
            if (is_top) {
                put_top_via(w, &flow->remote, value);
            } else {
                wr_bytes(w, value);
            }
            wr_bytes(w, slice_str("\r\n"));
            is_top = false;
        }
    }
}

static void put_body(struct wr *w, struct slice content_type, struct slice body)
{
    if (body.len > 0) {
        line(w, "Content-Type", content_type);
    }
    wr_text(w, "Content-Length: %zu\r\n\r\n", body.len);
    wr_bytes(w, body);
}

static void put_abilities(struct sip_ua *u, struct wr *w, bool is_response)
{
    line(w, "Allow", slice_str(SIP_ALLOW));
    if (u->events.len > 0) {
        line(w, "Allow-Events", blob_slice(&u->events));
    }
    if (u->agent.len > 0) {
        line(w, is_response ? "Server" : "User-Agent", blob_slice(&u->agent));
    }
}

struct slice ua_write_response(struct sip_ua *u, const struct sip_flow_info *flow,
                               const struct sip_msg *req, const struct sip_answer *a,
                               struct slice tag)
{
    struct wr w = wr_over(u->out, OUT_MAX);
    bool is_invite = text_is(req->method, "INVITE");
    wr_text(&w, "SIP/2.0 %03u ", (unsigned)a->status);
    wr_bytes(&w, a->reason.len > 0 ? a->reason : phrase_of(a->status));
    wr_bytes(&w, slice_str("\r\n"));
    put_vias(&w, flow, req);
    line(&w, "From", req->from);
    wr_bytes(&w, slice_str("To: "));
    wr_bytes(&w, req->to);
    if (req->to_tag.len == 0 && a->status > 100) {
        wr_bytes(&w, slice_str(";tag="));
        wr_bytes(&w, tag);
    }
    wr_bytes(&w, slice_str("\r\n"));
    line(&w, "Call-ID", req->call_id);
    line(&w, "CSeq", sip_msg_find(req, SIP_H_CSEQ));
    if (is_invite && a->status > 100 && a->status < 300) {
        struct slice user, host;
        (void)!sip_uri_split(req->uri, &user, &host);
        for (size_t i = 0; i < req->n; i++) {
            if (req->h[i].id == SIP_H_RECORD_ROUTE) {
                line(&w, "Record-Route", req->h[i].value);
            }
        }
        contact(&w, flow, user);
    }
    put_abilities(u, &w, true);
    wr_bytes(&w, a->headers);
    put_body(&w, a->content_type, a->body);
    return wr_done(&w);
}

struct slice ua_write_request(struct sip_ua *u, const struct dialog *d, const struct request *r)
{
    struct wr w = wr_over(u->out, OUT_MAX);
    char at[ADDR_TEXT_MAX], branch[TAG_LEN + 1];
    ua_tag(u, branch);
    wr_text(&w, "%s ", r->method);
    wr_bytes(&w, blob_slice(&d->target));
    wr_text(&w, " SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=" SIP_BRANCH_COOKIE "%s;rport\r\n",
            via_names[d->flow.transport], addr_text(&d->flow.local, at), branch);
    wr_bytes(&w, slice_str("Max-Forwards: 70\r\n"));
    wr_bytes(&w, blob_slice(&d->routes));
    line(&w, "From", blob_slice(&d->local));
    line(&w, "To", blob_slice(&d->remote));
    line(&w, "Call-ID", blob_slice(&d->call_id));
    wr_text(&w, "CSeq: %u %s\r\n", (unsigned)r->cseq, r->method);
    if (text_is(slice_str(r->method), "INVITE")) {
        contact(&w, &d->flow, blob_slice(&d->user));
    }
    put_abilities(u, &w, false);
    wr_bytes(&w, r->headers);
    put_body(&w, r->content_type, r->body);
    return wr_done(&w);
}

struct slice ua_write_hop(struct sip_ua *u, const struct tx *t, const char *method,
                          struct slice to)
{
    struct wr w = wr_over(u->out, OUT_MAX);
    struct sip_msg m;
    if (sip_msg_parse(blob_slice(&t->request), &m)) {
        return slice_of(NULL, 0);
    }
    wr_text(&w, "%s ", method);
    wr_bytes(&w, m.uri);
    wr_bytes(&w, slice_str(" SIP/2.0\r\n"));
    line(&w, "Via", sip_msg_find(&m, SIP_H_VIA));
    wr_bytes(&w, slice_str("Max-Forwards: 70\r\n"));
    for (size_t i = 0; i < m.n; i++) {
        if (text_is(m.h[i].name, "Route")) {
            line(&w, "Route", m.h[i].value);
        }
    }
    line(&w, "From", m.from);
    line(&w, "To", to.len > 0 ? to : m.to);
    line(&w, "Call-ID", m.call_id);
    wr_text(&w, "CSeq: %u %s\r\nContent-Length: 0\r\n\r\n", (unsigned)m.cseq, method);
    return wr_done(&w);
}
