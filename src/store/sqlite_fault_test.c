// SPDX-License-Identifier: Apache-2.0
/*
 * The disk fails under SQLite at every place where it can: a layer (a VFS) between SQLite and the
 * system's lets the Nth write, sync or truncation fail, once or for some time, and the same history
 * is run for every N until none is reached. Whatever failed: each acknowledged batch is there,
 * whole, a batch of unknown outcome is there whole or not at all, and after a fence it stays as it
 * is.
 *
 * After every acknowledged batch the power fails, too: what each file would hold on the disk is
 * kept aside, and a store is opened on that. Bytes get there by a sync that succeeds. A sync that
 * fails leaves them in the system's cache, where they are found when the file is read again, and
 * where no later sync looks at them: they are clean there until they are written anew. (That is how
 * Linux does it, and why a fence reads the WAL afresh and has it checkpointed.)
 */
#include <sqlite3.h>

#include "store/test.h"

/* --- the layer ------------------------------------------------------------------------------- */

static struct {
    uint64_t operations; /* since the counters were set */
    uint64_t fail_at;    /* 0: never */
    uint64_t fail_for;   /* so many operations */
    uint64_t failed;
} disk;

/* What the disk holds of a file, and where the system's cache is ahead of it. */
struct image {
    char name[128]; /* "": free */
    uint8_t *bytes;
    size_t size;
    size_t dirty;
    struct {
        size_t at, len;
    } ranges[1024];
};

static struct image images[8];

struct shim {
    sqlite3_file base;
    struct image *image; /* NULL: not kept */
    sqlite3_file *real;  /* in the memory behind this struct */
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct shim *)(void *)file)->real;
}

static bool fails(void)
{
    uint64_t n = ++disk.operations;

    if (!disk.fail_at || n < disk.fail_at || n - disk.fail_at >= disk.fail_for)
        return false;
    disk.failed++;
    return true;
}

static struct image *image_find(const char *name)
{
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        if (strcmp(images[i].name, name) == 0)
            return &images[i];
    }
    return NULL;
}

static struct image *image_of(sqlite3_file *file)
{
    return ((struct shim *)(void *)file)->image;
}

static void image_drop(const char *name)
{
    struct image *image = image_find(name);

    if (!image)
        return;
    free(image->bytes);
    memset(image, 0, sizeof *image);
}

static void image_written(sqlite3_file *f, int len, sqlite3_int64 at)
{
    struct image *image = image_of(f);

    if (!image)
        return;
    assert_true(image->dirty < sizeof image->ranges / sizeof *image->ranges);
    image->ranges[image->dirty].at = (size_t)at;
    image->ranges[image->dirty++].len = (size_t)len;
}

static void image_resize(struct image *image, size_t size)
{
    if (size > image->size) {
        image->bytes = realloc(image->bytes, size);
        assert_non_null(image->bytes);
        memset(image->bytes + image->size, 0, size - image->size);
    }
    image->size = size;
}

static void image_synced(sqlite3_file *f)
{
    struct image *image = image_of(f);

    for (size_t i = 0; image && i < image->dirty; i++) {
        size_t at = image->ranges[i].at, end = at + image->ranges[i].len;

        if (end > image->size)
            image_resize(image, end);
        /* A range may have been cut off since: then the read is short, and fills up with zeros. */
        (void)real_of(f)->pMethods->xRead(real_of(f), image->bytes + at, (int)(end - at),
                                          (sqlite3_int64)at);
    }
    if (image)
        image->dirty = 0;
}

static int shim_close(sqlite3_file *f)
{
    sqlite3_file *real = real_of(f);

    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int shim_read(sqlite3_file *f, void *data, int len, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), data, len, at);
}

