// SPDX-License-Identifier: Apache-2.0
/*
 * The main() of a fuzz target in ordinary builds: replays files. Arguments are files, and
 * directories whose files are meant; the empty input is always tried. So what a fuzzer once found
 * stays found by every compiler and sanitizer that the unit tests run under.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    uint8_t *whole = malloc(INPUT_MAX);
    size_t size = whole ? fread(whole, 1, INPUT_MAX, file) : 0;
    int bad = !whole || ferror(file);
    fclose(file);
    /* Exactly as large as the input, so that a sanitizer sees a read past its end. */
    uint8_t *data = bad ? NULL : malloc(size ? size : 1);
    if (data) {
        memcpy(data, whole, size);
        LLVMFuzzerTestOneInput(data, size);
    } else {
        fprintf(stderr, "%s: cannot be read\n", path);
        bad = 1;
    }
    free(data);
    free(whole);
    return bad;
}

static int replay(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return replay_file(path);
    int bad = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char file[4096];
        int length = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        bad |= length < 0 || (size_t)length >= sizeof file || replay_file(file);
    }
    closedir(directory);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        bad |= replay(argv[i]);
    return bad;
}
