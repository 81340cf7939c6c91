// SPDX-License-Identifier: Apache-2.0
/*
 * The application of coroutines_app.c with the orchestrator inside: whoever dies is both. Each sync
 * of the disk is a point to die at, before it and after it, besides those of the functions.
 *
 *   begin STORE FUNCTION INPUT   dispatches a call and prints its id. INPUT: a number, bytes:SIZE
 *                                (of numbers to sort) or text. The program that does so has another
 *                                name, so that it runs nothing.
 *   complete STORE KEY           says yes under that key, likewise
 *   work STORE ID [POINT]        runs what there is to run, and prints the result of the call; dies
 *                                at that point, counted from the start
 *   park STORE ID                the same until the call waits in its second poll, and dies then
 *   diverged STORE ID            the same until the call has Diverged, says so, and dies
 *
 * It closes the descriptor OPENED, if that is in the environment, once it has the store.
 */
#include <dispatch_sdk.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coroutines_app.h"

enum { NUMBERS_MAX = 1000, PATIENCE_MS = 120000 };

static const char app_url[] = "bridge://app";

/* SQLite's. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    int rc;

    point();
    rc = (int)syscall(SYS_fdatasync, fd);
    point();
    return rc;
}

static int complain(const struct dispatch_failure *failure)
{
    fprintf(stderr, "coroutines_app: %s\n", failure->message);
    return 1;
}

static struct dispatch_value parse(const char *text)
{
    static int64_t numbers[NUMBERS_MAX];
    char *end;
    long number = strtol(text, &end, 10), size;

    if (*text && !*end)
        return dispatch_int(number);
    if (strncmp(text, "bytes:", 6) != 0)
        return dispatch_string(text);
    size = strtol(text + 6, NULL, 10);
    for (int64_t i = 0; i < size / 8; i++)
        numbers[i] = i * 7919 % 101 - 50;
    return dispatch_bytes(numbers, (size_t)size);
}

static void print_bytes(const char *bytes, size_t size)
{
    int64_t last = INT64_MIN, n;

    for (size_t at = 0; at + 8 <= size; at += 8, last = n) {
        memcpy(&n, bytes + at, 8);
        if (n < last) {
            puts("not sorted");
            return;
        }
    }
    printf("%zu sorted bytes\n", size);
}

static int print(const struct dispatch_result *result)
{
    const char *text = dispatch_as_string(result->output, NULL);
    size_t size = 0;
    const char *bytes = dispatch_as_bytes(result->output, &size);
    int64_t number = 0;

    if (result->error)
        printf("%s: %s\n", result->error->type, result->error->message);
    else if (dispatch_as_int(result->output, &number))
        printf("%lld\n", (long long)number);
    else if (bytes)
        print_bytes(bytes, size);
    else
        puts(text ? text : "null");
    return 0;
}

static int begin(struct dispatch_client *client, const char *function, const char *input)
{
    struct dispatch_call call = dispatch_to(function, parse(input));
    struct dispatch_failure failure = {0};
    struct dispatch_ids ids = {0};

    call.endpoint = app_url;
    if (dispatch_client_dispatch(client, &call, 1, &ids, &failure))
        return complain(&failure);
    puts(ids.id[0]);
    dispatch_ids_free(&ids);
    return 0;
}

static int complete(struct dispatch_client *client, const char *key)
{
    struct dispatch_result yes = dispatch_ok(dispatch_bool(true));
    struct dispatch_failure failure = {0};

    return dispatch_client_complete(client, NULL, key, &yes, &failure) ? complain(&failure) : 0;
}

static int work(struct dispatch_client *client, const char *id)
{
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};
    int rc;

    if (dispatch_client_wait(client, id, PATIENCE_MS, &result, &failure))
        return complain(&failure);
    rc = print(&result);
    dispatch_result_free(&result);
    return rc;
}

static bool is_parked(const struct dispatch_call_info *info)
{
    return info->state == DISPATCH_CALL_SUSPENDED && info->resumes == 2;
}

static bool has_diverged(const struct dispatch_call_info *info)
{
    return info->last_error && strcmp(info->last_error->type, "Diverged") == 0 &&
           strncmp(info->waiting_for, "retry in ", 9) == 0;
}

/* Dies once that can be said of the call. */
static int die_when(struct dispatch_client *client, const char *id,
                    bool (*is)(const struct dispatch_call_info *info))
{
    struct dispatch_failure failure = {0};
    struct dispatch_call_info info = {0};

    for (;;) {
        if (dispatch_client_get(client, id, false, &info, &failure))
            return complain(&failure);
        if (info.state == DISPATCH_CALL_DONE)
            return print(info.result);
        if (is(&info))
            break;
        dispatch_call_info_free(&info);
    }
    if (info.last_error)
        puts(info.last_error->message);
    fflush(stdout);
    raise(SIGKILL);
    return 1;
}

int inside(int argc, char **argv, int32_t max_suspended)
{
    const char *command = argv[1], *what = argc > 3 ? argv[3] : "";
    bool runs = strcmp(command, "begin") != 0 && strcmp(command, "complete") != 0;
    struct dispatch_embedded_options options = {.store = argc > 2 ? argv[2] : NULL,
                                                .program = runs ? "app" : "maker",
                                                .workers = 1,
                                                .max_suspended = max_suspended};
    struct dispatch_embedded *embedded;
    struct dispatch_failure failure = {0};
    struct dispatch_client *client;
    int rc = 2;

    if (runs && argc > 4)
        arm((int)strtol(argv[4], NULL, 10));
    if (dispatch_embedded_open(&options, &embedded, &failure))
        return complain(&failure);
    if (getenv("OPENED"))
        close((int)strtol(getenv("OPENED"), NULL, 10));
    client = dispatch_embedded_client(embedded);
    if (strcmp(command, "begin") == 0 && argc > 4)
        rc = begin(client, what, argv[4]);
    else if (strcmp(command, "complete") == 0)
        rc = complete(client, what);
    else if (strcmp(command, "work") == 0)
        rc = work(client, what);
    else if (strcmp(command, "park") == 0)
        rc = die_when(client, what, is_parked);
    else if (strcmp(command, "diverged") == 0)
        rc = die_when(client, what, has_diverged);
    dispatch_embedded_close(embedded);
    return rc;
}
