/* The RDP viewer. FreeRDP 2.11 takes a connected descriptor by the host name "|" with the
 * descriptor as port. All it decodes is the sharer's: no channels, no caches, no H.264. */
#include "cmd/rdp/view.h"

#include <freerdp/channels/channels.h>
#include <freerdp/freerdp.h>
#include <freerdp/gdi/gdi.h>
#include <freerdp/primitives.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <winpr/ssl.h>
#include <winpr/synch.h>
#include <winpr/wlog.h>

#include "cmd/rdp/pointer.h"

enum {
    HANDLES_MAX = 64,
    CHECK_MS = 30, /* decode at most this long before the server hears of it */
    SETUP_MS = 60000
};

struct view {
    freerdp *rdp;
    struct feed *feed;
    HANDLE control;
    int err; /* of the feed, met inside a callback */
    char reason[160];
};

/* FreeRDP allocates this and knows the first member. */
struct context {
    rdpContext base;
    struct view *view;
};

static struct view *view_of(rdpContext *c)
{
    return ((struct context *)(void *)c)->view;
}

struct feed_pointer *pointer_of(rdpContext *c)
{
    return &view_of(c)->feed->pointer;
}

/* FreeRDP sleeps 100 ms between looks at the socket while it sets up or resizes, which would
 * cost a second over the ten exchanges. The dynamic linker prefers this Sleep to WinPR's: it
 * ends as soon as the sharer has sent something. */
