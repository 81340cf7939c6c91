// SPDX-License-Identifier: Apache-2.0
/*
 * The front of every kind: opening by URL, and the checks that are the same for all of them. What
 * reaches a kind's operations is a writable handle where one is needed, a batch whose rows fit the
 * numbers of base/batch.h, and a range clamped to them.
 */
#include "store/store.h"

#include <assert.h>

#include "base/id.h"
#include "base/rand.h"

static int open_memory(struct store **store, const struct store_options *options, struct error *err)
{
    uint64_t tag;

    if (options && options->read_only)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "a store in memory cannot be opened read-only: it would be empty");
    rand_system(&tag, sizeof tag);
    return store_memory_create(store, tag & ID_TAG_MAX, err);
}

int store_open(struct store **store, const char *url, const struct store_options *options,
               struct error *err)
{
    if (strcmp(url, "memory:") == 0)
        return open_memory(store, options, err);
    if (strncmp(url, "sqlite:", 7) == 0 && url[7])
        return store_sqlite_open(store, url + 7, options, err);
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "'%s' is no store: expected memory: or sqlite:PATH", url);
}

int store_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return store->ops->open_reader(store, reader, err);
}

void store_close(struct store *store)
{
    if (store)
        store->ops->close(store);
}

uint64_t store_tag(struct store *store)
{
    return store->tag;
}

int store_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                struct error *err)
{
    if (!store->ops->fence)
        return error_set(err, CODE_FAILED_PRECONDITION, "this store was opened read-only");
    return store->ops->fence(store, partition, ballast, epoch, err);
}

int store_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                struct error *err)
{
    assert(ttl_ns >= 0);
    if (!store->ops->renew)
        return error_set(err, CODE_FAILED_PRECONDITION, "this store was opened read-only");
    return store->ops->renew(store, partition, epoch, ttl_ns, err);
}

int store_commit(struct store *store, uint32_t partition, uint64_t epoch, const struct batch *batch,
                 struct error *err)
{
    if (!store->ops->commit)
        return error_set(err, CODE_FAILED_PRECONDITION, "this store was opened read-only");
    for (size_t i = 0; i < batch->count; i++) {
        assert((unsigned)batch->ops[i].table < TABLE_COUNT);
        assert(batch->ops[i].key <= KEY_MAX && batch->ops[i].sub <= SUB_MAX);
    }
    return store->ops->commit(store, partition, epoch, batch, err);
}

bool store_upkeep_due(struct store *store)
{
    return store->ops->upkeep_due && store->ops->upkeep_due(store);
}

void store_upkeep(struct store *store)
{
    if (store_upkeep_due(store))
        store->ops->upkeep(store);
}

int store_walk(struct store *store, uint32_t partition, const struct store_range *range,
               store_row_fn *fn, void *arg, struct error *err)
{
    struct store_range r = *range;

    assert((unsigned)r.table < TABLE_COUNT);
    if (r.to_key > KEY_MAX)
        r.to_key = KEY_MAX;
    if (r.to_sub > SUB_MAX)
        r.to_sub = SUB_MAX;
    if (r.from_key > r.to_key || r.from_sub > r.to_sub)
        return CODE_OK;
    return store->ops->walk(store, partition, &r, fn, arg, err);
}

struct get {
    struct blob *value;
    bool found;
};

static int get_row(void *arg, const struct store_row *row)
{
    struct get *get = arg;

    get->found = true;
    get->value = blob_copy(row->value);
    return CODE_OK;
}

int store_get(struct store *store, uint32_t partition, enum table table, uint64_t key, uint32_t sub,
              struct blob **value, struct error *err)
{
    struct store_range range = {
        .table = table, .from_key = key, .to_key = key, .from_sub = sub, .to_sub = sub, .limit = 1};
    struct get get = {0};
    int code;

    assert(key <= KEY_MAX && sub <= SUB_MAX);
    code = store_walk(store, partition, &range, get_row, &get, err);
    if (code)
        return code;
    if (!get.found)
        return error_set(err, CODE_NOT_FOUND, "no row (%llu, %lu) in table %d",
                         (unsigned long long)key, (unsigned long)sub, (int)table);
    if (!get.value)
        return error_memory(err);
    *value = get.value;
    return CODE_OK;
}
