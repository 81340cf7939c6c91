// SPDX-License-Identifier: Apache-2.0
/*
 * A VFS in memory. Of each file there is what reads see (the cache), and of each sector that is at
 * risk what it was before, which is there still (on the platter) if the power fails. A sector is
 * clean, dirty (a sync carries it to the platter), or doomed (a sync failed: no later one carries
 * it, until it is written again). So a sync costs what was written since the last one.
 *
 * A file's name is durable as soon as it is made or deleted. A file that was cut short is, after a
 * power failure, as if it never had been, and nothing written since; or it is as short, and what
 * was written since, sector by sector, there or not. Locks and the WAL's shared memory work among
 * the connections of this process, which is all there is.
 */
#include "store/sim_disk.h"

#include <assert.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

enum { SECTOR = 512, NAME_SIZE = 512, FILES_MAX = 8, SHM_LOCKS = SQLITE_SHM_NLOCK };

#define FILE_MAX_BYTES ((int64_t)1 << 30)

#define ROOM_STEP ((int64_t)1 << 18)

enum sector { SECTOR_CLEAN, SECTOR_DIRTY, SECTOR_DOOMED };

/* A sector that is not clean, as it is on the platter. */
struct risk {
    int64_t sector;
    uint8_t was[SECTOR];
};

struct file {
    char name[NAME_SIZE];
    bool there;
    unsigned handles;
    uint8_t *cache;
    uint8_t *sectors; /* enum sector, for `room` bytes as the cache */
    int64_t room, size, platter_size;
    int64_t cut; /* the least size that it had since the last sync; -1: it was not cut */
    struct risk *risks;
    size_t risk_count, risk_room;
    unsigned shared; /* connections with a SHARED lock, or more */
    int above;       /* the strongest lock above SHARED that one of them has */
    void **regions;
    int region_count, region_size;
    unsigned shm_shared[SHM_LOCKS];
    bool shm_exclusive[SHM_LOCKS];
    unsigned shm_users;
};

struct sim_disk {
    sqlite3_vfs vfs;
    sqlite3_vfs *before;
    struct sim_disk_state state;
    struct rand rand;
    struct file files[FILES_MAX];
};

struct handle {
    sqlite3_file base;
    struct sim_disk *disk;
    struct file *file;
    int lock;
    bool deletes, uses_shm;
    unsigned shm_shared, shm_exclusive; /* bits */
};

static struct handle *handle_of(sqlite3_file *f)
{
    return (struct handle *)(void *)f;
}

/* --- files ------------------------------------------------------------------------------------ */

static struct file *find(struct sim_disk *d, const char *name)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (d->files[i].there && strcmp(d->files[i].name, name) == 0)
            return &d->files[i];
    return NULL;
}

static void empty(struct file *f)
{
    free(f->cache);
    free(f->sectors);
    free(f->risks);
    for (int i = 0; i < f->region_count; i++)
        free(f->regions[i]);
    free(f->regions);
    *f = (struct file){0};
}

static struct file *make(struct sim_disk *d, const char *name)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &d->files[i];

        if (f->there || f->handles)
            continue;
        empty(f);
        if (strlen(name) >= NAME_SIZE)
            return NULL;
        memcpy(f->name, name, strlen(name) + 1);
        f->there = true;
        f->cut = -1;
        return f;
    }
    return NULL;
}

static bool grow(struct file *f, int64_t size)
{
    int64_t room = (size + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;
    uint8_t *grown;

    if (size <= f->room)
        return true;
    if (size > FILE_MAX_BYTES)
        return false;
    grown = realloc(f->cache, (size_t)room);
    if (!grown)
        return false;
    f->cache = grown;
    grown = realloc(f->sectors, (size_t)(room / SECTOR));
    if (!grown)
        return false;
    f->sectors = grown;
    memset(f->cache + f->room, 0, (size_t)(room - f->room));
    memset(f->sectors + f->room / SECTOR, SECTOR_CLEAN, (size_t)((room - f->room) / SECTOR));
    f->room = room;
    return true;
}

/* The bytes from `at` to `end` are going to change: their sectors are dirty from now on. */
static bool put_at_risk(struct file *f, int64_t at, int64_t end)
{
    size_t count = (size_t)((end + SECTOR - 1) / SECTOR - at / SECTOR);
    size_t room = 2 * f->risk_room + count;
    struct risk *grown;

    if (f->risk_room - f->risk_count < count) {
        grown = realloc(f->risks, room * sizeof *grown);
        if (!grown)
            return false;
        f->risks = grown;
        f->risk_room = room;
    }
    for (int64_t s = at / SECTOR; s * SECTOR < end; s++) {
        if (f->sectors[s] == SECTOR_CLEAN) {
            struct risk *r = &f->risks[f->risk_count++];

            r->sector = s;
            memcpy(r->was, f->cache + s * SECTOR, SECTOR);
        }
        f->sectors[s] = SECTOR_DIRTY;
    }
    return true;
}

static int disk_close(sqlite3_file *file)
{
    struct handle *h = handle_of(file);

    if (h->deletes)
        h->file->there = false;
    h->file->handles--;
    return SQLITE_OK;
}

static int disk_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    const struct file *f = handle_of(file)->file;
    int64_t have = f->size - at;

    if (have >= n) {
        memcpy(to, f->cache + at, (size_t)n);
        return SQLITE_OK;
    }
    memset(to, 0, (size_t)n);
    if (have > 0)
        memcpy(to, f->cache + at, (size_t)have);
    return SQLITE_IOERR_SHORT_READ;
}

