// SPDX-License-Identifier: Apache-2.0
/*
 * What fuzz targets share. A target is one file, NAME_fuzz.c, that defines LLVMFuzzerTestOneInput
 * and calls `require` for what must hold of any input; its first inputs are the files of
 * seeds/NAME.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
