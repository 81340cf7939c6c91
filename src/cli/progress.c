// SPDX-License-Identifier: Apache-2.0
/* A line that is written over. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CELLS = 40 };

void progress_start(struct progress *p)
{
    struct stat st;

    *p = (struct progress){.percent = -1};
    p->wanted = isatty(2) && !isatty(1);
    if (p->wanted && fstat(0, &st) == 0 && S_ISREG(st.st_mode))
        p->size = st.st_size;
}

void progress_show(struct progress *p, uint64_t calls)
{
    off_t at = p->size ? ftello(stdin) : 0;
    int percent = p->size && at >= 0 ? (int)(at * 100 / p->size) : -1;

    if (!p->wanted || (p->shown && percent >= 0 && percent == p->percent))
        return;
    fputs("\r\033[K", stderr);
    if (percent >= 0) {
        fputc('[', stderr);
        for (int i = 0; i < CELLS; i++)
            fputc(i * 100 < percent * CELLS ? '#' : ' ', stderr);
        fprintf(stderr, "] %3d%%  ", percent);
    }
    fprintf(stderr, "%" PRIu64 " calls", calls);
    fflush(stderr);
    p->percent = percent;
    p->shown = true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
