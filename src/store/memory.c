// SPDX-License-Identifier: Apache-2.0
/*
 * The memory kind: the same promises as a file's, kept for as long as one handle is open. Handles
 * share one `struct data` by reference count, so a store outlives the crash of whoever wrote to it.
 * Nothing but leases depends on an address or a clock: the same commits give the same walks.
 *
 * A table is a treap: a binary search tree by id that is a heap by a hash of the id, which keeps it
 * balanced whatever the order of insertion. A commit takes all its memory first and cannot fail
 * after that. A mutex makes the handles of several threads safe beside each other; it is recursive,
 * as a walk's callback may read.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "store/store.h"

enum { PARTITIONS_MAX = 256, SUB_BITS = 20 };

struct node {
    struct node *left, *right;
    uint64_t id; /* key and sub, as one number in their order */
    struct blob *value;
};

struct partition {
    uint64_t epoch;              /* 0: never fenced */
    const struct memory *holder; /* of the lease; NULL: nobody */
    int64_t until;               /* when that is over */
    struct node *tables[TABLE_COUNT];
};

struct memory;

struct data {
    pthread_mutex_t mutex;
    struct clock *clock;
    unsigned handles;
    unsigned walks; /* under way, all on the thread that holds the mutex */
    struct partition *partitions[PARTITIONS_MAX];
};

struct memory {
    struct store store;
    struct data *data;
};

static uint64_t id_of(uint64_t key, uint32_t sub)
{
    return key << SUB_BITS | sub;
}

static uint64_t priority(const struct node *n)
{
    uint64_t x = n->id + UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* --- the tree -------------------------------------------------------------------------------- */

static void node_free(struct node *n)
{
    blob_unref(n->value);
    free(n);
}

/* Where the node of this id hangs, or would hang as a leaf. */
static struct node **find(struct node **at, uint64_t id)
{
    while (*at && (*at)->id != id)
        at = id < (*at)->id ? &(*at)->left : &(*at)->right;
    return at;
}

/* Hangs `n` at the first place on its way down where its priority wins, and splits what was there
 * into its two subtrees. No node has its id yet. */
static void insert(struct node **at, struct node *n)
{
    struct node *rest, **left = &n->left, **right = &n->right;

    while (*at && priority(*at) >= priority(n))
        at = n->id < (*at)->id ? &(*at)->left : &(*at)->right;
    rest = *at;
    *at = n;
    while (rest) {
        assert(rest->id != n->id);
        if (rest->id < n->id) {
            *left = rest;
            left = &rest->right;
            rest = rest->right;
        } else {
            *right = rest;
            right = &rest->left;
            rest = rest->left;
        }
    }
    *left = *right = NULL;
}

/* Takes out the node at `at` and puts the merger of its subtrees in its place. */
static struct node *take(struct node **at)
{
    struct node *n = *at, *left = n->left, *right = n->right;

    while (left && right) {
        if (priority(left) >= priority(right)) {
            *at = left;
            at = &left->right;
            left = left->right;
        } else {
            *at = right;
            at = &right->left;
            right = right->left;
        }
    }
    *at = left ? left : right;
    return n;
}

/* The first node at or after `id`, or the last one at or before it. */
static const struct node *seek(const struct node *n, uint64_t id, bool descending)
{
    const struct node *best = NULL;

    while (n) {
        if (n->id == id)
            return n;
        if (descending ? n->id < id : n->id > id) {
            best = n;
            n = descending ? n->right : n->left;
        } else {
            n = descending ? n->left : n->right;
        }
    }
    return best;
}

/* --- handles --------------------------------------------------------------------------------- */

static struct data *data_of(struct store *store)
{
    return ((struct memory *)store)->data;
}

static void data_free(struct data *data)
{
    for (size_t p = 0; p < PARTITIONS_MAX; p++) {
        if (!data->partitions[p])
            continue;
        for (size_t t = 0; t < TABLE_COUNT; t++) {
            while (data->partitions[p]->tables[t])
                node_free(take(&data->partitions[p]->tables[t]));
        }
        free(data->partitions[p]);
    }
    pthread_mutex_destroy(&data->mutex);
    free(data);
}

static void memory_close(struct store *store)
{
    struct data *data = data_of(store);
    bool last;

    pthread_mutex_lock(&data->mutex);
    for (size_t p = 0; p < PARTITIONS_MAX; p++)
        if (data->partitions[p] && data->partitions[p]->holder == (struct memory *)store)
            data->partitions[p]->holder = NULL;
    last = --data->handles == 0;
    pthread_mutex_unlock(&data->mutex);
    if (last)
        data_free(data);
    free(store);
}

/* Another handle on `data`; counted by it. */
static int handle_create(struct store **store, struct data *data, uint64_t tag,
                         const struct store_ops *ops, struct error *err)
{
    struct memory *m = calloc(1, sizeof *m);

    if (!m)
        return error_memory(err);
    m->store = (struct store){.ops = ops, .tag = tag};
    m->data = data;
    pthread_mutex_lock(&data->mutex);
    data->handles++;
    pthread_mutex_unlock(&data->mutex);
    *store = &m->store;
    return CODE_OK;
}

/* --- operations ------------------------------------------------------------------------------ */

static int check_partition(uint32_t partition, struct error *err)
{
    if (partition < PARTITIONS_MAX)
        return CODE_OK;
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "a store in memory has partitions 0 to %d, not %lu", PARTITIONS_MAX - 1,
                     (unsigned long)partition);
}

