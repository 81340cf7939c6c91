// SPDX-License-Identifier: Apache-2.0
/* Read as TOML (cli/toml.h), names that we do not know skipped; written beside, then renamed. */
#include "cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/state_dir.h"
#include "cli/toml.h"

int config_path(char path[PATH_MAX], struct error *err)
{
    const char *named = getenv("DISPATCH_CONFIG_PATH"), *home = getenv("HOME");
    const char *xdg = getenv("XDG_CONFIG_HOME");
    int len;

    if (named && *named)
        len = snprintf(path, PATH_MAX, "%s", named);
    else if (xdg && xdg[0] == '/') /* a relative one is to be ignored */
        len = snprintf(path, PATH_MAX, "%s/dispatch/config.toml", xdg);
    else if (home && home[0] == '/')
        len = snprintf(path, PATH_MAX, "%s/.config/dispatch/config.toml", home);
    else
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "none of DISPATCH_CONFIG_PATH, XDG_CONFIG_HOME and HOME says where the "
                         "configuration file is");
    if (len >= PATH_MAX)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "the path of the configuration file is too long");
    return CODE_OK;
}

struct config_org *config_find(struct config *config, const char *slug)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->orgs[i].slug, slug) == 0)
            return &config->orgs[i];
    }
    return NULL;
}

struct config_org *config_put(struct config *config, const char *slug)
{
    struct config_org *found = config_find(config, slug);

    if (found)
        return found;
    if (config->count == CONFIG_ORGS_MAX || !*slug || strlen(slug) > CONFIG_SLUG_MAX)
        return NULL;
    found = &config->orgs[config->count++];
    *found = (struct config_org){0};
    memcpy(found->slug, slug, strlen(slug) + 1);
    return found;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int take_text(const struct toml_pair *pair, char *out, size_t max, struct error *err)
{
    const char *name = pair->names[pair->depth - 1];

    if (!pair->quoted || pair->listed)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is a string, in quotes", name);
    if (*out)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is given twice", name);
    if (strlen(pair->value) > max)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is longer than %zu bytes", name, max);
    memcpy(out, pair->value, strlen(pair->value) + 1);
    return CODE_OK;
}

static bool is_printable(const char *text)
{
    while (*text > ' ' && *text < 0x7f)
        text++;
    return !*text;
}

static int take_of_org(struct config *config, const struct toml_pair *pair, struct error *err)
{
    struct config_org *org = config_put(config, pair->names[1]);
    int code = CODE_OK;

    if (!org)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "an organization's name has 1 to %d bytes, and there are %d at most",
                         CONFIG_SLUG_MAX, CONFIG_ORGS_MAX);
    if (strcasecmp(pair->names[2], "api_key") == 0)
        code = take_text(pair, org->api_key, CONFIG_KEY_MAX, err);
    else if (strcasecmp(pair->names[2], "api_url") == 0)
        code = take_text(pair, org->api_url, CONFIG_URL_MAX, err);
    if (code == CODE_OK && (!is_printable(org->api_key) || !is_printable(org->api_url)))
        return error_set(err, CODE_INVALID_ARGUMENT, "%s has characters that none may have",
                         pair->names[2]);
    return code;
}

static int take(void *arg, const struct toml_pair *pair, struct error *err)
{
    struct config *config = arg;

    if (pair->depth == 1 && strcasecmp(pair->names[0], "active") == 0)
        return take_text(pair, config->active, CONFIG_SLUG_MAX, err);
    if (pair->depth == 3 && strcasecmp(pair->names[0], "Organizations") == 0)
        return take_of_org(config, pair, err);
    return CODE_OK;
}

int config_parse(struct config *config, struct slice text, struct error *err)
{
    *config = (struct config){0};
    return toml_read(text, take, config, err);
}

int config_load(struct config *config, const char *path, struct error *err)
{
    struct error why;
    struct buf text;
    char *room;
    size_t n = 0;
    FILE *file = fopen(path, "re");
    int code;

    if (!file)
        return error_set(err, errno == ENOENT ? CODE_NOT_FOUND : CODE_UNAVAILABLE,
                         "cannot read the configuration file %s: %s", path, strerror(errno));
    buf_init(&text, CONFIG_BYTES_MAX + 1);
    room = buf_extend(&text, CONFIG_BYTES_MAX + 1);
    if (room)
        n = fread(room, 1, CONFIG_BYTES_MAX + 1, file);
    if (!room)
        code = error_memory(err);
    else if (ferror(file))
        code = error_set(err, CODE_UNAVAILABLE, "cannot read the configuration file %s", path);
    else if (n > CONFIG_BYTES_MAX)
        code =
            error_set(err, CODE_INVALID_ARGUMENT, "the configuration file %s is too large", path);
    else if ((code = config_parse(config, slice(room, n), &why)))
        error_set(err, code, "the configuration file %s, %s", path, why.message);
    fclose(file);
    buf_free(&text);
    return code;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void render_name(struct buf *out, const char *name)
{
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

    if (*name && strspn(name, bare) == strlen(name))
        buf_append_str(out, name);
    else
        toml_write_string(out, name);
}

void config_render(const struct config *config, struct buf *out)
{
    buf_append_str(out, "# Warning = 'THIS FILE IS GENERATED. DO NOT EDIT!'\nactive = ");
    toml_write_string(out, config->active);
    buf_append_str(out, "\n\n[Organizations]\n");
    for (size_t i = 0; i < config->count; i++) {
        buf_append_str(out, "[Organizations.");
        render_name(out, config->orgs[i].slug);
        buf_append_str(out, "]\napi_key = ");
        toml_write_string(out, config->orgs[i].api_key);
        if (config->orgs[i].api_url[0]) {
            buf_append_str(out, "\napi_url = ");
            toml_write_string(out, config->orgs[i].api_url);
        }
        buf_append_str(out, "\n\n");
    }
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd);
}

/* Of the file that a symbolic link leads to, as it is the one that is replaced. */
static int replace(const char *path, const struct buf *text, struct error *err)
{
    char beside[PATH_MAX + 8], real[PATH_MAX];
    int fd, status;

    if (!realpath(path, real))
        snprintf(real, sizeof real, "%s", path);
    snprintf(beside, sizeof beside, "%s.XXXXXX", real);
    fd = mkostemp(beside, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return error_set(err, CODE_UNAVAILABLE, "cannot write beside %s: %s", path,
                         strerror(errno));
    status = write_all(fd, (const char *)text->data, text->len);
    if (close(fd) == 0 && status == 0 && rename(beside, real) == 0)
        return CODE_OK;
    error_set(err, CODE_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
    unlink(beside);
    return CODE_UNAVAILABLE;
}

int config_save(const struct config *config, const char *path, struct error *err)
{
    char directory[PATH_MAX];
    struct buf text;
    char *slash;
    int code = CODE_OK;

    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    if (slash && slash != directory) {
        *slash = '\0';
        code = state_dir_make(directory, err);
    }
    if (code)
        return code;
    buf_init(&text, 4 * CONFIG_BYTES_MAX);
    config_render(config, &text);
    code = text.failed ? error_memory(err) : replace(path, &text, err);
    buf_free(&text);
    return code;
}