/* One more write or sync: true if the power is off, perhaps from now on. */
static bool powerless(struct sim_disk *d)
{
    if (d->state.power_fails_in && --d->state.power_fails_in == 0)
        sim_disk_power_failure(d);
    return d->state.off;
}

static int disk_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    struct handle *h = handle_of(file);
    struct file *f = h->file;
    int64_t end = at + n;

    if (powerless(h->disk))
        return SQLITE_IOERR_WRITE;
    if (end > f->size && h->disk->state.full) {
        h->disk->state.refused_writes++;
        return SQLITE_FULL;
    }
    if (!grow(f, end) || !put_at_risk(f, at, end))
        return SQLITE_FULL;
    memcpy(f->cache + at, from, (size_t)n);
    if (end > f->size)
        f->size = end;
    return SQLITE_OK;
}

static int disk_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct handle *h = handle_of(file);
    struct file *f = h->file;

    if (h->disk->state.off)
        return SQLITE_IOERR_TRUNCATE;
    if (size >= f->size)
        return SQLITE_OK;
    if (!put_at_risk(f, size, f->size))
        return SQLITE_IOERR_TRUNCATE;
    if (f->cut < 0 || size < f->cut)
        f->cut = size;
    memset(f->cache + size, 0, (size_t)(f->size - size));
    f->size = size;
    return SQLITE_OK;
}

/* What is dirty is on the platter now; or will never be. */
static void settle(struct file *f, bool fails)
{
    size_t left = 0;

    for (size_t i = 0; i < f->risk_count; i++) {
        uint8_t *sector = &f->sectors[f->risks[i].sector];

        if (*sector == SECTOR_DIRTY)
            *sector = fails ? SECTOR_DOOMED : SECTOR_CLEAN;
        if (*sector != SECTOR_CLEAN && left++ < i)
            f->risks[left - 1] = f->risks[i];
    }
    f->risk_count = left;
    if (fails)
        return;
    f->platter_size = f->size;
    f->cut = -1;
}

static int disk_sync(sqlite3_file *file, int flags)
{
    struct handle *h = handle_of(file);
    struct sim_disk_state *s = &h->disk->state;
    bool fails = powerless(h->disk);

    (void)flags;
    s->syncs++;
    if (s->fail_sync_in && --s->fail_sync_in == 0) {
        s->sync_failures++;
        fails = true;
    }
    if (!s->off)
        settle(h->file, fails);
    return fails ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int disk_size(sqlite3_file *file, sqlite3_int64 *size)
{
    *size = handle_of(file)->file->size;
    return SQLITE_OK;
}

/* --- locks ------------------------------------------------------------------------------------ */

static int disk_lock(sqlite3_file *file, int lock)
{
    struct handle *h = handle_of(file);
    struct file *f = h->file;

    if (lock <= h->lock)
        return SQLITE_OK;
    if (lock == SQLITE_LOCK_SHARED) {
        if (f->above >= SQLITE_LOCK_PENDING)
            return SQLITE_BUSY;
        f->shared++;
    } else {
        if (h->lock < SQLITE_LOCK_RESERVED && f->above > SQLITE_LOCK_SHARED)
            return SQLITE_BUSY;
        if (lock == SQLITE_LOCK_EXCLUSIVE && f->shared > 1)
            return SQLITE_BUSY;
        f->above = lock;
    }
    h->lock = lock;
    return SQLITE_OK;
}

static int disk_unlock(sqlite3_file *file, int lock)
{
    struct handle *h = handle_of(file);
    struct file *f = h->file;

    if (lock >= h->lock)
        return SQLITE_OK;
    if (h->lock > SQLITE_LOCK_SHARED)
        f->above = SQLITE_LOCK_NONE;
    if (lock == SQLITE_LOCK_NONE)
        f->shared--;
    h->lock = lock;
    return SQLITE_OK;
}

static int disk_check_reserved(sqlite3_file *file, int *reserved)
{
    *reserved = handle_of(file)->file->above >= SQLITE_LOCK_RESERVED;
    return SQLITE_OK;
}

static int disk_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int disk_sector(sqlite3_file *file)
{
    (void)file;
    return SECTOR;
}

static int disk_characteristics(sqlite3_file *file)
{
    (void)file;
    return 0;
}

/* --- the WAL's shared memory ------------------------------------------------------------------ */

static int shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **at)
{
    struct handle *h = handle_of(file);
    struct file *f = h->file;
    void **grown;

    f->shm_users += !h->uses_shm;
    h->uses_shm = true;
    *at = NULL;
    if (region >= f->region_count && !extend)
        return SQLITE_OK;
    while (region >= f->region_count) {
        grown = realloc(f->regions, (size_t)(f->region_count + 1) * sizeof *grown);
        if (!grown)
            return SQLITE_NOMEM;
        f->regions = grown;
        f->regions[f->region_count] = calloc(1, (size_t)size);
        if (!f->regions[f->region_count])
            return SQLITE_NOMEM;
        f->region_count++;
    }
    *at = f->regions[region];
    return SQLITE_OK;
}

