// SPDX-License-Identifier: Apache-2.0
/* Messages in the two encodings of the API, and gzip around them. No state. */
#ifndef SERVER_CODEC_H
#define SERVER_CODEC_H

#include "wire/wire.h"

enum codec { CODEC_PROTO, CODEC_JSON };

/* Into the arena; message: T **, written on success. */
int codec_unpack(enum codec codec, const ProtobufCMessageDescriptor *type, struct slice bytes,
                 struct arena *arena, void *message, struct error *err);
/* NULL: no memory. */
struct blob *codec_pack(enum codec codec, const void *message);

/* Appends what is in the gzip; the buffer's maximum is the limit of it: past it,
 * CODE_RESOURCE_EXHAUSTED. Neither trailing bytes nor a second member are accepted. */
int codec_gunzip(struct slice bytes, struct buf *out, struct error *err);
/* Of bytes for which it is worth it: they are neither so few that nothing is gained, nor so many
 * that others would wait for it. NULL: send them as they are. */
struct blob *codec_gzip(struct slice bytes);

/* Does a list such as "br, gzip;q=1.0" accept gzip? */
bool codec_accepts_gzip(struct slice list);

/* Equal but for the case of ASCII letters; `text` is lower case. */
bool codec_same(struct slice s, const char *text);

#endif
