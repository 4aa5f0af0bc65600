/* TLS beneath a TCP stream: whoever reads, writes or joins the stream sees plain bytes. */
#pragma once

#include "lib/tls/tls.h"

#include "io/tcp.h"

/* As tcp_set_filter. `t` owns `tls` from here on; it may be looked at until `t` is closed, and
 * inside `closed`. What is written before the handshake is done waits in there: at most 64 KiB,
 * beyond which the stream fails. */
void tls_stream_begin(struct tcp *t, struct tls *tls, struct slice first);
