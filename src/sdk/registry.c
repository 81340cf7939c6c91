// SPDX-License-Identifier: Apache-2.0
/*
 * Registries: names to functions, and where an application is reached. A function, once registered,
 * stays until its registry is closed; lookups copy what they find, under the registry's lock, so
 * that functions may be added while others run. All registries are in one list, as their names are
 * unique in the process; the default one is static, since constructors fill it before main()
 * begins.
 */
#include "sdk/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/map.h"
#include "sdk/client.h"

enum { NAME_MAX_LEN = 1024, URL_MAX_LEN = 2048 };

struct entry {
    struct entry *chain; /* with the same hash */
    struct sdk_function function;
    char name[];
};

struct dispatch_registry {
    struct list node;
    char *name;
    pthread_mutex_t lock; /* of all that follows */
    struct map functions; /* hash of the name to a chain */
    struct sdk_function fallback;
    bool has_fallback, restarts;
    char *endpoint;
    struct dispatch_client *client; /* given or made */
    bool client_made;
    char *endpoint_lent; /* these go first */
    struct dispatch_client *client_lent;
    struct dispatch_failure early; /* the first early registration that failed */
};

static char default_name[] = "default";
static struct dispatch_registry default_registry = {
    .node = {&default_registry.node, &default_registry.node},
    .name = default_name,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

/* The others; the default one is its head. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

struct dispatch_registry *dispatch_registry_default(void)
{
    return &default_registry;
}

struct dispatch_registry *sdk_registry(struct dispatch_registry *registry)
{
    return registry ? registry : &default_registry;
}

/* --- endpoints' URLs ------------------------------------------------------------------------- */

int sdk_endpoint_url_check(const char *url, struct dispatch_failure *failure)
{
    const char *colon = strstr(url, "://");
    struct slice scheme = slice(url, colon ? (size_t)(colon - url) : 0);

    if (strlen(url) > URL_MAX_LEN)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "registry endpoint URL is longer than %d bytes", URL_MAX_LEN);
    if (scheme.len == 0)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "missing protocol scheme in registry endpoint URL: %s", url);
    if (!slice_eq_str(scheme, "http") && !slice_eq_str(scheme, "https") &&
        !slice_eq_str(scheme, "bridge"))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "invalid protocol scheme in registry endpoint URL: %s", url);
    if (strchr("/?#:", colon[3]))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "missing host in registry endpoint URL: %s",
                        url);
    return 0;
}

static int missing_endpoint(struct dispatch_failure *failure)
{
    return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                    "missing application endpoint: set it with the DISPATCH_ENDPOINT_URL "
                    "environment variable");
}

/* A copy of the URL, or of the environment's when it is NULL. */
static int make_endpoint(const char *url, char **endpoint, struct dispatch_failure *failure)
{
    int rc;

    if (!url)
        url = getenv("DISPATCH_ENDPOINT_URL");
    if (!url || !*url)
        return missing_endpoint(failure);
    rc = sdk_endpoint_url_check(url, failure);
    if (rc)
        return rc;
    *endpoint = strdup(url);
    return *endpoint ? 0 : sdk_fail_memory(failure);
}

const char *dispatch_registry_endpoint(struct dispatch_registry *registry,
                                       struct dispatch_failure *failure)
{
    const char *endpoint;

    registry = sdk_registry(registry);
    pthread_mutex_lock(&registry->lock);
    if (!registry->endpoint_lent && !registry->endpoint)
        make_endpoint(NULL, &registry->endpoint, failure);
    endpoint = registry->endpoint_lent ? registry->endpoint_lent : registry->endpoint;
    pthread_mutex_unlock(&registry->lock);
    return endpoint;
}

bool sdk_registry_has_endpoint(struct dispatch_registry *registry)
{
    const char *url = getenv("DISPATCH_ENDPOINT_URL");
    bool has;

    pthread_mutex_lock(&registry->lock);
    has = registry->endpoint != NULL || (url && *url);
    pthread_mutex_unlock(&registry->lock);
    return has;
}

int sdk_registry_lend_endpoint(struct dispatch_registry *registry, const char *url,
                               struct dispatch_failure *failure)
{
    char *mine;
    int rc = make_endpoint(url, &mine, failure);

    if (rc)
        return rc;
    pthread_mutex_lock(&registry->lock);
    assert(registry->client_lent && !registry->endpoint_lent);
    registry->endpoint_lent = mine;
    pthread_mutex_unlock(&registry->lock);
    return 0;
}

/* --- making and closing ---------------------------------------------------------------------- */

static void free_functions(struct map *functions)
{
    struct entry *entry, *next;
    uint32_t pos = 0;
    uint64_t key;

    while ((entry = map_next(functions, &pos, &key)) != NULL)
        for (; entry; entry = next) {
            next = entry->chain;
            free(entry);
        }
    map_free(functions);
    map_init(functions);
}

