// SPDX-License-Identifier: Apache-2.0
/* What a run is told: the readers of struct dispatch_input. */
#include "sdk/internal.h"

const char *dispatch_input_function(const struct dispatch_input *input)
{
    return input->request->function;
}

const char *dispatch_input_id(const struct dispatch_input *input)
{
    return input->request->dispatch_id;
}

const char *dispatch_input_parent_id(const struct dispatch_input *input)
{
    return input->request->parent_dispatch_id;
}

const char *dispatch_input_root_id(const struct dispatch_input *input)
{
    return input->request->root_dispatch_id;
}

static int64_t time_ns(const wire_timestamp *time)
{
    return time ? wire_time_ns(time) : 0;
}

int64_t dispatch_input_creation_time_ns(const struct dispatch_input *input)
{
    return time_ns(input->request->creation_time);
}

int64_t dispatch_input_expiration_time_ns(const struct dispatch_input *input)
{
    return time_ns(input->request->expiration_time);
}

int64_t dispatch_input_now_ns(const struct dispatch_input *input)
{
    return time_ns(input->request->now);
}

uint32_t dispatch_input_generation(const struct dispatch_input *input)
{
    return input->request->generation;
}

uint32_t dispatch_input_resumes(const struct dispatch_input *input)
{
    return input->request->resume;
}

bool dispatch_input_is_first_call(const struct dispatch_input *input)
{
    return !input->resume;
}

bool dispatch_input_is_resume(const struct dispatch_input *input)
{
    return input->resume;
}

static int need_first_call(const struct dispatch_input *input, struct dispatch_failure *failure)
{
    return input->resume ? sdk_fail(failure, CODE_FAILED_PRECONDITION,
                                    "This input is for a resumed coroutine")
                         : 0;
}

static int need_resume(const struct dispatch_input *input, struct dispatch_failure *failure)
{
    return input->resume ? 0
                         : sdk_fail(failure, CODE_FAILED_PRECONDITION,
                                    "This input is for a first function call");
}

int dispatch_input_value(const struct dispatch_input *input, struct dispatch_value *value,
                         struct dispatch_failure *failure)
{
    int rc = need_first_call(input, failure);

    if (!rc)
        *value = input->value;
    return rc;
}

int dispatch_input_arguments(const struct dispatch_input *input, struct dispatch_value *arguments,
                             struct dispatch_failure *failure)
{
    int rc = need_first_call(input, failure);

    if (rc)
        return rc;
    if (dispatch_value_kind(input->value) != DISPATCH_ARGUMENTS)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "input does not hold arguments");
    *arguments = input->value;
    return 0;
}

int dispatch_input_state(const struct dispatch_input *input, struct dispatch_value *state,
                         struct dispatch_failure *failure)
{
    int rc = need_resume(input, failure);

    if (!rc)
        *state = input->value;
    return rc;
}

int dispatch_input_results(const struct dispatch_input *input,
                           const struct dispatch_result **results, size_t *count,
                           struct dispatch_failure *failure)
{
    int rc = need_resume(input, failure);

    if (rc)
        return rc;
    *results = input->results;
    *count = input->result_count;
    return 0;
}

int dispatch_input_poll_error(const struct dispatch_input *input,
                              const struct dispatch_error **error, struct dispatch_failure *failure)
{
    int rc = need_resume(input, failure);

    if (!rc)
        *error = input->poll_error;
    return rc;
}
