// SPDX-License-Identifier: Apache-2.0
/*
 * A disk for SQLite that is simulated, and worse than real ones. Files live in memory; what was
 * written and not synced is at risk, sector by sector: when the power fails, each such sector is
 * kept, lost, or torn in the middle, as the seed has it. A sync that fails leaves what it was for
 * in the cache alone, as operating systems do: later reads see it, later syncs do not save it.
 *
 * For tests and simulation, in one thread, one disk at a time: while it is there it is SQLite's
 * default VFS, and any path names a file on it.
 */
#ifndef STORE_SIM_DISK_H
#define STORE_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct sim_disk;

struct sim_disk_state {
    uint64_t fail_sync_in;   /* 1: the next sync fails; counts down; 0: none does */
    uint64_t power_fails_in; /* the same, of writes and syncs: the power fails there */
    bool full;               /* no file can grow */
    bool off;                /* nothing can be written or synced: whoever would do it is dead */
    uint64_t syncs, sync_failures, refused_writes;
    uint64_t sectors_lost, sectors_torn; /* by power failures */
};

/* NULL: no memory. */
struct sim_disk *sim_disk_create(uint64_t seed);
void sim_disk_destroy(struct sim_disk *disk); /* all files must be closed; NULL is fine */
struct sim_disk_state *sim_disk_state(struct sim_disk *disk);
/* The power fails: what was at risk is decided. The disk is off until somebody says otherwise. */
void sim_disk_power_failure(struct sim_disk *disk);

#endif
