// SPDX-License-Identifier: Apache-2.0
/*
 * A distributed merge sort: each call sorts its two halves with two calls of itself, which any
 * process of the application may run, and merges what they give.
 *
 *     build/dispatch server --insecure &
 *     seq 1000 | shuf | DISPATCH_API_KEY=any build/examples/merge_sort
 */
#include <dispatch_sdk.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 32, NUMBERS_MAX = 100000 };

static int compare(const void *a, const void *b)
{
    int64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Two sorted lists into one. */
static void merge(const char *a, size_t a_count, const char *b, size_t b_count, char *out)
{
    enum { SIZE = sizeof(int64_t) };

    while (a_count + b_count > 0) {
        if (b_count == 0 || (a_count > 0 && compare(a, b) <= 0)) {
            memcpy(out, a, SIZE);
            a += SIZE;
            a_count--;
        } else {
            memcpy(out, b, SIZE);
            b += SIZE;
            b_count--;
        }
        out += SIZE;
    }
}

/* Input and output: bytes, each eight of which are a number. */
static struct dispatch_result merge_sort(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    size_t size = 0, count, half;
    const char *numbers = dispatch_as_bytes(input, &size);
    char *sorted = numbers ? dispatch_alloc(ctx, size) : NULL;
    struct dispatch_task *halves[2];
    struct dispatch_result r[2];
    const struct dispatch_error *error;

    if (!numbers || size % sizeof(int64_t) != 0)
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumbers", "expected numbers");
    if (!sorted)
        return dispatch_ok(dispatch_null()); /* the library answers that memory is short */
    count = size / sizeof(int64_t);
    if (count <= SMALL) {
        memcpy(sorted, numbers, size);
        qsort(sorted, count, sizeof(int64_t), compare);
        return dispatch_ok(dispatch_bytes(sorted, size));
    }
    half = count / 2 * sizeof(int64_t);
    halves[0] = dispatch_start(ctx, "merge_sort", dispatch_bytes(numbers, half));
    halves[1] = dispatch_start(ctx, "merge_sort", dispatch_bytes(numbers + half, size - half));
    error = dispatch_all(ctx, halves, 2, r);
    if (error)
        return dispatch_fail_with(ctx, error);
    merge(dispatch_as_bytes(r[0].output, NULL), count / 2, dispatch_as_bytes(r[1].output, NULL),
          count - count / 2, sorted);
    return dispatch_ok(dispatch_bytes(sorted, size));
}
DISPATCH_REGISTER(merge_sort);

int main(void)
{
    static int64_t numbers[NUMBERS_MAX];
    struct dispatch_result result;
    size_t count = 0, size = 0;
    const char *sorted;
    int failed;

    while (count < NUMBERS_MAX && scanf("%" SCNd64, &numbers[count]) == 1)
        count++;
    result =
        dispatch_run(dispatch_to("merge_sort", dispatch_bytes(numbers, count * sizeof *numbers)));
    failed = result.error != NULL;
    if (failed)
        fprintf(stderr, "merge_sort: %s: %s\n", result.error->type, result.error->message);
    sorted = failed ? NULL : dispatch_as_bytes(result.output, &size);
    for (size_t at = 0; at < size; at += sizeof *numbers) {
        int64_t number;

        memcpy(&number, sorted + at, sizeof number);
        printf("%" PRId64 "\n", number);
    }
    dispatch_result_free(&result);
    return failed;
}