/* A write that fails is torn. */
static int shim_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 at)
{
    bool torn = fails();

    if (torn)
        len /= 2;
    image_written(f, len, at);
    if (!torn)
        return real_of(f)->pMethods->xWrite(real_of(f), data, len, at);
    (void)real_of(f)->pMethods->xWrite(real_of(f), data, len, at);
    return disk.fail_at % 2 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    if (fails())
        return SQLITE_IOERR_TRUNCATE;
    if (image_of(f) && (size_t)size < image_of(f)->size)
        image_resize(image_of(f), (size_t)size);
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

/* The real file is not synced: the machine itself does not fail here. */
static int shim_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    if (fails()) {
        if (image_of(f))
            image_of(f)->dirty = 0;
        return SQLITE_IOERR_FSYNC;
    }
    image_synced(f);
    return SQLITE_OK;
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int shim_lock(sqlite3_file *f, int lock)
{
    return real_of(f)->pMethods->xLock(real_of(f), lock);
}

static int shim_unlock(sqlite3_file *f, int lock)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), lock);
}

static int shim_check_lock(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int shim_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int shim_characteristics(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int shim_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void shim_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int shim_shm_unmap(sqlite3_file *f, int delete)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), delete);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_lock,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_characteristics,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static sqlite3_vfs *system_vfs;

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct shim *shim = (struct shim *)(void *)file;
    int rc;

    (void)vfs;
    shim->base.pMethods = NULL;
    shim->image = NULL;
    if (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) {
        if (!image_find(name)) {
            assert_non_null(image_find(""));
            snprintf(image_find("")->name, sizeof images->name, "%s", name);
        }
        shim->image = image_find(name);
    }
    shim->real = (sqlite3_file *)(void *)(shim + 1);
    rc = system_vfs->xOpen(system_vfs, name, shim->real, flags, out);
    if (shim->real->pMethods)
        shim->base.pMethods = &shim_methods;
    return rc;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    (void)vfs;
    (void)sync_directory;
    image_drop(name);
    return system_vfs->xDelete(system_vfs, name, 0);
}

static void install_layer(void)
{
    static sqlite3_vfs layer;

    system_vfs = sqlite3_vfs_find(NULL);
    layer = *system_vfs; /* what is not a file goes straight to the system */
    layer.zName = "failing";
    layer.szOsFile = (int)sizeof(struct shim) + system_vfs->szOsFile;
    layer.xOpen = shim_open;
    layer.xDelete = shim_delete;
    layer.pNext = NULL;
    assert_int_equal(sqlite3_vfs_register(&layer, 1), SQLITE_OK);
}

/* --- the history ----------------------------------------------------------------------------- */

enum { BATCHES = 4, ROWS = 3, ROW_SIZE = 5000, TRIES = 50 };

struct history {
    struct test_dir *dir;
    char path[256], url[300];
    struct store *store;
    uint64_t epoch;
    uint64_t there; /* batches 1 to this one are in the store */
};

static int commit_batch(struct history *h, uint64_t n)
{
    static uint8_t value[ROW_SIZE];
    struct batch batch;
    int code;

    memset(value, (int)n, sizeof value);
    batch_init(&batch);
    for (uint32_t sub = 0; sub < ROWS; sub++)
        assert_true(batch_put(&batch, TABLE_CALL, n, sub, slice(value, sizeof value)));
    code = store_commit(h->store, 0, h->epoch, &batch, &test_error);
    batch_free(&batch);
    return code;
}

static int check_row(void *arg, const struct store_row *row)
{
    size_t *rows = arg;
    const uint8_t *bytes = row->value.data;

    assert_int_equal(row->key, 1 + *rows / ROWS);
    assert_int_equal(row->sub, *rows % ROWS);
    assert_int_equal(row->value.len, ROW_SIZE);
    assert_true(bytes[0] == row->key && memcmp(bytes, bytes + 1, ROW_SIZE - 1) == 0);
    ++*rows;
    return 0;
}

static uint64_t count_batches(struct store *store)
{
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};
    size_t rows = 0;

    assert_ok(store_walk(store, 0, &range, check_row, &rows, &test_error));
    assert_int_equal(rows % ROWS, 0);
    return rows / ROWS;
}

/* Fences until it succeeds, then looks what is there: all that was, and perhaps what was in doubt.
 */
static void recover(struct history *h, bool in_doubt)
{
    uint64_t found, epoch = h->epoch;
    int tries = 0;

    while (store_fence(h->store, 0, ROWS * ROW_SIZE, &h->epoch, &test_error)) {
        assert_true(test_error.code == CODE_UNAVAILABLE);
        assert_true(++tries < TRIES);
    }
    assert_true(h->epoch > epoch);
    found = count_batches(h->store);
    assert_true(found == h->there || (in_doubt && found == h->there + 1));
    h->there = found;
}

