// SPDX-License-Identifier: Apache-2.0
/* Compression is zlib's, in one go, on the thread of the loop: its lowest level and the limits here
 * keep that to some milliseconds. */
#include "server/codec.h"

#include <stdlib.h>
#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* zlib's way to say: the largest window, in a gzip wrapper */
#define GZIP_LEVEL  1
#define GZIP_MEMORY 8
#define GZIP_MIN    ((size_t)1 << 10)
#define GZIP_MAX    ((size_t)1 << 20)

bool codec_same(struct slice s, const char *text)
{
    const char *p = s.data;

    if (s.len != strlen(text))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] - 'A' + 'a') : p[i];

        if (c != text[i])
            return false;
    }
    return true;
}

/* --- messages -------------------------------------------------------------------------------- */

int codec_unpack(enum codec codec, const ProtobufCMessageDescriptor *type, struct slice bytes,
                 struct arena *arena, void *message, struct error *err)
{
    if (codec == CODEC_JSON)
        return wire_from_json(type, bytes, arena, message, err);
    return wire_unpack(type, bytes, arena, message, err);
}

struct blob *codec_pack(enum codec codec, const void *message)
{
    struct blob *blob = NULL;
    struct buf text;

    if (codec == CODEC_PROTO)
        return wire_pack_blob(message);
    buf_init(&text, SIZE_MAX / 2);
    wire_to_json(message, &text);
    if (!text.failed)
        blob = blob_copy(buf_slice(&text));
    buf_free(&text);
    return blob;
}

/* --- gzip ------------------------------------------------------------------------------------ */

/* Inflates until the end of the stream. */
static int inflate_all(z_stream *z, struct buf *out, struct error *err)
{
    int status = Z_OK;

    while (status != Z_STREAM_END) {
        size_t before = out->len, step = before < 16384 ? 16384 : before;
        uint8_t *into;

        if (step > out->max - before)
            step = out->max - before;
        into = step ? buf_extend(out, step) : NULL;
        if (step && !into)
            return error_memory(err);
        if (!step)
            return error_set(err, CODE_RESOURCE_EXHAUSTED,
                             "the body is larger than %zu bytes when decompressed", out->max);
        z->next_out = into;
        z->avail_out = (uInt)step;
        status = inflate(z, Z_NO_FLUSH);
        out->len -= z->avail_out;
        if (status == Z_MEM_ERROR)
            return error_memory(err);
        /* Z_BUF_ERROR too: there was room to write to, so the input is what is short. */
        if (status != Z_OK && status != Z_STREAM_END)
            return error_set(err, CODE_INVALID_ARGUMENT, "the body is not valid gzip");
    }
    if (z->avail_in)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the body has bytes behind the end of its gzip");
    return CODE_OK;
}

int codec_gunzip(struct slice bytes, struct buf *out, struct error *err)
{
    z_stream z = {0};
    int code;

    z.next_in = (Bytef *)(uintptr_t)bytes.data;
    z.avail_in = (uInt)bytes.len;
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return error_memory(err);
    code = inflate_all(&z, out, err);
    inflateEnd(&z);
    return code;
}

/* What does not fit into the space is not worth it. */
static struct blob *deflate_into(z_stream *z, uint8_t *space, size_t size)
{
    z->next_out = space;
    z->avail_out = (uInt)size;
    if (deflate(z, Z_FINISH) != Z_STREAM_END)
        return NULL;
    return blob_copy(slice(space, size - z->avail_out));
}

struct blob *codec_gzip(struct slice bytes)
{
    struct blob *blob = NULL;
    z_stream z = {0};
    uint8_t *space;

    if (bytes.len < GZIP_MIN || bytes.len > GZIP_MAX)
        return NULL;
    z.next_in = (Bytef *)(uintptr_t)bytes.data;
    z.avail_in = (uInt)bytes.len;
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return NULL;
    space = malloc(bytes.len);
    if (space)
        blob = deflate_into(&z, space, bytes.len);
    free(space);
    deflateEnd(&z);
    return blob;
}

/* --- lists of encodings ---------------------------------------------------------------------- */

/* Takes what stands before the next separator, without the spaces around it. */
static struct slice take_item(struct slice *rest, char separator)
{
    const char *p = rest->data, *at = rest->len ? memchr(p, separator, rest->len) : NULL;
    size_t len = at ? (size_t)(at - p) : rest->len;

    *rest = slice(p + len + (at ? 1 : 0), rest->len - len - (at ? 1 : 0));
    while (len && (*p == ' ' || *p == '\t')) {
        p++;
        len--;
    }
    while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
        len--;
    return slice(p, len);
}

/* "q=0", "q=0.000" */
static bool is_zero(struct slice parameter)
{
    const char *p = parameter.data;

    if (parameter.len < 3 || (*p != 'q' && *p != 'Q') || p[1] != '=')
        return false;
    for (size_t i = 2; i < parameter.len; i++) {
        if (p[i] != '0' && p[i] != '.')
            return false;
    }
    return true;
}

bool codec_accepts_gzip(struct slice list)
{
    while (list.len) {
        struct slice item = take_item(&list, ',');
        struct slice name = take_item(&item, ';');

        if (codec_same(name, "gzip"))
            return !is_zero(take_item(&item, ';'));
    }
    return false;
}