static int shm_take(struct handle *h, unsigned bits, bool exclusive)
{
    struct file *f = h->file;

    for (int i = 0; i < SHM_LOCKS; i++) {
        unsigned others = f->shm_shared[i] - (h->shm_shared >> i & 1);

        if (!(bits >> i & 1))
            continue;
        if ((f->shm_exclusive[i] && !(h->shm_exclusive >> i & 1)) || (exclusive && others))
            return SQLITE_BUSY;
    }
    for (int i = 0; i < SHM_LOCKS; i++) {
        if (!(bits >> i & 1))
            continue;
        if (exclusive)
            f->shm_exclusive[i] = true;
        else if (!(h->shm_shared >> i & 1))
            f->shm_shared[i]++;
    }
    if (exclusive)
        h->shm_exclusive |= bits;
    else
        h->shm_shared |= bits;
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *file, int first, int n, int flags)
{
    struct handle *h = handle_of(file);
    unsigned bits = ((1u << n) - 1) << first;

    if (flags & SQLITE_SHM_LOCK)
        return shm_take(h, bits, flags & SQLITE_SHM_EXCLUSIVE);
    for (int i = 0; i < SHM_LOCKS; i++) {
        if (!(bits >> i & 1))
            continue;
        if (h->shm_exclusive >> i & 1)
            h->file->shm_exclusive[i] = false;
        if (h->shm_shared >> i & 1)
            h->file->shm_shared[i]--;
    }
    h->shm_exclusive &= ~bits;
    h->shm_shared &= ~bits;
    return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *file)
{
    (void)file;
}