/* Everything in it but its name and lock. */
static void empty(struct dispatch_registry *registry)
{
    struct dispatch_client *client = registry->client_made ? registry->client : NULL;

    free_functions(&registry->functions);
    free(registry->endpoint);
    free(registry->endpoint_lent);
    registry->endpoint = registry->endpoint_lent = NULL;
    registry->has_fallback = false;
    registry->client = registry->client_lent = NULL;
    registry->client_made = false;
    registry->early = (struct dispatch_failure){0};
    dispatch_client_destroy(client);
}

static void destroy(struct dispatch_registry *registry)
{
    empty(registry);
    pthread_mutex_destroy(&registry->lock);
    free(registry->name);
    free(registry);
}

static struct dispatch_registry *new_registry(const struct dispatch_registry_options *options)
{
    struct dispatch_registry *registry = calloc(1, sizeof *registry);

    if (!registry)
        return NULL;
    registry->name = strdup(options->name);
    if (!registry->name || pthread_mutex_init(&registry->lock, NULL)) {
        free(registry->name);
        free(registry);
        return NULL;
    }
    list_init(&registry->node);
    registry->client = options->client;
    return registry;
}

/* Puts it into the list, unless the name is taken. */
static int enlist(struct dispatch_registry *registry, struct dispatch_failure *failure)
{
    bool taken = strcmp(registry->name, default_registry.name) == 0;

    pthread_mutex_lock(&all_lock);
    LIST_FOR_EACH (node, next, &default_registry.node)
        taken |=
            strcmp(registry->name, LIST_ENTRY(node, struct dispatch_registry, node)->name) == 0;
    if (!taken)
        list_append(&default_registry.node, &registry->node);
    pthread_mutex_unlock(&all_lock);
    return taken ? sdk_fail(failure, CODE_ALREADY_EXISTS,
                            "registry with name '%.200s' already exists", registry->name)
                 : 0;
}

int dispatch_registry_create(const struct dispatch_registry_options *options,
                             struct dispatch_registry **registry, struct dispatch_failure *failure)
{
    struct dispatch_registry *made;
    int rc;

    if (!options->name || !*options->name)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "missing registry name");
    if (strlen(options->name) > NAME_MAX_LEN)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "registry name is longer than %d bytes",
                        NAME_MAX_LEN);
    made = new_registry(options);
    if (!made)
        return sdk_fail_memory(failure);
    rc = make_endpoint(options->endpoint, &made->endpoint, failure);
    if (!rc)
        rc = enlist(made, failure);
    if (rc)
        destroy(made);
    else
        *registry = made;
    return rc;
}

void dispatch_registry_close(struct dispatch_registry *registry)
{
    if (!registry)
        return;
    if (registry == &default_registry) {
        empty(registry);
        return;
    }
    pthread_mutex_lock(&all_lock);
    list_remove(&registry->node);
    pthread_mutex_unlock(&all_lock);
    destroy(registry);
}

const char *dispatch_registry_name(const struct dispatch_registry *registry)
{
    return registry ? registry->name : default_registry.name;
}

/* --- functions ------------------------------------------------------------------------------- */

static struct entry *find(const struct dispatch_registry *registry, struct slice name)
{
    struct entry *entry = map_get(&registry->functions, slice_hash(name, 0));

    while (entry && !slice_eq_str(name, entry->name))
        entry = entry->chain;
    return entry;
}

bool sdk_registry_find(struct dispatch_registry *registry, struct slice name,
                       struct sdk_function *function)
{
    struct entry *entry;
    bool found = true;

    pthread_mutex_lock(&registry->lock);
    entry = find(registry, name);
    if (entry)
        *function = entry->function;
    else if (registry->has_fallback)
        *function = registry->fallback;
    else
        found = false;
    pthread_mutex_unlock(&registry->lock);
    return found;
}

/* Under the lock. */
static int add(struct dispatch_registry *registry, const char *name,
               const struct sdk_function *function, struct dispatch_failure *failure)
{
    struct slice text = slice_str(name);
    uint64_t hash = slice_hash(text, 0);
    struct entry *entry;

    if (find(registry, text))
        return sdk_fail(failure, CODE_ALREADY_EXISTS,
                        "function already registered with name '%.200s'", name);
    entry = malloc(sizeof *entry + text.len + 1);
    if (!entry)
        return sdk_fail_memory(failure);
    entry->function = *function;
    memcpy(entry->name, name, text.len + 1);
    entry->chain = map_get(&registry->functions, hash);
    if (!map_set(&registry->functions, hash, entry)) {
        free(entry);
        return sdk_fail_memory(failure);
    }
    return 0;
}

static int add_function(struct dispatch_registry *registry, const char *name,
                        const struct sdk_function *function, struct dispatch_failure *failure)
{
    int rc;

    registry = sdk_registry(registry);
    if (!name || !wire_function_valid(slice_str(name)))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "'%.200s' is not a function name: letters, digits, '_', '.', '<' and '>', "
                        "not beginning with a digit",
                        name ? name : "");
    pthread_mutex_lock(&registry->lock);
    rc = add(registry, name, function, failure);
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

int dispatch_register(struct dispatch_registry *registry, const char *name,
                      dispatch_function *function, struct dispatch_failure *failure)
{
    struct sdk_function made = {.kind = SDK_FUNCTION, .function = function};

    return add_function(registry, name, &made, failure);
}

