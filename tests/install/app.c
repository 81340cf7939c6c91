// SPDX-License-Identifier: Apache-2.0
/*
 * An application in C11, built against the installed library: makes a Run request, reads it the way
 * a raw function does, answers it, and looks into the answer.
 *
 * It has a function named like one inside the library, which must not disturb either of them.
 */
#include <dispatch_sdk.h>
#include <stdio.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition))

static int failures;

static void fail(const char *what)
{
    fprintf(stderr, "app.c: not so: %s\n", what);
    failures++;
}

int error_set(void);
int error_set(void)
{
    failures++; /* nobody calls this one */
    return 0;
}

static struct dispatch_output answer(struct dispatch_ctx *ctx)
{
    const struct dispatch_input *input = dispatch_ctx_input(ctx);
    struct dispatch_failure failure = {0};
    struct dispatch_value value = {0};

    CHECK(strcmp(dispatch_input_function(input), "double") == 0);
    CHECK(dispatch_input_state(input, &value, &failure) == DISPATCH_CODE_FAILED_PRECONDITION);
    CHECK(strstr(failure.message, "first function call"));
    CHECK(dispatch_input_value(input, &value, &failure) == 0);

    int64_t number = 0;

    CHECK(dispatch_as_int(value, &number));
    return dispatch_output_value(ctx, dispatch_int(2 * number));
}

int main(void)
{
    struct dispatch_run_request request = {.function = "double", .input = dispatch_int(21)};
    struct dispatch_response response = {0};
    struct dispatch_ctx *ctx = NULL;
    void *bytes = NULL;
    size_t size = 0;
    int64_t number = 0;

    CHECK(strcmp(dispatch_sdk_version(), DISPATCH_SDK_VERSION) == 0);
    CHECK(dispatch_run_request_pack(&request, &bytes, &size, NULL) == 0);
    CHECK(dispatch_ctx_create(bytes, size, &ctx, NULL) == 0);
    dispatch_bytes_free(bytes);

    struct dispatch_output output = answer(ctx);
    const void *packed = dispatch_output_bytes(output, &size);

    CHECK(dispatch_response_unpack(packed, size, &response, NULL) == 0);
    CHECK(response.status == DISPATCH_OK && response.result);
    CHECK(response.result && dispatch_as_int(response.result->output, &number) && number == 42);
    dispatch_response_free(&response);
    dispatch_ctx_destroy(ctx);
    return failures ? 1 : 0;
}
