// SPDX-License-Identifier: Apache-2.0
/* The configuration file (cli/config.h): what was read is the same when it is written and read. */
#include "cli/config.h"
#include "fuzz.h"

static struct config first, second;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    struct buf text;

    if (config_parse(&first, slice(data, size), &err)) {
        require(err.code == CODE_INVALID_ARGUMENT && strncmp(err.message, "line ", 5) == 0);
        return 0;
    }
    buf_init(&text, 4 * CONFIG_BYTES_MAX);
    config_render(&first, &text);
    require(!text.failed);
    require(config_parse(&second, buf_slice(&text), &err) == CODE_OK);
    require(strcmp(first.active, second.active) == 0 && first.count == second.count);
    for (size_t i = 0; i < first.count; i++) {
        require(strcmp(first.orgs[i].slug, second.orgs[i].slug) == 0);
        require(strcmp(first.orgs[i].api_key, second.orgs[i].api_key) == 0);
        require(strcmp(first.orgs[i].api_url, second.orgs[i].api_url) == 0);
    }
    buf_free(&text);
    return 0;
}