int dispatch_register_primitive(struct dispatch_registry *registry, const char *name,
                                dispatch_primitive *function, struct dispatch_failure *failure)
{
    struct sdk_function made = {.kind = SDK_PRIMITIVE, .primitive = function};

    return add_function(registry, name, &made, failure);
}

int dispatch_register_raw(struct dispatch_registry *registry, const char *name,
                          dispatch_raw *function, void *arg, struct dispatch_failure *failure)
{
    struct sdk_function made = {.kind = SDK_RAW, .raw = function, .arg = arg};

    return add_function(registry, name, &made, failure);
}

void dispatch_register_fallback(struct dispatch_registry *registry, dispatch_raw *function,
                                void *arg)
{
    registry = sdk_registry(registry);
    pthread_mutex_lock(&registry->lock);
    registry->has_fallback = function != NULL;
    registry->fallback = (struct sdk_function){.kind = SDK_RAW, .raw = function, .arg = arg};
    pthread_mutex_unlock(&registry->lock);
}

void dispatch_register_early_(const char *name, dispatch_function *function,
                              dispatch_primitive *primitive)
{
    struct dispatch_failure failure = {0};
    int rc = function ? dispatch_register(NULL, name, function, &failure)
                      : dispatch_register_primitive(NULL, name, primitive, &failure);

    pthread_mutex_lock(&default_registry.lock);
    if (rc && !default_registry.early.code)
        default_registry.early = failure;
    pthread_mutex_unlock(&default_registry.lock);
}

void dispatch_on_divergence(struct dispatch_registry *registry,
                            enum dispatch_divergence on_divergence)
{
    registry = sdk_registry(registry);
    pthread_mutex_lock(&registry->lock);
    registry->restarts = on_divergence == DISPATCH_DIVERGENCE_RESTARTS;
    pthread_mutex_unlock(&registry->lock);
}

bool sdk_registry_restarts(struct dispatch_registry *registry)
{
    bool restarts;

    pthread_mutex_lock(&registry->lock);
    restarts = registry->restarts;
    pthread_mutex_unlock(&registry->lock);
    return restarts;
}

int sdk_registry_check(struct dispatch_registry *registry, struct dispatch_failure *failure)
{
    int rc;

    pthread_mutex_lock(&registry->lock);
    rc = registry->early.code;
    if (rc && failure)
        *failure = registry->early;
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

/* --- dispatching ----------------------------------------------------------------------------- */

int sdk_registry_client(struct dispatch_registry *registry, struct dispatch_client **client,
                        struct dispatch_failure *failure)
{
    int rc = 0;

    pthread_mutex_lock(&registry->lock);
    if (!registry->client && !registry->client_lent) {
        rc = dispatch_client_create(NULL, &registry->client, failure);
        registry->client_made = rc == 0;
    }
    if (!rc)
        *client = registry->client_lent ? registry->client_lent : registry->client;
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

struct dispatch_client *sdk_registry_given_client(struct dispatch_registry *registry)
{
    struct dispatch_client *client;

    pthread_mutex_lock(&registry->lock);
    client = registry->client_made ? NULL : registry->client;
    pthread_mutex_unlock(&registry->lock);
    return client;
}

int sdk_registry_lend_client(struct dispatch_registry *registry, struct dispatch_client *client,
                             struct dispatch_failure *failure)
{
    bool taken;

    pthread_mutex_lock(&registry->lock);
    /* What a parent's registry was lent is nothing to a child that it forked. */
    taken = registry->client_lent && registry->client_lent->pid == getpid();
    if (!taken) {
        free(registry->endpoint_lent);
        registry->endpoint_lent = NULL;
        registry->client_lent = client;
    }
    pthread_mutex_unlock(&registry->lock);
    return taken ? sdk_fail(failure, CODE_FAILED_PRECONDITION,
                            "the functions of registry '%.200s' are being served already: one "
                            "dispatch_run, dispatch_serve or dispatch_embedded_open at a time",
                            registry->name)
                 : 0;
}

void sdk_registry_take_back(struct dispatch_registry *registry,
                            const struct dispatch_client *client)
{
    char *endpoint = NULL;

    pthread_mutex_lock(&registry->lock);
    if (client && registry->client_lent == client) {
        endpoint = registry->endpoint_lent;
        registry->endpoint_lent = NULL;
        registry->client_lent = NULL;
    }
    pthread_mutex_unlock(&registry->lock);
    free(endpoint);
}

int dispatch_registry_dispatch(struct dispatch_registry *registry,
                               const struct dispatch_call *calls, size_t count,
                               struct dispatch_ids *ids, struct dispatch_failure *failure)
{
    struct dispatch_batch *batch = dispatch_batch_create(registry);
    int rc = 0;

    if (!batch)
        return sdk_fail_memory(failure);
    for (size_t i = 0; i < count && !rc; i++)
        rc = dispatch_batch_add(batch, &calls[i], failure);
    if (!rc)
        rc = dispatch_batch_dispatch(batch, ids, failure);
    dispatch_batch_destroy(batch);
    return rc;
}
