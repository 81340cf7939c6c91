// SPDX-License-Identifier: Apache-2.0
/* Patterns a line each, and behind them, after an empty line, an endpoint: whatever is judged, it
 * is judged alike with its patterns in the opposite order, and again by each of them alone. */
#include <string.h>

#include "fuzz.h"
#include "server/policy.h"

enum { TEXT_MAX = 4096, LINES_MAX = 8 };

static int judge(const char *const *lines, size_t count, int step, struct slice endpoint)
{
    struct policy policy;
    struct error err;
    int code;

    policy_init(&policy);
    for (size_t i = 0; i < count; i++)
        (void)policy_add(&policy, lines[step > 0 ? i : count - 1 - i], &err);
    code = policy.count ? policy_check(&policy, endpoint, &err) : CODE_PERMISSION_DENIED;
    policy_free(&policy);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *lines[LINES_MAX];
    char text[TEXT_MAX + 1], *at = text, *end;
    bool any = false;
    size_t count = 0;
    int code;

    if (size > TEXT_MAX)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    while (count < LINES_MAX && *at != '\n' && (end = strchr(at, '\n'))) {
        *end = '\0';
        lines[count++] = at;
        at = end + 1;
    }
    if (*at == '\n')
        at++;
    code = judge(lines, count, 1, slice_str(at));
    require(code == judge(lines, count, -1, slice_str(at)));
    for (size_t i = 0; i < count; i++)
        any |= judge(lines + i, 1, 1, slice_str(at)) == CODE_OK;
    require((code == CODE_OK) == any);
    return 0;
}