static int epoch_over(const struct partition *p, uint32_t partition, uint64_t epoch,
                      struct error *err)
{
    return error_set(err, CODE_ABORTED, "epoch %llu of partition %lu is over; it is now %llu",
                     (unsigned long long)epoch, (unsigned long)partition,
                     (unsigned long long)(p ? p->epoch : 0));
}

/* Raises the epoch, unless another handle has the lease. */
static int raise_epoch(struct partition *p, const struct memory *m, uint64_t *epoch,
                       struct error *err)
{
    if (p->holder && p->holder != m && clock_now(m->data->clock) < p->until)
        return error_set(err, CODE_UNAVAILABLE,
                         "another node has the lease on the partition, in epoch %llu",
                         (unsigned long long)p->epoch);
    if (p->holder != m)
        p->holder = NULL;
    *epoch = ++p->epoch;
    return CODE_OK;
}

static int memory_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                        struct error *err)
{
    struct data *data = data_of(store);
    int code = check_partition(partition, err);

    (void)ballast; /* a commit that finds no memory has written nothing and can be made again */
    if (code)
        return code;
    pthread_mutex_lock(&data->mutex);
    assert(!data->walks);
    if (!data->partitions[partition])
        data->partitions[partition] = calloc(1, sizeof *data->partitions[partition]);
    if (data->partitions[partition])
        code = raise_epoch(data->partitions[partition], (struct memory *)store, epoch, err);
    else
        code = error_memory(err);
    pthread_mutex_unlock(&data->mutex);
    return code;
}

static int memory_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                        struct error *err)
{
    struct data *data = data_of(store);
    int code = check_partition(partition, err);
    struct partition *p;

    if (code)
        return code;
    pthread_mutex_lock(&data->mutex);
    p = data->partitions[partition];
    if (p && p->epoch == epoch) {
        p->holder = ttl_ns ? (struct memory *)store : NULL;
        p->until = time_add(clock_now(data->clock), ttl_ns);
    } else {
        code = epoch_over(p, partition, epoch, err);
    }
    pthread_mutex_unlock(&data->mutex);
    return code;
}

static void free_chain(struct node *chain)
{
    while (chain) {
        struct node *n = chain;

        chain = n->right;
        node_free(n);
    }
}

/* A node for each put, in order, chained through `right`; false: no memory, and nothing is kept. */
static bool make_nodes(const struct batch *batch, struct node **chain)
{
    struct node **tail = chain;

    *chain = NULL;
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];

        if (!op->put)
            continue;
        *tail = calloc(1, sizeof **tail);
        if (*tail)
            (*tail)->value = op->blob ? blob_ref(op->blob) : blob_copy(op->value);
        if (!*tail || !(*tail)->value) {
            free_chain(*chain);
            return false;
        }
        (*tail)->id = id_of(op->key, op->sub);
        tail = &(*tail)->right;
    }
    return true;
}

