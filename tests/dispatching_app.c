// SPDX-License-Identifier: Apache-2.0
/*
 * dispatching_app die|serve DIR, call|begin|finish DIR FUNCTION: functions that dispatch two calls
 * while they run. `die` is killed between that and their answer, and leaves the calls for later;
 * `serve` is not. How often the calls ran is in DIR. `call` ends with 0 when the function and its
 * calls are done. With the orchestrator inside, `begin` calls and is killed, and `finish` ends as
 * `call` does.
 */
#include <fcntl.h>
#include <signal.h>
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

/* Its own id is in DIR, for `finish`. */
static void die(struct dispatch_ctx *ctx)
{
    const char *id = dispatch_input_id(dispatch_ctx_input(ctx));
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/id", dir);
    f = fopen(path, "w");
    if (!f || fputs(id, f) < 0 || fclose(f))
        _exit(1);
    raise(SIGKILL);
}

static struct dispatch_result coroutine(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *ids;

    (void)input;
    dispatch_sleep(ctx, 1);
    ids = dispatch_two(ctx, "coroutine.runs");
    if (dying)
        die(ctx);
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
        die(ctx);
    return dispatch_output_value(ctx, dispatch_string(ids));
}
DISPATCH_REGISTER_PRIMITIVE(primitive);

/* Waits for the call, which is to end with the ids of two more, and for those. */
static int wait_for(struct dispatch_client *client, const char *id,
                    struct dispatch_failure *failure)
{
    struct dispatch_result r = {0}, done = {0};
    char ids[2][64] = {"", ""};
    int rc = dispatch_client_wait(client, id, 60000, &r, failure);

    if (!rc && !dispatch_is_null(r.output))
        rc = sscanf(dispatch_as_string(r.output, NULL), "%63s %63s", ids[0], ids[1]) != 2;
    for (int i = 0; !rc && i < 2; i++) {
        rc = dispatch_client_wait(client, ids[i], 60000, &done, failure);
        dispatch_result_free(&done);
    }
    if (rc && r.error)
        fprintf(stderr, "dispatching_app: %s\n", r.error->message);
    dispatch_result_free(&r);
    return rc;
}

static int call(const char *function, struct dispatch_failure *failure)
{
    struct dispatch_call call = dispatch_to(function, dispatch_null());
    struct dispatch_client *client = NULL;
    struct dispatch_ids ids = {0};
    int rc = dispatch_client_create(NULL, &client, failure);

    call.endpoint = dispatch_registry_endpoint(NULL, failure);
    if (!rc)
        rc = dispatch_client_dispatch(client, &call, 1, &ids, failure);
    if (!rc)
        rc = wait_for(client, ids.id[0], failure);
    dispatch_ids_free(&ids);
    dispatch_client_destroy(client);
    return rc;
}

static int begin(const char *function, struct dispatch_failure *failure)
{
    struct dispatch_call call = dispatch_to(function, dispatch_null());
    struct dispatch_embedded *embedded;
    int rc = dispatch_embedded_open(NULL, &embedded, failure);

    if (!rc)
        rc = dispatch_registry_dispatch(NULL, &call, 1, NULL, failure);
    if (!rc)
        pause(); /* the function kills us */
    return rc;
}

static int finish(struct dispatch_failure *failure)
{
    struct dispatch_embedded *embedded = NULL;
    char path[512], id[64] = "";
    FILE *f;
    int rc;

    snprintf(path, sizeof path, "%s/id", dir);
    f = fopen(path, "r");
    if (!f || !fgets(id, sizeof id, f))
        return 1;
    fclose(f);
    rc = dispatch_embedded_open(NULL, &embedded, failure);
    if (!rc)
        rc = wait_for(dispatch_embedded_client(embedded), id, failure);
    dispatch_embedded_close(embedded);
    return rc;
}

int main(int argc, char **argv)
{
    struct dispatch_failure failure = {0};
    const char *command = argc > 2 ? argv[1] : "";
    int rc = 1;

    if (argc != 3 && argc != 4)
        return 2;
    dir = argv[2];
    dying = strcmp(command, "die") == 0 || strcmp(command, "begin") == 0;
    if (argc == 3)
        dispatch_serve(NULL, &failure);
    else if (strcmp(command, "call") == 0)
        rc = call(argv[3], &failure);
    else if (dying)
        rc = begin(argv[3], &failure);
    else
        rc = finish(&failure);
    if (rc)
        fprintf(stderr, "dispatching_app: %s\n", failure.message);
    return rc != 0;
}