VOID Sleep(DWORD ms)
{
    struct pollfd p = {.fd = VIEW_STREAM_FD, .events = POLLIN};
    poll(&p, 1, (int)ms);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool size_ok(struct view *v)
{
    const rdpSettings *s = v->rdp->settings;
    if (s->DesktopWidth > 0 && s->DesktopWidth <= LINK_WIDTH_MAX && s->DesktopHeight > 0 &&
        s->DesktopHeight <= LINK_HEIGHT_MAX) {
        return true;
    }
    snprintf(v->reason, sizeof v->reason,
             "The shared screen has %u x %u pixels; at most %d x %d can be shown.",
             (unsigned)s->DesktopWidth, (unsigned)s->DesktopHeight, LINK_WIDTH_MAX,
             LINK_HEIGHT_MAX);
    return false;
}

static BOOL on_resize(rdpContext *c)
{
    struct view *v = view_of(c);
    const rdpSettings *s = v->rdp->settings;
    if (!size_ok(v) || !gdi_resize(c->gdi, s->DesktopWidth, s->DesktopHeight)) {
        return FALSE;
    }
    v->err = feed_size(v->feed, (uint16_t)s->DesktopWidth, (uint16_t)s->DesktopHeight);
    return !v->err;
}

static BOOL on_begin_paint(rdpContext *c)
{
    HGDI_WND w = c->gdi->primary->hdc->hwnd;
    w->invalid->null = TRUE;
    w->ninvalid = 0;
    return TRUE;
}

static BOOL on_end_paint(rdpContext *c)
{
    HGDI_WND w = c->gdi->primary->hdc->hwnd;
    for (INT32 i = 0; i < w->ninvalid; i++) {
        const GDI_RGN *r = &w->cinvalid[i];
        feed_damage(view_of(c)->feed, r->x, r->y, r->w, r->h);
    }
    return on_begin_paint(c);
}

static BOOL on_connected(freerdp *rdp)
{
    struct view *v = view_of(rdp->context);
    if (!size_ok(v) || !gdi_init(rdp, PIXEL_FORMAT_BGRX32)) {
        return FALSE;
    }
    rdp->update->BeginPaint = on_begin_paint;
    rdp->update->EndPaint = on_end_paint;
    rdp->update->DesktopResize = on_resize;
    pointer_register(rdp->context->graphics);
    v->err = feed_size(v->feed, (uint16_t)rdp->settings->DesktopWidth,
                       (uint16_t)rdp->settings->DesktopHeight);
    return !v->err;
}

static void configure(rdpSettings *s)
{
    s->ServerPort = VIEW_STREAM_FD;
    s->RdpSecurity = TRUE;
    s->UseRdpSecurityLayer = TRUE;
    s->TlsSecurity = FALSE;
    s->NlaSecurity = FALSE;
    s->ExtSecurity = FALSE;
    s->ColorDepth = 32;
    s->SoftwareGdi = TRUE;
    s->RemoteFxCodec = TRUE;
    s->NSCodec = TRUE;
    s->SurfaceCommandsEnabled = TRUE;
    s->FastPathOutput = TRUE;
    s->FrameAcknowledge = 2;
    s->SupportGraphicsPipeline = FALSE;
    s->BitmapCacheEnabled = FALSE;
    s->OffscreenSupportLevel = 0;
    s->GlyphSupportLevel = GLYPH_SUPPORT_NONE;
    s->AutoReconnectionEnabled = FALSE;
    s->TcpAckTimeout = SETUP_MS;
    s->MaxTimeInCheckLoop = CHECK_MS;
}

int view_new(struct view **out, struct feed *feed)
{
    struct view *v = calloc(1, sizeof *v);
    *out = v;
    if (!v) {
        return ERR_NOMEM;
    }
    WLog_SetLogLevel(WLog_GetRoot(), WLOG_OFF);
    /* Loads OpenSSL's legacy provider: older sharers encrypt with RC4. */
    if (!winpr_InitializeSSL(WINPR_SSL_INIT_DEFAULT)) {
        return ERR_SYSTEM;
    }
    /* Without this FreeRDP measures for 0.3 s which of its routines are fastest. */
    primitives_set_hints(PRIMITIVES_ONLY_CPU);
    v->feed = feed;
    v->rdp = freerdp_new();
    if (!v->rdp) {
        return ERR_NOMEM;
    }
    v->rdp->ContextSize = sizeof(struct context);
    v->rdp->PostConnect = on_connected;
    if (!freerdp_context_new(v->rdp)) {
        return ERR_NOMEM;
    }
    ((struct context *)(void *)v->rdp->context)->view = v;
    configure(v->rdp->settings);
    v->rdp->settings->ServerHostname = strdup("|");
    v->control = CreateFileDescriptorEventA(NULL, FALSE, FALSE, feed->fd, WINPR_FD_READ);
    return v->control && v->rdp->settings->ServerHostname ? 0 : ERR_NOMEM;
}

static void explain(struct view *v, const char *text)
{
    if (!v->reason[0]) {
        snprintf(v->reason, sizeof v->reason, "%s", text);
    }
}

int view_connect(struct view *v)
{
    /* After a failure FreeRDP tries the descriptor's number again by itself. It has closed it,
     * no new socket can have taken the number in the jail, and so the second try fails; but
     * success without a picture to paint on is checked for all the same. */
    if (freerdp_connect(v->rdp) && v->rdp->context->gdi) {
        return 0;
    }
    if (v->err) {
        return v->err;
    }
    switch (freerdp_get_last_error(v->rdp->context)) {
    case FREERDP_ERROR_CONNECT_TRANSPORT_FAILED:
        explain(v, "The connection ended before the screen share began.");
        break;
    case FREERDP_ERROR_SECURITY_NEGO_CONNECT_FAILED:
        explain(v, "The sharer's first answer was not RDP, or asks for security other than "
                   "standard RDP security.");
        break;
    default: explain(v, "The RDP connection with the sharer could not be set up.");
    }
    return ERR_MALFORMED;
}

/* Called while the stream is still open. */
static void explain_end(struct view *v)
{
    char byte;
    if (recv(VIEW_STREAM_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 ||
        freerdp_error_info(v->rdp) != 0 || freerdp_shall_disconnect(v->rdp)) {
        explain(v, "The sharer ended the screen share.");
    } else {
        explain(v, "The sharer sent something that is not RDP, so the share was ended.");
    }
}

static DWORD wait_ms(const struct view *v)
{
    uint64_t at = feed_deadline_ms(v->feed), now = now_ms();
    return at == UINT64_MAX ? INFINITE : at > now ? (DWORD)(at - now) : 0;
}

int view_step(struct view *v)
{
    HANDLE h[HANDLES_MAX];
    rdpContext *c = v->rdp->context;
    DWORD n = freerdp_get_event_handles(c, h, HANDLES_MAX - 1);
    if (n == 0) {
        explain_end(v);
        return ERR_MALFORMED;
    }
    h[n++] = v->control;
    if (WaitForMultipleObjects(n, h, FALSE, wait_ms(v)) == WAIT_FAILED) {
        explain(v, "The viewer process cannot wait for events.");
        return ERR_MALFORMED;
    }
    int err = feed_receive(v->feed);
    if (!err && (!freerdp_check_event_handles(c) || freerdp_shall_disconnect(v->rdp))) {
        explain_end(v);
        err = v->err ? v->err : ERR_MALFORMED;
    }
    return err ? err : feed_flush(v->feed, now_ms(), c->gdi->primary_buffer, c->gdi->stride);
}

const char *view_reason(const struct view *v)
{
    return v->reason;
}