static void apply(struct partition *p, const struct batch *batch, struct node *chain)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        struct node **root = &p->tables[op->table];
        struct node **at = find(root, id_of(op->key, op->sub));

        if (*at)
            node_free(take(at));
        if (op->put) {
            struct node *n = chain;

            chain = n->right;
            insert(root, n);
        }
    }
    assert(!chain);
}

static int memory_commit(struct store *store, uint32_t partition, uint64_t epoch,
                         const struct batch *batch, struct error *err)
{
    struct data *data = data_of(store);
    int code = check_partition(partition, err);
    struct partition *p;
    struct node *chain;

    if (code)
        return code;
    if (!make_nodes(batch, &chain))
        return error_memory(err);
    pthread_mutex_lock(&data->mutex);
    assert(!data->walks);
    p = data->partitions[partition];
    if (p && p->epoch == epoch)
        apply(p, batch, chain);
    else
        code = epoch_over(p, partition, epoch, err);
    pthread_mutex_unlock(&data->mutex);
    if (code)
        free_chain(chain);
    return code;
}

static int walk_tree(const struct node *root, const struct store_range *range, store_row_fn *fn,
                     void *arg)
{
    uint64_t low = id_of(range->from_key, range->from_sub);
    uint64_t high = id_of(range->to_key, range->to_sub);
    uint64_t at = range->descending ? high : low;
    size_t rows = 0;

    for (;;) {
        const struct node *n = seek(root, at, range->descending);
        struct store_row row;
        int code;

        if (!n || n->id < low || n->id > high)
            return CODE_OK;
        row = (struct store_row){.key = n->id >> SUB_BITS,
                                 .sub = (uint32_t)(n->id & SUB_MAX),
                                 .value = blob_slice(n->value)};
        if (row.sub >= range->from_sub && row.sub <= range->to_sub) {
            code = fn(arg, &row);
            if (code || ++rows == range->limit)
                return code;
        }
        if (n->id == (range->descending ? low : high))
            return CODE_OK;
        at = range->descending ? n->id - 1 : n->id + 1;
    }
}

static int memory_walk(struct store *store, uint32_t partition, const struct store_range *range,
                       store_row_fn *fn, void *arg, struct error *err)
{
    struct data *data = data_of(store);
    int code = check_partition(partition, err);

    if (code)
        return code;
    pthread_mutex_lock(&data->mutex);
    data->walks++;
    if (data->partitions[partition])
        code = walk_tree(data->partitions[partition]->tables[range->table], range, fn, arg);
    data->walks--;
    pthread_mutex_unlock(&data->mutex);
    return code;
}

static int memory_open_reader(struct store *store, struct store **reader, struct error *err);

static const struct store_ops memory_ops = {
    .open_reader = memory_open_reader,
    .close = memory_close,
    .fence = memory_fence,
    .renew = memory_renew,
    .commit = memory_commit,
    .walk = memory_walk,
};

static const struct store_ops reader_ops = {
    .open_reader = memory_open_reader,
    .close = memory_close,
    .walk = memory_walk,
};

static int memory_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return handle_create(reader, data_of(store), store->tag, &reader_ops, err);
}

int store_memory_share(struct store **store, struct store *memory, struct error *err)
{
    assert(memory->ops == &memory_ops);
    return handle_create(store, data_of(memory), memory->tag, &memory_ops, err);
}

void store_memory_set_clock(struct store *memory, struct clock *clock)
{
    assert(memory->ops == &memory_ops);
    data_of(memory)->clock = clock;
}

int store_memory_create(struct store **store, uint64_t tag, struct error *err)
{
    struct data *data = calloc(1, sizeof *data);
    pthread_mutexattr_t attr;
    int code;

    if (!data || pthread_mutexattr_init(&attr)) {
        free(data);
        return error_memory(err);
    }
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    code = pthread_mutex_init(&data->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    if (code) {
        free(data);
        return error_memory(err);
    }
    data->clock = clock_system();
    code = handle_create(store, data, tag, &memory_ops, err);
    if (code)
        data_free(data);
    return code;
}