/* With its last user the memory goes, as it would with the last process. */
static int shm_unmap(sqlite3_file *file, int delete)
{
    struct handle *h = handle_of(file);
    struct file *f = h->file;

    (void)delete;
    if (!h->uses_shm)
        return SQLITE_OK;
    h->uses_shm = false;
    if (--f->shm_users)
        return SQLITE_OK;
    for (int i = 0; i < f->region_count; i++)
        free(f->regions[i]);
    free(f->regions);
    f->regions = NULL;
    f->region_count = 0;
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = disk_close,
    .xRead = disk_read,
    .xWrite = disk_write,
    .xTruncate = disk_truncate,
    .xSync = disk_sync,
    .xFileSize = disk_size,
    .xLock = disk_lock,
    .xUnlock = disk_unlock,
    .xCheckReservedLock = disk_check_reserved,
    .xFileControl = disk_control,
    .xSectorSize = disk_sector,
    .xDeviceCharacteristics = disk_characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

/* --- the VFS ---------------------------------------------------------------------------------- */

static struct sim_disk *disk_of(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct sim_disk *d = disk_of(vfs);
    struct handle *h = handle_of(file);
    struct file *f = name ? find(d, name) : NULL;

    *h = (struct handle){.disk = d, .deletes = flags & SQLITE_OPEN_DELETEONCLOSE};
    /* The path of a database is made, empty, before SQLite is told of it. */
    if (!f && !d->state.off)
        f = make(d, name ? name : "temporary");
    if (!f)
        return SQLITE_CANTOPEN;
    f->handles++;
    h->file = f;
    h->base.pMethods = &methods;
    if (out)
        *out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    struct sim_disk *d = disk_of(vfs);
    struct file *f = find(d, name);

    (void)sync;
    if (d->state.off)
        return SQLITE_IOERR_DELETE;
    if (!f)
        return SQLITE_IOERR_DELETE_NOENT;
    f->there = false;
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
    (void)flags;
    *result = find(disk_of(vfs), name) != NULL;
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    if ((int)strlen(name) >= size)
        return SQLITE_CANTOPEN;
    memcpy(out, name, strlen(name) + 1);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int n, char *out)
{
    for (int i = 0; i < n; i++)
        out[i] = (char)rand_u64(&disk_of(vfs)->rand);
    return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us; /* whoever is waited for has no turn meanwhile */
}

static int vfs_time(sqlite3_vfs *vfs, double *now)
{
    (void)vfs;
    *now = 2460000.5;
    return SQLITE_OK;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* SQLite writes bytes that it has not set: zeros, so that the same seed gives the same. */

static void *zeroed_malloc(int size)
{
    void *p;

    /* Not malloc, which a simulation has fail: how often SQLite asks is no part of a history. */
    if (posix_memalign(&p, 16, (size_t)size))
        return NULL;
    return memset(p, 0, malloc_usable_size(p));
}

static void *zeroed_realloc(void *old, int size)
{
    size_t was = malloc_usable_size(old);
    char *p = zeroed_malloc(size);

    if (!p)
        return NULL;
    memcpy(p, old, was < (size_t)size ? was : (size_t)size);
    free(old);
    return p;
}

static int zeroed_size(void *p)
{
    return p ? (int)malloc_usable_size(p) : 0;
}

static int round_up(int size)
{
    return (size + 15) & ~15;
}

static int zeroed_init(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void zeroed_shutdown(void *arg)
{
    (void)arg;
}

static void use_zeroed_memory(void)
{
    static const sqlite3_mem_methods zeroed = {.xMalloc = zeroed_malloc,
                                               .xFree = free,
                                               .xRealloc = zeroed_realloc,
                                               .xSize = zeroed_size,
                                               .xRoundup = round_up,
                                               .xInit = zeroed_init,
                                               .xShutdown = zeroed_shutdown};

    sqlite3_shutdown(); /* nothing is open */
    sqlite3_config(SQLITE_CONFIG_MALLOC, &zeroed);
}

struct sim_disk *sim_disk_create(uint64_t seed)
{
    struct sim_disk *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    rand_seed(&d->rand, seed);
    use_zeroed_memory();
    d->before = sqlite3_vfs_find(NULL);
    d->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct handle),
        .mxPathname = NAME_SIZE - 1,
        .zName = "sim",
        .pAppData = d,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
    };
    /* So that what SQLite draws comes from this disk's seed. */
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_RESET);
    if (sqlite3_vfs_register(&d->vfs, 1)) {
        free(d);
        return NULL;
    }
    return d;
}

void sim_disk_destroy(struct sim_disk *d)
{
    if (!d)
        return;
    sqlite3_vfs_unregister(&d->vfs);
    sqlite3_vfs_register(d->before, 1);
    for (int i = 0; i < FILES_MAX; i++) {
        assert(!d->files[i].handles);
        empty(&d->files[i]);
    }
    free(d);
}

struct sim_disk_state *sim_disk_state(struct sim_disk *d)
{
    return &d->state;
}

/* --- power ------------------------------------------------------------------------------------ */

static void decide(struct sim_disk *d, struct file *f, struct risk *r)
{
    uint64_t n = rand_below(&d->rand, 8);
    bool keeps = f->sectors[r->sector] == SECTOR_DIRTY ? n < 4 : n < 1;
    size_t from = keeps ? SECTOR : n == 7 ? (size_t)rand_below(&d->rand, SECTOR) : 0;

    if (f->cut >= 0 && r->sector * SECTOR >= f->cut)
        memset(r->was, 0, SECTOR);
    /* Torn: it begins as written, and ends as it was. */
    memcpy(f->cache + r->sector * SECTOR + from, r->was + from, SECTOR - from);
    f->sectors[r->sector] = SECTOR_CLEAN;
    d->state.sectors_lost += !from;
    d->state.sectors_torn += from && from < SECTOR;
}

/* Of a file that was cut: nothing that was done since the last sync has happened. */
static void undo(struct file *f)
{
    for (size_t i = 0; i < f->risk_count; i++) {
        memcpy(f->cache + f->risks[i].sector * SECTOR, f->risks[i].was, SECTOR);
        f->sectors[f->risks[i].sector] = SECTOR_CLEAN;
    }
    f->risk_count = 0;
    f->size = f->platter_size;
    f->cut = -1;
}

void sim_disk_power_failure(struct sim_disk *d)
{
    d->state.off = true;
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &d->files[i];

        if (!f->there)
            continue;
        if (f->cut >= 0 && rand_below(&d->rand, 2))
            undo(f);
        for (size_t r = 0; r < f->risk_count; r++)
            decide(d, f, &f->risks[r]);
        f->risk_count = 0;
        if (f->cut < 0 && f->platter_size != f->size && rand_below(&d->rand, 2))
            f->size = f->platter_size;
        f->cut = -1;
        if (f->size < f->room)
            memset(f->cache + f->size, 0, (size_t)(f->room - f->size));
        f->platter_size = f->size;
    }
}