static void write_image(const char *from, const char *to)
{
    struct image *image = image_find(from);
    FILE *file = fopen(to, "wb");

    assert_non_null(file);
    if (image && image->size)
        assert_int_equal(fwrite(image->bytes, 1, image->size, file), image->size);
    assert_int_equal(fclose(file), 0);
}

/* The power fails now: what is acknowledged is on the disk. */
static void assert_survives_power_loss(struct history *h)
{
    struct history after = {.dir = h->dir};
    char wal[sizeof h->path + 8], url[300];
    uint64_t fail_at = disk.fail_at, operations = disk.operations;

    disk.fail_at = 0;
    snprintf(wal, sizeof wal, "%s-journal", h->path);
    assert_null(image_find(wal));
    snprintf(wal, sizeof wal, "%s-wal", h->path);
    write_image(h->path, test_path(h->dir, "other.db"));
    snprintf(url, sizeof url, "sqlite:%s", h->dir->file);
    write_image(wal, test_path(h->dir, "other.db-wal"));
    assert_ok(store_open(&after.store, url, NULL, &test_error));
    assert_ok(store_fence(after.store, 0, 0, &after.epoch, &test_error));
    assert_true(after.epoch > h->epoch);
    after.there = count_batches(after.store);
    if (after.there != h->there)
        fail_msg("operation %llu failed: %llu batches acknowledged, %llu on the disk",
                 (unsigned long long)fail_at, (unsigned long long)h->there,
                 (unsigned long long)after.there);
    store_close(after.store);
    image_drop(test_path(h->dir, "other.db"));
    image_drop(test_path(h->dir, "other.db-wal"));
    disk.fail_at = fail_at;
    disk.operations = operations;
}

/* Opens the store until that succeeds; its first fence too. */
static void open_history(struct history *h)
{
    int tries = 0;

    while (store_open(&h->store, h->url, NULL, &test_error)) {
        assert_true(test_error.code == CODE_UNAVAILABLE);
        assert_true(++tries < TRIES);
    }
    recover(h, false);
}

static void run_history(struct history *h)
{
    open_history(h);
    while (h->there < BATCHES) {
        int code = commit_batch(h, h->there + 1);

        assert_int_not_equal(code, CODE_ABORTED);
        if (code)
            recover(h, true);
        else
            h->there++;
        assert_survives_power_loss(h);
        if (h->there == BATCHES / 2 && !code) { /* a clean restart in the middle */
            store_close(h->store);
            open_history(h);
        }
    }
    store_close(h->store);
}

static void fail_everywhere(uint64_t fail_for)
{
    for (uint64_t at = 1;; at++) {
        struct test_dir dir;
        struct history h = {.dir = &dir};

        test_dir_make_fast(&dir);
        snprintf(h.path, sizeof h.path, "%s", test_path(&dir, "store.db"));
        snprintf(h.url, sizeof h.url, "sqlite:%s", h.path);
        memset(&disk, 0, sizeof disk);
        disk.fail_at = at;
        disk.fail_for = fail_for;
        run_history(&h);
        assert_true(disk.failed || at > 20);
        disk.fail_at = 0;
        open_history(&h);
        assert_int_equal(h.there, BATCHES);
        store_close(h.store);
        image_drop(h.path);
        test_dir_remove(&dir);
        if (!disk.failed)
            return; /* the whole history has fewer operations */
    }
}

static void test_one_operation_fails(void **state)
{
    (void)state;
    fail_everywhere(1);
}

static void test_the_disk_is_bad_for_a_while(void **state)
{
    (void)state;
    fail_everywhere(12);
}

int main(void)
{
    const struct CMUnitTest faults[] = {
        cmocka_unit_test(test_one_operation_fails),
        cmocka_unit_test(test_the_disk_is_bad_for_a_while),
    };

    install_layer();
    return cmocka_run_group_tests(faults, NULL, NULL);
}
