/* The head of a TLS stream, read without answering. */
#include "lib/tls/client_hello.h"

enum {
    RECORD_HANDSHAKE = 22,
    RECORD_MAX = 16384,
    VERSION_MAJOR = 3,
    TYPE_CLIENT_HELLO = 1,
    MESSAGE_HEAD = 4,
    RANDOM_LEN = 32,
    SESSION_ID_MAX = 32,
    EXT_SERVER_NAME = 0,
    EXT_ALPN = 16,
    NAME_HOST = 0,
    NAME_MAX_LEN = 255
};

enum parse client_hello_begins(struct slice in)
{
    static const uint8_t start[] = {RECORD_HANDSHAKE, VERSION_MAJOR};
    size_t n = in.len < sizeof start ? in.len : sizeof start;
    if (n > 0 && memcmp(in.p, start, n) != 0) {
        return PARSE_BAD;
    }
    return n < sizeof start ? PARSE_MORE : PARSE_OK;
}

/* `len`: of all of it, as far as it is known. */
static bool is_whole(const struct wr *message, size_t *len)
{
    struct rd r = rd_over(slice_of(message->buf, message->len));
    (void)rd_u8(&r);
    *len = MESSAGE_HEAD + (size_t)rd_uint(&r, 3);
    return !r.err && message->len >= *len;
}

/* RFC 8446 5.1: a message may go on in the next record; nothing else comes between. */
static enum parse gather(struct slice in, struct wr *message)
{
    enum parse more = in.len > CLIENT_HELLO_WIRE_MAX ? PARSE_BAD : PARSE_MORE;
    struct rd r = rd_over(in);
    size_t len = 0;
    bool whole = false;
    while (!whole) {
        uint8_t type = rd_u8(&r);
        uint16_t version = rd_u16(&r);
        size_t n = rd_u16(&r);
        if (r.err) {
            return more;
        }
        if (type != RECORD_HANDSHAKE || version >> 8 != VERSION_MAJOR || n == 0 ||
            n > RECORD_MAX) {
            return PARSE_BAD;
        }
        /* The first bytes of a record tell already what is wrong with the message. */
        struct slice part = rd_take(&r, n < rd_left(&r) ? n : rd_left(&r));
        wr_bytes(message, part);
        whole = is_whole(message, &len);
        bool is_other = message->len > 0 && message->buf[0] != TYPE_CLIENT_HELLO;
        if (message->err || is_other || len > CLIENT_HELLO_MAX) {
            return PARSE_BAD;
        }
        if (!whole && part.len < n) {
            return more;
        }
    }
    message->len = len; /* what may follow is not for us */
    return PARSE_OK;
}

/* A list with its length in front that fills all of `s`. */
static bool open_list(struct slice s, struct rd *list)
{
    struct rd r = rd_over(s);
    *list = rd_over(rd_take(&r, rd_u16(&r)));
    return !r.err && rd_left(&r) == 0 && list->in.len > 0;
}

/* RFC 6066 3: one name of each type. */
static bool read_server_name(struct slice ext, struct slice *out)
{
    struct rd list;
    if (!open_list(ext, &list)) {
        return false;
    }
    while (rd_left(&list) > 0) {
        uint8_t type = rd_u8(&list);
        struct slice name = rd_take(&list, rd_u16(&list));
        bool is_odd = name.len == 0 || name.len > NAME_MAX_LEN || memchr(name.p, 0, name.len);
        if (list.err || (type == NAME_HOST && (is_odd || out->len > 0))) {
            return false;
        }
        if (type == NAME_HOST) {
            *out = name;
        }
    }
    return !list.err;
}

/* RFC 7301 3.1 */
static bool read_alpn(struct slice ext, struct slice *out)
{
    struct rd list;
    if (!open_list(ext, &list)) {
        return false;
    }
    *out = list.in;
    while (rd_left(&list) > 0) {
        if (rd_take(&list, rd_u8(&list)).len == 0) {
            return false;
        }
    }
    return !list.err;
}

static bool read_extensions(struct slice all, struct client_hello *out)
{
    struct rd list;
    bool has_name = false, has_alpn = false;
    if (!open_list(all, &list)) {
        return false;
    }
    while (rd_left(&list) > 0) {
        uint16_t type = rd_u16(&list);
        struct slice ext = rd_take(&list, rd_u16(&list));
        bool *seen = type == EXT_SERVER_NAME ? &has_name : type == EXT_ALPN ? &has_alpn : NULL;
        if (list.err || (seen && *seen)) {
            return false; /* RFC 8446 4.2: each once */
        }
        if (type == EXT_SERVER_NAME && !read_server_name(ext, &out->server_name)) {
            return false;
        }
        if (type == EXT_ALPN && !read_alpn(ext, &out->alpn)) {
            return false;
        }
        if (seen) {
            *seen = true;
        }
    }
    return !list.err;
}

static bool read_message(struct slice message, struct client_hello *out)
{
    struct rd r = rd_over(slice_from(message, MESSAGE_HEAD));
    (void)rd_u16(&r); /* version */
    (void)rd_take(&r, RANDOM_LEN);
    size_t session_id = rd_u8(&r);
    (void)rd_take(&r, session_id);
    struct slice suites = rd_take(&r, rd_u16(&r));
    struct slice methods = rd_take(&r, rd_u8(&r));
    if (r.err || session_id > SESSION_ID_MAX || suites.len == 0 || suites.len % 2 != 0 ||
        methods.len == 0) {
        return false;
    }
    /* TLS 1.2 knows hellos without extensions. */
    return rd_left(&r) == 0 || read_extensions(slice_from(r.in, r.at), out);
}

enum parse client_hello_read(struct slice in, struct client_hello *out)
{
    struct wr message = wr_over(out->bytes, sizeof out->bytes);
    out->server_name = out->alpn = slice_of(NULL, 0);
    enum parse got = gather(in, &message);
    if (got == PARSE_OK && !read_message(wr_done(&message), out)) {
        got = PARSE_BAD;
    }
    if (got != PARSE_OK) {
        out->server_name = out->alpn = slice_of(NULL, 0);
    }
    return got;
}

bool client_hello_offers(const struct client_hello *h, const char *protocol)
{
    struct rd list = rd_over(h->alpn);
    while (rd_left(&list) > 0) {
        struct slice name = rd_take(&list, rd_u8(&list));
        if (slice_eq(name, slice_str(protocol))) {
            return true;
        }
    }
    return false;
}
