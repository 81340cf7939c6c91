// SPDX-License-Identifier: Apache-2.0
/*
 * The engine's rows (engine/row.h), as a damaged store would hand them back: what row_decode takes
 * is written back to a row that reads the same; an error has its code and a text.
 */
#include "engine/row.h"
#include "fuzz.h"

#define ROW_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice(data, size);
    struct engine_row row, again;
    struct engine_result result;
    struct error err = {0};
    int code = row_decode_done(in, &row, &result, &err);
    require(!code || (err.code == code && err.message[0]));
    struct tree_row tree;
    err = (struct error){0};
    code = tree_decode(in, 1, &tree, &err);
    require(!code || (err.code == code && err.message[0]));
    for (uint64_t id; !code && tree_next(&tree, &id);)
        ;
    err = (struct error){0};
    code = row_decode(&in, &row, &err);
    require(!code || (err.code == code && err.message[0]));
    if (code)
        return 0;
    struct buf first, second;
    buf_init(&first, ROW_MAX);
    buf_init(&second, ROW_MAX);
    row_encode(&first, &row);
    require(!first.failed);
    struct slice rest = buf_slice(&first);
    require(row_decode(&rest, &again, &err) == 0 && rest.len == 0);
    row_encode(&second, &again);
    require(slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_free(&first);
    buf_free(&second);
    return 0;
}
