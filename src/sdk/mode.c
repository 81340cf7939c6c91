// SPDX-License-Identifier: Apache-2.0
/*
 * How an application runs, and where an embedded orchestrator keeps its calls: what options and
 * environment say, in their order of precedence.
 */
#include "sdk/internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/state_dir.h"

#define PROGRAM_CHARS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"

static bool is_set(const char *name)
{
    const char *value = getenv(name);

    return value && *value;
}

int sdk_run_embedded(const struct dispatch_run_options *options, bool *embedded,
                     struct dispatch_failure *failure)
{
    bool served = options->client || options->api_key || options->api_url ||
                  sdk_registry_given_client(sdk_registry(options->registry));

    if (served && options->store)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "the option store asks for an orchestrator inside the program, the options "
                        "client, api_key and api_url, and a registry's client, for another one: "
                        "give one or the other");
    if (served || options->store)
        *embedded = !served;
    else if (is_set("DISPATCH_STORE"))
        *embedded = true;
    else /* set but empty is meant, too: the client then says what is missing */
        *embedded = !getenv("DISPATCH_API_URL") && !getenv("DISPATCH_API_KEY");
    return 0;
}

static bool is_program(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= SDK_PROGRAM_MAX && name[0] != '.' && name[0] != '-' &&
           strspn(name, PROGRAM_CHARS) == len;
}

/* Its file's name, with what may not stand in a program's name replaced. */
static void own_program(char name[SDK_PROGRAM_MAX + 1])
{
    size_t len = 0;

    for (const char *c = program_invocation_short_name; *c && len < SDK_PROGRAM_MAX; c++) {
        bool fine = strchr(PROGRAM_CHARS, *c) && (len > 0 || (*c != '.' && *c != '-'));

        name[len++] = fine ? *c : '_';
    }
    name[len] = '\0';
    if (len == 0)
        memcpy(name, "program", sizeof "program");
}

static int find_wait(uint32_t option_ms, uint32_t *wait_ms, struct dispatch_failure *failure)
{
    const char *text = getenv("DISPATCH_STORE_WAIT");
    double seconds;
    char *end;

    *wait_ms = option_ms;
    if (option_ms || !text || !*text)
        return 0;
    seconds = strtod(text, &end);
    if (*end || !(seconds >= 0))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "DISPATCH_STORE_WAIT is a number of seconds, not '%.100s'", text);
    *wait_ms = seconds < UINT32_MAX / 1000 ? (uint32_t)ceil(seconds * 1000) : UINT32_MAX;
    return 0;
}

int sdk_find_calls(const struct dispatch_embedded_options *options,
                   struct sdk_place_of_calls *place, struct dispatch_failure *failure)
{
    const char *store = options->store;
    char file[SDK_PROGRAM_MAX + 16];
    struct error err = {0};

    if (options->program && !is_program(options->program))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "'%.100s' is not a program's name: at most %d letters, digits, '.', '_' "
                        "and '-', not first of '.' or '-'",
                        options->program, SDK_PROGRAM_MAX);
    if (options->program)
        memcpy(place->program, options->program, strlen(options->program) + 1);
    else
        own_program(place->program);
    if (!store && is_set("DISPATCH_STORE"))
        store = getenv("DISPATCH_STORE");
    if (!store) {
        snprintf(file, sizeof file, "%s/calls.db", place->program);
        if (state_dir_store(place->store, sizeof place->store, file, &err))
            return sdk_fail_from(failure, &err);
    } else if (snprintf(place->store, sizeof place->store, "%s", store) >= SDK_STORE_MAX) {
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "the store's name is too long");
    }
    return find_wait(options->store_wait_ms, &place->wait_ms, failure);
}
