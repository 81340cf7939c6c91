// SPDX-License-Identifier: Apache-2.0
/*
 * A library to preload into a program: while the file that FAILING_SYNC names exists, every fsync
 * and fdatasync fails with EIO, as on a disk that is going.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_unless_failing(long number, int fd)
{
    const char *flag = getenv("FAILING_SYNC");

    if (flag && access(flag, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    return sync_unless_failing(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return sync_unless_failing(SYS_fdatasync, fd);
}
