// SPDX-License-Identifier: Apache-2.0
/*
 * Values on the command line: JSON in, JSON out.
 *
 * true and false, whole numbers, other numbers and strings become the value of that kind, null none
 * at all; an array or an object, a google.protobuf.Value. An object that begins with "@type" is the
 * canonical JSON of an Any.
 */
#ifndef CLI_VALUE_H
#define CLI_VALUE_H

#include "wire/wire.h"

/* *any: NULL for null. CODE_INVALID_ARGUMENT says what is wrong with the JSON. */
int value_parse(struct slice json, struct arena *arena, wire_any **any, struct error *err);

/* Appends the value as JSON in one line. What has none is shown as what it is, if `people`:
 * <12 bytes>, <acme.Order, 80 bytes>; else as the canonical JSON of the Any. */
void value_show(const wire_any *any, bool people, struct arena *arena, struct buf *out);

/* Appends the value in one line for whoever watches calls: JSON where it has some, nil for none at
 * all, empty(), bytes(abcd...), (1, key=2) for arguments, TYPE(?) for what cannot be read. */
void value_describe(const wire_any *any, struct arena *arena, struct buf *out);

#endif
