// SPDX-License-Identifier: Apache-2.0
/*
 * The journal of a suspended function (sdk/journal.h), as a damaged store would hand it back: what
 * can be read is written again to a journal that reads the same; an error has its code and a text.
 */
#include "fuzz.h"
#include "sdk/journal.h"

/* Reads to the end, and appends each record to `out`; the code of what stopped it. */
static int copy(struct slice in, struct journal *out, struct error *err)
{
    struct journal_record record;
    struct journal j;
    struct buf text;
    int code = journal_load(&j, in, err);

    if (code)
        return code;
    buf_init(&text, 1 << 16);
    while (!code && !journal_at_end(&j)) {
        code = journal_next(&j, &record, err);
        if (code)
            break;
        journal_describe(&record, &text);
        buf_reset(&text);
        require(journal_append(out, &record, NULL) == 0);
    }
    buf_free(&text);
    journal_free(&j);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal first, second;
    struct error err = {0};
    int code;

    require(journal_init(&first, NULL) == 0 && journal_init(&second, NULL) == 0);
    code = copy(slice(data, size), &first, &err);
    require(!code || (err.code == code && err.message[0]));
    require(copy(buf_slice(&first.bytes), &second, &err) == 0);
    require(slice_eq(buf_slice(&first.bytes), buf_slice(&second.bytes)));
    journal_free(&first);
    journal_free(&second);
    return 0;
}
