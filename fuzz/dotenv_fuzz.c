// SPDX-License-Identifier: Apache-2.0
/* Files of environment variables (cli/dotenv.h): what comes out can be put into an environment. */
#include "cli/dotenv.h"
#include "fuzz.h"

static struct dotenv dotenv;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct error err;

    arena_init(&arena, 1 << 20);
    if (dotenv_read(&dotenv, slice(data, size), &arena, &err)) {
        require(strncmp(err.message, "line ", 5) == 0);
    } else {
        require(dotenv.count <= DOTENV_MAX);
        for (size_t i = 0; i < dotenv.count; i++) {
            require(dotenv.variables[i].name[0] && !strchr(dotenv.variables[i].name, '='));
            require(strlen(dotenv.variables[i].value) <= DOTENV_BYTES_MAX);
        }
    }
    arena_reset(&arena);
    return 0;
}
