// SPDX-License-Identifier: Apache-2.0
/*
 * What the server's and the client's HTTP/2 have in common.
 *
 * Sending is where the speed is: whatever a turn of the loop has submitted leaves in one write at
 * its end. The bytes of a body go straight from their blob into the buffer of frames, which is one
 * for the whole loop; only what the socket does not take is copied, and then no more is taken from
 * nghttp2 until that has left.
 *
 * A peer may make us work without asking for anything: pings, settings, priorities, empty frames.
 * Each costs some of our patience, which comes back with time.
 */
#include "net/http2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
    FIELDS_FIRST = 16,
    FIELD_OVERHEAD = 32, /* RFC 9113, 6.5.2 */
    WRITE_AT = 128 << 10,
    QUEUED_MAX = 256 << 10,
    PATIENCE = 2000,    /* frames at once */
    PATIENCE_BACK = 200 /* frames a second */
};

/* --- header fields --------------------------------------------------------------------------- */

void net_fields_init(struct net_fields *fields)
{
    *fields = (struct net_fields){0};
    buf_init(&fields->text, UINT32_MAX);
}

void net_fields_free(struct net_fields *fields)
{
    buf_free(&fields->text);
    free(fields->spans);
    free(fields->headers);
    net_fields_init(fields);
}

void net_fields_reset(struct net_fields *fields)
{
    if (fields->text.cap > NET_HTTP2_KEEP)
        buf_free(&fields->text);
    buf_reset(&fields->text);
    fields->count = fields->bytes = 0;
    fields->no_memory = false;
}

static bool grow(struct net_fields *fields)
{
    size_t cap = fields->cap ? 2 * fields->cap : FIELDS_FIRST;
    struct net_field_span *spans = realloc(fields->spans, cap * sizeof *spans);
    struct net_header *headers;

    if (!spans)
        return false;
    fields->spans = spans;
    headers = realloc(fields->headers, cap * sizeof *headers);
    if (!headers)
        return false;
    fields->headers = headers;
    fields->cap = cap;
    return true;
}

bool net_fields_add(struct net_fields *fields, struct slice name, struct slice value, size_t max)
{
    fields->bytes += name.len + value.len + FIELD_OVERHEAD;
    if (fields->bytes > max || fields->count == NET_HEADERS_MAX)
        return false;
    if (fields->count == fields->cap && !grow(fields)) {
        fields->no_memory = true;
        return false;
    }
    fields->spans[fields->count++] = (struct net_field_span){
        (uint32_t)fields->text.len, (uint32_t)name.len, (uint32_t)value.len};
    buf_append_slice(&fields->text, name);
    buf_append_slice(&fields->text, value);
    fields->no_memory = fields->text.failed;
    return !fields->no_memory;
}

void net_fields_make(struct net_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct net_field_span *span = &fields->spans[i];
        const uint8_t *at = fields->text.data + span->at;

        fields->headers[i].name = slice(at, span->name_len);
        fields->headers[i].value = slice(at + span->name_len, span->value_len);
    }
}

bool net_http2_is_hop_field(struct slice name)
{
    static const char *const hops[] = {"connection", "keep-alive", "proxy-connection",
                                       "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        if (name.len == strlen(hops[i]) && strncasecmp(name.data, hops[i], name.len) == 0)
            return true;
    }
    return false;
}

/* --- sending --------------------------------------------------------------------------------- */

static int submit_trailers(nghttp2_session *session, int32_t id, struct net_fields *trailers)
{
    nghttp2_nv fields[NET_HEADERS_MAX];

    net_fields_make(trailers);
    for (size_t i = 0; i < trailers->count; i++) {
        fields[i] = net_http2_field(trailers->headers[i].name, trailers->headers[i].value, 0);
    }
    return nghttp2_submit_trailer(session, id, fields, trailers->count);
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    const struct net_http2_source *from = source->ptr;
    size_t left = blob_slice(from->body).len - from->done;

    (void)to;
    (void)arg;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left > len)
        return (ssize_t)len;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (from->trailers) {
        if (submit_trailers(session, id, from->trailers) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)left;
}

/* A DATA frame: its head, and bytes of the blob. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t len, nghttp2_data_source *source, void *arg)
{
    struct net_http2 *h = arg;
    struct net_http2_source *from = source->ptr;
    struct buf *out = &h->conn->loop->frames;

    (void)session;
    (void)frame;
    /* nghttp2 would go on as long as the peer's windows last. */
    h->full = out->len >= WRITE_AT;
    if (h->full)
        return NGHTTP2_ERR_WOULDBLOCK;
    buf_append(out, head, 9);
    buf_append(out, from->body->data + from->done, len);
    from->done += len;
    return out->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

nghttp2_data_provider net_http2_provider(struct net_http2_source *source)
{
    return (nghttp2_data_provider){.source.ptr = source, .read_callback = on_read};
}

int net_http2_start(struct net_http2 *h, const struct net_http2_side *side)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session *session = NULL;
    nghttp2_option *option = NULL;
    int rc = -ENOMEM;

    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        goto out;
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_option_set_no_closed_streams(option, 1);
    side->set_up(callbacks, option);
    if ((side->server ? nghttp2_session_server_new2
                      : nghttp2_session_client_new2)(&session, callbacks, h, option) != 0) {
        session = NULL;
        goto out;
    }
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, side->settings, side->setting_count) ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, side->window)) {
        nghttp2_session_del(session);
        goto out;
    }
    h->session = session;
    rc = 0;
out:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc;
}

/* Collects frames up to a good size; are there more? */
static int collect(struct net_http2 *h, struct buf *out, bool *more)
{
    *more = true;
    h->full = false;
    while (out->len < WRITE_AT) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->session, &data);

        if (n < 0)
            return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        buf_append(out, data, (size_t)n);
        if (n > 0)
            continue;
        *more = h->full;
        return out->failed ? -ENOMEM : 0;
    }
    return out->failed ? -ENOMEM : 0;
}

int net_http2_send(struct net_http2 *h)
{
    struct buf *out = &h->conn->loop->frames;
    bool more = true;

    while (more && h->conn->queued < QUEUED_MAX) {
        int rc;

        buf_reset(out);
        rc = collect(h, out, &more);
        if (rc == 0 && !net_conn_is_open(h->conn))
            return -ECANCELED; /* closed by a callback */
        if (rc == 0 && out->len > 0)
            rc = net_conn_write(h->conn, buf_slice(out), NULL);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* --- calm ------------------------------------------------------------------------------------ */

static bool is_idle_talk(const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        return frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
        return !(frame->hd.flags & NGHTTP2_FLAG_ACK);
    case NGHTTP2_PRIORITY:
        return true;
    default:
        return false;
    }
}

bool net_http2_bear(struct net_http2 *h, const nghttp2_frame *frame)
{
    int64_t now, back;

    if (!is_idle_talk(frame))
        return true;
    now = net_loop_now_ms(h->conn->loop);
    back = h->calm_ms ? (now - h->calm_ms) * PATIENCE_BACK / 1000 : PATIENCE;
    if (back > 0) {
        h->patience =
            back > PATIENCE - (int64_t)h->patience ? PATIENCE : h->patience + (uint32_t)back;
        h->calm_ms = now;
    }
    if (h->patience > 0) {
        h->patience--;
        return true;
    }
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
}

bool net_http2_is_over(const struct net_http2 *h)
{
    return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}
