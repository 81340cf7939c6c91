// SPDX-License-Identifier: Apache-2.0
/*
 * dispatching_app die DIR | serve DIR | call FUNCTION: functions that dispatch two calls while they
 * run. `die` dies between that and their answer, and leaves the calls for later; `serve` does not.
 * How often the calls ran is in DIR. `call` ends with 0 when the function and its calls are done.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dispatch_sdk.h"

static const char *dir;
static bool dying;

/* Each run of it is a line in the file that its input names. */
static struct dispatch_result child(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    char path[512];
    int fd;

    if (dying)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Dying", "in another process");
    snprintf(path, sizeof path, "%s/%s", dir, dispatch_as_string(input, NULL));
    fd = open(path, O_CREAT | O_APPEND | O_WRONLY, 0600);
    if (fd < 0 || write(fd, "ran\n", 4) != 4)
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "File", "cannot write %s", path);
    close(fd);
    return dispatch_ok(dispatch_null());
}
DISPATCH_REGISTER(child);

/* Their ids, with a space between. */
static const char *dispatch_two(struct dispatch_ctx *ctx, const char *file)
{
    struct dispatch_call calls[] = {dispatch_to("child", dispatch_string(file)),
                                    dispatch_to("child", dispatch_string(file))};
    struct dispatch_ids ids = {0};
    const char *text = NULL;

    if (dispatch_registry_dispatch(NULL, calls, 2, &ids, NULL) == 0)
        text = dispatch_printf(ctx, "%s %s", ids.id[0], ids.id[1]);
    dispatch_ids_free(&ids);
    return text;
}

static struct dispatch_result coroutine(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *ids;

    (void)input;
    dispatch_sleep(ctx, 1);
    ids = dispatch_two(ctx, "coroutine.runs");
    if (dying)
        _exit(9);
    dispatch_sleep(ctx, 1);
    return ids ? dispatch_ok(dispatch_string(ids))
               : dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Dispatch", "it failed");
}
DISPATCH_REGISTER(coroutine);

static struct dispatch_output primitive(struct dispatch_ctx *ctx,
                                        const struct dispatch_input *input)
{
    const char *ids = dispatch_two(ctx, "primitive.runs");

    (void)input;
    if (dying)
        _exit(9);
    return dispatch_output_value(ctx, dispatch_string(ids));
}
DISPATCH_REGISTER_PRIMITIVE(primitive);

static int call(const char *function)
{
    struct dispatch_call call = dispatch_to(function, dispatch_null());
    struct dispatch_failure failure = {0};
    struct dispatch_client *client = NULL;
    struct dispatch_result r = {0}, done = {0};
    struct dispatch_ids ids = {0};
    char first[64] = "", second[64] = "";
    int rc = dispatch_client_create(NULL, &client, &failure);

    call.endpoint = dispatch_registry_endpoint(NULL, &failure);
    if (!rc)
        rc = dispatch_client_dispatch(client, &call, 1, &ids, &failure);
    if (!rc)
        rc = dispatch_client_wait(client, ids.id[0], 60000, &r, &failure);
    if (!rc && !dispatch_is_null(r.output))
        rc = sscanf(dispatch_as_string(r.output, NULL), "%63s %63s", first, second) != 2;
    if (!rc)
        rc = dispatch_client_wait(client, first, 60000, &done, &failure);
    dispatch_result_free(&done);
    if (!rc)
        rc = dispatch_client_wait(client, second, 60000, &done, &failure);
    dispatch_result_free(&done);
    if (rc)
        fprintf(stderr, "%s: %s %s\n", function, failure.message, r.error ? r.error->message : "");
    dispatch_result_free(&r);
    dispatch_ids_free(&ids);
    dispatch_client_destroy(client);
    return rc != 0;
}

int main(int argc, char **argv)
{
    struct dispatch_failure failure = {0};

    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "call") == 0)
        return call(argv[2]);
    dir = argv[2];
    dying = strcmp(argv[1], "die") == 0;
    dispatch_serve(NULL, &failure);
    fprintf(stderr, "dispatching_app: %s\n", failure.message);
    return 1;
}
