// SPDX-License-Identifier: Apache-2.0
/*
 * A library to preload into a program: counts its fsync and fdatasync calls, in the first 8 bytes
 * of the file that COUNT_SYNC names, where others may read the count.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic uint64_t *count;

__attribute__((constructor)) static void map_count(void)
{
    const char *path = getenv("COUNT_SYNC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        count = mapped;
    close(fd);
}

static int counted(long number, int fd)
{
    if (count)
        atomic_fetch_add(count, 1);
    return (int)syscall(number, fd);
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    return counted(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return counted(SYS_fdatasync, fd);
}
